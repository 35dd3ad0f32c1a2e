"""Bad portfolios, one row a case: one line that says what, which value, which rule and what to do."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from lockstep.errors import ConfigError
from lockstep.portfolio.config import CorrelationMatrix, PortfolioConfig, load_portfolio_config
from lockstep.portfolio.coordinator import Coordinator
from lockstep.portfolio.terms import LaneTerms
from lockstep.strategy.families.ibs import IbsConfig
from support.portfolios import BOOK

GOOD: dict[str, Any] = {
    "name": "desk",
    "capital": 250_000.0,
    "day": "CME",
    "lanes": [
        {"symbol": "ES", "strategy": "ibs.yaml", "units": 2},
        {"symbol": "CL", "strategy": "ibs.yaml", "units": 1},
    ],
    "groups": {"all": {"symbols": ["CL", "ES"], "max_positions": 2}},
    "limits": {
        "volatility": {"target": 0.1},
        "drawdown": {
            "window": 252,
            "tiers": [{"at": 0.05, "scale": 0.5}, {"at": 0.08, "scale": 0.25}],
            "halt": 0.2,
        },
    },
    "correlation": {"symbols": ["ES", "CL"], "matrix": [[1.0, 0.3], [0.3, 1.0]]},
}
Edit = Callable[[dict[str, Any]], Any]


def put(*path: Any, value: Any) -> Edit:
    def edit(content: dict[str, Any]) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return edit


def without(*path: Any) -> Edit:
    def edit(content: dict[str, Any]) -> None:
        for key in path[:-1]:
            content = content[key]
        del content[path[-1]]

    return edit


def both(*edits: Edit) -> Edit:
    def edit(content: dict[str, Any]) -> None:
        for each in edits:
            each(content)

    return edit


def weights(*values: float) -> Edit:
    def edit(content: dict[str, Any]) -> None:
        for lane, value in zip(content["lanes"], values, strict=True):
            del lane["units"]
            lane["weight"] = value

    return edit


ENSEMBLE: list[dict[str, Any]] = [
    {"name": "fast", "strategy": "a.yaml", "share": 0.4},
    {"name": "slow", "strategy": "b.yaml", "share": 0.6},
]


ARM = {"test": "a", "arm": "champion"}


def members(given: list[dict[str, Any]], **lane: Any) -> Edit:
    """Let the first lane be traded by an ensemble."""

    def edit(content: dict[str, Any]) -> None:
        del content["lanes"][0]["strategy"]
        content["lanes"][0] |= {"members": given, **lane}

    return edit


NO_VOLATILITY = both(without("limits", "volatility"), without("correlation"))
NQ = {"symbol": "NQ", "strategy": "ibs.yaml", "units": 1}
SPY = {"symbol": "SPY", "strategy": "ibs.yaml", "units": 10}
CASES: dict[str, tuple[Edit, str]] = {
    "unknown symbol": (
        both(NO_VOLATILITY, without("groups"), put("lanes", 0, "symbol", value="SPYY")),
        r"'SPYY'.*did you mean 'SPY'",
    ),
    "unknown key": (put("limits", "max_postions", value=3), "max_postions.*did you mean 'max_positions'"),
    "unknown day": (put("day", value="CMEE"), "CMEE.*did you mean 'CME'"),
    "two lanes of a symbol": (put("lanes", 1, "symbol", value="ES"), "ES: two lanes trade it.*leave one out"),
    "version and members": (members(ENSEMBLE, version="v3"), "ES: give a version or a strategy, or the memb"),
    "one member": (members(ENSEMBLE[:1]), "ES: an ensemble of one member; give the lane its fast without"),
    "members of one name": (
        members([ENSEMBLE[0], {**ENSEMBLE[1], "name": "fast"}]), "ES: two members are named fast; name each",
    ),
    "members that are one strategy": (
        members([ENSEMBLE[0], {**ENSEMBLE[1], "strategy": "a.yaml"}]), "ES: two members trade a.yaml",
    ),
    "shares above one": (
        members([ENSEMBLE[0], {**ENSEMBLE[1], "share": 0.7}]), "ES: shares of its members sum to 1.1; they",
    ),
    "a member without anything": (
        members([ENSEMBLE[0], {"name": "slow", "share": 0.6}]), "slow: give a version or a strategy, and not",
    ),
    "a split of an ensemble": (
        members(ENSEMBLE, split=ARM), "ES: an ensemble is no arm of a test; give `split` to its members",
    ),
    "two members of one arm": (
        members([{**each, "split": ARM} for each in ENSEMBLE]),
        "ES: two members are the champion of 'a', so that both would take its signals; let one",
    ),
    "one strategy in two tests": (
        members([{**ENSEMBLE[0], "split": ARM}, {**ENSEMBLE[1], "strategy": "a.yaml"}]),
        "ES: two members trade a.yaml",
    ),
    "a third arm": (put("lanes", 0, "split", value={**ARM, "arm": "both"}), "lanes.0.split.arm"),
    "a split without a test": (put("lanes", 0, "split", value={"arm": "champion"}), "lanes.0.split.test"),
    "a member's name": (members([{**ENSEMBLE[0], "name": "Fast one"}, ENSEMBLE[1]]), "members.0.name"),
    "no lanes": (put("lanes", value=[]), "lanes"),
    "weights sum to 0": (weights(0.0, 0.0), "weights sum to 0.*give at least one lane a weight"),
    "weights above the capital": (weights(0.8, 0.4), "weights sum to 1.2: more than the capital"),
    "units and weight": (put("lanes", 0, "weight", value=0.5), "ES: give units .* or a weight .* not both"),
    "neither units nor weight": (without("lanes", 0, "units"), "ES: give units .* or a weight"),
    "version and strategy": (put("lanes", 0, "version", value="v3"), "ES: give a version or a strategy"),
    "version without meaning": (put("lanes", 0, "version", value="best"), "version"),
    "not positive semidefinite": (
        put("correlation", "matrix", value=[[1.0, 1.2], [1.2, 1.0]]),
        "smallest eigenvalue -0.2 is negative",
    ),
    "not symmetric": (put("correlation", "matrix", value=[[1.0, 0.3], [0.2, 1.0]]), "symmetric, with 1 on"),
    "not square": (put("correlation", "matrix", value=[[1.0, 0.3]]), "is not 2 x 2"),
    "other symbols": (put("correlation", "symbols", value=["ES", "GC"]), "has ES, GC, the lanes are"),
    "volatility without correlation": (without("correlation"), "volatility and correlation belong together"),
    "correlation without volatility": (without("limits", "volatility"), "volatility and correlation belong"),
    "drawdown without window": (without("limits", "drawdown", "window"), "drawdown.window"),
    "scale 0": (put("limits", "drawdown", "tiers", 1, "scale", value=0.0), "scale"),
    "tiers not rising": (put("limits", "drawdown", "tiers", 1, "at", value=0.05), "drawdowns must rise"),
    "scales not falling": (put("limits", "drawdown", "tiers", 1, "scale", value=0.6), "scales must fall"),
    "halt before a tier": (put("limits", "drawdown", "halt", value=0.08), "halt 0.08: comes before"),
    "drawdown does nothing": (
        both(without("limits", "drawdown", "tiers"), without("limits", "drawdown", "halt")),
        "neither tiers nor a halt",
    ),
    "group of a stranger": (put("groups", "all", "symbols", value=["CL", "GC"]), "GC has no lane"),
    "group that does nothing": (without("groups", "all", "max_positions"), "without a limit does nothing"),
    "family torn apart": (
        both(
            NO_VOLATILITY,
            put("lanes", value=[GOOD["lanes"][0], SPY, NQ]),
            put("groups", "all", "symbols", value=["ES", "NQ"]),
        ),
        "groups.all: has ES and not SPY, which are one market",
    ),
    "order of others": (
        put("rank", value={"by": "listed", "order": ["ES", "GC"]}),
        "rank: order ES, GC is not that of the lanes",
    ),
    "order without its rule": (put("rank", value={"order": ["ES", "CL"]}), "order belongs to by: listed"),
    "score without id": (put("rank", value={"by": "score"}), "id belongs to by: score"),
    "margin undeclared": (put("limits", "max_margin", value=0.5), "no margin is declared for CL; declare"),
    "capital that is no number": (put("capital", value=float("inf")), "capital"),
    "the optimiser's plan": (
        put("target_volatility", value=0.1), "holds what a portfolio is made of, and no sizes",
    ),
}  # fmt: skip


def written(folder: Path, edit: Edit | None = None) -> Path:
    content = deepcopy(GOOD)
    if edit is not None:
        edit(content)
    path = folder / "portfolio.yml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.mark.parametrize("case", CASES)
def test_a_bad_file_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    edit, message = CASES[case]
    with pytest.raises(ConfigError, match=message) as refused:
        load_portfolio_config(written(tmp_path, edit), BOOK)
    assert "\n" not in str(refused.value)
    assert "portfolio.yml: " in str(refused.value)


def test_the_good_one_is_read(tmp_path: Path) -> None:
    assert load_portfolio_config(written(tmp_path), BOOK).symbols == ("CL", "ES")


STRATEGY = IbsConfig.model_validate({"name": "ibs", "features": ["realised_vol_20_252"]})
BY_RISK = {"size": {"kind": "risk", "risk": 0.01}, "features": ["realised_vol_20_252"]}
STRATEGIES: dict[str, tuple[Edit | None, dict[str, Any], str]] = {
    "execution close": (None, {"execution": "close"}, "ES: execution close fills before.*next_open"),
    "a weight for a fixed size": (
        weights(0.5, 0.5), {}, "ES: weight for a strategy whose size is fixed; give the lane units",
    ),
    "units for another size": (None, BY_RISK, "units for a strategy whose size is risk"),
    "units between two steps": (
        put("lanes", 0, "units", value=1.5), {}, "ES: units 1.5 is no multiple of the size step 1",
    ),
    "volatility that is not read": (
        None, {"features": []}, r"needs realised_vol_20_252.*add it to",
    ),
    "score that is not read": (
        put("rank", value={"by": "score", "id": "rsi_2"}), {}, r"ES: rank needs rsi_2.*add it to",
    ),
    "probability without a model": (
        put("rank", value={"by": "probability"}), {}, "its strategy ibs has no model",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", STRATEGIES)
def test_a_strategy_that_does_not_fit_is_refused(case: str, tmp_path: Path) -> None:
    edit, changes, message = STRATEGIES[case]
    config = load_portfolio_config(written(tmp_path, edit), BOOK)
    with pytest.raises(ConfigError, match=message):
        LaneTerms.of(config, BOOK.market("ES"), STRATEGY.replaced(**changes))


def test_members_have_their_shares_and_whole_contracts(tmp_path: Path) -> None:
    config = load_portfolio_config(
        written(tmp_path, both(members(ENSEMBLE), put("lanes", 0, "units", value=5))), BOOK
    )
    assert (config.names, config.symbols) == (("CL", "ES#fast", "ES#slow"), ("CL", "ES"))
    assert [config.lane(each).units for each in config.names] == [1.0, 2.0, 3.0]
    assert [LaneTerms.of(config, BOOK.market(each), STRATEGY).factor for each in config.names] == [
        1.0,
        2.0,
        3.0,
    ]
    # Ten thirds are ten thirds, three tenths of ten are three.
    thirds = [
        {"name": name, "strategy": name, "share": share}
        for name, share in zip("abc", (0.3, 0.3, 0.4), strict=True)
    ]
    three = load_portfolio_config(
        written(tmp_path, both(members(thirds), put("lanes", 0, "units", value=10))), BOOK
    )
    assert [three.lane(each).units for each in three.names[1:]] == [3.0, 3.0, 4.0]
    odd = load_portfolio_config(written(tmp_path, members(ENSEMBLE)), BOOK)
    with pytest.raises(ConfigError, match=r"ES#fast: units 0\.8, its share of the lane's, is no mul"):
        LaneTerms.of(odd, BOOK.market("ES#fast"), STRATEGY)
    # The order of members says nothing.
    other = load_portfolio_config(written(tmp_path, members(ENSEMBLE[::-1])), BOOK)
    assert other.portfolio_hash == odd.portfolio_hash != three.portfolio_hash


def test_lanes_that_are_not_the_files_are_refused() -> None:
    config = PortfolioConfig.model_validate(GOOD)
    terms = [LaneTerms.of(config, BOOK.market(each), STRATEGY) for each in ("ES", "CL")]
    with pytest.raises(ConfigError, match="lanes ES, CL for CL, ES; give each of them, sorted by name"):
        Coordinator(config, terms, BOOK.session_named("CME"))


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        (
            [[1, 0.9, 0.0], [0.9, 1, 0.8], [0.0, 0.8, 1]],
            r"smallest eigenvalue -0.204 is negative, .* look at CL and ES",
        ),
        ([[1, 0.2, 0.0], [0.3, 1, 0.0], [0.0, 0.0, 1]], "correlation of CL and ES: 0.2: must be"),
        ([[1, 0.0, 0.0], [0.0, 2, 0.0], [0.0, 0.0, 1]], "correlation of ES and ES: 2.0: must be"),
        ([[1, math.nan, 0.0], [math.nan, 1, 0.0], [0.0, 0.0, 1]], "correlation of CL and ES: nan: must be"),
        ([[1, 0.0], [0.0, 1]], "is not 3 x 3"),
    ],
)
def test_a_matrix_that_is_no_correlation_names_its_lanes(matrix: list[list[float]], said: str) -> None:
    symbols = ("CL", "ES", "GC")
    with pytest.raises(ValidationError, match=said):
        CorrelationMatrix(symbols=symbols, matrix=matrix)
    assert CorrelationMatrix(symbols=symbols, matrix=np.ones((3, 3)).tolist()).symbols == symbols
