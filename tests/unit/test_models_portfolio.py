"""The portfolio file: what it may say, and how it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

import lockstep.models as models
from lockstep.errors import ConfigError
from lockstep.market.config import load_instruments
from lockstep.models import load_portfolio
from lockstep.models.portfolio_file import CorrelationLimits

RISK = "risk: {max_daily_loss: 0.02, max_total_position: 2, max_portfolio_volatility: 0.2}\n"
GOOD = "cash: 100000\ninstruments:\n  ES: {version: v2, weight_cap: 0.5}\n" + RISK


def test_the_shipped_file_is_of_known_instruments() -> None:
    portfolio = load_portfolio(book=load_instruments())
    assert set(portfolio.instruments) == {"COMP", "SPX"}
    assert all(each.version == "production" for each in portfolio.instruments.values())


def test_what_is_not_said_has_a_default(tmp_path: Path) -> None:
    path = tmp_path / "p.yml"
    path.write_text(GOOD)
    portfolio = load_portfolio(path)
    assert portfolio.instruments["ES"].weight_cap == 0.5
    assert portfolio.correlation == CorrelationLimits(max_pairwise=0.9, window=252)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("weight_cap", "wieght_cap"), "unknown key 'instruments.ES.wieght_cap'; did you mean 'weight_cap'"),
        (("max_daily_loss", "max_daily_los"), "did you mean 'max_daily_loss'"),
        (("version: v2", "version: newest"), "instruments.ES.version 'newest'"),
        (("weight_cap: 0.5", "weight_cap: 1.5"), "instruments.ES.weight_cap 1.5: .*less than or equal to 1"),
        (("cash: 100000", "cash: .inf"), "cash inf"),
        (("  ES: {version: v2, weight_cap: 0.5}", "  {}"), "instruments"),
        ((RISK, ""), "key 'risk' is missing; add it"),
        (("  ES:", "  ESX:"), "symbol 'ESX': not in instruments.yml; did you mean 'ES'"),
        ((GOOD, "[]"), "expected a mapping"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = tmp_path / "p.yml"
    path.write_text(GOOD.replace(*change))
    with pytest.raises(ConfigError, match=message) as refusal:
        load_portfolio(path, book=load_instruments())
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_the_package_brings_the_rest_on_demand() -> None:
    assert models.golden_vectors.__name__ == "golden_vectors"
    with pytest.raises(AttributeError, match="no attribute 'Bundel'"):
        models.Bundel  # noqa: B018
