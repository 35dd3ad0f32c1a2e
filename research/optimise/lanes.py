"""The lanes of a plan, and on which dates each is out of sample.

A model answers on dates that it was not fitted on: those of the outer walk-forward of its training run, by
the models of its windows and with their thresholds, or, where that run is gone, the dates after its training
range. A strategy without a model trades the dates that no search of this ledger evaluated it on, up to the
first sealed day.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.errors import ConfigError, DataError, TrainingError
from lockstep.market.config import InstrumentBook
from lockstep.market.dates import DateRange
from lockstep.market.families import load_families
from lockstep.market.history import History, SeriesKey
from lockstep.market.instrument import lane_name
from lockstep.market.loader import load_history
from lockstep.models.store import ModelStore
from lockstep.portfolio.config import VOLATILITY_ID
from lockstep.portfolio.terms import require_admittable
from lockstep.strategy.config import FixedSize, StrategyConfig
from lockstep.strategy.family import load_strategy
from lockstep.strategy.step import vector_ids
from lockstep.strategy.veto import Veto
from research.backtest.run import context_keys
from research.ledger.doors import introduce, open_door
from research.ledger.ledger import Ledger
from research.ledger.versions import TradedVersion
from research.model_validation.case import require_same_run
from research.model_validation.gathering import require_same_bars, trained_run
from research.optimise.plan import PlannedLane, PortfolioPlan
from research.sweep.inputs import Chances
from research.training.out_of_sample import OutOfSample, trading_span
from research.training.outcome import TrainingOutcome


@dataclass(frozen=True, kw_only=True, eq=False)
class LaneStream:
    """What a lane trades, and on which dates its answers are out of sample.

    members   of an ensemble, by the names of their lanes; strategy and history are then those of the first
    answers   of the walk-forward's models; None: the veto itself is asked, or there is none
    dates     session dates that may be used
    seen      what they are, as a sentence goes on
    source    what the stream depends on, by name: hashes, version
    """

    symbol: str
    family: str
    strategy: StrategyConfig
    history: History
    veto: Veto | None
    answers: Chances | None
    dates: DateRange
    seen: str
    source: Mapping[str, Any]
    members: Mapping[str, LaneStream] = field(default_factory=dict)

    @classmethod
    def together(cls, symbol: str, members: Mapping[str, LaneStream]) -> LaneStream:
        """Return an ensemble, on the dates that its members have in common.

        ConfigError where some have a fixed size and others have not; DataError without a common date.
        """
        first = next(iter(members.values()))
        odd = next((name for name, each in members.items() if each.is_fixed != first.is_fixed), "")
        if odd:
            raise ConfigError(
                f"{odd}: its size is {members[odd].strategy.size.kind}, that of {next(iter(members))} is "
                f"{first.strategy.size.kind}; members share units or a weight, so give all the same kind"
            )
        start = max(each.dates.start for each in members.values())
        end = min(each.dates.end for each in members.values())
        told = "; ".join(f"{name} {each.seen}" for name, each in members.items())
        if start > end:
            raise DataError(
                f"{symbol}: its members have no date out of sample in common: {told}; leave one out"
            )
        return replace(
            first,
            veto=None,
            answers=None,
            dates=DateRange(start=start, end=end),
            seen=told,
            source={name: dict(each.source) for name, each in members.items()},
            members=members,
        )

    @property
    def traded(self) -> Mapping[str, LaneStream]:
        """What trades, by the names of lanes: the members of an ensemble, else the lane itself."""
        return self.members or {self.symbol: self}

    def following(self, strategies: Mapping[str, StrategyConfig]) -> LaneStream:
        """Return the lane as it trades other strategies, by the names of lanes, in place of some."""
        if not self.members:
            return replace(self, strategy=strategies.get(self.symbol, self.strategy))
        members = {
            name: replace(each, strategy=strategies.get(name, each.strategy))
            for name, each in self.members.items()
        }
        return replace(self, members=members)

    @property
    def is_fixed(self) -> bool:
        """Whether the strategy's size is a number of contracts, so that the lane gets units, not a weight."""
        return isinstance(self.strategy.size, FixedSize)

    @property
    def reads_volatility(self) -> bool:
        """Whether a volatility limit could be held on it."""
        return all(VOLATILITY_ID in vector_ids(each.strategy, each.veto) for each in self.traded.values())


