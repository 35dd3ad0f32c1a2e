"""Every section of the tear sheet: renders without data, escapes, and shows no NaN.

Those of the other reports are under the same rules where their reports are made, see
tests/component/test_training_report.py and tests/component/test_model_validation.py.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from markupsafe import Markup

from research.report import ReportData
from research.report.section import Section
from research.report.tearsheet import SECTIONS, tearsheet_html
from support.reports import Page, full, report
from support.sections import require_escaped, require_readable, require_same_again
from support.toys.metric import SYSTEM_QUALITY, system_quality

REGISTERED = (*SECTIONS.values(), SYSTEM_QUALITY)

every_section = pytest.mark.parametrize("section", REGISTERED, ids=lambda section: section.name)


@functools.cache
def reports() -> dict[str, ReportData]:
    return {
        "two bars": report(bars=2, closed=0),
        "no trade": report(closed=0),
        "one trade": report(bars=40, closed=1),
        "whole": full(),
        "out of sample": full(
            out_of_sample=[(np.datetime64("2020-06-01"), np.datetime64("2020-12-31"))], trials=40
        ),
    }


@pytest.mark.parametrize("which", reports())
@every_section
def test_it_renders_whatever_there_is_and_shows_no_nan(section: Section[ReportData], which: str) -> None:
    require_readable(section, reports()[which])


@every_section
def test_a_text_is_a_text(section: Section[ReportData]) -> None:
    names = ("IBS baseline", "COMP", "NASDAQ Composite", "exit_ibs", "cold_window", "code", "c0de" * 16)
    require_escaped(section, reports()["whole"], *names)


@every_section
def test_it_is_the_same_again(section: Section[ReportData]) -> None:
    require_same_again(section, reports()["whole"])


@pytest.mark.no_cover
def test_a_section_that_joins_is_on_the_page_in_its_part() -> None:
    before = tearsheet_html(reports()["whole"])
    with SECTIONS.joined(SYSTEM_QUALITY):
        page = tearsheet_html(reports()["whole"])
        assert SYSTEM_QUALITY.name not in tearsheet_html(report(known=frozenset(("bars",))))
    found = Page(page).text
    assert found.index("Trades") < found.index("System quality number") < found.index("All measures")
    assert tearsheet_html(reports()["whole"]) == before


@pytest.mark.parametrize("pnl", [[], [5.0], [5.0, np.nan], [5.0, np.inf], [5.0, 5.0], [0.1 + 0.2, 0.3]])
def test_a_metric_is_nan_where_it_is_not_defined(pnl: list[float]) -> None:
    assert np.isnan(system_quality(np.array(pnl)))


def test_a_metric_is_what_its_source_says() -> None:
    pnl = np.array([300.0, -100.0, 200.0, -100.0])
    assert system_quality(pnl) == pytest.approx(75.0 / pnl.std(ddof=1) * 2.0)
    assert system_quality(np.tile(pnl, 100)) == pytest.approx(system_quality(np.tile(pnl, 25)), rel=5e-3)


# --- negative controls


def wrong(content: Any, **more: Any) -> Section[ReportData]:
    return Section(name="wrong", content=content, **more)


def test_a_section_that_shows_nan_is_caught() -> None:
    with pytest.raises(AssertionError, match="wrong: shows 'nan'"):
        require_readable(wrong(lambda each: f"mean {np.float64('nan')} of all"), report())


def test_a_section_that_trusts_a_text_is_caught() -> None:
    trusting = wrong(lambda each: Markup(f"<p>{each.title} is its name</p>"))
    with pytest.raises(AssertionError, match="wrong: a text becomes a tag"):
        require_escaped(trusting, report(), "IBS baseline")


def test_a_section_that_needs_trades_is_caught() -> None:
    with pytest.raises(IndexError):
        require_readable(wrong(lambda each: f"first {each.trades.iloc[0]}"), report(closed=0))


def test_a_section_that_draws_lots_is_caught() -> None:
    draw = np.random.default_rng()
    with pytest.raises(AssertionError, match="other bytes"):
        require_same_again(wrong(lambda each: f"lot {draw.random()}"), report())
