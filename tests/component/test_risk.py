"""The risk of a portfolio's run: forecasts, what is written, and the page."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from lockstep.errors import DataError
from lockstep.market.dates import DateRange
from lockstep.metrics import expected_shortfall, value_at_risk
from lockstep.portfolio.session_changes import newest_changes, window_for
from lockstep.portfolio.var import TAILS, TailRisk, calculate_cvar, calculate_var, filtered_scenarios
from lockstep.settings import parse_json
from research.backtest.portfolio import PortfolioMember, PortfolioResult, run_portfolio
from research.report.portfolio_page import next_session
from research.report.section import Section
from research.risk.forecasts import own_before, rolling_forecasts
from research.risk.measured import OWN, TODAY, RiskReport, measure
from research.risk.of_run import subject_of_run
from research.risk.page import SECTIONS, risk_fragment, risk_html
from research.risk.subject import OwnResults, RiskSubject
from research.risk.written import risk_content, risk_lines, write_risk
from support import portfolios
from support.portfolios import BOOK
from support.reports import Page
from support.sections import require_escaped, require_readable, require_same_again

WORLD = portfolios.world(4, {"ES": ("1d", 1_000), "GC": ("1d", 1_000)})
MEMBERS = {
    symbol: PortfolioMember(strategy=config, history=WORLD.history)
    for symbol, config in WORLD.configs.items()
}

every_section = pytest.mark.parametrize("section", SECTIONS.values(), ids=lambda section: section.name)


@functools.cache
def result(end: date | None = None) -> PortfolioResult:
    span = DateRange.of(None, end)
    return run_portfolio(portfolios.portfolio_of(WORLD), MEMBERS, BOOK, span=span, engine="compiled")


@functools.cache
def subject() -> RiskSubject:
    return subject_of_run(result())


def held(**positions: float) -> RiskSubject:
    return replace(subject(), positions={"ES": 2.0, "GC": -1.0} | positions, reserved={})


@functools.cache
def report(which: str) -> RiskReport:
    return measure({"held": held(), "flat": held(ES=0.0, GC=0.0), "short": short()}[which])


def short() -> RiskSubject:
    """A history that is enough to measure, and not to judge."""
    whole = held()
    return replace(whole, dates=whole.dates[-300:], changes=whole.changes[-300:], own=None)


every_report = pytest.mark.parametrize("which", ["held", "flat", "short"])


class TestOfARun:
    def test_positions_are_those_at_the_last_set(self) -> None:
        found = subject()
        last = {symbol: float(lane.equity["position"].iloc[-1]) for symbol, lane in result().lanes.items()}
        assert dict(found.positions) == last
        assert found.as_of == result().equity["session_date"].iloc[-1].date()
        assert found.stamp == result().equity.index[-1].value

    def test_changes_are_points_times_multiplier(self) -> None:
        found = subject()
        for place, symbol in enumerate(found.symbols):
            frame = result().lanes[symbol].equity
            close = dict(zip(frame["session_date"].to_numpy().astype("M8[D]"), frame["close"], strict=True))
            multiplier = BOOK.instrument(symbol).multiplier
            last, before = found.dates[-1], found.dates[-2]
            assert found.changes[-1, place] == (close[last] - close[before]) * multiplier

    def test_own_results_add_up_to_the_account(self) -> None:
        own = subject().own
        assert own is not None
        assert own.pnl.sum() == pytest.approx(result().net_profit)

    def test_an_entry_that_waits_at_the_end_is_reserved(self) -> None:
        """The run is cut after a decision to enter; the longer run shows the fill that was to come."""
        proposals = result().proposals
        admitted = proposals[(proposals["rule"] == "") & (proposals["symbol"] == "ES")]
        row = admitted.iloc[len(admitted) // 2]
        frame = result().lanes["ES"].equity
        at = int(np.flatnonzero(frame.index.as_unit("ns").asi8 == row["stamp"])[0])
        cut = result(frame["session_date"].iloc[at].date())
        assert cut.lanes["ES"].equity["position"].iloc[-1] == 0.0
        assert cut.reserved["ES"] == row["quantity"] != 0.0
        entered = result().lanes["ES"].trades
        fill = entered[entered["entry_end"] == frame.index[at + 1]]
        assert abs(float(fill["quantity"].iloc[0])) == abs(row["quantity"])
        found = subject_of_run(cut)
        assert found.exposed[found.symbols.index("ES")] == row["quantity"]
        assert found.dates[-1] <= frame["session_date"].iloc[at].to_datetime64().astype("M8[D]")

    def test_the_tear_sheet_has_the_same_numbers(self) -> None:
        sheet, found = result().sheet(), measure(subject())
        assert not isinstance(sheet.next_session, str)
        for tail in TAILS:
            assert sheet.next_session[tail].total == found.level(tail)
            assert np.array_equal(sheet.next_session[tail].component_es, found.lanes[tail].component_es)

    def test_the_tear_sheet_of_an_entry_that_waits_shows_its_risk(self) -> None:
        sheet = result(date(2020, 12, 31)).sheet()
        waiting = replace(sheet, reserved={"ES": 3.0, "GC": -2.0})
        found = waiting.next_session
        assert not isinstance(found, str)
        seen = Page(str(next_session(waiting))).text
        assert f"${found[0.01].total.es:,.0f}" in seen
        assert "+3" in seen
        assert "\N{MINUS SIGN}2" in seen
        known = {name: each.until(np.datetime64("2019-03-01")) for name, each in sheet.closes.items()}
        assert "needs 70" in Page(str(next_session(replace(waiting, closes=known)))).text


class TestForecasts:
    def test_a_forecast_is_that_of_the_evening_before(self) -> None:
        changes, window = held().changes, 300
        before = np.broadcast_to([2.0, -1.0], changes.shape)
        sessions, found = rolling_forecasts(changes, before, 0.01, window=window)
        assert sessions[0] == window + 20
        session = int(sessions[40])
        known = filtered_scenarios(changes[:session] * [2.0, -1.0])[-window:].sum(axis=1)
        assert found.var[40] == pytest.approx(value_at_risk(known, 0.01), rel=1e-12)
        assert found.es[40] == pytest.approx(expected_shortfall(known, 0.01), rel=1e-12)

    def test_later_sessions_change_nothing(self) -> None:
        changes = held().changes
        before = np.ones(changes.shape)
        later = changes.copy()
        later[700:] *= 10.0
        sessions, one = rolling_forecasts(changes, before, 0.05, window=500)
        _, other = rolling_forecasts(later, before, 0.05, window=500)
        same = sessions <= 700
        assert np.array_equal(one.var[same], other.var[same])
        assert (one.var[~same] != other.var[~same]).any()

    def test_sessions_without_a_position_are_left_out(self) -> None:
        changes = held().changes
        before = np.zeros(changes.shape)
        before[600:650, 0] = 1.0
        sessions, found = rolling_forecasts(changes, before, 0.05, window=500)
        assert sessions.tolist() == list(range(600, 650))
        assert np.allclose(found.severity.mean(axis=1), 1.0)

    def test_own_results_between_common_sessions(self) -> None:
        days = np.array(["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"], dtype="datetime64[D]")
        own = OwnResults(
            dates=days, pnl=np.array([1.0, 10.0, 100.0, 1000.0]), positions=np.arange(1.0, 5.0)[:, None]
        )
        positions = own.positions
        assert positions is not None
        before, pnl = own_before(own, positions, days[[0, 2, 3]])
        assert before[:, 0].tolist() == [0.0, 2.0, 3.0]
        assert pnl.tolist() == [1.0, 110.0, 1000.0]


class TestReport:
    @pytest.mark.parametrize("tail", TAILS)
    def test_numbers_are_those_of_the_functions(self, tail: float) -> None:
        pnl = held().changes[-520:] * [2.0, -1.0]
        level = report("held").level(tail)
        assert level == pytest.approx((calculate_var(pnl, tail), calculate_cvar(pnl, tail)), rel=1e-12)
        parts = report("held").lanes[tail]
        assert parts.component_es.sum() == pytest.approx(level.es, rel=1e-12)
        own = held().own
        assert own is not None
        assert report("held").own[tail] == (
            calculate_var(own.pnl, tail, method="historical"),
            calculate_cvar(own.pnl, tail, method="historical"),
        )

    def test_a_tail_looks_back_on_as_many_sessions_as_it_needs(self) -> None:
        assert window_for(0.01) == 500
        assert window_for(0.001) == 2_500
        assert len(newest_changes(held().changes, 0.05, "filtered")) == 520
        assert len(newest_changes(held().changes, 0.05, "normal")) == 500

    def test_both_kinds_of_forecasts_are_judged(self) -> None:
        for whose in (TODAY, OWN):
            judged = report("held").judged_of(whose)
            assert set(judged) == set(TAILS)
            assert judged[0.05].backtest.hits >= judged[0.01].backtest.hits
        assert report("short").judged_of(TODAY) == {}
        assert "sessions with a position" in str(report("short").judged[TODAY][0.05])
        assert "no position is open" in str(report("flat").judged[TODAY][0.05])

    def test_too_short_a_history_is_refused_and_counted(self) -> None:
        whole = held()
        few = replace(whole, dates=whole.dates[-200:], changes=whole.changes[-200:])
        assert isinstance(measure(few, tails=(0.05,)).levels["filtered"][0.05], TailRisk)
        with pytest.raises(DataError, match=r"at 0\.99 \(filtered\): 200 sessions, needs 270"):
            measure(few)

    @every_report
    def test_what_is_written_is_strict_json(self, which: str, tmp_path: Path) -> None:
        content, page = write_risk(report(which), tmp_path / "new")
        found = parse_json(content.read_bytes())
        assert found == json.loads(json.dumps(risk_content(report(which))))
        assert (found["schema"], found["kind"], found["method"]) == (1, "portfolio", "filtered")
        assert found["levels"]["filtered"]["99"]["es"] == report(which).level(0.01).es
        assert set(found["lanes"]["95"]) == {"ES", "GC"}
        assert page.read_text(encoding="utf-8") == risk_html(report(which))

    def test_sentences_say_what_is_missing(self) -> None:
        assert any("no position is open" in line for line in risk_lines(report("flat")))
        assert any(
            "its own results are not known" in line or "not known" in line
            for line in risk_lines(report("short"))
        )
        assert any("rejects right forecasts in 5%" in line for line in risk_lines(report("held")))


class TestPage:
    @every_report
    @every_section
    def test_a_card_renders_whatever_there_is(self, section: Section[RiskReport], which: str) -> None:
        require_readable(section, report(which))

    @every_section
    def test_a_text_is_a_text(self, section: Section[RiskReport]) -> None:
        bare = replace(report("held"), subject=replace(held(), run=None, members=None))
        require_escaped(section, bare, "ES", "GC", "drawn")

    @every_section
    def test_it_is_the_same_again(self, section: Section[RiskReport]) -> None:
        require_same_again(section, report("held"))

    def test_the_page_shows_the_numbers(self) -> None:
        seen = Page(risk_html(report("held"))).text
        for tail in TAILS:
            assert f"${report('held').level(tail).var:,.0f}" in seen
        assert "Acerbi-Szekely" in seen

    def test_a_notebook_shows_a_part_of_it(self) -> None:
        seen = Page(risk_fragment(report("held"))).text
        assert "Risk by lane" in seen
        assert "Independence" not in seen
