"""A portfolio's file: every field is in its hash and in what a run does."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from lockstep.errors import ConfigError
from lockstep.portfolio.config import PortfolioConfig
from lockstep.portfolio.coordinator import Coordinator
from support import portfolios
from support.portfolios import BOOK, VOLATILITY, recorded

WORLD = portfolios.with_margins(
    portfolios.world(8, {"BTC-USD": ("1d", 130), "ES": ("1d", 110), "GC": ("1h", 700), "SPY": ("1d", 110)})
)
MATRIX = {
    "symbols": list(WORLD.symbols),
    "matrix": [[1.0 if i == j else 0.5 for j in range(4)] for i in range(4)],
}
HALT = {"window": 30, "halt": 0.01}
TIERS = {"window": 30, "tiers": [{"at": 0.004, "scale": 0.5}], "release": 0.5}


def limit(name: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"limits": {name: value}, **more}


def lanes(**changes: Any) -> dict[str, Any]:
    """Return lanes with something changed in each that has it."""
    found = json.loads(portfolios.portfolio_of(WORLD).model_dump_json())["lanes"]
    for each in found:
        sized = {name: value for name, value in changes.items() if name in ("units", "weight")}
        others = {name: value for name, value in changes.items() if name not in sized}
        each.update(others | {name: value for name, value in sized.items() if each[name] is not None})
    return {"lanes": found}


def arm(**changes: str) -> dict[str, str]:
    return {"test": "a", "arm": "champion", **changes}


# Field -> settings that say one thing of it, and settings that say another.
FIELDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "capital": (limit("max_gross", 0.8), {**limit("max_gross", 0.8), "capital": 700_000.0}),
    "day": (
        limit("daily_loss", {"fraction": 0.002}), limit("daily_loss", {"fraction": 0.002}, day="CRYPTO"),
    ),
    "lanes.units": (lanes(), lanes(units=3.0)),
    "lanes.weight": (lanes(), lanes(weight=0.1)),
    "lanes.max_contracts": (lanes(), lanes(max_contracts=1.0)),
    "lanes.weight_cap": (lanes(), lanes(weight_cap=0.1)),
    "lanes.split.test": (lanes(split=arm()), lanes(split=arm(test="b"))),
    "lanes.split.arm": (lanes(split=arm()), lanes(split=arm(arm="challenger"))),
    "rank.by": (limit("max_positions", 1), limit("max_positions", 1, rank={"by": "score", "id": "ibs"})),
    "rank.order": (
        limit("max_positions", 1),
        limit("max_positions", 1, rank={"by": "listed", "order": WORLD.symbols[::-1]}),
    ),
    "rank.id": (
        limit("max_positions", 1, rank={"by": "score", "id": VOLATILITY}),
        limit("max_positions", 1, rank={"by": "score", "id": "ibs"}),
    ),
    "rank.smallest_first": (
        limit("max_positions", 1, rank={"by": "score", "id": "ibs"}),
        limit("max_positions", 1, rank={"by": "score", "id": "ibs", "smallest_first": True}),
    ),
    "rank.top": ({}, {"rank": {"top": 1}}),
    "groups.symbols": (
        {"groups": {"g": {"symbols": ["ES", "SPY"], "max_positions": 1}}},
        {"groups": {"g": {"symbols": ["BTC-USD", "ES"], "max_positions": 1}}},
    ),
    "groups.max_positions": (
        {"groups": {"g": {"symbols": WORLD.symbols, "max_positions": 1}}},
        {"groups": {"g": {"symbols": WORLD.symbols, "max_positions": 2}}},
    ),
    "groups.max_gross": (
        {"groups": {"g": {"symbols": WORLD.symbols, "max_gross": 0.5}}},
        {"groups": {"g": {"symbols": WORLD.symbols, "max_gross": 0.3}}},
    ),
    "limits.max_positions": (limit("max_positions", 1), limit("max_positions", 2)),
    "limits.max_total_contracts": (limit("max_total_contracts", 2.0), limit("max_total_contracts", 3.0)),
    "limits.max_gross": (limit("max_gross", 0.8), limit("max_gross", 0.4)),
    "limits.max_net": (limit("max_net", 0.5), limit("max_net", 0.3)),
    "limits.volatility.target": (
        limit("volatility", {"target": 0.1}, correlation=MATRIX),
        limit("volatility", {"target": 0.05}, correlation=MATRIX),
    ),
    "limits.volatility.id": (
        limit("volatility", {"target": 0.1}, correlation=MATRIX),
        limit("volatility", {"target": 0.1, "id": "ibs"}, correlation=MATRIX),
    ),
    "limits.max_margin": (limit("max_margin", 0.05), limit("max_margin", 0.02)),
    "limits.daily_loss.fraction": (
        limit("daily_loss", {"fraction": 0.001}), limit("daily_loss", {"fraction": 0.003}),
    ),
    "limits.daily_loss.flatten": (
        limit("daily_loss", {"fraction": 0.001}), limit("daily_loss", {"fraction": 0.001, "flatten": True}),
    ),
    "limits.drawdown.window": (limit("drawdown", TIERS), limit("drawdown", {**TIERS, "window": 3})),
    "limits.drawdown.tiers.at": (
        limit("drawdown", TIERS), limit("drawdown", {**TIERS, "tiers": [{"at": 0.01, "scale": 0.5}]}),
    ),
    "limits.drawdown.tiers.scale": (
        limit("drawdown", TIERS), limit("drawdown", {**TIERS, "tiers": [{"at": 0.004, "scale": 0.1}]}),
    ),
    "limits.drawdown.release": (limit("drawdown", TIERS), limit("drawdown", {**TIERS, "release": 1.0})),
    "limits.drawdown.halt": (limit("drawdown", HALT), limit("drawdown", {**HALT, "halt": 0.5})),
    "correlation.matrix": (
        limit("volatility", {"target": 0.1}, correlation=MATRIX),
        limit("volatility", {"target": 0.1}, correlation={**MATRIX, "matrix": [
            [1.0 if i == j else -0.2 for j in range(4)] for i in range(4)]}),
    ),
}  # fmt: skip
# What the file says by naming a thing, which these runs have none of: hash alone.
NAMED = {"lanes.symbol", "lanes.version", "lanes.strategy", "correlation.symbols"} | {
    # What members do is in `contract/test_ensembles.py` and `unit/test_bad_portfolios.py`.
    f"lanes.members.{name}"
    for name in ("name", "version", "strategy", "share", "split.test", "split.arm")
}


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield each field of a model that holds no other model, by its path."""
    for name, each in model.model_fields.items():
        inner = [
            one for one in _inside(each.annotation) if isinstance(one, type) and issubclass(one, BaseModel)
        ]
        if inner:
            yield from leaves(inner[0], f"{prefix}{name}.")
        else:
            yield prefix + name


