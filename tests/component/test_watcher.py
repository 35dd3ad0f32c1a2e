"""What the operator hears about irregular bars: everything once, and no flood of it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lockstep.live.events import Event
from lockstep.live.feeds.inbox import Inbox
from lockstep.live.feeds.source import InboxSource, Known
from lockstep.live.feeds.synchroniser import Synchroniser
from lockstep.live.journal import Journal
from lockstep.live.messages import Arrival, Irregularity, Release, SetRecord, Values, iso
from lockstep.live.plausible import AGREE, Bands, Plausibility
from lockstep.live.status.status import SECOND, read_status
from lockstep.live.status.watcher import Watcher, irregular_text
from lockstep.market.history import SeriesKey
from lockstep.market.timeframe import DAILY
from lockstep.market.timetable import Timetable
from lockstep.monitoring.alerts import Alert, Alerts, Coalescer, Kind
from support import desks
from support.events import an_event
from support.feeds import COMP, SPX, ManualClock, closes, flat
from support.markets import NYSE

NOW = 1_709_737_200 * SECOND
MINUTE = 60 * SECOND
STALE = ("late", "missing", "gap", "silent")
KINDS = ("bad", "implausible", "duplicate", "corrected", "out_of_order", "outside", *STALE)


class Told(Alerts):
    """Alerts that a test reads instead of a sink; the rate is not what is tested here."""

    def __init__(self) -> None:
        super().__init__([])
        self.told: list[Alert] = []

    def post(self, alert: Alert) -> None:
        self.told.append(alert)


def watcher(folder: Path, alerts: Alerts) -> Watcher:
    return Watcher(
        folder / "status.json", mode="paper", epoch=1, started=NOW, alerts=alerts,
        switches=desks.switches(folder), bars_every=5 * MINUTE,
    )  # fmt: skip


def found(
    kind: str, end: int = NOW, key: SeriesKey = COMP, values: Values | None = None, detail: str = "why"
) -> Irregularity:
    return Irregularity(kind, key, end, values, detail)


def event(each: Irregularity) -> Event:
    return an_event("irregularity", symbol=each.key.symbol, content={**each._asdict(), "key": str(each.key)})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("between", [False, True], ids=["with a set", "between two sets"])
def test_every_kind_is_alerted_wherever_it_was_reported(tmp_path: Path, kind: str, between: bool) -> None:
    """What came between two sets was journaled and told to nobody."""
    alerts = Told()
    watch, each = watcher(tmp_path, alerts), found(kind)
    if between:
        watch.happened(event(each), replayed=False)
    else:
        record = SetRecord(release=Release(stamp=NOW, bars={}, irregularities=(each,)), lanes=())
        watch.decided(record, replayed=False)
    (alert,) = alerts.told
    assert kind in alert.text
    assert "COMP:1d 2024-03-06T15:00:00Z" in alert.text
    wanted: dict[str, Kind] = {"implausible": "implausible"} | dict.fromkeys(STALE, "stale_feed")
    assert alert.kind == wanted.get(kind, "bars")


def test_what_is_replayed_is_counted_and_not_told_again(tmp_path: Path) -> None:
    alerts = Told()
    watch = watcher(tmp_path, alerts)
    watch.happened(event(found("corrected")), replayed=True)
    watch.decided(
        SetRecord(release=Release(stamp=NOW, bars={}, irregularities=(found("duplicate"),)), lanes=()),
        replayed=True,
    )
    assert alerts.told == []
    watch.end("stopped", "", NOW)
    counters = read_status(tmp_path / "status.json").counters
    assert (counters["corrected"], counters["duplicate"]) == (1, 1)


@pytest.mark.no_cover
def test_ten_thousand_duplicates_make_one_alert_per_interval(tmp_path: Path) -> None:
    alerts = Told()
    watch = watcher(tmp_path, alerts)
    for number in range(10_000):
        if number % 100 == 0:
            watch.beat(now=NOW + number * SECOND // 10)
        watch.happened(event(found("duplicate", NOW + number * MINUTE)), replayed=False)
    watch.end("stopped", "", NOW + 1_000 * SECOND)
    texts = [alert.text for alert in alerts.told]
    assert len(texts) == 1 + 1_000 // 300 + 1
    assert (
        sum(1 + int(more) for text in texts for more in re.findall(r"and (\d+) more", text) or [0]) == 10_000
    )
    assert f"(and 2998 more, {iso(NOW + MINUTE)} to {iso(NOW + 2_999 * MINUTE)})" in texts[1]
    assert len(watch._irregular_bars._groups) == 0


def test_kinds_and_series_are_told_apart(tmp_path: Path) -> None:
    alerts = Told()
    watch = watcher(tmp_path, alerts)
    for _ in range(3):
        for kind in ("duplicate", "corrected"):
            for key in (COMP, SPX):
                watch.happened(event(found(kind, key=key)), replayed=False)
    assert len(alerts.told) == 4
    watch.beat(now=NOW + 5 * MINUTE)
    assert [alert.text.endswith("to 2024-03-06T15:00:00Z)") for alert in alerts.told] == [False] * 4 + [
        True
    ] * 4


def test_a_market_that_seems_to_have_moved_is_told_at_once(tmp_path: Path) -> None:
    alerts = Told()
    watch = watcher(tmp_path, alerts)
    for number, detail in enumerate(("far off", "far off", f"far off; 3 bars in a row {AGREE}")):
        watch.happened(event(found("implausible", NOW + number, detail=detail)), replayed=False)
    assert [AGREE in alert.text for alert in alerts.told] == [False, True]


def test_an_implausible_bar_names_value_band_and_what_to_do() -> None:
    bands = Bands(Plausibility())
    for day in range(30):
        bands.take(COMP, NOW - (30 - day) * 86_400 * SECOND, flat())
    detail = bands.fault(COMP, NOW, (100.0, 1e308, 99.0, 100.0, 1.0))
    text = irregular_text(found("implausible", detail=detail))
    for part in (
        "COMP:1d 2024-03-06T15:00:00Z",
        "high 1e+308",
        "the band is 80 to 120",
        "5 % are 5",
        "reject",
    ):
        assert part in text
    assert "lockstep data bars accept COMP:1d 2024-03-06T15:00:00Z" in text


def test_a_correction_names_old_and_new_values() -> None:
    (day,) = closes("2018-12-11")
    made = Synchroniser(Timetable({COMP: NYSE}), grace_ns=0, traded=frozenset({COMP}))
    made.offer(Arrival(COMP, day, flat(100.0), day, "test"))
    made.offer(Arrival(COMP, day, flat(101.5), day, "test"))
    (report,) = made.take_reports()
    assert irregular_text(report) == (
        "corrected bar COMP:1d 2018-12-11T21:00:00Z: was (100.0, 101.0, 99.0, 100.0, 10.0), "
        "now (101.5, 102.5, 100.5, 101.5, 10.0); the first values stand"
    )


# ---- the group of an alert


def test_memory_of_groups_is_bounded_and_silent_groups_are_forgotten() -> None:
    joined = Coalescer(MINUTE)
    passed = [joined.add(str(i), Alert("bars", str(i), NOW)) for i in range(2_000)]
    assert sum(each is not None for each in passed) == 1_001
    assert len(joined._groups) == 1_001
    (rest,) = joined.due(NOW + MINUTE)
    assert rest.text == "1999 (and 998 more)"
    assert list(joined._groups) == ["others"]
    assert (joined.due(NOW + 2 * MINUTE), joined._groups) == ([], {})


def test_a_clock_that_goes_back_ends_the_interval() -> None:
    joined = Coalescer(MINUTE)
    for text in ("a", "b", "c"):
        joined.add("x", Alert("bars", text, NOW), where=text)
    assert joined.due(NOW + MINUTE - 1) == []
    assert [each.text for each in joined.due(NOW - 1)] == ["c (and 1 more, b to c)"]
    assert joined.rest() == []


# ---- a flood through the engine


class Counting(desks.MemoryJournal):
    """A journal that counts its transactions."""

    transactions = 0

    def append(self, *events: Event) -> tuple[int, ...]:
        self.transactions += 1
        return super().append(*events)


class Delivered:
    """A feed that delivers a batch when it is started, and the next when the engine has taken it."""

    name, failure, finished = "test", None, False

    def __init__(self, keys: Sequence[SeriesKey], *batches: Sequence[Arrival]) -> None:
        self.keys, self._batches = frozenset(keys), list(batches)

    def start(self, inbox: Inbox, after: Any) -> None:
        self._inbox = inbox
        self.deliver()

    def deliver(self) -> None:
        if self._batches and not len(self._inbox):
            self._inbox.put(self._batches.pop(0))

    def stop(self) -> None: ...


def flooded(folder: Path, journal: Any, repeats: int) -> tuple[Told, list[SetRecord]]:
    """Run a live desk on two sets, with so many repeats of a known bar before them and between them."""
    bars, alerts = desks.history(402), Told()
    rows = {key: desks.kept(bars, key) for key in bars.bars}
    clock = ManualClock(rows[COMP][401][0])

    def bar(key: SeriesKey, row: int) -> Arrival:
        end, values = rows[key][row]
        return Arrival(key, end, values, end, "test")

    first, second = ([bar(key, row) for key in (COMP, SPX)] for row in (400, 401))
    timetable = Timetable({key: NYSE for key in bars.bars})

    def synchronise(known: Known) -> Synchroniser:
        return Synchroniser(timetable, grace_ns=0, traded=frozenset({COMP}), known=known)

    feed = Delivered([COMP, SPX], [bar(COMP, 399)] * repeats, [*first, *first[:1] * repeats], second)
    watch = watcher(folder, alerts)
    model, source = desks.model(), InboxSource([feed], synchronise, clock=clock)
    epoch = desks.first_epoch({"COMP": model}, bars, 400)
    if isinstance(journal, Journal):
        journal.begin_epoch(epoch)
    desks.engine(
        folder, {"COMP": model}, journal, bars, epoch=epoch, listener=watch, stop_after=2, feeds=source,
        outside=desks.FakeOutside(on_look=feed.deliver),
    ).run()  # fmt: skip
    watch.end("stopped", "", clock.now)
    rows = journal.entries(1) if isinstance(journal, Journal) else journal.rows
    return alerts, [row for row in rows if isinstance(row, SetRecord)]


def test_a_flood_of_duplicates_is_journaled_at_once_and_decisions_go_on(tmp_path: Path) -> None:
    journal = Counting()
    alerts, sets = flooded(tmp_path, journal, 5_000)
    assert [len(row.release.bars) for row in sets] == [2, 2]
    between = sum(event.kind == "irregularity" for event in journal.events)
    assert between >= 5_000
    assert between + sum(len(row.release.irregularities) for row in sets) == 10_000
    assert journal.transactions <= 5, "start, stop, and what was reported"
    assert len([each for each in alerts.told if "duplicate" in each.text]) <= 2


def test_a_flood_in_a_real_journal(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "live.db") as journal:
        alerts, sets = flooded(tmp_path, journal, 1_000)
        assert journal.verify() == []
    assert len(sets) == 2
    status = json.loads((tmp_path / "status.json").read_text())
    assert status["counters"]["duplicate"] == 2_000
    assert any("and 1998 more" in each.text for each in alerts.told)
    assert SeriesKey("COMP", DAILY) in sets[1].release.bars
