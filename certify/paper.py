"""Paper against backtest: the journal's bars and bundles run again by research, swaps followed.

Run a desk on paper, kill it on the way, start it again: `python -m certify.paper live.yml FOLDER`.

The recorded decisions of one instrument, cut into pieces that a backtest can be run beside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from certify.live_run import run_killed
from certify.paper_portfolio import Expected, answered_backtest, expected_by
from certify.recorded import settled_history
from certify.recording import Frame, Tape, models_of
from certify.series import Arrived, with_settled
from lockstep.console import run
from lockstep.errors import ParityError
from lockstep.identity import PAPER, code_hash
from lockstep.live.config import LiveConfig
from lockstep.live.events import EngineStarted
from lockstep.live.journal import Journal
from lockstep.live.messages import Epoch
from lockstep.live.operator.journal_cli import iso
from lockstep.live.rerun import step_of
from lockstep.live.traded import TradedModel
from lockstep.market.bars import Bars
from lockstep.market.config import load_instruments
from lockstep.market.dates import DateRange, as_day
from lockstep.market.history import History, Market
from lockstep.market.instrument import traded_symbol
from lockstep.models.evidence import bars_read
from lockstep.models.store import ModelStore
from lockstep.monitoring.parity import Context, EngineStep
from lockstep.portfolio.config import PortfolioConfig
from lockstep.portfolio.state import ProposalRecord
from lockstep.strategy.decision import EXIT_DAILY_LOSS
from lockstep.strategy.matching import CASH, POSITION
from research.backtest.result import steps_of
from research.backtest.run import run_backtest
from research.paper.bands import AccountStretch
from research.paper.compare import Curves, PaperCase, Segment, compare_instrument
from research.paper.verdict import PaperComparison

app = typer.Typer(add_completion=False)


@app.command()
def main(
    config: Annotated[Path, typer.Argument(help="The desk's live.yml.")],
    folder: Annotated[Path, typer.Argument(help="Folder for its logs.")],
    kill_after: Annotated[int, typer.Option(min=1, help="Bar sets before the SIGKILL.")] = 100,
) -> None:
    """Run the engine to the end of its replay, with one SIGKILL on the way."""
    settings = LiveConfig.load(config)
    folder.mkdir(parents=True, exist_ok=True)
    for path in (settings.journal, settings.status):
        path.parent.mkdir(parents=True, exist_ok=True)
    killed = run_killed(config, settings.journal, folder, [kill_after])
    with Journal.open(settings.journal, readonly=True) as journal:
        sets = sum(1 for _ in journal.select("SELECT 1 FROM sets"))
        starts = list(journal.events(EngineStarted))
    after = ", ".join(map(str, killed)) or "never"
    replayed = starts[-1].replayed if starts else 0
    restarts = len(starts) - 1
    times = "once" if restarts == 1 else f"{restarts} times"
    print(f"{sets} bar sets; killed by SIGKILL after {after}, restarted {times};")
    print(f"the last start replayed {replayed} sets, compared them with the journal, and went on.")


if __name__ == "__main__":
    run(app)


@dataclass
class OpenSegment:
    """A segment that still grows; factor and answers are a portfolio's, see `paper_portfolio.py`."""

    model: TradedModel
    opening: float
    factor: float | None = None
    answers: dict[int, ProposalRecord] = field(default_factory=dict)
    steps: list[EngineStep] = field(default_factory=list)
    uncompared: set[int] = field(default_factory=set)


@dataclass
class Cut:
    """The recorded decisions of one instrument, cut where a backtest has to begin anew.

    A backtest begins flat, knows one bundle, no gateway and no operator. So a segment ends with a swap, with
    a required exit (handover, HALT, the portfolio), with an order that the gateway refused and before the bar
    at which a waiting entry was withdrawn; the next one begins at the first bar that found the account flat
    and no order waiting. Bars in between are left out, and counted.
    """

    segments: list[OpenSegment] = field(default_factory=list)
    left_out: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    bundles: list[str] = field(default_factory=list)
    _now: OpenSegment | None = None

    def take(self, frame: Frame) -> None:
        """Take one decision."""
        sha = frame.record.bundle
        if not self.bundles or self.bundles[-1] != sha:
            self.bundles.append(sha)
        flattened = frame.factor is not None and frame.record.code == EXIT_DAILY_LOSS
        if (
            frame.forced is not None
            or flattened
            or frame.withdrawn
            or (self._now and self._now.model.bundle.sha256 != sha)
        ):
            self._now = None
        if self._now is None and frame.forced is None and not flattened:
            self._now = self._begun(frame)
        if self._now is None:
            self.left_out += 1
            return
        if frame.answer is not None:
            self._now.answers[frame.stamp] = frame.answer
        step = step_of(frame.record, frame.stamp, frame.bar)
        self._now.steps.append(replace(step, context=self._context(frame, begun=not self._now.steps)))
        if frame.refused:
            self.refused[frame.refused] += 1
            self._now.uncompared.add(frame.stamp)
            self._now = None

    def _context(self, frame: Frame, *, begun: bool) -> Context:
        """Return what came since the step before; for the first step of a segment, what windows hold."""
        if not begun:
            return frame.context
        return Arrived(frame.labels, frame.model.key, frame.held).at(frame.stamp)

    def _begun(self, frame: Frame) -> OpenSegment | None:
        before = frame.before
        if before.account[POSITION] or before.waiting is not None:
            return None
        begun = OpenSegment(model=frame.model, opening=before.account[CASH], factor=frame.factor)
        self.segments.append(begun)
        return begun


