"""A recorded journal against settled bars: an honest one comes out again, every planted fault is named."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from certify.paper import PaperRequest, compare_paper
from certify.recorded import RecordedReport, check_recorded
from certify.skew import CODE, CORRECTED, LATE
from lockstep.errors import LockstepError, ModelError, ParityError
from lockstep.live.brokers.protocol import OnFill
from lockstep.live.events import Event, OrderWithdrawn
from lockstep.live.journal import Journal
from lockstep.live.journal.continuation import continued
from lockstep.live.messages import Arrival, SetRecord, Values
from lockstep.live.operator.commands import reported_fill
from lockstep.live.operator.journal_cli import iso
from lockstep.live.outside import BrokerFills
from lockstep.live.risk.limits import Limits
from lockstep.live.traded import TradedModel
from lockstep.live.units import OutwardUnits, inside
from lockstep.market.history import History, SeriesKey
from lockstep.models.store import ModelStore, load_bundle
from lockstep.monitoring.evidence import read_sealed
from lockstep.monitoring.parity import BAR, WARM_UP
from research.paper.report import print_comparison, write_comparison
from research.paper.verdict import KIND, SCHEMA, PaperComparison
from support import desks, papers, units
from support.models import RECORD
from support.papers import COMP, SETS, SPX, WARM
from support.real_fills import TICK, Reporting, live


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    """Two versions of COMP, the first in production."""
    return papers.store(tmp_path_factory.mktemp("store"), 0, 1)


@pytest.fixture(scope="module")
def paper(store: ModelStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal of an honest desk."""
    return papers.traded(tmp_path_factory.mktemp("paper"), papers.models(store)[0])


def checked(journal: Path, store: ModelStore) -> RecordedReport:
    return check_recorded(journal, store=store)


def compared(journal: Path, store: ModelStore, **changes: Any) -> PaperComparison:
    request = PaperRequest(journal=journal, store=store, resamples=200, **changes)
    return compare_paper(request, now=1)[0]


def kinds(report: RecordedReport) -> dict[str, dict[str, int]]:
    return {each.feature: each.kinds for each in report.features if each.kinds}


# check_parity.py --journal


def test_an_honest_journal_comes_out_again(paper: Path, store: ModelStore) -> None:
    report = checked(paper, store)
    assert report.passed, report
    assert (report.vectors, report.values, report.different) == (SETS, 4 * SETS, 0)
    assert report.modes == ("paper",)
    (decisions,) = report.decisions
    assert (decisions.compared, decisions.code, decisions.data) == (SETS, 0, 0)
    assert {each.series: each.bars for each in report.series} == {"COMP:1d": SETS, "SPX:1d": SETS}
    assert report.fills == ()


def test_a_bar_that_was_corrected_later(tmp_path: Path, store: ModelStore) -> None:
    def wrong(values: Values) -> Values:
        opened, high, low, _, volume = values
        return (opened, high, low, low, volume)

    spoilt = papers.altered(COMP, WARM + 40, wrong)
    report = checked(papers.traded(tmp_path, papers.models(store)[0], spoilt), store)
    assert not report.passed
    found = kinds(report)
    assert found["ibs"] == {CORRECTED: 1}
    assert set(found["zscore_20"]) == {CORRECTED}
    assert found["zscore_20"][CORRECTED] == 20
    series = {each.series: each for each in report.series}
    assert (series["COMP:1d"].corrected, series["SPX:1d"].corrected) == (1, 0)
    (decisions,) = report.decisions
    assert decisions.code == 0, "the engine decided rightly on the bars that it had"
    assert decisions.data > 0
    assert "(data)" in decisions.first


def test_a_bar_that_never_came(tmp_path: Path, store: ModelStore) -> None:
    spoilt = papers.altered(SPX, WARM + 40, None)
    report = checked(papers.traded(tmp_path, papers.models(store)[0], spoilt), store)
    found = kinds(report)
    assert set(found) == {"pair_zscore_20"}
    assert set(found["pair_zscore_20"]) == {LATE}
    assert {each.series: each.missing for each in report.series} == {"COMP:1d": 0, "SPX:1d": 1}
    first = {each.feature: each.first for each in report.features}["pair_zscore_20"]
    assert first.endswith(f"(late or missing bar: SPX:1d (pair) at {moment(SPX, WARM + 40)})")