@dataclass(frozen=True, kw_only=True)
class StreamSource:
    """Where lanes come from.

    folder    strategies are named from it; runs: training runs; span: dates that were asked for
    """

    plan: PortfolioPlan
    folder: Path
    store: ModelStore
    runs: Path
    book: InstrumentBook
    ledger: Ledger
    now: datetime
    data_dir: Path | None = None
    span: DateRange = field(default_factory=DateRange)

    def lanes(self) -> dict[str, LaneStream]:
        """Load every lane of the plan, by symbol; what is sealed stays so.

        ConfigError where a lane cannot be admitted or dates are asked for that are in sample.
        """
        found = {symbol: self._lane(self.plan.lane(symbol)) for symbol in self.plan.symbols}
        return {symbol: self._asked(each) for symbol, each in found.items()}

    def _lane(self, lane: PlannedLane) -> LaneStream:
        symbol = lane.symbol
        if not lane.members:
            return self._one(symbol, lane.version, lane.strategy)
        members = sorted(lane.members, key=lambda each: each.name)
        return LaneStream.together(
            symbol,
            {
                lane_name(symbol, each.name): self._one(symbol, each.version, each.strategy)
                for each in members
            },
        )

    def _one(self, symbol: str, version: str | None, strategy: str | None) -> LaneStream:
        if version is not None:
            return self._version(symbol, TradedVersion.load(symbol, version, self.store))
        return self._bare(symbol, load_strategy(self.folder / str(strategy)), None, self.data_dir, None)

    def _version(self, symbol: str, traded: TradedVersion) -> LaneStream:
        require_admittable(symbol, traded.config)
        if traded.veto is None:
            return self._bare(symbol, traded.config, traded, *traded.record.bars(self.data_dir, None))
        try:
            outcome, history = trained_run(traded.record, self.data_dir, self.runs, None)
        except TrainingError:
            return self._after(symbol, traded)
        require_same_bars(traded.bundle, history)
        require_same_run(traded.bundle, outcome)
        return LaneStream(
            symbol=symbol,
            family=self._family(symbol),
            strategy=traded.config,
            history=history,
            veto=traded.veto,
            answers=_walked_answers(outcome, history),
            dates=trading_span(outcome, history),
            seen=f"{traded.bundle.version}, the walk-forward of its training",
            source=_source(traded, history, traded.config),
        )

    def _after(self, symbol: str, traded: TradedVersion) -> LaneStream:
        """Return the lane on the dates after those that its model was fitted on: its training run is gone."""
        history = self._history(symbol, traded.config, traded, *traded.record.bars(self.data_dir, None))
        fitted = DateRange.of(*traded.bundle.training["range"])
        last = _last_date(history, SeriesKey(symbol, traded.config.bars))
        if last <= fitted.end:
            raise DataError(
                f"{symbol} {traded.bundle.version}: was fitted on {fitted}, its bars end on {last} and its "
                f"training run is not in {self.runs}: no answer is out of sample; name the folder of its runs"
            )
        dates = DateRange(start=fitted.end + timedelta(days=1), end=last)
        self._open(symbol, traded.config, history, dates, traded)
        return LaneStream(
            symbol=symbol,
            family=self._family(symbol),
            strategy=traded.config,
            history=history,
            veto=traded.veto,
            answers=None,
            dates=dates,
            seen=f"{traded.bundle.version}, after the dates that it was fitted on",
            source=_source(traded, history, traded.config),
        )

    def _bare(
        self, symbol: str, strategy: StrategyConfig, traded: TradedVersion | None, folder: Path | None,
        source: str | None,
    ) -> LaneStream:  # fmt: skip
        """Return a strategy without a model, on dates that no search evaluated it on and nobody sealed."""
        require_admittable(symbol, strategy)
        history = self._history(symbol, strategy, traded, folder, source)
        key, family = SeriesKey(symbol, strategy.bars), self._family(symbol)
        introduce(self.ledger, history, key, family, now=self.now)
        first, last = _first_date(history, key), _last_date(history, key)
        searched = self.ledger.last_searched(strategy.config_hash)
        if searched is not None and searched >= first:
            first = searched + timedelta(days=1)
            if first > last:
                raise DataError(
                    f"{symbol}: a search evaluated its strategy {strategy.name} on dates up to {searched}, "
                    f"and its bars end on {last}: no date is out of sample; wait for new bars"
                )
        own = traded.bundle.training.get("hold_out") if traded else None
        also = () if not own else (DateRange.of(*own),)
        sealed = self.ledger.sealed(family, DateRange(start=first, end=last), also)
        if sealed:
            last = sealed[0].start - timedelta(days=1)
            if first > last:
                raise DataError(
                    f"{symbol}: its dates from {first} on are sealed as a hold-out; open them first, or "
                    "leave the lane out"
                )
        known = "on dates that no search evaluated it on" if searched else "which no search evaluated"
        return LaneStream(
            symbol=symbol,
            family=family,
            strategy=strategy,
            history=history,
            veto=None,
            answers=None,
            dates=DateRange(start=first, end=last),
            seen=f"{strategy.name} without a model, {known}",
            source=_source(traded, history, strategy),
        )

    def _history(
        self, symbol: str, strategy: StrategyConfig, traded: TradedVersion | None, folder: Path | None,
        source: str | None,
    ) -> History:  # fmt: skip
        veto = traded.veto if traded else None
        return load_history(
            symbol,
            folder,
            timeframe=strategy.bars,
            context=context_keys(strategy, self.book.markets, symbol, veto=veto),
            book=self.book,
            source=source,
        )

    def _open(
        self, symbol: str, strategy: StrategyConfig, history: History, dates: DateRange, traded: TradedVersion
    ) -> None:
        own = traded.bundle.training.get("hold_out")
        open_door(
            self.ledger, history, SeriesKey(symbol, strategy.bars), dates,
            purpose=f"optimisation of {self.plan.name}", now=self.now,
            also=() if not own else (DateRange.of(*own),),
        )  # fmt: skip

    def _family(self, symbol: str) -> str:
        return load_families().of(self.book.instrument(symbol))

    def _asked(self, lane: LaneStream) -> LaneStream:
        """Return the lane on the dates that were asked for; ConfigError where some are not its own."""
        asked = self.span
        if asked.start != DateRange().start and asked.start < lane.dates.start:
            raise ConfigError(
                f"--start {asked.start}: {lane.symbol} is out of sample from {lane.dates.start} on "
                f"({lane.seen}); start there or later"
            )
        if asked.end != DateRange().end and asked.end > lane.dates.end:
            raise ConfigError(
                f"--end {asked.end}: {lane.symbol} is out of sample to {lane.dates.end} ({lane.seen}); end "
                "there or earlier"
            )
        start, end = max(asked.start, lane.dates.start), min(asked.end, lane.dates.end)
        return replace(lane, dates=DateRange(start=start, end=end))


