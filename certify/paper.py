"""Paper against backtest: the journal's bars and bundles run again by research, swaps followed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from certify.recorded import settled_history
from certify.segments import Cut, OpenSegment
from certify.series import with_settled
from certify.tape import Tape, models_of
from lockstep.compiled import source_digest
from lockstep.errors import ParityError
from lockstep.live.desk import Model
from lockstep.live.journal import Journal
from lockstep.live.journal.report import iso
from lockstep.live.messages import Epoch
from lockstep.market.bars import Bars
from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.market.history import History, Market
from lockstep.models.store import ModelStore
from research.backtest import Span, run_backtest
from research.paper.compare import Case, Curves, Segment, compare_instrument
from research.paper.sessions import Stretch
from research.paper.verdict import Declared, PaperComparison
from research.steps import steps_of
from research.utils.data_loader import as_day

_SIMULATED = ("paper", "shadow")
# Fewer unseen sessions than this many runs of the paper's length say little about what is usual.
_RUNS = 4
_LEAST_UNSEEN = 60


@dataclass(frozen=True, kw_only=True)
class Request:
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
class Between(Span):
    """The bars that ended from `first` to `last`, UTC ns: a swap may fall into the middle of a session."""

    first: int
    last: int

    def select(self, bars: Bars, market: Market) -> slice:
        """Return their rows."""
        low, high = np.searchsorted(bars.end, [self.first, self.last + 1])
        return slice(int(low), int(high))


def compare_paper(request: Request, *, now: int) -> tuple[PaperComparison, dict[str, Curves]]:
    """Compare a journal of mode paper or shadow with the backtest; `now` in UTC ns.

    Raises: JournalError, ModelError for a bundle that is gone, DataError for bars, ParityError for mode live,
    mixed modes, bars that are not settled yet, or too few sessions.
    """
    book = load_instruments()
    with Journal.open(request.journal, readonly=True) as journal:
        epochs = _epochs(journal.epochs(), request)
        models = models_of(journal, request.store)
        history = settled_history(models, request.data_dir, request.source, book)
        tape = Tape(journal, models, history.markets)
        cuts: dict[str, Cut] = {}
        for frame in tape.frames(request.epoch):
            cuts.setdefault(frame.record.symbol, Cut()).take(frame)
        newest = journal.newest_hash()
    found, curves = [], {}
    for symbol, cut in sorted(cuts.items()):
        case = _case(symbol, cut, models, history, request)
        compared, curves[symbol] = compare_instrument(
            case, level=request.level, resamples=request.resamples, seed=request.seed, instruments=len(cuts)
        )
        found.append(compared)
    if not found:
        raise ParityError(f"journal {request.journal}: it has no decision yet; let the engine run")
    comparison = PaperComparison(
        journal=request.journal.name,
        journal_hash=newest,
        mode=epochs[0].mode,
        epochs=tuple(each.number for each in epochs),
        bundles={symbol: tuple(cut.bundles) for symbol, cut in sorted(cuts.items())},
        data={str(key): bars.content_hash for key, bars in sorted(history.bars.items())},
        declared={
            symbol: _declared(models[cut.bundles[-1]], request, book) for symbol, cut in sorted(cuts.items())
        },
        level=request.level,
        resamples=request.resamples,
        seed=request.seed,
        code=source_digest(),
        time=now,
        instruments=tuple(found),
    )
    return comparison, curves


def _declared(model: Model, request: Request, book: InstrumentBook) -> Declared:
    symbols = tuple(sorted({key.symbol for key in model.needs(book.markets)}))
    sources = book.sources_of(symbols, request.data_dir, request.source)
    return Declared(symbols=symbols, sources=sources, digest=book.digest(symbols, sources))


def _epochs(epochs: Sequence[Epoch], request: Request) -> list[Epoch]:
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
            "it with scripts/check_parity.py --journal, and compare a paper desk that runs beside it"
        )
    return chosen


def _case(symbol: str, cut: Cut, models: Mapping[str, Model], history: History, request: Request) -> Case:
    newest = models[cut.bundles[-1]]
    market, config = history.markets[symbol], newest.config
    first = min(each.steps[0].stamp for each in cut.segments) if cut.segments else 0
    span, seen = _validation_span(
        newest, history, first, sum(len(each.steps) for each in cut.segments), request
    )
    reference = run_backtest(config, history, symbol, span=span, veto=newest.veto)
    return Case(
        market=market,
        capital=config.capital,
        segments=[_segment(each, history) for each in cut.segments],
        left_out=cut.left_out,
        refused=cut.refused,
        reference=Stretch(steps=steps_of(reference), opening=config.capital),
        seen=seen,
        dates_of=lambda ends: market.session.dates(ends, config.bars),
    )


def _segment(part: OpenSegment, history: History) -> Segment:
    model, steps = part.model, part.steps
    bars = history.series(model.key)
    if not len(bars) or bars.end[-1] < steps[-1].stamp:
        raise ParityError(
            f"{model.key}: settled bars end before the journal does, at {iso(steps[-1].stamp)}; give newer "
            "files"
        )
    between = Between(first=steps[0].stamp, last=steps[-1].stamp)
    result = run_backtest(model.config, history, model.key.symbol, span=between, veto=model.veto)
    return Segment(
        sha256=model.bundle.sha256,
        version=model.bundle.version,
        ids=model.plan.ids,
        paper=Stretch(steps=steps, opening=part.opening),
        backtest=Stretch(
            steps=with_settled(steps_of(result), steps, history, model.plan), opening=model.config.capital
        ),
        uncompared=frozenset(part.uncompared),
    )


def _validation_span(
    model: Model, history: History, first: int, bars: int, request: Request
) -> tuple[Span, bool]:
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
    return Span(start=start, end=days[-1].item()), after is None or start < after