def moment(key: SeriesKey, row: int) -> str:
    return iso(desks.kept(desks.history(WARM + SETS), key)[row][0])


@pytest.mark.parametrize("row", [WARM + 40, WARM - 5], ids=["while it traded", "in the warm-up"])
def test_a_pairs_bar_that_was_corrected_later_is_named(tmp_path: Path, store: ModelStore, row: int) -> None:
    spoilt = papers.altered(SPX, row, lambda values: (*values[:3], values[2], values[4]))
    report = checked(papers.traded(tmp_path, papers.models(store)[0], spoilt), store)
    assert {each.series: (each.bars, each.corrected, each.first) for each in report.series} == {
        "COMP:1d": (SETS, 0, ""),
        "SPX:1d": (SETS, 1, moment(SPX, row)),
    }
    assert set(kinds(report)) == {"pair_zscore_20"}
    first = {each.feature: each.first for each in report.features}["pair_zscore_20"]
    assert first.endswith(f"(corrected bar: SPX:1d (pair) at {moment(SPX, row)})")


def test_bars_that_no_decision_followed_are_heard(paper: Path, tmp_path: Path, store: ModelStore) -> None:
    """A context series may have stamps of its own, as an hourly one beside a daily."""
    path, extra = tmp_path / "x.db", 0
    with Journal.open(paper, readonly=True) as found, Journal.open(path) as journal:
        (epoch,) = found.epochs()
        journal.begin_epoch(epoch)
        for entry in found.entries(epoch.number):
            if not isinstance(entry, SetRecord):
                journal.append(entry)
                continue
            if extra == 40:
                release = replace(
                    entry.release, stamp=entry.release.stamp - 1, bars={SPX: entry.release.bars[SPX]}
                )
                journal.append_set(SetRecord(release=release, lanes=()))
            extra += 1
            journal.append_set(entry)
    report = checked(path, store)
    assert {each.series: (each.bars, each.unsettled) for each in report.series} == {
        "COMP:1d": (SETS, 0),
        "SPX:1d": (SETS + 1, 1),
    }


def test_a_bar_that_came_late(tmp_path: Path, store: ModelStore) -> None:
    """It enters the windows, and the columns of the bar that went without it stay missing."""
    bars = desks.history(WARM + SETS)
    end, values = desks.kept(bars, SPX)[WARM + 40]
    missed = papers.traded(tmp_path, papers.models(store)[0], papers.altered(SPX, WARM + 40, None))
    following = desks.kept(bars, COMP)[WARM + 41][0]

    def delivered(record: SetRecord) -> SetRecord:
        if record.release.stamp != following:
            return record
        late = Arrival(SPX, end, values, following, "feed")
        return replace(record, release=replace(record.release, late=(late,)))

    report = checked(papers.rewritten(missed, tmp_path / "late.db", delivered), store)
    assert set(kinds(report)["pair_zscore_20"]) == {LATE}
    assert {each.series: (each.late, each.missing) for each in report.series} == {
        "COMP:1d": (0, 0),
        "SPX:1d": (1, 0),
    }
    assert report.decisions[0].code == 0


def test_windows_that_were_not_full(tmp_path: Path, store: ModelStore) -> None:
    bars, model = desks.history(WARM + SETS), papers.models(store)[0]
    epoch = desks.first_epoch({"COMP": model}, bars, WARM)
    short = replace(epoch, warmup={key: kept[-12:] for key, kept in epoch.warmup.items()})
    with Journal.open(tmp_path / "paper.db") as journal:
        journal.begin_epoch(short)
    report = checked(papers.traded(tmp_path, model, bars), store)
    assert set(kinds(report)["zscore_20"]) == {WARM_UP}


def nudged(record: SetRecord) -> SetRecord:
    (lane,) = record.lanes
    values = np.frombuffer(lane.vector, dtype="<f8").copy()
    values[0] = np.nextafter(values[0], 2.0)
    return papers.with_lane(record, vector=values.tobytes())


