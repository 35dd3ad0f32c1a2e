"""The IBS family written as a spec: the same trades, through every engine, moved, behind a model, in full."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from lockstep.strategy.families.ibs import IbsConfig
from lockstep.strategy.families.rules import RulesConfig
from lockstep.strategy.veto import Veto
from research.backtest.result import BacktestResult
from research.backtest.run import COMPILED, run_backtest
from research.sweep.inputs import Chances, Shift
from research.sweep.residuals import residuals
from research.sweep.run import sweep, trace
from support import specs
from support.spec_parity import MODEL
from support.specs import World

# What is not its own a spec has as the family has it.
OWN = ("family", "signal", "direction", "entry", "exit", "short_entry", "short_exit")
BOTH_SIDES: dict[str, Any] = {
    "name": "ibs", "direction": "both", "entry": [0.0, 0.25], "exit": [0.7, 1.0], "short_entry": [0.8, 1.0],
    "short_exit": [0.0, 0.3], "max_bars": 5, "stop": {"percent": 1.0},
}  # fmt: skip
DAILY = {
    **BOTH_SIDES,
    "filters": [{"feature": "rsi_2", "max": 60, "side": "long"}, {"feature": "rsi_14", "min": 20}],
}
HOURLY = {
    **BOTH_SIDES, "timeframe": "1h", "stop": {"percent": 0.1}, "window": {"start": "19:00", "end": "15:00"},
    "auto_close": "16:00",
}  # fmt: skip
CASES = {"daily": (DAILY, specs.daily_world), "hourly": (HOURLY, specs.hourly_world)}
BARS = 600


def as_spec(config: IbsConfig) -> RulesConfig:
    """Return the spec that says in conditions what the family says in ranges."""
    content = config.model_dump(mode="json", exclude=set(OWN))
    for side, entry, leave in (("long", "entry", "exit"), ("short", "short_entry", "short_exit")):
        if config.direction in (side, "both"):
            for part, name in (("entry", entry), ("exit", leave)):
                content[f"{side}_{part}"] = {"id": config.signal, "between": list(getattr(config, name))}
    return RulesConfig.model_validate(content)


def case(name: str) -> tuple[IbsConfig, RulesConfig, World]:
    content, world = CASES[name]
    config = IbsConfig.model_validate(content)
    return config, as_spec(config), world(BARS)


def same(one: BacktestResult, other: BacktestResult) -> None:
    for frame in ("trades", "equity", "decisions"):
        pd.testing.assert_frame_equal(getattr(one, frame), getattr(other, frame), check_exact=True)


@pytest.mark.parametrize("veto", [None, MODEL], ids=["alone", "behind a model"])
@pytest.mark.parametrize("name", CASES)
def test_trades_are_the_familys_in_every_engine(name: str, veto: Veto | None) -> None:
    ibs, spec, world = case(name)
    history, symbol, span = world.history, world.symbol, world.span
    found = run_backtest(ibs, history, symbol, span=span, veto=veto)
    assert {"long", "short"} == {"long" if side > 0 else "short" for side in found.trades["side"]}
    assert {"stop", "signal"} <= set(found.trades["exit_reason"])
    assert len(found.trades) > (30 if veto is None else 8)
    same(found, run_backtest(spec, history, symbol, span=span, veto=veto))
    same(found, run_backtest(spec, history, symbol, span=span, veto=veto, engine=COMPILED))
    chances = [None if veto is None else Chances.of(veto, each, history, symbol) for each in (ibs, spec)]
    traces = [
        trace(config, history, symbol, span=span, chances=each)
        for config, each in zip((ibs, spec), chances, strict=True)
    ]
    assert traces[0].fills.tobytes() == traces[1].fills.tobytes()
    equity = found.equity["equity"].to_numpy().tobytes()
    assert traces[0].equity.tobytes() == traces[1].equity.tobytes() == equity


@pytest.mark.parametrize("shift", [0, 7])
@pytest.mark.parametrize("name", CASES)
def test_measures_are_the_familys_also_of_moved_decisions(name: str, shift: int) -> None:
    ibs, spec, world = case(name)
    arguments: dict[str, Any] = {"span": world.span, "shift": Shift(sessions=shift)}
    first, second = (sweep([each], world.history, world.symbol, jobs=1, **arguments) for each in (ibs, spec))
    assert first.metrics.keys() == second.metrics.keys()
    for measure, values in first.metrics.items():
        assert values.tobytes() == second.metrics[measure].tobytes(), measure
    for part in ("blocks", "timing", "sketch", "ones"):
        assert getattr(first, part).tobytes() == getattr(second, part).tobytes(), part
    traces = [trace(each, world.history, world.symbol, **arguments) for each in (ibs, spec)]
    assert traces[0].fills.tobytes() == traces[1].fills.tobytes()
    assert len(traces[1].fills) > 60
    assert traces[1].equity[-1] - spec.capital == second.metrics["net_profit"][0]


def test_residuals_are_the_familys() -> None:
    """What each session earned beyond a constant position; another threshold earned something else."""
    ibs, spec, world = case("daily")
    other = spec.replaced(long_entry={"id": "ibs", "between": [0, 0.24]})
    arguments: dict[str, Any] = {"span": world.span, "jobs": 1}
    wanted = residuals([ibs], world.history, world.symbol, **arguments)
    found = residuals([spec, other], world.history, world.symbol, **arguments)
    assert found.shape == (BARS, 2)
    assert found[:, 0].tobytes() == wanted[:, 0].tobytes()
    assert np.count_nonzero(found[:, 0] != found[:, 1]) > 0
    # The sums that a sweep keeps are those of the same sessions.
    timing = sweep([spec], world.history, world.symbol, **arguments).timing[0]
    assert timing[:2] == pytest.approx([found[:, 0].sum(), (found[:, 0] ** 2).sum()], rel=1e-9)


def test_another_constant_trades_otherwise() -> None:
    ibs, spec, world = case("daily")
    other = spec.replaced(short_entry={"id": "ibs", "between": [0.79, 1]})
    one, two = (run_backtest(each, world.history, world.symbol, span=world.span) for each in (ibs, other))
    with pytest.raises(AssertionError):
        same(one, two)
