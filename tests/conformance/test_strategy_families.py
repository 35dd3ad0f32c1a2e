"""What every strategy family must keep to: joining the registry puts a family under all of these tests."""

from __future__ import annotations

import functools
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lockstep.compiled import python_source
from lockstep.errors import ConfigError
from lockstep.market.config import load_instruments
from lockstep.market.loader import load_history
from lockstep.strategy import decision as d
from lockstep.strategy.bundled import bundled_strategy
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.families.ibs import IBS
from lockstep.strategy.family import Family, families, load_family, strategy_of
from research.backtest.run import run_backtest
from research.experiments.paths import placed
from research.experiments.variants import VariantSpace, config_hashes, draw
from research.sweep.run import sweep, trace
from research.sweep.variants import entry_parts, exit_parts
from support import family_faults
from support.examples import examples

OWN = Path(__file__).resolve().parents[1] / "support/toys/family.py"
load_family(OWN)
FAMILIES = families()
MARKET = load_instruments().market("SPY")
ALL_RULES: dict[str, Any] = {
    "max_bars": 7,
    "stop": {"percent": 1.0},
    "target": {"atr": 2.5, "feature": "atr_14"},
    "size": {"kind": "risk", "risk": 0.02, "feature": "atr_14"},
    "filters": ({"feature": "rsi_2", "max": 90.0, "side": "long"},),
}
each_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def plain(family: Family, **changes: Any) -> StrategyConfig:
    return family.example(name="plain", **changes)


def widest(family: Family, **changes: Any) -> StrategyConfig:
    """Return the family's defaults with the last typical word of each field that is one: both sides."""
    words = {path: values[-1] for path, values in family.typical.items() if isinstance(values[-1], str)}
    return plain(family, **{path: word for path, word in words.items() if path in family.entry}, **changes)


def changed(family: Family, values: dict[str, Any]) -> StrategyConfig | None:
    """Return the family's defaults with values at their paths, None where a rule forbids them."""
    try:
        return strategy_of(placed(plain(family).model_dump(), values) | {"family": family.name}, where="x")
    except ConfigError:
        return None


def drawn(family: Family, values: dict[str, tuple[Any, ...]]) -> st.SearchStrategy[StrategyConfig]:
    optional = {path: st.sampled_from(each) for path, each in values.items()}
    found = st.fixed_dictionaries({}, optional=optional).map(functools.partial(changed, family))
    return found.filter(lambda config: config is not None)  # type: ignore[return-value]


def test_there_is_more_than_one() -> None:
    assert sorted(FAMILIES) == ["ibs", "ma_cross", "rules"]


@each_family
def test_typical_values_vary_every_field_of_its_own(family: Family) -> None:
    own = {*family.entry, *family.exit, *family.layout}
    assert {path.partition(".")[0] for path in family.typical} == own


@each_family
def test_files_hashes_and_bundles_keep_the_configuration(family: Family) -> None:
    for path, values in family.typical.items():
        configs = [config for each in values if (config := changed(family, {path: each})) is not None]
        assert len(configs) > 1, path
        assert len({each.config_hash for each in configs}) == len(configs)
        for config in configs:
            for text in (config.to_yaml(), config.to_yaml(defaults=True)):
                assert strategy_of(yaml.safe_load(text), where="x") == config
            said = bundled_strategy(config)
            assert said["family"] == family.name
            assert strategy_of(said["config"], where="x") == config


def differences(family: Family) -> list[str]:
    """Return what a change of one field changes although the family does not declare it."""
    found = []
    for path, values in family.typical.items():
        field = path.partition(".")[0]
        configs = [config for each in values if (config := changed(family, {path: each})) is not None]
        for one, other in pairwise(configs):
            if field not in family.layout_fields and layout(one) != layout(other):
                found.append(f"{field}: layout")
            elif field not in family.entry_fields and entry(one) != entry(other):
                found.append(f"{field}: entry")
            elif field not in family.exit_fields and left(one) != left(other):
                found.append(f"{field}: exit")
    return found


def layout(config: StrategyConfig) -> object:
    return config.feature_ids, len(config.family_rules), config.exit_slots


def entry(config: StrategyConfig) -> str:
    return repr(entry_parts(config, MARKET, 0.5))


def left(config: StrategyConfig) -> str:
    return repr(exit_parts(config, MARKET))


@each_family
def test_fields_are_declared_for_what_they_are(family: Family) -> None:
    assert differences(family) == []


@each_family
@settings(parent=relaxed, max_examples=examples(15))
@given(data=st.data())
def test_combinations_drawn_at_once_are_those_made_one_by_one(family: Family, data: st.DataObject) -> None:
    paths = data.draw(st.lists(st.sampled_from(sorted(family.typical)), min_size=1, max_size=3, unique=True))
    space = VariantSpace(base=plain(family), values={path: family.typical[path] for path in paths})
    numbers = range(space.size)
    found, alone = draw(space, numbers), [space.variant(number) for number in numbers]
    assert list(found.configs) == [each.config for each in alone if each.config is not None]
    assert dict(found.errors) == {row: each.error for row, each in enumerate(alone) if each.error}
    assert config_hashes(found.configs) == [each.config_hash for each in found.configs]


number = st.one_of(st.just(math.nan), st.floats(-3.0, 3.0), st.floats(0.0, 1.0))


