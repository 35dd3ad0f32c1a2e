"""The exported Python decides as the evaluator does, and holds nothing that a name could smuggle in."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from lockstep.errors import ConfigError
from lockstep.market.config import load_instruments
from lockstep.strategy.decision import PASS, WINDOW_END, WINDOW_START
from lockstep.strategy.families.rules import RulesConfig, decide
from lockstep.strategy.family import strategy_of
from lockstep.strategy.step import DecisionRules
from research.specs.export import class_name, export_python
from support.drawn_specs import RANGES, spec_contents, values

ROOT = Path(__file__).resolve().parents[2]
MARKET = load_instruments().markets["ES"]
INTRADAY = {"timeframe": "1h", "window": {"start": "10:00", "end": "15:00"}, "auto_close": "16:00"}
IDS = (*RANGES, "atr_pctile_14_252")


def spec(content: dict[str, Any]) -> RulesConfig:
    """Return a spec; a draw whose conditions say nothing together is given up."""
    try:
        found = strategy_of({"family": "rules", **content}, where="drawn")
    except ConfigError:
        assume(False)
        raise
    assert isinstance(found, RulesConfig)
    return found


def exported(config: RulesConfig) -> Any:
    place: dict[str, Any] = {}
    exec(export_python(config), place)
    return place[class_name(config.name)]()


def evaluated(config: RulesConfig, at: dict[str, float], clock: Any, holding: tuple[float, float]) -> str:
    rules = DecisionRules.of(config, MARKET, None, config.feature_ids)
    vector = np.array([at[each] for each in config.feature_ids])
    return rules.reason(decide(vector, PASS, clock, holding, rules.rules, rules.filters))


@given(spec_contents(), st.booleans(), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
@example({"name": "x", "long_entry": {"not": {"id": "ibs", "between": [0, 0.5]}}, "max_bars": 1}, False, 1)
def test_it_is_equal_to_the_evaluator(content: dict[str, Any], intraday: bool, seed: int) -> None:
    config = spec({**content, **(INTRADAY if intraday else {})})
    written, draw = exported(config), np.random.default_rng(seed)
    window = config.rules(MARKET.session)[WINDOW_START : WINDOW_END + 1]
    for vector in values(seed, 60, len(IDS)).tolist():
        at = dict(zip(IDS, vector, strict=True))
        minute = draw.choice((0.0, 900.0, 960.0, 1100.0, 1260.0, 1300.0))
        in_session, past = bool(draw.random() < 0.9), bool(draw.random() < 0.1)
        side, held = int(draw.choice((0, 0, 1, -1))), int(draw.integers(1, 7))
        in_window = bool(window[0] <= minute <= window[1])
        found = written.decide(at, side, held, in_session, in_window, past)
        clock = (float(in_session), minute, float(past))
        assert found == evaluated(config, at, clock, (float(side), float(held)))


@pytest.mark.parametrize("faulty", ["<=", ">"])
def test_another_comparison_would_be_noticed(faulty: str) -> None:
    config = spec({"name": "x", "long_entry": {"id": "ibs", "below": 0.5}, "max_bars": 3})
    text = export_python(config)
    assert text.count('v["ibs"] < 0.5') == 1
    place: dict[str, Any] = {}
    exec(text.replace('v["ibs"] < 0.5', f'v["ibs"] {faulty} 0.5'), place)
    at = {"ibs": 0.5 if faulty == "<=" else 0.6}
    assert place["X"]().decide(at) == "enter long"
    assert evaluated(config, at, (1.0, 0.0, 0.0), (0.0, 0.0)) == "no signal"


@pytest.mark.parametrize(
    "name",
    [
        '"""\nimport os\nos.abort()\n"""',
        "'; raise SystemExit; '",
        "a\\",
        "\u202ekcab\u202c",
        "class",
        "none",
        "2 fast",
        "数",
        "",
    ],
)
def test_a_hostile_name_stays_a_string(name: str) -> None:
    config = spec({"name": name, "long_entry": {"id": "ibs", "below": 0.5}, "max_bars": 3})
    text = export_python(config)
    tree = ast.parse(text)
    kinds = [type(each).__name__ for each in tree.body]
    assert kinds == ["Expr", "ImportFrom", "ClassDef"]
    assert exported(config).name == name
    assert text.isprintable() or all(each.isprintable() or each == "\n" for each in text)


def test_it_reads_as_python_is_written() -> None:
    content = {
        "name": "dip of the week",
        "long_entry": {"all": [
            {"id": "rsi_2", "below": 10},
            {"any": [{"id": "ret_5", "above": 0}, {"not": {"id": "ibs", "below": "ibs_prev"}}]},
        ]},
        "long_exit": {"id": "rsi_2", "at_least": 70},
    }  # fmt: skip
    text = export_python(spec(content))
    assert (
        """
    def long_entry(self, v):
        return (
            v["rsi_2"] < 10
            and (
                v["ret_5"] > 0
                or v["ibs_prev"] <= v["ibs"]
            )
        )

    def long_exit(self, v):
        return v["rsi_2"] >= 70
"""
        in text
    )
    assert max(map(len, text.splitlines())) <= 110


def test_nothing_that_trades_imports_it() -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for folder in ("src", "research", "certify", "operations", "scripts")
        for path in (ROOT / folder).rglob("*.py")
        if "research.specs" in path.read_text(encoding="utf-8") and path.parent.name != "specs"
    }
    assert users <= {"operations/main.py", "operations/verbs.py"}