def _inside(annotation: Any) -> Iterator[Any]:
    yield annotation
    for each in get_args(annotation):
        yield from _inside(each)


@functools.cache
def outcome(text: str) -> str:
    config = portfolios.portfolio_of(WORLD, **json.loads(text))
    made = Coordinator(config, portfolios.terms_of(WORLD, config), BOOK.session_named(config.day))
    found = portfolios.run_portfolio_by(WORLD, config, made)
    return json.dumps({symbol: recorded(each)["trades"] for symbol, each in found.items()})


def test_every_field_is_in_the_table() -> None:
    assert set(leaves(PortfolioConfig)) == set(FIELDS) | NAMED | PortfolioConfig.SHOWN


@pytest.mark.parametrize("path", FIELDS)
def test_every_field_changes_a_hash_and_a_run(path: str) -> None:
    one, other = map(deepcopy, FIELDS[path])
    hashes = {portfolios.portfolio_of(WORLD, **each).portfolio_hash for each in (one, other)}
    assert len(hashes) == 2
    assert outcome(json.dumps(one)) != outcome(json.dumps(other))


def test_what_is_shown_is_in_no_hash_and_the_order_of_lanes_neither() -> None:
    config = portfolios.portfolio_of(WORLD)
    for changes in (
        {"name": "other"},
        {"made": {"method": "equal_risk"}},
        {"lanes": [each.model_dump() for each in reversed(config.lanes)]},
    ):
        assert portfolios.portfolio_of(WORLD, **changes).portfolio_hash == config.portfolio_hash
    assert portfolios.portfolio_of(WORLD, capital=1.0).portfolio_hash != config.portfolio_hash


def test_a_file_of_an_earlier_version_has_its_hash_and_its_content() -> None:
    """Written down before a lane could be an arm of a test: journals and certificates hold them."""
    members = [
        {"name": "a", "version": "v1", "share": 0.4}, {"name": "b", "strategy": "b.yaml", "share": 0.6}
    ]  # fmt: skip
    content = {
        "name": "golden", "capital": 5_000_000.0, "day": "CME", "limits": {"max_gross": 2.0},
        "lanes": [
            {"symbol": "ES", "units": 10, "max_contracts": 10, "members": members},
            {"symbol": "NQ", "version": "production", "units": 1},
        ],
    }  # fmt: skip
    config = PortfolioConfig.model_validate(content)
    assert config.portfolio_hash.startswith("670838510e0cf9317f03c36118fd6750")
    text = json.dumps(config.model_dump(mode="json"), sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest().startswith("916fee1d346e234a7d82b761a580de0d")
    members[0]["split"] = arm()
    assert PortfolioConfig.model_validate(content).portfolio_hash != config.portfolio_hash


def test_a_swapped_bundle_and_another_instrument_change_the_identity_alone() -> None:
    config = portfolios.portfolio_of(WORLD)
    strategies = dict.fromkeys(WORLD.symbols, "a")
    first = config.identity(strategies, "declared")
    assert first == config.identity(dict(reversed(strategies.items())), "declared")
    assert (
        len({first, config.identity(strategies | {"ES": "b"}, "declared"), config.identity(strategies, "x")})
        == 3
    )
    with pytest.raises(ConfigError, match="hashes of ES for"):
        config.identity({"ES": "a"}, "declared")


def test_correlations_are_rounded_before_they_are_checked() -> None:
    near = {**MATRIX, "matrix": [[1.0 if i == j else 0.50004 for j in range(4)] for i in range(4)]}
    one, other = (portfolios.portfolio_of(WORLD, **limit("volatility", {"target": 0.1}, correlation=each))
                  for each in (MATRIX, near))  # fmt: skip
    assert one.portfolio_hash == other.portfolio_hash
