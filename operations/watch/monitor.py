"""One pass of a monitor: read the journal, settle outcomes, feed streams, look at sessions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.errors import LiveError, LockstepError, MonitorError
from lockstep.live.config import LiveConfig
from lockstep.live.journal import Journal
from lockstep.live.messages import Epoch
from lockstep.live.outside import version_with
from lockstep.live.traded import TradedModel
from lockstep.live.warmup import settled_bars
from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.market.history import History
from lockstep.market.instrument import traded_symbol
from lockstep.models.store import ModelStore, load_bundle
from lockstep.monitoring.alarms import moment
from lockstep.monitoring.frozen import FrozenReference, frozen_in
from operations.watch import rows
from operations.watch.against import curve_of, live_against_backtest
from operations.watch.config import MonitoringConfig
from operations.watch.database import DERIVED, MonitorDatabase
from operations.watch.join import JoinedSignal, LaneSwap
from operations.watch.lane_decay import look_at_decay, recommended
from operations.watch.lane_features import look_at_features, look_at_regimes, unknown_features
from operations.watch.notes import database_notes, mode_notes
from operations.watch.reading import bundles_traded, read_journal
from operations.watch.settle import Note, settle
from operations.watch.slippage import LaneFill, reported_fills, slippage_standings, watched_slippage
from operations.watch.streams import LaneStreams, WatchedStreams, standings, watched
from research.paper.against import LiveAgainstBacktest

FRONTIER, STANDINGS, REFERENCES = "frontier", "standings", "references"
LAST_RUN, AGAINST = "last run", "live against backtest"


@dataclass
class MonitorParts:
    """What a monitor keeps in memory between passes: bundles and references, which never change."""

    models: dict[str, TradedModel] = field(default_factory=dict)
    references: dict[str, FrozenReference | str] = field(default_factory=dict)

    def forget_absent(self) -> None:
        """Forget which references were not there: they are looked for again."""
        self.references = {sha: each for sha, each in self.references.items() if not isinstance(each, str)}


@dataclass(frozen=True, kw_only=True)
class MonitorPass:
    """What one pass found.

    sets        bar sets that were new; frontier: up to when all outcomes are known, UTC ns, 0 for none
    references  by lane of the newest epoch: empty, or why its alarms are off
    written     recommendations that are new
    """

    sets: int
    frontier: int
    references: Mapping[str, str]
    written: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class _Read:
    """What a pass works on: see `Monitor._read`. since: first epoch of the present mode."""

    sets: int
    until: int
    mode: str
    since: int
    epochs: tuple[int, ...]
    lanes: tuple[str, ...]
    history: History
    fills: tuple[LaneFill, ...]


class Monitor:
    """Watches the desk of a configuration. The desk's files are only read."""

    def __init__(self, config: MonitoringConfig) -> None:
        self.config = config
        self.desk = LiveConfig.load(config.desk)
        self.store = ModelStore(self.desk.store)
        self._parts = MonitorParts()
        self._last: Any = None

    def run(self, database: MonitorDatabase, *, now: int) -> MonitorPass:
        """Bring the database up to date with the journal; `now` in UTC ns.

        Raises: LiveError without a bar set, MonitorError where the journal was replaced, the clock fell back,
        or a bundle is gone; JournalError, ModelError, DataError where journal, store or bars cannot be read.
        """
        before = database.value(LAST_RUN)
        if before is not None and now < before:
            raise MonitorError(
                f"{database.path}: it is {moment(now)} now, and the last run was at {moment(before)}; the "
                "clock fell back: correct it, then run again"
            )
        # A version that was validated again, or a file that was restored, has a reference from now on.
        self._parts.forget_absent()
        read = self._read(database)
        if read.sets == 0 and (seen := self._seen(database, read)) == self._last:
            database.set_value(LAST_RUN, now)
            return MonitorPass(sets=0, frontier=seen[0], references=dict(seen[1]))
        with database.step():
            frontier, notes = settle(database, self._parts.models, read.history, read.until)
            signals = rows.signals(database, "epoch >= ?", read.since)
            notes += mode_notes(read.mode, read.since)
            notes += self._history_notes(database, read.lanes)
            notes += unknown_features(database, self._reference, self._parts.models, read.lanes)
            notes += database_notes(database, signals, frontier, self.config.open_sessions)
            months, more = look_at_decay(database, signals, self.config.decay, frontier)
            notes += more
            told = ({"about": about, "sentence": sentence} for about, sentence in sorted(set(notes)))
            database.replace("notes", told)
            look_at_features(database, self._reference, self._parts.models, read.history)
            look_at_regimes(database, self._reference, self._parts.models, read.history)
            self._feed(database, signals, read, frontier)
            references = self._lane_references(database, read.lanes)
            rows.keep_state(database, FRONTIER, frontier)
            rows.keep_state(database, REFERENCES, references)
            database.set_value(LAST_RUN, now)
        self._last = self._seen(database, read)
        self._hold_against(database, read)
        written = tuple(recommended(months, self._parts.models, database.path.parent / "rotation"))
        return MonitorPass(sets=read.sets, frontier=frontier, references=references, written=written)

    def _hold_against(self, database: MonitorDatabase, read: _Read) -> None:
        """Run the backtest beside the desk, once after each session: it reads the whole journal."""
        newest = max(each.session for each in rows.sessions(database))
        known = database.value(AGAINST) or {}
        if known.get("session") == newest:
            return
        expected = {
            swap.lane: reference.expected
            for swap in rows.swaps(database)
            if (reference := self._reference(swap.lane, swap.bundle)) is not None
        }
        found: dict[str, Any] = {"session": newest, "rows": [], "curves": {}, "notes": []}
        try:
            compared = live_against_backtest(self.desk, epochs=read.epochs, expected=expected)
        except LockstepError as error:
            found["notes"] = [f"{AGAINST}: {error}"]
        else:
            curves = {each.name: curve_of(each) for each in (*compared.lanes, compared.desk)}
            notes = list(compared.notes)
            found |= {"rows": list(plain_rows(compared)), "curves": curves, "notes": notes}
        with database.step():
            database.set_value(AGAINST, found)

    def _seen(self, database: MonitorDatabase, read: _Read) -> Any:
        """Return all that a pass depends on besides new bar sets; the same: nothing is to be done."""
        bars = tuple(bars.content_hash for bars in read.history.bars.values())
        references = tuple(self._lane_references(database, read.lanes).items())
        noted = len(rows.acknowledgements(database))
        return rows.state(database, FRONTIER) or 0, references, bars, noted, len(read.fills)

    def _read(self, database: MonitorDatabase) -> _Read:
        """Read what is new in the journal, and the bars that settle it."""
        with Journal.open(self.desk.journal, readonly=True) as journal:
            epochs = journal.epochs()
            self._load(bundles_traded(journal))
            sets = read_journal(database, journal, self._parts.models, load_instruments())
            until = max((each.stamp for each in rows.sessions(database)), default=0)
            if not until:
                raise LiveError(f"journal {self.desk.journal}: has no decision yet; let the engine run")
            history = self._settled_bars(load_instruments(), until)
            chosen = present_epochs(epochs)
            return _Read(
                sets=sets,
                until=until,
                mode=epochs[-1].mode,
                since=chosen[0],
                epochs=chosen,
                lanes=tuple(sorted(epochs[-1].bundles)),
                history=history,
                fills=reported_fills(journal, self._parts.models, history, epochs=chosen),
            )

    def _feed(
        self, database: MonitorDatabase, signals: Sequence[JoinedSignal], read: _Read, frontier: int
    ) -> None:
        """Feed all streams anew and write what they say."""
        streams = self._streams(database, signals, read.since, frontier)
        fills = [each for each in read.fills if each.stamp <= min(frontier, _settled_until(read.history))]
        slippage = watched_slippage(fills, rows.acknowledgements(database))
        database.replace("alarms", rows.rows_of((*streams.alarms, *slippage.alarms)))
        database.replace("wealth", rows.rows_of((*streams.wealth, *slippage.wealth)))
        database.replace("fills", rows.fill_rows(fills))
        found = [*standings(streams.desk), *slippage_standings(fills, slippage)]
        rows.keep_state(database, STANDINGS, found)

    def rebuild(self, database: MonitorDatabase, *, now: int) -> MonitorPass:
        """Make every derived row again; acknowledgements and first values of round trips stay."""
        with database.step():
            database.clear(DERIVED)
        return self.run(database, now=now)

    def _load(self, bundles: Mapping[str, str]) -> None:
        manifest = self.store.manifest()
        for sha, lane in bundles.items():
            if sha not in self._parts.models:
                symbol = traded_symbol(lane)
                version = version_with(manifest, symbol, sha)
                self._parts.models[sha] = TradedModel.of(load_bundle(symbol, version, store=self.store))

    def _settled_bars(self, book: InstrumentBook, until: int) -> History:
        """Return the settled bars up to the newest decision: what came later is no part of this desk."""
        models = self._parts.models.values()
        keys = sorted({key for model in models for key in model.needs(book.markets)})
        found = settled_bars(keys, self.desk.history, book)
        return replace(found, bars={
            key: bars.rows(0, int(np.searchsorted(bars.end, until, side="right")))
            for key, bars in found.bars.items()
        })  # fmt: skip

    def _reference(self, lane: str, bundle: str) -> FrozenReference | None:
        """Return what a bundle is held to; None where there is nothing, see `_lane_references`."""
        if bundle not in self._parts.references:
            try:
                found: FrozenReference | str = frozen_in(self.store, traded_symbol(lane), bundle)
            except LockstepError as error:
                found = str(error)
            self._parts.references[bundle] = found
        known = self._parts.references[bundle]
        return None if isinstance(known, str) else known

    def _lane_references(self, database: MonitorDatabase, lanes: Sequence[str]) -> dict[str, str]:
        newest: dict[str, LaneSwap] = {}
        for swap in rows.swaps(database):
            if swap.lane not in newest or swap.stamp >= newest[swap.lane].stamp:
                newest[swap.lane] = swap
        found = {}
        for lane in lanes:
            last = newest.get(lane)
            reference = self._reference(lane, last.bundle) if last else None
            if last is None:
                found[lane] = "has decided nothing yet"
            elif reference is None:
                found[lane] = str(self._parts.references[last.bundle])
            else:
                found[lane] = "; ".join(reference.outcomes.off)
        return found

    def _history_notes(self, database: MonitorDatabase, lanes: Sequence[str]) -> Iterator[Note]:
        """Yield which lanes have sessions in the history that they would be compared with."""
        for lane in lanes:
            sessions = rows.sessions(database, "lane = ?", lane)
            reference = self._reference(lane, sessions[-1].bundle) if sessions else None
            if reference is not None and sessions[-1].session <= reference.history_end:
                until = reference.history_end
                text = (
                    f"{lane}: the reference knows features up to {until}, and the desk has not come further"
                )
                yield lane, f"{text}; drift is looked at from then on"

    def _streams(
        self, database: MonitorDatabase, signals: Sequence[JoinedSignal], since: int, frontier: int
    ) -> WatchedStreams:
        sizes = {
            (key[1], key[2]): trip.quantity for key, trip in rows.settled(database).items() if trip.quantity
        }
        swaps = [each for each in rows.swaps(database) if each.epoch >= since]
        lanes = []
        for lane in sorted({each.lane for each in swaps}):
            own = sorted((each for each in swaps if each.lane == lane), key=lambda each: each.stamp)
            references = {
                each.bundle: found.outcomes
                for each in own
                if (found := self._reference(lane, each.bundle)) is not None
            }
            lanes.append(LaneStreams(
                lane=lane, swaps=own, references=references, sizes=sizes,
                outcomes=[each.outcome for each in signals if each.outcome.lane == lane],
            ))  # fmt: skip
        return watched(lanes, rows.acknowledgements(database), frontier=frontier)


def _settled_until(history: History) -> int:
    """Return the end of the series of settled bars that ends first, UTC ns."""
    return min((int(bars.end[-1]) for bars in history.bars.values() if len(bars)), default=0)


def plain_rows(compared: LiveAgainstBacktest) -> tuple[dict[str, Any], ...]:
    """Return live against backtest as the database keeps it: a row per lane, then the desk's; no NaN."""
    return tuple({name: rows.plain(value) for name, value in row.items()} for row in compared.rows)


def present_epochs(epochs: Sequence[Epoch]) -> tuple[int, ...]:
    """Return the numbers of the newest epochs in a row that have one mode, rising; none of none."""
    modes = [each.mode for each in epochs]
    first = next((at for at in range(len(modes), 0, -1) if modes[at - 1] != modes[-1]), 0)
    return tuple(each.number for each in epochs[first:])
