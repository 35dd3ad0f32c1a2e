"""`StrategyConfig` and `IbsConfig`: what is accepted, refused, hashed and written."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from lockstep.errors import ConfigError
from lockstep.market.asof import MaxAge
from lockstep.settings import validated
from lockstep.strategy.families.ibs import IbsConfig
from lockstep.strategy.family import load_strategy

CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "strategies").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configs_load_and_round_trip(path: Path, tmp_path: Path) -> None:
    config = load_strategy(path)
    assert config.name == path.stem
    copy = tmp_path / "copy.yaml"
    copy.write_text(config.to_yaml())
    assert load_strategy(copy) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\nmax_bar: 3", r"unknown key 'max_bar'; did you mean 'max_bars'\?"),
        (
            "name: x\nfilters: [{featur: rsi_2, min: 1}]",
            r"unknown key 'filters.0.featur'; did you mean 'feature'\?",
        ),
        ("timeframe: 1d", "key 'name' is missing"),
        ("name: x\nentry: [0.5, 0.1]", r"bounds \[0.5, 0.1\]: the first must be <= the second"),
        ("name: x\nfilters: [{feature: rsi_2}]", "give min, max or both"),
        ("name: x\nstop: {percent: 1, atr: 2}", "give either percent or atr"),
        ("name: x\nstop: {}", "give either percent or atr"),
        ("name: x\ntimeframe: 90m", "timeframe '90m'"),
        ("name: x\nauto_close: '15:00'", "need an intraday timeframe"),
        ("name: x\ntimeframe: 1h\nauto_close: '25:00'", "auto_close '25:00'"),
        ("name: x\ndirection: both\nentry: [0, 0.6]\nshort_entry: [0.5, 1]", "entry and short_entry overlap"),
        ("name: x\ncapital: -1", "capital -1"),
        ("name: x\nentry: [0, .inf]", "entry"),
        ("[1, 2]", "expected a mapping"),
        ("name: [", "cannot be read as YAML"),
    ],
)
def test_bad_configs_get_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        IbsConfig.load(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        IbsConfig.load(tmp_path / "none.yaml")


def test_frozen() -> None:
    with pytest.raises(ValidationError):
        IbsConfig(name="x").name = "y"  # type: ignore[misc]


def test_replaced_is_validated() -> None:
    config = IbsConfig(name="x")
    assert config.replaced(max_bars=3).max_bars == 3
    with pytest.raises(ConfigError, match="max_bars 0"):
        config.replaced(max_bars=0)


def test_hash_covers_everything_but_the_name() -> None:
    config = IbsConfig(name="x")
    assert config.config_hash == IbsConfig(name="y").config_hash
    for change in ({"max_bars": 3}, {"entry": (0.0, 0.1)}, {"capital": 1.0}, {"features": ("rsi_2",)}):
        assert config.replaced(**change).config_hash != config.config_hash


def test_feature_ids_are_unique_and_in_order() -> None:
    config = IbsConfig.model_validate(
        {
            "name": "x",
            "filters": [
                {"feature": "rsi_2", "max": 10},
                {"feature": "rsi_2", "min": 1},
                {"feature": "ibs@NQ", "min": 0},
            ],
            "stop": {"atr": 1.0},
            "target": {"percent": 1.0},
            "size": {"kind": "risk", "risk": 0.01, "feature": "atr_20"},
            "features": ["atr_14", "adx_14"],
        }
    )
    assert config.feature_ids == ("ibs", "rsi_2", "ibs@NQ", "atr_14", "atr_20", "adx_14")
    assert config.filter_rules().reshape(-1, 4).tolist() == [
        [1.0, -math.inf, 10.0, 0.0],
        [1.0, 1.0, math.inf, 0.0],
        [2.0, 0.0, math.inf, 0.0],
    ]
    assert config.max_age.limits == MaxAge(bars=3, days=4)


# Written by the version before sizes knew regimes.
OLD_HASHES = {
    "fixed": "061b78b786086830bde3c8eee17d726008c4d79c2d046f6d911628e7361777c0",
    "risk": "1572a8d19cc0177b8f516fe2ae98fb1f28b2e277722b5ef39218d44e64c9723f",
}


def test_a_size_without_regimes_keeps_its_hash_and_its_file() -> None:
    fixed = IbsConfig.model_validate({"name": "x", "size": {"kind": "fixed", "contracts": 3}})
    risk = IbsConfig.model_validate({"name": "x", "size": {"kind": "risk", "risk": 0.01}})
    assert {each.size.kind: each.config_hash for each in (fixed, risk)} == OLD_HASHES
    assert "by_regime" not in fixed.to_yaml(defaults=True)
    assert fixed.replaced(size={"contracts": 3, "by_regime": {"bear": 0.5}}).config_hash != fixed.config_hash


def test_a_size_by_regime_puts_the_regime_into_the_vector() -> None:
    config = IbsConfig.model_validate(
        {"name": "x", "size": {"kind": "risk", "risk": 0.01, "by_regime": {"bear": 0.5}}}
    )
    assert config.feature_ids == ("ibs", "atr_14", "regime_200_0.5_14_252_0.8")
    assert config.replaced(size=config.size.model_dump()) == config
    assert validated(IbsConfig, yaml.safe_load(config.to_yaml()), where="again").size == config.size


@pytest.mark.parametrize(
    ("by", "rule"),
    [
        ({"bear": 1.5}, r"size\.fixed\.by_regime\.bear 1\.5: .*less than or equal to 1"),
        ({"bear": -0.1}, r"size\.fixed\.by_regime\.bear -0\.1: .*greater than or equal to 0"),
        ({"bear": math.nan}, r"size\.fixed\.by_regime\.bear nan"),
        ({}, r"size\.fixed\.by_regime: all factors are 1: give one between or leave by_regime out"),
        (dict.fromkeys(("bull", "bear", "sideways", "high_volatility"), 0), r"all factors are 0"),
        ({"bear": 0.5, "feature": "rsi_2"}, r"must be an id of the feature regime"),
        ({"bear": 0.5, "feature": "regime_200_0.5_14_252_0.8%20"}, r"without rank or product"),
        ({"beer": 0.5}, r"unknown key 'size\.fixed\.by_regime\.beer'; did you mean 'bear'"),
    ],
)
def test_a_regime_only_makes_sizes_smaller(by: dict[str, object], rule: str) -> None:
    with pytest.raises(ConfigError, match=rule):
        validated(IbsConfig, {"name": "x", "size": {"kind": "fixed", "by_regime": by}}, where="here")
