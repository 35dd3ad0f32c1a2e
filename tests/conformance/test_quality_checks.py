"""Every check of data finds the faults that are planted for it, and clean data has none."""

from __future__ import annotations

import pytest

from lockstep.market.aggregator import aggregate
from lockstep.market.bars import Bars
from lockstep.market.quality import assess, report
from lockstep.market.quality.checks import CHECKS
from lockstep.market.timeframe import Timeframe
from support.bad_data import PLANTS, clean, coins
from support.markets import BOOK, CME, CRYPTO

ES = BOOK.instrument("ES")
# What says that a place is wrong without saying what is: a fault may lead to these beside its own finding.
BESIDE = {"outlier", "jump", "print", "late_start", "early_end", "hole", "outside"}


@pytest.fixture(scope="module")
def quarter() -> Bars:
    return clean()


@pytest.fixture(scope="module", params=[1, 3])
def year(request: pytest.FixtureRequest) -> Bars:
    return clean(345_000, request.param)


@pytest.mark.parametrize("timeframe", ["1min", "15min", "1h", "1d"])
def test_a_clean_year_has_no_finding(year: Bars, timeframe: str) -> None:
    bars = year if timeframe == "1min" else aggregate(year, Timeframe.parse(timeframe), CME)
    found = assess(bars, CME, ES)
    assert found.findings == ()
    assert (found.shown_score, found.sessions > 260) == ("100.00", True)


def test_a_market_that_never_closes_has_no_finding() -> None:
    assert assess(coins(), CRYPTO).findings == ()


def test_every_kind_of_finding_is_planted() -> None:
    kinds = [kind for each in CHECKS for kind in each.kinds]
    assert sorted(set(kinds)) == sorted(kinds)
    assert {kind for kind, _ in PLANTS.values()} == set(kinds)
    assert len(PLANTS) >= 20


@pytest.mark.parametrize("fault", PLANTS)
def test_a_planted_fault_is_found_where_it_is(fault: str, quarter: Bars) -> None:
    kind, plant = PLANTS[fault]
    planted = plant(quarter)
    found = assess(planted.bars, planted.session, None if planted.session is CRYPTO else ES)
    kinds = {each.kind for each in found.findings}
    assert {kind, *planted.also} <= kinds, [each.sentence for each in found.findings]
    assert kinds - BESIDE <= {kind, *planted.also}, [each.sentence for each in found.findings]
    finding = found.of_kind(kind)[-1]
    assert finding.severity == "warning" or kind in ("outlier", "outside", "off_grid")
    assert (found.score < 100.0) == any(each.severity == "warning" for each in found.findings)
    if finding.spans:
        assert all(a <= planted.last and b >= planted.first for a, b in finding.spans), finding.sentence


def test_a_check_that_is_left_out_finds_nothing(quarter: Bars, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: no other check says what this one does."""
    for fault in ("a feed stands still", "a session is another's copy", "three closes off the grid"):
        kind, plant = PLANTS[fault]
        others = tuple(each for each in CHECKS if kind not in each.kinds)
        monkeypatch.setattr(report, "CHECKS", others)
        assert assess(plant(quarter).bars, CME, ES).findings == ()
