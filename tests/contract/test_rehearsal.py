"""A replay that computes ahead and compares rows: it ends as the slow one does and finds what that finds."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lockstep.errors import ReplayMismatch
from lockstep.features.streaming import WindowFeatures
from lockstep.live import rerun
from lockstep.live.journal import Journal
from lockstep.live.journal.rows import StoredSet, stored_set
from lockstep.live.messages import Arrival, LaneRecord, SetRecord
from lockstep.live.rerun import require_same
from lockstep.market.history import SeriesKey
from lockstep.market.timeframe import DAILY
from lockstep.strategy.lane import WaitingOrder
from lockstep.strategy.records import OrderRecord
from support import desks, journals

WARM = 400
COMP, SPX = SeriesKey("COMP", DAILY), SeriesKey("SPX", DAILY)
BARS = desks.history(WARM + 90)
OLD = desks.model(threshold=0.3)
NEW = desks.model(seed=3, threshold=0.4, version="v2", ids=("rsi_2", "pair_zscore_20", "ibs"))


def with_holes() -> list[Arrival]:
    """Return the bars after the warm-up; some of SPX come a day late or never, and COMP misses one, too."""
    random = np.random.default_rng(5)
    found = []
    ends = BARS.bars[COMP].end.tolist()
    for row in range(WARM, len(ends)):
        for key in (COMP, SPX):
            end, values = desks.kept(BARS, key)[row]
            fate = random.uniform()
            if (key == SPX and fate < 0.12) or (row == WARM + 31 and key == COMP):
                continue
            late = key == SPX and fate < 0.3 and row + 1 < len(ends)
            found.append(Arrival(key, end, values, ends[row + 1] if late else end, "test"))
    return sorted(found, key=lambda each: (each.received, each.end))


def outside_that_promotes(journal: desks.MemoryJournal) -> desks.FakeOutside:
    """Return an outside that promotes v2 after some sets, and rolls back to v1 after more."""
    outside = desks.FakeOutside(models={each.bundle.sha256: each for each in (OLD, NEW)})

    def look() -> None:
        wanted = NEW if 12 <= len(journal.sets) < 50 else OLD
        outside.production = {"COMP": (wanted.bundle.version, wanted.bundle.sha256)}

    outside.on_look = look
    return outside


def run(folder: Path, journal: Any, outside: desks.FakeOutside, **setup: Any) -> desks.Engine:
    engine = desks.engine(
        folder, {"COMP": OLD}, journal, BARS, warm=WARM, outside=outside, arrivals=with_holes(),
        policies={"COMP": "adopt"}, **setup,
    )  # fmt: skip
    engine.run()
    return engine


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> desks.MemoryJournal:
    journal = desks.MemoryJournal()
    run(tmp_path_factory.mktemp("recorded"), journal, outside_that_promotes(journal))
    return journal


def replayed(folder: Path, rows: list[Any]) -> tuple[desks.Engine, desks.MemoryJournal]:
    journal = desks.MemoryJournal(list(rows))
    outside = outside_that_promotes(desks.MemoryJournal(list(rows)))
    return run(folder, journal, outside, stop_after=0), journal


def one_by_one(patch: pytest.MonkeyPatch) -> None:
    """Let nothing be computed ahead, and no row be compared as it is stored."""
    patch.setattr(WindowFeatures, "prepare", lambda self, block: None)
    patch.setattr(StoredSet, "tells", lambda self, record: False)


class TestLateBarsMissingBarsAndSwaps:
    def test_are_all_in_the_recording(self, recorded: desks.MemoryJournal) -> None:
        late = [row for row in recorded.sets if row.release.late]
        missing = [e for row in recorded.sets for e in row.release.irregularities if e.kind == "missing"]
        swaps = [event.to_version for event in recorded.events if event.kind == "swap"]
        traded = [order for row in recorded.sets for lane in row.lanes for order in lane.orders]
        assert len(late) > 8
        assert len(missing) > 15
        assert swaps == ["v2", "v1"]
        assert len(traded) > 30
        assert any(not row.lanes for row in recorded.sets)

    @pytest.mark.parametrize("stretch", [1, 5, 256])
    def test_replay_alike_however_far_is_computed_ahead(
        self, tmp_path: Path, recorded: desks.MemoryJournal, monkeypatch: pytest.MonkeyPatch, stretch: int
    ) -> None:
        monkeypatch.setattr(rerun, "STRETCH", stretch)
        monkeypatch.setattr(
            rerun, "_differences", lambda *arguments: pytest.fail("not found alike by its row")
        )
        engine, journal = replayed(tmp_path, recorded.rows)
        assert engine.replayed == len(recorded.sets)
        assert journal.rows[: len(recorded.rows)] == recorded.rows

    def test_replay_alike_one_by_one(
        self, tmp_path: Path, recorded: desks.MemoryJournal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one_by_one(monkeypatch)
        engine, _ = replayed(tmp_path, recorded.rows)
        assert engine.replayed == len(recorded.sets)

    def test_go_on_alike(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A restart in the middle of the stretch of a swap, then live bars: ahead or not, the same sets."""
        found = []
        for ahead in (True, False):
            with monkeypatch.context() as patch:
                if not ahead:
                    one_by_one(patch)
                journal = desks.MemoryJournal()
                outside = outside_that_promotes(journal)
                run(tmp_path, journal, outside, stop_after=20)
                run(tmp_path, journal, outside, stop_after=40)
            found.append([repr(row) for row in journal.sets])
        assert found[0] == found[1]
        assert len(found[0]) == 60

    @pytest.mark.parametrize("where", ["late", "swap", "end"])
    def test_a_value_that_differs_is_found_there(
        self, tmp_path: Path, recorded: desks.MemoryJournal, where: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is computed again, not taken from the record: also behind a late bar, and in new windows."""
        rows = list(recorded.rows)
        decided = [n for n, row in enumerate(rows) if isinstance(row, SetRecord) and row.lanes]
        swap = next(n for n, row in enumerate(rows) if not isinstance(row, SetRecord) and row.kind == "swap")
        number = {
            "late": next(n for n in decided if rows[n].release.late),
            "swap": next(n for n in decided if n > swap + 2),
            "end": decided[-1],
        }[where]
        lane = rows[number].lanes[0]
        rows[number] = replace(rows[number], lanes=(replace(lane, vector=flipped_bytes(lane.vector, 1)),))
        told = []
        for slow in (False, True):
            with monkeypatch.context() as patch:
                if slow:
                    one_by_one(patch)
                with pytest.raises(ReplayMismatch) as caught:
                    replayed(tmp_path, rows)
            told.append(caught.value.difference)
        assert told[0] == told[1]
        assert told[0].stamp == rows[number].release.stamp
        assert told[0].kind == "code: feature"


# One flipped bit in each field


def flipped(value: Any) -> Any:
    """Return a value that differs in its last bit; of a NaN and of nothing, one that is a number."""
    if isinstance(value, float):
        return (
            0.0 if math.isnan(value) else struct.unpack("<d", flipped_bytes(struct.pack("<d", value), 0))[0]
        )
    if isinstance(value, int):
        return value ^ 1
    if isinstance(value, str):
        return value[:-1] + chr(ord(value[-1]) ^ 1) if value else "x"
    raise AssertionError(f"{value!r} of a new kind: say how it differs by one bit")


def flipped_bytes(raw: bytes, place: int) -> bytes:
    return raw[: 8 * place] + bytes([raw[8 * place] ^ 1]) + raw[8 * place + 1 :]


def in_each_field(value: Any, *, but: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield (field, message) with one field of a message flipped after the other."""
    for field in fields(value):
        if field.name not in but:
            yield field.name, replace(value, **{field.name: flipped(getattr(value, field.name))})


def in_each_place(values: tuple[float, ...]) -> Iterator[tuple[int, tuple[float, ...]]]:
    """Yield (place, tuple) with one number flipped after the other, and with the sign of each zero."""
    for place, value in enumerate(values):
        yield place, (*values[:place], flipped(value), *values[place + 1 :])
        if value == 0.0:
            yield place, (*values[:place], -value, *values[place + 1 :])


def changed(lane: LaneRecord) -> Iterator[tuple[str, LaneRecord]]:
    """Yield (what, lane): everything that is recorded of a lane, flipped once."""
    for name in ("bundle", "probability", "code", "reason"):
        yield name, replace(lane, **{name: flipped(getattr(lane, name))})
    for place in range(len(lane.vector) // 8):
        yield f"vector {place}", replace(lane, vector=flipped_bytes(lane.vector, place))
    yield "vector cut", replace(lane, vector=lane.vector[:-8])
    for place, mark in in_each_place(lane.mark):
        yield f"mark {place}", replace(lane, mark=mark)
    for number, order in enumerate(lane.orders):
        kind = f"{order.intent} {order.status}"
        rest = (*lane.orders[:number], *lane.orders[number + 1 :])
        yield f"{kind}: gone", replace(lane, orders=rest)
        for name, other in in_each_field(order, but=("reference",)):
            orders = (*lane.orders[:number], other, *lane.orders[number + 1 :])
            yield f"{kind}: {name}", replace(lane, orders=orders)
    for what, state in changed_states(lane):
        yield f"state: {what}", replace(lane, state=state)


def changed_states(lane: LaneRecord) -> Iterator[tuple[str, Any]]:
    state = lane.state
    yield "bars_held", replace(state, bars_held=state.bars_held + 1)
    for place, account in in_each_place(state.account):
        yield f"account {place}", replace(state, account=account)
    if state.waiting is not None:
        yield "waiting: gone", replace(state, waiting=None)
        for name, waiting in in_each_field(state.waiting, but=("terms",)):
            yield f"waiting: {name}", replace(state, waiting=waiting)
        for place, terms in in_each_place(state.waiting.terms):
            yield f"waiting: terms {place}", replace(state, waiting=replace(state.waiting, terms=terms))
    if state.trade is not None:
        yield "trade: gone", replace(state, trade=None)
        for name, value in state.trade.items():
            yield f"trade: {name}", replace(state, trade={**state.trade, name: flipped(value)})


def difference_of(stored: StoredSet, again: SetRecord, seats: Mapping[str, Any]) -> Any:
    try:
        require_same(stored, again, seats)  # type: ignore[arg-type]
    except ReplayMismatch as mismatch:
        return mismatch.difference
    return None


class TestOneBit:
    """In any field of any set: what the comparison of rows lets through, that of values would, too."""

    SEATS: Mapping[str, Any] = {"COMP": SimpleNamespace(model=OLD), "SPX": SimpleNamespace(model=OLD)}

    def test_in_each_recorded_field_is_found_by_both(
        self, recorded: desks.MemoryJournal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen = set()
        for record in recorded.sets:
            assert stored_set(record).tells(record)
            for what, lane in chain.from_iterable(map(changed, record.lanes)):
                stored = stored_set(replace(record, lanes=(lane,)))
                fast = difference_of(stored, record, self.SEATS)
                with monkeypatch.context() as patch:
                    patch.setattr(StoredSet, "tells", lambda self, record: False)
                    slow = difference_of(stored, record, self.SEATS)
                assert fast is not None, f"{what} of {lane}"
                assert fast == slow
                seen.add(what)
        kinds = {"entry accepted", "entry completed", "exit completed", "stop accepted", "stop completed"}
        assert {what.split(":")[0] for what in seen if ":" in what} >= kinds
        for message, prefix in ((OrderRecord, "entry completed"), (WaitingOrder, "state: waiting")):
            names = {field.name for field in fields(message)} - {"reference", "terms"}
            assert {f"{prefix}: {name}" for name in names} <= seen
        assert {"state: trade: exit_price", "state: trade: bars_held", "state: account 4", "mark 3"} <= seen

    def test_in_each_field_of_what_a_portfolio_decided(self, monkeypatch: pytest.MonkeyPatch) -> None:
        record = journals.settled_set(3)
        settled = record.settled
        assert settled is not None
        state, seats = settled.state, dict.fromkeys(("ES", "NQ"), self.SEATS["COMP"])
        others = [
            *(replace(settled, state=each) for _, each in in_each_field(state, but=("peaks", "lanes"))),
            replace(settled, state=replace(state, peaks=state.peaks[:1])),
            replace(settled, proposals=settled.proposals[::-1]),
            replace(settled, proposals=settled.proposals[:1]),
        ]
        for place, lane in enumerate(state.lanes):
            for _, each in in_each_field(lane):
                lanes = (*state.lanes[:place], each, *state.lanes[place + 1 :])
                others.append(replace(settled, state=replace(state, lanes=lanes)))
        first, second = settled.proposals
        others += [
            replace(settled, proposals=(each, second))
            for _, each in in_each_field(first, but=("stamp", "place", "equity"))
        ]
        assert stored_set(record).tells(record)
        for other in others:
            stored = stored_set(replace(record, settled=other))
            fast = difference_of(stored, record, seats)
            with monkeypatch.context() as patch:
                patch.setattr(StoredSet, "tells", lambda self, record: False)
                slow = difference_of(stored, record, seats)
            assert fast is not None, other
            assert fast == slow
            assert fast.kind == "portfolio"

    @pytest.mark.parametrize("change", ["absent", "twice"])
    def test_a_lane_too_few_or_too_many_is_found(self, recorded: desks.MemoryJournal, change: str) -> None:
        record = next(row for row in recorded.sets if row.lanes)
        (lane,) = record.lanes
        lanes = () if change == "absent" else (lane, replace(lane, symbol="SPX"))
        for one, other in ((record.lanes, lanes), (lanes, record.lanes)):
            found = difference_of(
                stored_set(replace(record, lanes=one)), replace(record, lanes=other), self.SEATS
            )
            assert found is not None
            assert found.where == "decided"

    def test_what_is_only_spelled_otherwise_is_no_difference(self, recorded: desks.MemoryJournal) -> None:
        """The text of an older version: the rows differ, the values do not."""
        record = next(row for row in recorded.sets if row.lanes and row.lanes[0].state.trade)
        (lane,) = record.lanes
        trade = dict(reversed(lane.state.trade.items()))
        other = replace(record, lanes=(replace(lane, state=replace(lane.state, trade=trade)),))
        assert not stored_set(other).tells(record)
        shown = {name: trade[name] for name in lane.state.trade}
        decoded = replace(record, lanes=(replace(lane, state=replace(lane.state, trade=shown)),))
        stored = stored_set(other)
        stored._decode = lambda: decoded  # type: ignore[method-assign]
        require_same(stored, record, self.SEATS)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "fault", ["code", "vector 2", "completed: price", "mark 2", "trade: entry_price"]
    )
    def test_out_of_the_file(self, tmp_path: Path, recorded: desks.MemoryJournal, fault: str) -> None:
        """As SQLite gives the rows back: all sets alike, and the one that was written otherwise is found."""
        wrong, other = next(
            (row, lane)
            for row in recorded.sets
            for what, lane in chain.from_iterable(map(changed, row.lanes))
            if what.endswith(fault)
        )
        path = tmp_path / "live.db"
        with Journal.open(path) as journal:
            journal.begin_epoch(desks.first_epoch({"COMP": OLD}, BARS, WARM))
            for row in recorded.rows:
                if isinstance(row, SetRecord):
                    journal.append_set(replace(row, lanes=(other,)) if row is wrong else row)
                else:
                    journal.append(row)
            seen = 0
            sets = (entry for entry in journal.recorded(1) if isinstance(entry, StoredSet))
            for stored, record in zip(sets, recorded.sets, strict=True):
                assert stored.tells(record) is (record is not wrong)
                assert stored.release == record.release
                assert (difference_of(stored, record, self.SEATS) is None) is (record is not wrong)
                seen += 1
        assert seen == len(recorded.sets)