_SIMULATED = ("paper", "shadow")
# Fewer unseen sessions than this many runs of the paper's length say little about what is usual.
_RUNS = 4
_LEAST_UNSEEN = 60


@dataclass(frozen=True, kw_only=True)
class PaperRequest:
    """What to compare, and how strictly.

    epoch      one epoch of the journal; None: all, if they are of one mode
    since      first session of the validation backtest (ISO); None: after the training range, if that leaves
               enough, else the first one there is
    """

    journal: Path
    store: ModelStore
    data_dir: Path | None = None
    source: str | None = None
    epoch: int | None = None
    since: str | None = None
    level: float = 0.95
    resamples: int = 4_000
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Between(DateRange):
    """The bars that ended from `first` to `last`, UTC ns: a swap may fall into the middle of a session."""

    first: int
    last: int

    def select(self, bars: Bars, market: Market) -> slice:
        """Return their rows."""
        low, high = np.searchsorted(bars.end, [self.first, self.last + 1])
        return slice(int(low), int(high))


def compare_paper(request: PaperRequest, *, now: int) -> tuple[PaperComparison, dict[str, Curves]]:
    """Compare a journal of mode paper or shadow with the backtest; `now` in UTC ns.

    Raises: JournalError, ModelError for a bundle that is gone, DataError for bars, ParityError for mode live,
    mixed modes, bars that are not settled yet, or too few sessions.
    """
    with Journal.open(request.journal, readonly=True) as journal:
        epochs = _epochs(journal.epochs(), request)
        models = models_of(journal, request.store)
        history = settled_history(models, request.data_dir, request.source)
        tape = Tape(journal, models, history.markets)
        cuts: dict[str, Cut] = {}
        for frame in tape.frames(request.epoch):
            cuts.setdefault(frame.record.symbol, Cut()).take(frame)
        newest = journal.newest_hash()
    found, curves = [], {}
    expected = _expected(epochs, cuts, models, history)
    for symbol, cut in sorted(cuts.items()):
        case = _case(symbol, cut, models, history, request, expected)
        compared, curves[symbol] = compare_instrument(
            case, level=request.level, resamples=request.resamples, seed=request.seed, instruments=len(cuts)
        )
        found.append(compared)
    if not found:
        raise ParityError(f"journal {request.journal}: it has no decision yet; let the engine run")
    book, reads = load_instruments(), _reads(models)
    comparison = PaperComparison(
        journal=request.journal.name,
        journal_hash=newest,
        mode=epochs[0].mode,
        epochs=tuple(each.number for each in epochs),
        bundles={symbol: tuple(cut.bundles) for symbol, cut in sorted(cuts.items())},
        data={str(key): bars.content_hash for key, bars in sorted(history.bars.items())},
        reads=reads,
        sources={
            symbol: book.sources_of(read, request.data_dir, request.source) for symbol, read in reads.items()
        },
        newest={symbol: cut.segments[-1].steps[-1].stamp for symbol, cut in sorted(cuts.items())},
        level=request.level,
        resamples=request.resamples,
        seed=request.seed,
        code=code_hash(PAPER),
        time=now,
        instruments=tuple(found),
        bars=bars_read(
            history,
            request.data_dir,
            request.source,
            last=max(cut.segments[-1].steps[-1].stamp for cut in cuts.values()),
        ),
    )
    return comparison, curves


def _expected(
    epochs: Sequence[Epoch], cuts: Mapping[str, Cut], models: Mapping[str, TradedModel], history: History
) -> Expected | None:
    """Return what lanes of the newest portfolio are expected to do, None where instruments traded alone."""
    portfolio = epochs[-1].portfolio
    if portfolio is None:
        return None
    newest = {symbol: models[cut.bundles[-1]] for symbol, cut in cuts.items()}
    config = PortfolioConfig.model_validate(portfolio.content)
    return expected_by(config, newest, history, load_instruments())


