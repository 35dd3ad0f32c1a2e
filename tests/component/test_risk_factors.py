"""Factors on the risk page: exposures and attribution of positions and results whose truth is known."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import numpy as np
import pytest

from lockstep.errors import DataError
from lockstep.market.loader import load_bars
from research.report import page
from research.risk import factors as module
from research.risk.factors import Factors, factor_report
from research.risk.parts import measured_parts
from research.risk.section import RISK_PARTS
from research.risk.subject import OwnResults, RiskSubject

SPX = load_bars("SPX", start="2012-01-03", end="2018-11-30")
DAYS = SPX.end.astype("datetime64[ns]").astype("datetime64[D]")


def subject(**more: Any) -> RiskSubject:
    """Return a desk of one contract of 50 x SPX, and one of noise; the account earns half of SPX's return."""
    changes = np.column_stack(
        (50.0 * np.diff(SPX.close), np.random.default_rng(1).normal(0, 100, len(SPX) - 1))
    )
    returns = SPX.close[1:] / SPX.close[:-1] - 1
    noise = np.random.default_rng(2).normal(0, 0.002, returns.size)
    noise -= noise.mean()
    values: dict[str, Any] = {
        "kind": "desk", "name": "desk", "as_of": date(2018, 11, 30), "stamp": 0, "capital": 1e6,
        "positions": {"ES": 2.0, "ZC": 1.0}, "reserved": {}, "dates": DAYS[1:], "changes": changes,
        "closes": {}, "own": OwnResults(dates=DAYS[1:], pnl=1e6 * (0.5 * returns + noise)),
    }  # fmt: skip
    return RiskSubject(**(values | more))


def test_it_is_plugged_after_the_regimes() -> None:
    assert isinstance(RISK_PARTS["factors"], Factors)
    assert list(measured_parts(subject()))[-1] == "factors"


def test_exposures_and_slopes_are_those_of_the_data() -> None:
    found = factor_report(subject())
    assert found.moves.names == ("market", "volatility")
    assert set(found.moves.absent) == {
        "momentum", "illiquidity", "dollar", "oil", "gold", "crypto_market", "crypto_size",
    }  # fmt: skip
    middle = 2 * 50.0 * float(SPX.close.mean())
    assert found.exposures[0] == pytest.approx(middle, rel=0.1)
    assert found.explained > 0.95
    assert not isinstance(found.own, str)
    assert found.own.betas[0] == pytest.approx(0.5, abs=0.02)
    assert found.own.alpha_low <= 0.0 <= found.own.alpha_high


def test_the_parts_add_up_to_what_was_earned() -> None:
    given = subject()
    found = factor_report(given)
    assert found.came_from is not None
    assert given.own is not None
    parts = found.came_from
    earned = given.own.pnl[np.isin(given.own.dates, found.moves.dates)].sum() / 1e6
    assert parts.factors.sum() + parts.alpha + parts.residual == pytest.approx(earned, abs=1e-9)
    assert parts.total == pytest.approx(earned, abs=1e-9)


def test_months_are_fitted_to_fama_and_french() -> None:
    found = factor_report(subject())
    assert not isinstance(found.french, str)
    assert found.french.betas[0] == pytest.approx(0.5, abs=0.06)
    assert found.french.periods == 81


def test_a_short_record_says_what_it_needs() -> None:
    own = OwnResults(dates=DAYS[-20:], pnl=np.arange(20.0))
    found = factor_report(subject(own=own))
    assert isinstance(found.own, str)
    assert "at least 30 are needed" in found.own
    assert isinstance(found.french, str)
    assert "0 whole months of the account lie between 1926-07 and 2018-11" in found.french
    cards = page.joined(*measured(subject(own=own)).cards)
    assert "whole months" in cards


def measured(given: RiskSubject) -> Any:
    part = Factors().measure(given)
    assert part is not None
    return part


def test_the_part_is_plain_json_and_names_what_is_missing() -> None:
    part = measured(subject())
    content = json.loads(json.dumps(part.content, allow_nan=False))
    assert content["own"]["betas"].keys() == {"market", "volatility"}
    cards = page.joined(*part.cards)
    assert "crypto_size: needs 6 coins with bars, 0 have them" in cards
    assert "nan" not in cards.lower().replace("finance", "")
    assert any(line.startswith("A usual move of a factor makes: market $") for line in part.lines)


def test_nothing_held_and_nothing_earned_is_no_part() -> None:
    assert Factors().measure(subject(positions={"ES": 0.0, "ZC": 0.0}, own=None)) is None
    without = measured(subject(own=None))
    assert without.content["own"] == "there are no results of the account itself"


def test_no_factor_at_all_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*given: Any, **more: Any) -> Any:
        raise DataError("no bars")

    monkeypatch.setattr(module, "load_history", gone)
    with pytest.raises(DataError, match=r"no factor of factors\.yml can be built: market: no bars"):
        factor_report(subject())
    assert "can be built" in measured_parts(subject())["factors"].lines[0]
