"""From a proposal to a configuration: what it means, and one line for each that means nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lockstep.errors import LockstepError
from lockstep.market.history import History
from lockstep.market.loader import load_history
from research.agents.proposal import FoldMeasures, Niche, Proposal, TrialMeasures
from research.agents.specs import (
    AgentSpec,
    SpecGround,
    SpecTerms,
    is_stand_in,
    niche_of,
    spec_of,
    stand_in,
    with_versions,
)
from research.zoo.model_spec import ModelSpec

CALM = ModelSpec(task="regime", features=("ibs", "rsi_2"))
SAME = ModelSpec(task="regime", features=("rsi_2", "ibs"))
LOUD = ModelSpec(task="volatility", features=("ibs",))
DIP: dict[str, Any] = {"long_entry": {"id": "rsi_2", "below": 10}, "max_bars": 5}


@pytest.fixture(scope="module")
def ground() -> SpecGround:
    history = load_history("COMP", start="2017-01-03")
    only = {key: bars for key, bars in history.bars.items() if key.symbol == "COMP"}
    return SpecGround(
        symbol="COMP", terms=SpecTerms(), history=History(bars=only, markets=history.markets)
    )  # fmt: skip


def read(spec: dict[str, Any], ground: SpecGround, **models: ModelSpec) -> AgentSpec:
    return spec_of(Proposal(spec=spec, models=models), ground)


def with_model(alias: str, value: float = 0.5) -> dict[str, Any]:
    return {
        "long_entry": {"all": [DIP["long_entry"], {"id": f"model:{alias}", "below": value}]},
        "max_bars": 5,
    }


def test_two_names_of_a_model_mean_the_same(ground: SpecGround) -> None:
    one, two = read(with_model("calm"), ground, calm=CALM), read(with_model("quiet"), ground, quiet=SAME)
    assert one.config.config_hash == two.config.config_hash
    assert one.models == {stand_in(CALM): CALM}
    other = replace_features(CALM, ("ibs",))
    assert read(with_model("calm"), ground, calm=other).config.config_hash != one.config.config_hash


def replace_features(spec: ModelSpec, features: tuple[str, ...]) -> ModelSpec:
    return spec.model_copy(update={"features": features})


def test_the_kind_follows_from_what_is_read(ground: SpecGround) -> None:
    alone = {"long_entry": {"id": "model:calm", "above": 0.5}, "stop": {"atr": 2}, "max_bars": 5}
    assert read(DIP, ground).kind == "technical"
    assert read(with_model("calm"), ground, calm=CALM).kind == "hybrid"
    assert read(alone, ground, calm=CALM).kind == "ml"


def test_the_terms_are_the_humans(ground: SpecGround) -> None:
    rich = replace(ground, terms=SpecTerms(capital=5_000.0))
    assert read(DIP, rich).config.capital == 5_000.0
    assert read(DIP, rich).config.config_hash != read(DIP, ground).config.config_hash


def test_a_version_takes_the_place_of_its_stand_in(ground: SpecGround) -> None:
    found = read(with_model("calm"), ground, calm=CALM)
    column = "model:COMP_regime_h1@v2#0123456789ab"
    config = with_versions(found.config, {stand_in(CALM): column})
    assert column in config.written_ids
    assert not any(is_stand_in(each) for each in config.written_ids)
    assert with_versions(found.config, {}) is found.config


REFUSED: dict[str, tuple[dict[str, Any], dict[str, ModelSpec], str]] = {
    "capital": (
        {**DIP, "capital": 5},
        {},
        "proposal: capital is not a researcher's to say; leave it out: long_entry, long_exit, short_entry, "
        "short_exit, score, veto, max_bars, stop, target are",
    ),
    "close fills": ({**DIP, "execution": "close"}, {}, "proposal: execution is not a researcher's to say"),
    "misspelled": ({"long_enty": 1}, {}, "proposal: unknown key 'long_enty'; did you mean 'long_entry'?"),
    "an unknown id": (
        {"long_entry": {"id": "rsy_2", "below": 10}, "max_bars": 5},
        {},
        "feature id 'rsy_2': no feature 'rsy'; did you mean rsi_2?",
    ),
    "code in an id": (
        {"long_entry": {"id": "__import__('os')", "below": 10}, "max_bars": 5},
        {},
        "feature id \"__import__('os')\": ",
    ),
    "a later bar": (
        {"long_entry": {"id": "ret_1~-1", "above": 0}, "max_bars": 5},
        {},
        "feature id 'ret_1~-1'",
    ),
    "NaN": (
        {"long_entry": {"id": "ibs", "below": float("nan")}, "max_bars": 5},
        {},
        "proposal: long_entry.below nan: expected a finite number",
    ),
    "outside its range": (
        {"long_entry": {"id": "rsi_2", "below": 101}, "max_bars": 5},
        {},
        "proposal: condition on rsi_2: 101 is outside its range, 0 to 100; correct it",
    ),
    "too many digits": (
        {"long_entry": {"id": "ibs", "below": 0.12345}, "max_bars": 5},
        {},
        "proposal: long_entry.below 0.12345: give at most 4 significant digits: 0.1235",
    ),
    "an exit that never comes": (
        {"long_entry": {"id": "ibs", "below": 0.2}},
        {},
        "proposal: long_entry: nothing would ever close the position",
    ),
    "always true": (
        {"long_entry": {"any": [{"id": "ibs", "below": 0.5}, {"id": "ibs", "at_least": 0.5}]}, "max_bars": 5},
        {},
        "proposal: long_entry is true whatever the values; correct it, or drop it",
    ),
    "bars that are not there": (
        {"long_entry": {"id": "rsi_2@NQ", "below": 10}, "max_bars": 5},
        {},
        "proposal: reads bars of NQ:1d, and there are those of COMP:1d; drop it",
    ),
    "a model that nobody asked for": (
        with_model("clam"),
        {"calm": CALM},
        "proposal: model:clam: no model is asked for under this name; did you mean 'calm'?",
    ),
    "a model that is not read": (
        DIP,
        {"calm": CALM},
        "proposal: model 'calm' is asked for and not read; read it, or drop it",
    ),
    "a model of models": (
        with_model("calm"),
        {"calm": replace_features(CALM, ("model:COMP@v1#0123456789ab",))},
        "proposal: model 'calm': reads model:COMP@v1#0123456789ab, a model; name features only",
    ),
    "a model of nothing known": (
        with_model("calm"),
        {"calm": replace_features(CALM, ("rsy_2",))},
        "feature id 'rsy_2': no feature 'rsy'; did you mean rsi_2?",
    ),
    "what a probability never is": (
        with_model("calm", 1.5),
        {"calm": CALM},
        f"proposal: condition on {stand_in(CALM)}: 1.5 is outside its range, 0 to 1; correct it",
    ),
    "a version that is not there": (
        {"long_entry": {"id": "model:COMP_regime_h1@v9#0123456789ab", "below": 0.5}, "max_bars": 5},
        {},
        "proposal: model:COMP_regime_h1@v9#0123456789ab: ",
    ),
    "a stop of a model": (
        {**DIP, "stop": {"atr": 2, "feature": "model:calm"}},
        {"calm": LOUD},
        "proposal: stop and target read features, not model:calm; name one",
    ),
    "no mapping": ([1], {}, "proposal: spec [1]: expected a mapping"),  # type: ignore[dict-item]
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_in_one_line(case: str, ground: SpecGround) -> None:
    spec, models, expected = REFUSED[case]
    with pytest.raises(LockstepError) as found:
        read(spec, ground, **models)
    said = str(found.value)
    assert said.startswith(expected)
    assert "\n" not in said
    assert len(said) <= 500


def test_a_value_of_volatility_has_no_such_range(ground: SpecGround) -> None:
    assert read(with_model("loud", 1.5), ground, loud=LOUD).kind == "hybrid"


def measures(exposure: float, holding: float, trades: int = 30) -> TrialMeasures:
    fold = FoldMeasures(
        number=0, trades=trades, sharpe=1.0, result=0.0, cost_share=0.1, exposure=exposure, holding=holding
    )  # fmt: skip
    return TrialMeasures(
        fitness=1.0, sharpe=1.0, folds=(fold,) * 6, by_regime={}, largest=0.1, missing=0.0, behaviour="x"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("exposure", "holding", "cell"),
    [(0.04, 1.0, (0, 0)), (0.05, 2.0, (1, 0)), (0.2, 2.1, (2, 1)), (0.5, 15.1, (3, 3))],
)
def test_niches_have_bounds(
    ground: SpecGround, exposure: float, holding: float, cell: tuple[int, int]
) -> None:
    config = read({**DIP, "short_entry": {"id": "atr_pctile_14_252", "above": 0.5}}, ground).config
    found = niche_of(config, measures(exposure, holding))
    assert (found.exposure, found.holding, found.side) == (*cell, "both")
    alone = niche_of(read(DIP, ground).config, measures(0.1, float("nan"), trades=0))
    assert alone == Niche(feature="oscillators", side="long", exposure=1, holding=0)
