"""A recorded journal against settled data: every vector and decision again, and what real fills cost.

A recorded decision taken again: the strategy's own step on the recorded account and any vector.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from certify.real_fills import FillAudit
from certify.recorded_account import check_account
from certify.recorded_report import AccountSkew, DecisionSkew, RecordedReport
from certify.recording import Frame, Tape, models_of
from certify.skew import CODE, BarTally, FeatureTally, cause_of, unequal
from lockstep.errors import ParityError
from lockstep.features.batch import BatchFeatures
from lockstep.floats import require_exact
from lockstep.live.config import HistorySettings
from lockstep.live.journal import Journal
from lockstep.live.operator.journal_cli import iso
from lockstep.live.traded import TradedModel
from lockstep.live.warmup import settled_bars
from lockstep.market.bars import Floats
from lockstep.market.config import load_instruments
from lockstep.market.history import History, Market
from lockstep.models.store import ModelStore
from lockstep.strategy.admission import REFUSALS
from lockstep.strategy.clock import SessionClock
from lockstep.strategy.decision import ENTRIES, EXIT_DAILY_LOSS, HOLD, REFUSED
from lockstep.strategy.matching import CLOSE, POSITION, QUANTITY
from lockstep.strategy.step import Decided, DecisionRules, PositionState, step
from research.paper.residuals import Residual, summaries


class Judge:
    """Takes decisions of one model again. It holds no state: what the account held is in the frame."""

    def __init__(self, model: TradedModel, market: Market, factor: float | None = None) -> None:
        self.clock = SessionClock.of(market, model.config)
        self.rules = DecisionRules.of(
            model.config, market, model.veto, model.plan.ids, factor=1.0 if factor is None else factor
        )

    def again(self, frame: Frame, values: Floats) -> Decided:
        """Return what is decided on `values` (k,) with the account, clock and orders of the record."""
        recorded = frame.record.state
        state = PositionState(
            recorded.account[POSITION],
            recorded.bars_held,
            frame.waiting,
            HOLD if frame.forced is None else frame.forced,
        )
        return answered(frame, step(self.rules, values, frame.bar[CLOSE], self.clock.at(frame.stamp), state))


def answered(frame: Frame, decided: Decided) -> Decided:
    """Return a decision as the portfolio answered it; it stays what it is where nobody was asked.

    An entry that was not proposed, or in another size, is no decision of that record: its code is UNASKED.
    """
    if frame.factor is None:
        return decided
    if decided.code in ENTRIES and decided.order is not None:
        answer, wanted = frame.answer, decided.order[QUANTITY]
        if answer is None or answer.side * answer.base != wanted:
            return decided._replace(code=UNASKED)
        if answer.rule:
            return decided._replace(code=REFUSED + REFUSALS.index(answer.rule), order=None)
    elif frame.is_leaving and decided.order is None and frame.record.code == EXIT_DAILY_LOSS:
        return decided._replace(code=EXIT_DAILY_LOSS)
    return decided


UNASKED = -1
_COUNTS = ("compared", "unsettled", "code", "data")


def check_recorded(
    journal: Path, *, store: ModelStore, data_dir: Path | None = None, source: str | None = None
) -> RecordedReport:
    """Take every decision of a journal again, from settled bars and from those that had come.

    store   holds the bundles that traded; data_dir, source   of the settled files, as for a backtest

    Raises: JournalError, ModelError for a bundle that is gone, DataError for bars, ParityError where the
    journal decided nothing or the settled bars are of other dates, FloatModeError where this process computes
    as no engine may.
    """
    require_exact()
    with Journal.open(journal, readonly=True) as opened:
        models = models_of(opened, store)
        settled = settled_history(models, data_dir, source)
        check = _Check(models, settled)
        for frame in Tape(opened, models, settled.markets, check.bars).frames():
            check.take(frame)
        epochs = opened.epochs()
        check.account = check_account(opened, models, settled.markets, load_instruments())
        return check.report(journal.name, tuple(dict.fromkeys(each.mode for each in epochs)), len(epochs))


def settled_history(models: Mapping[str, TradedModel], data_dir: Path | None, source: str | None) -> History:
    """Return the settled bars of every series that the models read."""
    book = load_instruments()
    keys = sorted({key for model in models.values() for key in model.needs(book.markets)})
    return settled_bars(keys, HistorySettings(data_dir=data_dir, source=source), book)


class _Check:
    """Counts, while frames come in."""

    def __init__(self, models: Mapping[str, TradedModel], settled: History) -> None:
        self._settled = settled
        self._batch = {
            sha: BatchFeatures(model.plan, settled, max_age=model.config.max_age.limits)
            for sha, model in models.items()
        }
        self._ends = {sha: set(batch.end.tolist()) for sha, batch in self._batch.items()}
        self._judges: dict[tuple[str, float | None], Judge] = {}
        self.bars = BarTally(settled)
        self._features: dict[str, FeatureTally] = {}
        self._decisions: dict[str, dict[str, int]] = {}
        self._firsts: dict[str, str] = {}
        self._audit = FillAudit(settled, load_instruments().instruments)
        self._fills: list[Residual] = []
        self._stamps: list[int] = []
        self._vectors = 0
        self.account: AccountSkew | None = None

    def take(self, frame: Frame) -> None:
        """Take one recorded decision."""
        self._stamps.append(frame.stamp)
        self._fills += self._audit.take(frame)
        sha, symbol = frame.model.bundle.sha256, frame.record.symbol
        counts = self._decisions.setdefault(symbol, dict.fromkeys(_COUNTS, 0))
        recorded = np.frombuffer(frame.record.vector, dtype="<f8").astype(np.float64)
        if frame.stamp not in self._ends[sha]:
            counts["unsettled"] += 1
            return
        counts["compared"] += 1
        settled = self._batch[sha].vector(frame.stamp)
        self._compare_values(frame, recorded, settled)
        self._compare_decisions(frame, recorded, settled, counts)

    def _judge(self, frame: Frame) -> Judge:
        key = (frame.model.bundle.sha256, frame.factor)
        if key not in self._judges:
            market = self._settled.markets[frame.model.key.symbol]
            self._judges[key] = Judge(frame.model, market, frame.factor)
        return self._judges[key]

    def _compare_values(self, frame: Frame, recorded: np.ndarray, settled: np.ndarray) -> None:
        ids, own = frame.model.plan.ids, frame.windows.vector(frame.stamp)
        if recorded.size != len(ids):
            raise ParityError(
                f"{frame.record.symbol} {iso(frame.stamp)}: {recorded.size} values recorded, the bundle has "
                f"{len(ids)} ids; verify the journal"
            )
        self._vectors += 1
        for name in ids:
            self._features.setdefault(name, FeatureTally()).compared += 1
        for column in unequal(recorded, settled):
            value = float(recorded[column])
            cause = cause_of(frame, column, value, float(own[column]), self._settled)
            self._features[ids[column]].add(cause, frame.stamp, value, float(settled[column]))

    def _compare_decisions(
        self, frame: Frame, recorded: np.ndarray, settled: np.ndarray, counts: dict[str, int]
    ) -> None:
        judge = self._judge(frame)
        told = Decided(frame.record.code, frame.record.probability, None)
        again = judge.again(frame, recorded)
        if not _same(told, again):
            counts[CODE] += 1
            self._first(frame, told, again, CODE)
        elif unequal(recorded, settled) and (now := judge.again(frame, settled)).code != told.code:
            counts["data"] += 1
            self._first(frame, told, now, "data")

    def _first(self, frame: Frame, told: Decided, again: Decided, kind: str) -> None:
        judge = self._judge(frame)
        text = f"{iso(frame.stamp)}: {frame.record.reason} ({told.probability:.6g}) recorded, "
        now = "an entry that was not proposed so" if again.code == UNASKED else judge.rules.reason(again.code)
        text += f"{now} ({again.probability:.6g}) now ({kind})"
        self._firsts.setdefault(frame.record.symbol, text)

    def report(self, journal: str, modes: tuple[str, ...], epochs: int) -> RecordedReport:
        """Return what was counted; ParityError where nothing was."""
        if not self._vectors:
            raise ParityError(
                f"journal {journal}: none of its decisions has a settled bar; give the data of its dates"
            )
        features = tuple(tally.skew(name) for name, tally in self._features.items())
        return RecordedReport(
            journal=journal,
            modes=modes,
            epochs=epochs,
            first=iso(min(self._stamps)),
            last=iso(max(self._stamps)),
            vectors=self._vectors,
            values=sum(each.compared for each in features),
            features=features,
            series=self.bars.skews(),
            decisions=tuple(
                DecisionSkew(symbol=symbol, first=self._firsts.get(symbol, ""), **counts)
                for symbol, counts in sorted(self._decisions.items())
            ),
            account=self.account,
            residuals=summaries(self._fills),
            fills=tuple(self._fills),
        )


def _same(one: Decided, other: Decided) -> bool:
    both_silent = math.isnan(one.probability) and math.isnan(other.probability)
    return one.code == other.code and (both_silent or one.probability == other.probability)