def test_another_formula_is_code(paper: Path, tmp_path: Path, store: ModelStore) -> None:
    """PARITY 4: one bit of one feature at each bar."""
    report = checked(papers.rewritten(paper, tmp_path / "x.db", nudged), store)
    assert kinds(report) == {"ibs": {CODE: SETS}}
    assert 0 < report.features[0].largest < 1e-12


def vetoed(record: SetRecord) -> SetRecord:
    (lane,) = record.lanes
    ignored = lane.reason == "veto"
    return papers.with_lane(record, code=2, reason="enter long") if ignored else record


def other_chance(record: SetRecord) -> SetRecord:
    return papers.with_lane(record, probability=record.lanes[0].probability / 2)


@pytest.mark.parametrize("fault", [vetoed, other_chance])
def test_other_rules_or_another_model_are_code(
    paper: Path, tmp_path: Path, store: ModelStore, fault: Any
) -> None:
    """PARITY 15: the veto was ignored; and a model that answers differently."""
    report = checked(papers.rewritten(paper, tmp_path / "x.db", fault), store)
    assert kinds(report) == {}
    (decisions,) = report.decisions
    assert decisions.code > 5
    assert decisions.data == 0
    assert "(code)" in decisions.first
    assert not report.passed


def test_a_journal_of_other_dates_is_refused(tmp_path: Path, store: ModelStore) -> None:
    bars = desks.history(WARM + SETS)
    moved = {
        key: replace(series, end=series.end + 7 * 3_600_000_000_000) for key, series in bars.bars.items()
    }
    journal = papers.traded(tmp_path, papers.models(store)[0], replace(bars, bars=moved))
    with pytest.raises(ParityError, match="none of its decisions has a settled bar"):
        checked(journal, store)