def _walked_answers(outcome: TrainingOutcome, history: History) -> Chances:
    """Return what the windows' models answered, NaN where the veto says no or nobody was asked."""
    found = OutOfSample.of(outcome)
    bars = history.series(SeriesKey(outcome.dataset.symbol, outcome.config.strategy.bars))
    return Chances.at(
        outcome.dataset.row[found.sample], np.where(found.passed, found.probability, math.nan),
        bars=len(bars), threshold=0.0, feature_ids=outcome.dataset.feature_ids,
    )  # fmt: skip


def _source(traded: TradedVersion | None, history: History, strategy: StrategyConfig) -> dict[str, Any]:
    found: dict[str, Any] = {
        "strategy": strategy.config_hash,
        "bars": {str(key): bars.content_hash for key, bars in sorted(history.bars.items())},
    }
    return (
        found
        if traded is None
        else {"version": traded.bundle.version, "bundle": traded.bundle.sha256} | found
    )


def _first_date(history: History, key: SeriesKey) -> date:
    return _date_of(history, key, 0)


def _last_date(history: History, key: SeriesKey) -> date:
    return _date_of(history, key, -1)


def _date_of(history: History, key: SeriesKey, row: int) -> date:
    bars = history.series(key)
    found: date = history.markets[key.symbol].session.dates(bars.end[[row]], bars.timeframe)[0].item()
    return found
