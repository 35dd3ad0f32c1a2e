"""A decaying edge leaves a page and a training file that the usual command reads; nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lockstep.errors import ConfigError
from lockstep.models.bundle import Bundle
from lockstep.monitoring.decay import DecaySettings, DecayVerdict
from operations.watch.rotation import write_rotation
from research.training.config import TrainingConfig, load_training
from support import desks, training


def verdict(kind: str = "alert", high: float = 4.6) -> DecayVerdict:
    return DecayVerdict(
        verdict=kind, observations=200, coefficients=(0.2, 0.1, 0.05), p_value=0.001, half_life=2.0, low=1.0,
        high=high, settings=DecaySettings(horizons=3),
    )  # fmt: skip


@pytest.fixture
def config() -> TrainingConfig:
    return training.config()


@pytest.fixture
def bundle(config: TrainingConfig) -> Bundle:
    return replace(desks.bundle("COMP"), training={"config": config.model_dump(mode="json")})


def test_the_challenger_is_the_training_of_the_bundle_with_a_shorter_hold(
    bundle: Bundle, config: TrainingConfig, tmp_path: Path
) -> None:
    page, written = write_rotation(tmp_path, lane="COMP", bundle=bundle, verdict=verdict())
    challenger = load_training(written)
    assert challenger.strategy.max_bars == 4
    assert challenger.config_hash != config.config_hash, "it is another trial"
    same = challenger.replaced(
        strategy={**challenger.strategy.model_dump(), "max_bars": config.strategy.max_bars}
    )
    assert same.config_hash == config.config_hash, "and nothing else differs"
    text = page.read_text()
    assert "Rotate COMP@v1: half-life 2.0 sessions" in text
    assert "Nothing was changed." in text
    assert f"lockstep train --config {written}" in text
    assert write_rotation(tmp_path, lane="COMP", bundle=bundle, verdict=verdict()) == (page, written)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["rotation-COMP.md", "rotation-COMP.yml"]


def test_a_hold_is_counted_in_the_bars_that_the_bundle_decides_on(
    bundle: Bundle, config: TrainingConfig, tmp_path: Path
) -> None:
    patient = config.replaced(strategy={**config.strategy.model_dump(), "max_bars": 40})
    long = replace(bundle, training={"config": patient.model_dump(mode="json")})
    _, hourly = write_rotation(tmp_path, lane="COMP", bundle=long, verdict=verdict(), bars_per_session=7)
    assert load_training(hourly).strategy.max_bars == 28


@pytest.mark.parametrize("kind", ["nothing found", "no edge", "not enough"])
def test_nothing_is_written_where_nothing_is_recommended(bundle: Bundle, tmp_path: Path, kind: str) -> None:
    assert write_rotation(tmp_path / "x", lane="COMP", bundle=bundle, verdict=verdict(kind)) == ()
    assert list(tmp_path.iterdir()) == []


def test_a_bundle_that_cannot_hold_shorter_or_does_not_know_gets_a_page_only(
    bundle: Bundle, config: TrainingConfig, tmp_path: Path
) -> None:
    write_rotation(tmp_path, lane="COMP", bundle=bundle, verdict=verdict())
    brief = config.replaced(strategy={**config.strategy.model_dump(), "max_bars": 2})
    short = replace(bundle, training={"config": brief.model_dump(mode="json")})
    (page,) = write_rotation(tmp_path, lane="COMP", bundle=short, verdict=verdict())
    assert "at most 2 bars already" in page.read_text()
    assert not (tmp_path / "rotation-COMP.yml").exists(), "no stale file beside it"
    (page,) = write_rotation(tmp_path, lane="COMP", bundle=replace(bundle, training={}), verdict=verdict())
    assert "does not say how it was trained" in page.read_text()


def test_a_training_that_this_version_cannot_read_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    odd = replace(bundle, training={"config": {"symbol": "COMP"}})
    with pytest.raises(ConfigError):
        write_rotation(tmp_path, lane="COMP", bundle=odd, verdict=verdict())
    assert list(tmp_path.iterdir()) == []