@pytest.mark.no_cover
@each_family
@settings(parent=relaxed, max_examples=examples(75))
@given(data=st.data())
def test_its_decisions_keep_to_what_all_families_promise(family: Family, data: st.DataObject) -> None:
    config = data.draw(drawn(family, {**family.typical, "max_bars": (None, 3)}))
    config = config.replaced(filters=[{"feature": config.feature_ids[0], "min": -1.0, "max": 2.0}])
    width = len(config.feature_ids)
    values = np.array(data.draw(st.lists(number, min_size=width, max_size=width)))
    clock = (float(data.draw(st.booleans())), 30.0, float(data.draw(st.booleans())))
    side = data.draw(st.sampled_from([-1.0, 0.0, 1.0]))
    holding = (side, float(data.draw(st.integers(1, 5))) if side else 0.0)
    rules, filters = config.rules(MARKET.session, 0.5), config.filter_rules()

    def decided(probability: float = d.PASS, values: Any = values, filters: Any = filters) -> int:
        code = family.decide(values, probability, clock, holding, rules, filters)
        assert code == python_source(family.decide)(values, probability, clock, holding, rules, filters)
        return int(code)

    code = decided()
    assert code in d.NAMES or code >= d.COLUMN_CODES
    if clock[d.IN_SESSION] == 0.0:
        assert code == d.OUTSIDE_SESSION
    elif side:
        assert code in d.EXITS or code == d.HOLD or code >= d.MISSING
        late = clock[d.PAST_AUTO_CLOSE] or holding[d.BARS_HELD] >= (config.max_bars or math.inf)
        assert code in d.EXITS if late else True
    else:
        assert code not in d.EXITS
    if code in d.ENTRIES:
        assert not np.isnan(values).any()
        assert not clock[d.PAST_AUTO_CLOSE]
        assert decided(0.49) == d.VETO
        assert decided(filters=(0.0, 5.0, 6.0, 0.0)) == d.FILTERED
        for column in range(values.size):
            lacking = values.copy()
            lacking[column] = math.nan
            assert decided(values=lacking) == d.MISSING + column


@functools.cache
def spx() -> Any:
    return load_history("SPX", None, start="2010-01-04", end="2014-12-31")


def first_difference(config: StrategyConfig) -> tuple[str, int]:
    """Return where sweep and Backtrader part, empty for nowhere, and how many orders were filled."""
    history = spx()
    backtest, traced = run_backtest(config, history, "SPX"), trace(config, history, "SPX")
    equity = backtest.equity["equity"].to_numpy()
    filled = [each for each in backtest.records.orders if each.status == "completed"]
    swept = sweep([config], history, "SPX", jobs=1).metrics["net_profit"][0]
    if [each.price for each in filled] != traced.fills[:, 3].tolist():
        return "fills", len(filled)
    if traced.equity.tobytes() != equity.tobytes():
        return "equity", len(filled)
    return "" if swept == equity[-1] - config.capital else "net profit", len(filled)


def numbers_of(family: Family) -> dict[str, tuple[Any, ...]]:
    """Return the paths whose values are numbers: others make other loops, which take seconds to compile."""
    return {
        path: values
        for path, values in family.typical.items()
        if all(isinstance(each, float) for each in values)
        and len({layout(config) for each in values if (config := changed(family, {path: each}))}) == 1
    }


# For the first family, contract/test_sweep_equality.py draws every rule.
COMPARED = [
    *(pytest.param(family, {}, id=f"{family.name}: own rules") for family in FAMILIES.values()),
    *(
        pytest.param(each, ALL_RULES, id=f"{each.name}: all rules")
        for each in FAMILIES.values()
        if each is not IBS
    ),
]


@pytest.mark.no_cover
@pytest.mark.parametrize(("family", "rules"), COMPARED)
@settings(parent=relaxed, max_examples=examples(3))
@given(data=st.data())
def test_sweep_and_backtrader_are_equal(family: Family, rules: dict[str, Any], data: st.DataObject) -> None:
    values = data.draw(
        st.fixed_dictionaries({path: st.sampled_from(each) for path, each in numbers_of(family).items()})
    )
    config = strategy_of(placed(widest(family, **rules).model_dump(), values), where="drawn")
    where, _ = first_difference(config)
    assert where == "", config.to_yaml()


@pytest.mark.no_cover
@each_family
@settings(parent=relaxed, max_examples=examples(4))
@given(data=st.data())
def test_the_compiled_engine_and_backtrader_are_equal(family: Family, data: st.DataObject) -> None:
    """Every record, bit for bit, whatever the family and all families together declare."""
    rules = {name: (value,) for name, value in ALL_RULES.items()}
    config = data.draw(drawn(family, {**family.typical, **rules}))
    run_backtest(config, spx(), "SPX", engine="compiled", verify=True)


@each_family
def test_it_trades(family: Family) -> None:
    """What is compared is not nothing."""
    where, fills = first_difference(widest(family))
    assert where == ""
    assert fills > 20


@each_family
def test_variants_of_a_grid_are_those_alone(family: Family) -> None:
    space = VariantSpace(base=widest(family), values=numbers_of(family))
    configs = draw(space, range(space.size)).configs
    together = sweep(configs, spx(), "SPX", jobs=1).metrics["net_profit"]
    some = range(0, len(configs), max(1, len(configs) // 12))
    alone = [sweep([configs[row]], spx(), "SPX", jobs=1).metrics["net_profit"][0] for row in some]
    assert [together[row] for row in some] == alone
    assert len(set(alone)) > 5


# Negative controls: a family that is wrong is found.


def test_a_field_that_is_declared_wrongly_is_found() -> None:
    assert differences(family_faults.exit_called_entry()) == ["exit_atr: exit"] * 2


@pytest.mark.no_cover
def test_an_entry_that_reads_an_exit_slot_is_found() -> None:
    with family_faults.registered(family_faults.reads_the_exit_slot()) as family:
        assert first_difference(widest(family, exit_atr=0.3))[0] != ""