def _reads(models: Mapping[str, TradedModel]) -> dict[str, tuple[str, ...]]:
    """Return, by traded symbol, the symbols whose bars its models read."""
    markets = load_instruments().markets
    found: dict[str, set[str]] = {}
    for model in models.values():
        found.setdefault(model.key.symbol, set()).update(key.symbol for key in model.needs(markets))
    return {symbol: tuple(sorted(read)) for symbol, read in sorted(found.items())}


def _epochs(epochs: Sequence[Epoch], request: PaperRequest) -> list[Epoch]:
    chosen = [each for each in epochs if request.epoch in (None, each.number)]
    if not chosen:
        numbers = ", ".join(str(each.number) for each in epochs) or "none"
        raise ParityError(f"journal {request.journal}: no epoch {request.epoch}; it has {numbers}")
    modes = dict.fromkeys(each.mode for each in chosen)
    if len(modes) > 1:
        told = ", ".join(f"{each.number} is {each.mode}" for each in chosen)
        raise ParityError(f"journal {request.journal}: epochs of several modes: {told}; choose one: --epoch")
    if chosen[0].mode not in _SIMULATED:
        raise ParityError(
            f"journal {request.journal}: mode {chosen[0].mode} has real fills, no backtest equals it; check "
            "it with lockstep certify --journal, and compare a paper desk that runs beside it"
        )
    return chosen


def _case(
    symbol: str, cut: Cut, models: Mapping[str, TradedModel], history: History, request: PaperRequest,
    expected: Expected | None,
) -> PaperCase:  # fmt: skip
    newest = models[cut.bundles[-1]]
    market, config = history.markets[traded_symbol(symbol)].named(symbol), newest.config
    first = min(each.steps[0].stamp for each in cut.segments) if cut.segments else 0
    span, seen = _validation_span(
        newest, history, first, sum(len(each.steps) for each in cut.segments), request
    )
    if expected is None:
        reference = run_backtest(config, history, symbol, span=span, veto=newest.veto)
    else:
        reference = expected(symbol, span)
    return PaperCase(
        market=market,
        capital=config.capital,
        segments=[segment_of(symbol, each, history) for each in cut.segments],
        left_out=cut.left_out,
        refused=cut.refused,
        reference=AccountStretch(steps=steps_of(reference), opening=config.capital),
        seen=seen,
        dates_of=lambda ends: market.session.dates(ends, config.bars),
    )


def segment_of(name: str, part: OpenSegment, history: History) -> Segment:
    """Return what the lane `name` did over a stretch of its journal, beside the backtest of the same bars.

    ParityError where settled bars end before the stretch does.
    """
    model, steps = part.model, part.steps
    bars = history.series(model.key)
    if not len(bars) or bars.end[-1] < steps[-1].stamp:
        raise ParityError(
            f"{model.key}: settled bars end before the journal does, at {iso(steps[-1].stamp)}; give newer "
            "files"
        )
    between = Between(first=steps[0].stamp, last=steps[-1].stamp)
    if part.factor is None:
        result = run_backtest(model.config, history, model.key.symbol, span=between, veto=model.veto)
    else:
        result = answered_backtest(name, model, history, between, part.factor, part.answers)
    return Segment(
        sha256=model.bundle.sha256,
        version=model.bundle.version,
        ids=model.plan.ids,
        paper=AccountStretch(steps=steps, opening=part.opening),
        backtest=AccountStretch(
            steps=with_settled(steps_of(result), steps, history, model.plan), opening=model.config.capital
        ),
        uncompared=frozenset(part.uncompared),
    )


def _validation_span(
    model: TradedModel, history: History, first: int, bars: int, request: PaperRequest
) -> tuple[DateRange, bool]:
    """Return the sessions of the validation backtest, and whether training saw any of them.

    They end before the paper run of so many `bars`, which begins with the bar that ended at `first`.
    """
    series, market = history.series(model.key), history.markets[model.key.symbol]
    dates = market.session.dates(series.end, series.timeframe)
    run = int(np.searchsorted(series.end, first))
    days = np.unique(dates[:run][dates[:run] < dates[min(run, dates.size - 1)]])
    if not days.size:
        raise ParityError(f"{model.key}: no session before the journal; give files that begin earlier")
    trained = model.bundle.training.get("range")
    after = date.fromisoformat(trained[1]) + timedelta(days=1) if trained else None
    since = as_day("since", request.since)
    if since is None and after is not None:
        unseen = int((days >= np.datetime64(after)).sum())
        needed = max(_LEAST_UNSEEN, _RUNS * np.unique(dates[run : run + bars]).size)
        since = after if unseen >= needed else None
    start = since or days[0].item()
    return DateRange.of(start, days[-1].item()), after is None or start < after
