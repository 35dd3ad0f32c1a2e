"""Smaller sizes: whole steps, lanes that fall away, and the largest size that a rule accepts."""

from __future__ import annotations

from typing import Any

import pytest

from lockstep.portfolio.config import PortfolioConfig
from research.stress.sizes import at_scale, largest_size, without_lanes

STEPS = {"BTC-USD": 0.1, "ES": 1.0, "NQ": 1.0}


def portfolio(**changes: Any) -> PortfolioConfig:
    content: dict[str, Any] = {
        "name": "three",
        "capital": 100_000,
        "day": "CME",
        "lanes": [
            {"symbol": "ES", "strategy": "a.yaml", "units": 4},
            {"symbol": "BTC-USD", "strategy": "a.yaml", "units": 0.7},
            {"symbol": "NQ", "strategy": "a.yaml", "weight": 0.5},
        ],
        "rank": {"by": "listed", "order": ["NQ", "ES", "BTC-USD"]},
        "groups": {
            "index": {"symbols": ["ES", "NQ"], "max_positions": 1},
            "coins": {"symbols": ["BTC-USD"], "max_positions": 1},
        },
        "limits": {"volatility": {"target": 0.2}},
        "correlation": {
            "symbols": ["ES", "BTC-USD", "NQ"],
            "matrix": [[1.0, 0.1, 0.9], [0.1, 1.0, 0.2], [0.9, 0.2, 1.0]],
        },
    }
    return PortfolioConfig.model_validate(content | changes)


def test_units_are_rounded_down_to_whole_steps_and_weights_are_not() -> None:
    smaller = at_scale(portfolio(), 0.6, STEPS)
    assert smaller is not None
    assert smaller.units == {"BTC-USD": 0.4, "ES": 2.0}
    assert smaller.weights == {"NQ": 0.3}
    assert smaller.config.lane("BTC-USD").units == 0.4
    assert smaller.sizes == "BTC-USD 0.4 units, ES 2 units, NQ weight 0.3"
    whole = at_scale(portfolio(), 0.5, STEPS)
    assert whole is not None
    assert whole.units["ES"] == 2.0


def test_a_lane_without_a_step_is_left_out_everywhere() -> None:
    smaller = at_scale(portfolio(), 0.1, STEPS)
    assert smaller is not None
    assert smaller.units == {"BTC-USD": 0.0, "ES": 0.0}
    assert smaller.config.symbols == ("NQ",)
    assert smaller.config.rank.order == ("NQ",)
    assert list(smaller.config.groups) == ["index"]
    assert smaller.config.groups["index"].symbols == ("NQ",)
    assert smaller.config.correlation is not None
    assert smaller.config.correlation.matrix == ((1.0,),)


def test_correlations_stay_with_their_lanes() -> None:
    kept = without_lanes(portfolio(), ["BTC-USD"])
    assert kept.correlation is not None
    assert kept.correlation.matrix == ((1.0, 0.9), (0.9, 1.0))
    assert without_lanes(portfolio(), []) == portfolio()


def test_nothing_is_left_of_lanes_of_units_alone() -> None:
    content = portfolio().model_dump()
    content["lanes"] = [each for each in content["lanes"] if each["symbol"] == "ES"]
    content |= {"rank": {}, "groups": {}, "correlation": None, "limits": {}}
    assert at_scale(PortfolioConfig.model_validate(content), 0.2, STEPS) is None


def test_the_largest_size_is_the_first_that_is_accepted_from_above() -> None:
    asked: list[float] = []

    def accepts(smaller: PortfolioConfig) -> bool:
        asked.append(smaller.lane("ES").units or 0.0)
        return asked[-1] <= 2.0

    found = largest_size(portfolio(), STEPS, accepts)
    assert found is not None
    # 0.74 x 4 is 2.96: the first size of two contracts.
    assert (found.scale, found.units["ES"]) == (0.74, 2.0)
    assert asked[:-1] == [3.0] * (len(asked) - 1)


def test_equal_sizes_are_asked_once() -> None:
    content = portfolio().model_dump()
    content["lanes"] = [each for each in content["lanes"] if each["symbol"] == "ES"]
    content |= {"rank": {}, "groups": {}, "correlation": None, "limits": {}}
    asked: list[float | None] = []

    def refuses(smaller: PortfolioConfig) -> bool:
        asked.append(smaller.lane("ES").units)
        return False

    assert largest_size(PortfolioConfig.model_validate(content), STEPS, refuses) is None
    assert asked == [3.0, 2.0, 1.0]


@pytest.mark.parametrize("scale", [0.99, 0.5, 0.01])
def test_a_smaller_portfolio_is_a_valid_one(scale: float) -> None:
    smaller = at_scale(portfolio(), scale, STEPS)
    assert smaller is not None
    assert PortfolioConfig.model_validate(smaller.config.model_dump()) == smaller.config
