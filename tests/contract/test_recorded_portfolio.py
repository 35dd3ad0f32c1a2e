"""A portfolio's journal against settled data: lanes decide again, and their answers are settled again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from certify.paper import PaperRequest, compare_paper
from certify.recorded import check_recorded
from certify.recorded_report import RecordedReport
from lockstep.live.journal import Journal
from lockstep.live.messages import SetRecord
from lockstep.live.service import Service
from lockstep.models.store import ModelStore
from lockstep.strategy.decision import EXIT_DAILY_LOSS, REFUSED
from support import papers
from support.live_portfolios import PORTFOLIO, desk

FLATTENING = {
    "limits": {**PORTFOLIO["limits"], "daily_loss": {"fraction": 0.0005, "flatten": True}},
}


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a desk whose portfolio refused, flattened, and was stopped and started again."""
    folder = tmp_path_factory.mktemp("desk")
    config = desk(folder, portfolio=FLATTENING)
    for stop in (30, None):
        with Service(config, mode=None, environment={}, stop_after=stop) as service:
            service.run()
    return folder


def checked(journal: Path, folder: Path) -> RecordedReport:
    return check_recorded(journal, store=ModelStore(folder / "store"))


def sets_of(path: Path) -> list[SetRecord]:
    with Journal.open(path, readonly=True) as journal:
        return [each for each in journal.entries(1) if isinstance(each, SetRecord)]


def test_an_honest_journal_comes_out_again(lived: Path) -> None:
    report, sets = checked(lived / "live.db", lived), sets_of(lived / "live.db")
    assert report.passed, (report.account, report.decisions)
    codes = {lane.code for row in sets for lane in row.lanes}
    assert {EXIT_DAILY_LOSS} <= codes
    assert any(code >= REFUSED for code in codes)
    assert report.account is not None
    assert report.account.sets == len(sets)
    assert report.account.proposals > 15
    assert report.account.unsettled == 0
    console = Console(record=True, width=100)
    report.show(console)
    assert "the portfolio, settled again from what its lanes recorded" in console.export_text()


def test_paper_is_compared_lane_by_lane_as_it_was_answered(lived: Path, tmp_path: Path) -> None:
    """Each lane beside a backtest with the recorded answers; its bands are of the whole portfolio."""
    request = PaperRequest(journal=lived / "live.db", store=ModelStore(lived / "store"), resamples=300)
    comparison, _ = compare_paper(request, now=1)
    assert [each.symbol for each in comparison.instruments] == ["COMP", "SPX"]
    for each in comparison.instruments:
        assert each.equality.different == 0, each.equality
        assert each.equality.decisions > 20
        assert abs(each.paper_pnl - each.backtest_pnl) < 0.01
        assert each.left_out > 0
    # Control: an answer in another size than the lane traded.
    path = papers.rewritten(lived / "live.db", tmp_path / "x.db", admits_one_more)
    other, _ = compare_paper(replace(request, journal=path), now=1)
    assert sum(each.equality.different for each in other.instruments) > 0


def admits_one_more(record: SetRecord) -> SetRecord:
    settled = record.settled
    if settled is None:
        return record
    proposals = tuple(
        each if each.rule else replace(each, quantity=each.quantity + each.side) for each in settled.proposals
    )
    return replace(record, settled=replace(settled, proposals=proposals))


def admits_what_was_refused(record: SetRecord) -> SetRecord:
    settled = record.settled
    if settled is None:
        return record
    proposals = tuple(
        replace(e, rule="", quantity=e.side * e.base) if e.rule else e for e in settled.proposals
    )
    return replace(record, settled=replace(settled, proposals=proposals))


def says_another_rule(record: SetRecord) -> SetRecord:
    lanes = tuple(
        replace(each, code=each.code + 1, reason="refused: other") if each.code >= REFUSED else each
        for each in record.lanes
    )
    return replace(record, lanes=lanes)


def larger_sizes(record: SetRecord) -> SetRecord:
    settled = record.settled
    if settled is None:
        return record
    proposals = tuple(replace(each, base=each.base + 1.0) for each in settled.proposals)
    return replace(record, settled=replace(settled, proposals=proposals))


def forgets_a_reservation(record: SetRecord) -> SetRecord:
    settled = record.settled
    if settled is None:
        return record
    lanes = tuple(replace(each, room=0.0) for each in settled.state.lanes)
    return replace(record, settled=replace(settled, state=replace(settled.state, lanes=lanes)))


def enters_without_asking(record: SetRecord) -> SetRecord:
    settled = record.settled
    return record if settled is None else replace(record, settled=replace(settled, proposals=()))


@pytest.mark.parametrize(
    ("fault", "account", "lanes"),
    [
        (admits_what_was_refused, True, True),
        (says_another_rule, False, True),
        (larger_sizes, False, True),
        (forgets_a_reservation, True, False),
        (enters_without_asking, True, True),
    ],
)
def test_a_fault_is_found_where_it_is(
    lived: Path, tmp_path: Path, fault: Callable[[SetRecord], SetRecord], account: bool, lanes: bool
) -> None:
    """Negative controls: what a faulty coordinator, or one that nobody asked, would have recorded."""
    report = checked(papers.rewritten(lived / "live.db", tmp_path / "x.db", fault), lived)
    assert not report.passed
    assert report.account is not None
    assert bool(report.account.different) is account
    assert any(each.code for each in report.decisions) is lanes
    assert bool(report.account.first) is account


def test_a_desk_without_a_portfolio_has_no_account(tmp_path: Path) -> None:
    store = papers.store(tmp_path / "store")
    report: Any = check_recorded(papers.traded(tmp_path, papers.models(store)[0]), store=store)
    assert report.account is None