def test_a_bundle_that_is_gone_is_refused(paper: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no version of the store is the bundle"):
        checked(paper, papers.store(tmp_path, 7))


# Real fills


class ReportedByTheBroker(Reporting):
    """The same fills, from a source that pushes them and says each of them twice."""

    trouble = ""

    def __init__(self, journal: Journal, ticks: float) -> None:
        super().__init__(journal, ticks)
        self.fills = BrokerFills(self, seen=(), since=0)
        self.fills.start(lambda: None)

    def start(self, on_fill: OnFill, *, since: int) -> None:
        self._report = on_fill

    def stop(self) -> None: ...

    def commands(self) -> Sequence[Event]:
        for event in super().commands():
            for _ in range(2):
                self._report(reported_fill(event))
        return self.fills.read()

    def done(self, events: Sequence[Event]) -> None:
        self.fills.done(events)


def test_fills_that_a_broker_reports_are_held_against_the_cost_model(
    tmp_path: Path, store: ModelStore
) -> None:
    """They are compared like those of a statement, real commission included, each of them once."""
    path = papers.traded(
        tmp_path, papers.models(store)[0], name="live.db", mode="live", broker=papers.Broker(),
        expire=10**18, outside=lambda journal: ReportedByTheBroker(journal, 3.0),
    )  # fmt: skip
    report = checked(path, store)
    assert report.passed
    (summary,) = report.residuals
    assert summary.fills == len(report.fills) > 10
    assert summary.mean_ticks == pytest.approx(3.0, abs=0.05)
    assert summary.commission == pytest.approx(0.75 * summary.fills)


@pytest.mark.parametrize("ticks", [0.0, 3.0])
def test_real_fills_are_held_against_the_cost_model(tmp_path: Path, store: ModelStore, ticks: float) -> None:
    report = checked(live(tmp_path, store, ticks), store)
    assert report.passed, "decisions are right, given the fills as they were"
    assert len(report.fills) > 10
    (summary,) = report.residuals
    assert (summary.order, summary.fills) == ("market", len(report.fills))
    assert summary.mean_ticks == pytest.approx(ticks, abs=0.05)
    assert summary.worst_ticks == pytest.approx(ticks, abs=0.55), "indices are not on the tick grid"
    assert summary.usd == pytest.approx(sum(each.usd for each in report.fills))
    assert summary.commission == pytest.approx(0.75 * summary.fills)


def test_real_fills_of_a_smaller_unit_are_held_against_its_own_costs(
    tmp_path: Path, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One MCOMP at 2 USD a point and 0.2 USD a side, not a tenth of a contract with the costs of COMP."""

    class Micro(Reporting):
        def _fill(self, order_id: str, quantity: float) -> Event:
            told = super()._fill(order_id, quantity)
            return replace(told, **inside(units.KNOWN, "MCOMP", quantity)._asdict())

    monkeypatch.setenv("LOCKSTEP_INSTRUMENTS", str(units.declared(tmp_path)))
    path = papers.traded(
        tmp_path, papers.models(store)[0], name="live.db", mode="live", broker=papers.Broker(), expire=10**18,
        outside=lambda journal: Micro(journal, 3.0), fraction=0.1,
        units=OutwardUnits(known=units.KNOWN, stage={"COMP": "MCOMP"}),
    )  # fmt: skip
    report = checked(path, store)
    assert report.passed
    (summary,) = report.residuals
    assert (summary.symbol, summary.order, summary.fills) == ("MCOMP", "market", len(report.fills))
    assert {abs(each.quantity) for each in report.fills} == {1.0}
    assert summary.mean_ticks == pytest.approx(3.0, abs=0.05)
    assert summary.usd == pytest.approx(sum(each.ticks * TICK * 2.0 for each in report.fills))
    assert summary.commission == pytest.approx((2.0 - units.COST) * summary.fills)


def test_stops_of_a_real_broker_are_held_against_the_settled_bar(tmp_path: Path, store: ModelStore) -> None:
    report = checked(live(tmp_path, store, 2.0, stops=True), store)
    assert report.passed
    market, stop = report.residuals
    assert (market.order, stop.order) == ("market", "stop")
    assert stop.fills > 3
    assert 0 < stop.untouched < stop.fills, "most bars do not reach a stop that this broker filled anyway"
    at_level = [each for each in report.fills if each.order == "stop" and not each.touched]
    assert {round(each.ticks, 6) for each in at_level} == {2.0}


def test_a_live_journal_is_not_compared_with_a_backtest(tmp_path: Path, store: ModelStore) -> None:
    with pytest.raises(ParityError, match="mode live has real fills"):
        compared(live(tmp_path, store, 0.0), store)


def test_a_report_can_be_read_by_people_and_machines(tmp_path: Path, store: ModelStore) -> None:
    report = checked(live(tmp_path, store, 1.0), store)
    console = Console(record=True, width=120)
    report.show(console)
    said = console.export_text()
    assert "COMP market" in said
    assert "as recorded" in said
    assert RecordedReport.model_validate_json(report.model_dump_json()) == report


# compare_paper.py


def test_paper_equals_the_backtest(paper: Path, store: ModelStore, tmp_path: Path) -> None:
    request = PaperRequest(journal=paper, store=store, resamples=200)
    comparison, curves = compare_paper(request, now=17)
    (found,) = comparison.instruments
    equal = found.equality
    assert (equal.bars, equal.marks, equal.different, found.left_out) == (SETS, SETS, 0, 0)
    assert equal.fills > 10
    assert found.paper_pnl == found.backtest_pnl != 0.0
    assert found.reference.end < found.start
    assert found.reference.seen_in_training, "the desk's bundle does not say what it was trained on"
    path = write_comparison(comparison, curves, tmp_path)
    content = read_sealed(path, kind=KIND, schema=SCHEMA)
    assert (content["passed"], content["time"]) == (comparison.passed, 17)
    page = path.with_suffix(".html").read_text()
    assert "paper against backtest" in page
    console = Console(record=True, width=120)
    print_comparison(console, comparison)
    assert "trades per month" in console.export_text()
    again, _ = compare_paper(request, now=17)
    assert again.text == comparison.text


@pytest.mark.parametrize("fault", [nudged, vetoed])
def test_what_differs_from_the_backtest_does_not_pass(
    paper: Path, tmp_path: Path, store: ModelStore, fault: Any
) -> None:
    comparison = compared(papers.rewritten(paper, tmp_path / "x.db", fault), store)
    assert not comparison.passed
    assert comparison.instruments[0].equality.different > 5
    assert "bars differ from the backtest" in comparison.sentences[0]


def richer(record: SetRecord) -> SetRecord:
    price, position, cash, equity = record.lanes[0].mark
    return papers.with_lane(record, mark=(price, position, cash, equity + 0.01 * (record.sequence > 60)))


def test_a_cent_too_much_does_not_pass(paper: Path, tmp_path: Path, store: ModelStore) -> None:
    comparison = compared(papers.rewritten(paper, tmp_path / "x.db", richer), store)
    assert not comparison.passed
    assert comparison.instruments[0].equality.kind == "account"


def test_a_corrected_bar_does_not_pass(tmp_path: Path, store: ModelStore) -> None:
    spoilt = papers.altered(COMP, WARM + 40, lambda values: (*values[:4], values[4] + 1.0))
    comparison = compared(papers.traded(tmp_path, papers.models(store)[0], spoilt), store)
    assert comparison.instruments[0].equality.kind == BAR


@pytest.mark.parametrize("row", [WARM + 40, WARM - 5], ids=["while it traded", "in the warm-up"])
def test_a_corrected_bar_of_the_pair_is_named(tmp_path: Path, store: ModelStore, row: int) -> None:
    spoilt = papers.altered(SPX, row, lambda values: (*values[:3], values[2], values[4]))
    equality = (
        compared(papers.traded(tmp_path, papers.models(store)[0], spoilt), store).instruments[0].equality
    )
    assert equality.kind == BAR
    assert equality.first.startswith(f"COMP {moment(SPX, row)} bar of SPX:1d (pair): (")


def test_a_correction_that_no_window_holds_any_more_changes_nothing(
    tmp_path: Path, store: ModelStore
) -> None:
    spoilt = papers.altered(SPX, WARM - 60, lambda values: (*values[:3], values[2], values[4]))
    equality = (
        compared(papers.traded(tmp_path, papers.models(store)[0], spoilt), store).instruments[0].equality
    )
    assert equality.different == 0, equality.first


def lucky(record: SetRecord) -> SetRecord:
    price, position, cash, equity = record.lanes[0].mark
    return papers.with_lane(record, mark=(price, position, cash, equity + 400.0 * record.sequence))


def test_results_outside_the_bands_do_not_pass(paper: Path, tmp_path: Path, store: ModelStore) -> None:
    comparison = compared(papers.rewritten(paper, tmp_path / "x.db", lucky), store)
    outside = {band.statistic for band in comparison.instruments[0].bands if not band.inside}
    assert outside >= {"return", "sharpe"}
    assert any("return 0." in sentence for sentence in comparison.sentences)


@pytest.mark.parametrize("policy", ["adopt", "manage_out", "flatten"])
def test_swaps_are_followed(tmp_path: Path, store: ModelStore, policy: str) -> None:
    old, new = papers.models(store)

    def promoted(_: Journal) -> desks.FakeOutside:
        outside = desks.FakeOutside(models={each.bundle.sha256: each for each in (old, new)})
        outside.production = {"COMP": (new.bundle.version, new.bundle.sha256)}
        return outside

    path = papers.traded(tmp_path, old, stop_after=held(tmp_path, old))
    papers.traded(tmp_path, old, outside=promoted, policies={"COMP": policy})
    comparison = compared(path, store)
    (found,) = comparison.instruments
    assert comparison.bundles == {"COMP": (old.bundle.sha256, new.bundle.sha256)}
    assert found.versions == ("v1", "v2")
    assert found.equality.different == 0, found.equality.first
    assert (found.left_out > 0) == (policy != "manage_out")
    assert found.equality.bars + found.left_out == SETS
    report = checked(path, store)
    assert report.passed, report.decisions


@pytest.mark.parametrize("version", ["v2", "v9"])
def test_a_withdrawn_entry_ends_what_is_compared(tmp_path: Path, store: ModelStore, version: str) -> None:
    """A backtest would fill it. With v9, which cannot be loaded, v1 stays and every entry is refused."""
    old, new = papers.models(store)
    sha256 = new.bundle.sha256 if version == "v2" else "9" * 64

    def promoted(_: Journal) -> desks.FakeOutside:
        outside = desks.FakeOutside(models={each.bundle.sha256: each for each in (old, new)})
        outside.production = {"COMP": (version, sha256)}
        return outside

    whole = papers.traded(tmp_path, old, name="whole.db")
    with Journal.open(whole, readonly=True) as journal:
        rows = [row for row in journal.entries(1) if isinstance(row, SetRecord)]
    entered = next(n for n, row in enumerate(rows, 1) if n > 20 and row.lanes[0].reason.startswith("enter"))
    path = papers.traded(tmp_path, old, stop_after=entered)
    papers.traded(tmp_path, old, outside=promoted)
    with Journal.open(path, readonly=True) as journal:
        assert len(list(journal.events(OrderWithdrawn))) == 1
    (found,) = compared(path, store).instruments
    assert found.equality.different == 0, found.equality.first
    assert found.left_out == 1
    assert found.refused.keys() == (set() if version == "v2" else {"superseded"})
    report = checked(path, store)
    assert report.passed, report.decisions


def held(folder: Path, model: Any) -> int:
    """Return after how many sets a position is open and no order waits, so that a handover has to act."""
    whole = papers.traded(folder, model, name="whole.db")
    with Journal.open(whole, readonly=True) as journal:
        rows = [row for row in journal.entries(1) if isinstance(row, SetRecord)]
    states = [row.lanes[0].state for row in rows]
    return next(
        number
        for number, (now, after) in enumerate(itertools.pairwise(states), start=1)
        if number > 20 and now.account[0] and now.waiting is None and after.account[0]
    )


def test_refused_orders_are_counted_and_the_backtest_begins_anew(tmp_path: Path, store: ModelStore) -> None:
    tight = Limits.model_validate({**desks.OPEN_LIMITS.model_dump(), "max_notional": 2_150.0 * 20})
    path = papers.traded(tmp_path, papers.models(store)[0], limits=tight)
    comparison = compared(path, store)
    (found,) = comparison.instruments
    assert found.equality.different == 0, found.equality.first
    assert sum(found.refused.values()) > 2
    assert set(found.refused) == {"notional"}
    assert checked(path, store).passed


def test_epochs_are_joined_or_chosen(tmp_path: Path, store: ModelStore) -> None:
    model = papers.models(store)[0]
    path = papers.traded(tmp_path, model, stop_after=60)
    with Journal.open(path) as journal:
        journal.begin_epoch(continued(journal, reason="upgrade", now=5, hashes={}))
    papers.traded(tmp_path, model)
    both = compared(path, store)
    assert both.epochs == (1, 2)
    assert both.instruments[0].equality.bars == SETS
    assert both.instruments[0].equality.different == 0, both.instruments[0].equality.first
    second = compared(path, store, epoch=2)
    assert second.instruments[0].equality.bars + second.instruments[0].left_out == SETS - 60
    assert second.instruments[0].equality.different == 0
    assert checked(path, store).passed
    with pytest.raises(ParityError, match="no epoch 3; it has 1, 2"):
        compared(path, store, epoch=3)


def test_two_instruments_share_the_level(tmp_path: Path) -> None:
    own = papers.store(tmp_path / "store", 0)
    own.register(desks.bundle("SPX", seed=1), record=RECORD, by="me", now=papers.NOW)
    spx = TradedModel.of(load_bundle("SPX", "v1", store=own))
    path = papers.traded(tmp_path, papers.models(own)[0], others=[spx])
    both, alone = (
        compared(path, own),
        compared(papers.traded(tmp_path, papers.models(own)[0], name="c.db"), own),
    )
    assert [each.symbol for each in both.instruments] == ["COMP", "SPX"]
    assert all(each.equality.different == 0 for each in both.instruments)
    wide, narrow = (each.instruments[0].bands[0] for each in (both, alone))
    assert (wide.low or 0.0) <= (narrow.low or 0.0)
    assert (wide.high or 0.0) >= (narrow.high or 0.0)
    report = checked(path, own)
    assert report.passed
    assert {each.series: each.bars for each in report.series} == {"COMP:1d": SETS, "SPX:1d": SETS}


@pytest.mark.parametrize(
    ("trained", "seen", "start"),
    [("2008-12-31", False, "2009-01-02"), ("2009-07-28", True, "1999-01-04")],
)
def test_the_bands_come_from_what_training_did_not_see(
    tmp_path: Path, trained: str, seen: bool, start: str
) -> None:
    own = ModelStore(tmp_path / "store")
    own.folder.mkdir()
    bundle = replace(desks.bundle("COMP"), training={"range": ["1999-01-04", trained]})
    own.register(bundle, record=RECORD, by="me", now=papers.NOW)
    path = papers.traded(tmp_path, papers.models(own)[0], stop_after=10)
    (found,) = compared(path, own).instruments
    assert (found.reference.seen_in_training, found.reference.start) == (seen, start)


def test_bars_that_are_not_settled_yet(tmp_path: Path, store: ModelStore) -> None:
    """Settled files that end early, or miss one traded bar."""
    path = papers.traded(tmp_path, papers.models(store)[0])
    bars = desks.history(WARM + SETS)
    short = replace(bars, bars={key: each.rows(0, WARM + 100) for key, each in bars.bars.items()})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("certify.recorded.settled_bars", lambda *_: short)
        report = checked(path, store)
        with pytest.raises(ParityError, match="settled bars end before the journal does"):
            compared(path, store)
        fills = checked(live(tmp_path, store, 1.0), store).fills
        patch.undo()
        assert 0 < len(fills) < len(checked(tmp_path / "live.db", store).fills)
    assert not report.passed
    assert (report.decisions[0].compared, report.decisions[0].unsettled) == (100, SETS - 100)
    assert {each.unsettled for each in report.series} == {SETS - 100}


def test_settled_files_must_begin_before_the_journal(tmp_path: Path, store: ModelStore) -> None:
    path, bars = papers.traded(tmp_path, papers.models(store)[0]), desks.history(WARM + SETS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("certify.recorded.settled_bars", lambda *_: bars_from(bars, WARM))
        with pytest.raises(ParityError, match="no session before the journal"):
            compared(path, store)


def bars_from(bars: History, row: int) -> History:
    return replace(bars, bars={key: each.rows(row, len(each)) for key, each in bars.bars.items()})


def test_a_journal_without_decisions_is_refused(tmp_path: Path, store: ModelStore) -> None:
    epoch = desks.first_epoch({"COMP": papers.models(store)[0]}, desks.history(WARM), WARM)
    with Journal.open(tmp_path / "paper.db") as journal:
        journal.begin_epoch(epoch)
    with pytest.raises(ParityError, match="no decision yet"):
        compared(tmp_path / "paper.db", store)


def test_epochs_of_two_modes_are_refused(tmp_path: Path, store: ModelStore) -> None:
    path = papers.traded(tmp_path, papers.models(store)[0], stop_after=20)
    with Journal.open(path) as journal:
        after = continued(journal, reason="shadow now", now=5, hashes={})
        journal.begin_epoch(replace(after, mode="shadow"))
    with pytest.raises(ParityError, match="1 is paper, 2 is shadow; choose one: --epoch"):
        compared(path, store)


@pytest.mark.parametrize(
    ("sets", "changes", "message"),
    [(3, {}, "3 sessions to compare, needed are 5"), (20, {"since": "2009-07-20"}, "begin it earlier")],
)
def test_too_little_to_judge_is_refused(
    tmp_path: Path, store: ModelStore, sets: int, changes: dict[str, Any], message: str
) -> None:
    path = papers.traded(tmp_path, papers.models(store)[0], stop_after=sets)
    with pytest.raises(LockstepError, match=message):
        compared(path, store, **changes)


def test_json_holds_no_path(paper: Path, store: ModelStore) -> None:
    assert json.loads(compared(paper, store).text)["journal"] == "paper.db"
