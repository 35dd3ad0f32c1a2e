"""The registry of strategy families: what it finds, what it refuses, what a fingerprint covers."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, Self

import pytest
from pydantic import BaseModel, model_validator

from lockstep.errors import ConfigError, StrategyError
from lockstep.settings import validated
from lockstep.strategy import family as registry
from lockstep.strategy.bundled import bundled_strategy, config_of
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.families.ibs import IBS, IbsConfig
from lockstep.strategy.family import AnyStrategy, Family, families, load_family, load_strategy, strategy_of

ROOT = Path(__file__).resolve().parents[2]
TOY = ROOT / "tests/support/toys/family.py"


@pytest.fixture(autouse=True)
def unregistered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test begins with the package's families and leaves no other behind."""
    families()
    monkeypatch.setattr(registry, "_registered", {"ibs": IBS})
    monkeypatch.setenv(registry.VARIABLE, "")
    load_family.cache_clear()
    yield
    load_family.cache_clear()


def written(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def toy(folder: Path, *changes: tuple[str, str], name: str = "mine.py") -> Family:
    text = TOY.read_text(encoding="utf-8")
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    registry._registered.pop("ma_cross", None)
    load_family.cache_clear()
    return load_family(written(folder, text, name))


class TestFinding:
    def test_a_strategy_without_a_family_is_of_the_first(self) -> None:
        config = strategy_of({"name": "x"}, where="x")
        assert type(config) is IbsConfig
        assert config.to_yaml() == "{name: x}\n"

    def test_the_variable_names_files(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="x: unknown strategy family 'ma_cross'; known are ibs"):
            strategy_of({"name": "x", "family": "ma_cross"}, where="x")
        path = shutil.copy(TOY, tmp_path / "mine.py")
        monkeypatch.setenv(registry.VARIABLE, str(path))
        assert list(families()) == ["ibs", "ma_cross"]
        assert strategy_of({"name": "x", "family": "ma_cross"}, where="x").family == "ma_cross"
        with pytest.raises(ConfigError, match="unknown strategy family 'ma_cros'; did you mean 'ma_cross'"):
            strategy_of({"name": "x", "family": "ma_cros"}, where="x")

    def test_a_desk_has_a_folder_of_them(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "families").mkdir()
        shutil.copy(TOY, tmp_path / "families/mine.py")
        written(tmp_path / "families", "raise ValueError", "_helper.py")
        written(tmp_path, "{}", "lockstep.yml")
        monkeypatch.chdir(tmp_path)
        assert list(families()) == ["ibs"], "the variable is set, and empty"
        monkeypatch.delenv(registry.VARIABLE)
        monkeypatch.delenv("LOCKSTEP_HOME", raising=False)
        assert list(families()) == ["ibs", "ma_cross"]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("1 / 0", "ZeroDivisionError: division by zero; fix the file"),
            ("def", "SyntaxError: invalid syntax"),
            ("x = 1", "registers 0 families; it must register one"),
        ],
    )
    def test_a_file_that_cannot_be_used(self, tmp_path: Path, text: str, message: str) -> None:
        path = written(tmp_path, text)
        with pytest.raises(ConfigError, match=rf"strategy family {path}: {message}"):
            load_family(path)
        assert list(registry._registered) == ["ibs"]

    def test_a_file_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="no such Python file; correct the path"):
            load_family(tmp_path / "none.py")

    def test_two_files_of_one_name(self, tmp_path: Path) -> None:
        toy(tmp_path)
        with pytest.raises(ConfigError, match=r"family 'ma_cross': \w+_mine and \w+_other both call"):
            load_family(Path(shutil.copy(TOY, tmp_path / "other.py")))

    @pytest.mark.parametrize("content", [{"family": 3}, {"family": None}, {"family": ["ibs"]}])
    def test_a_family_that_is_no_name(self, content: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match="x: unknown strategy family"):
            strategy_of({"name": "x", **content}, where="x")

    def test_a_file_of_another_family_is_not_read_as_ibs(self, tmp_path: Path) -> None:
        toy(tmp_path)
        path = written(tmp_path, "family: ma_cross\nname: x\nfast: 7\n", "x.yaml")
        assert load_strategy(path).feature_ids[0] == "sma_spread_atr_7_50_14"
        with pytest.raises(ConfigError, match="unknown key 'fast'"):
            IbsConfig.load(path)

    def test_errors_within_another_file_keep_their_place(self, tmp_path: Path) -> None:
        toy(tmp_path)

        class Outer(BaseModel):
            strategy: AnyStrategy

        content = {"family": "ma_cross", "name": "x", "fast": 60}
        with pytest.raises(ConfigError, match=r"f\.yml: strategy: fast 60: must be below slow, 50"):
            validated(Outer, {"strategy": content}, where="f.yml")
        with pytest.raises(ConfigError, match=r"f\.yml: unknown key 'strategy\.fats'"):
            validated(Outer, {"strategy": {**content, "fats": 5, "fast": 5}}, where="f.yml")
        read = validated(Outer, {"strategy": {**content, "fast": 5}}, where="f.yml")
        assert validated(Outer, read.model_dump(mode="json"), where="f.yml") == read


class Careless(StrategyConfig):
    family: Literal["careless"] = "careless"
    low: float = 0.0
    high: float = 1.0


class Needy(StrategyConfig):
    family: Literal["needy"] = "needy"
    low: float


class Joint(Careless):
    @model_validator(mode="after")
    def _rise(self) -> Self:
        return self


@pytest.mark.parametrize(
    ("config", "changes", "message"),
    [
        (Careless, {"entry": ("low",)}, "family 'careless': high: every field of Careless must be declared"),
        (Careless, {"entry": ("low", "high", "hgih")}, "family 'careless': hgih: every field"),
        (Needy, {"entry": ("low",)}, "family 'needy': low: give every field of Needy a default"),
        (Joint, {"entry": ("low", "high")}, "Joint has a rule about several fields; name them in `related`"),
    ],
)
def test_a_declaration_that_is_incomplete(
    config: type[StrategyConfig], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(StrategyError, match=message):
        Family(config=config, decide=IBS.decide, typical={}, **changes)


class TestCode:
    def test_what_says_nothing_changes_nothing(self, tmp_path: Path) -> None:
        first = toy(tmp_path).fingerprint
        changes = (
            ("Return the decision at a completed bar", "Decide at a bar"),
            ("import math\n", "import math  # for NaN\nimport json  # noqa: F401\n"),
        )
        assert toy(tmp_path, *changes, name="moved.py").fingerprint == first

    @pytest.mark.parametrize(
        "change",
        [
            ("spread >= rules[LONG_ABOVE]", "spread > rules[LONG_ABOVE]"),
            ("fast: PositiveInt = 10", "fast: PositiveInt = 11"),
            ("            self.exit_atr,\n", "            -self.exit_atr,\n"),
            ("SPREAD, SLOPE = 0, 1", "SPREAD, SLOPE = 1, 0"),
        ],
    )
    def test_every_rule_is_in_the_fingerprint_and_in_the_hash(
        self, tmp_path: Path, change: tuple[str, str]
    ) -> None:
        before, after = toy(tmp_path), toy(tmp_path, change)
        assert before.fingerprint != after.fingerprint
        values = {"fast": 5, "slow": 20}
        assert before.config(name="x", **values).config_hash != after.config(name="x", **values).config_hash

    def test_a_kernel_of_another_file_is_in_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def other(values: Any) -> int:
            return 7

        def decide(values: Any) -> int:
            return other(values)

        assert replace(IBS, decide=decide).fingerprint != replace(IBS, decide=other).fingerprint

    def test_a_bundle_is_bound_to_it(self, tmp_path: Path) -> None:
        bundle: Any = SimpleNamespace(
            symbol="ES", of_zoo=False, strategy=bundled_strategy(toy(tmp_path).config(name="x"))
        )
        assert config_of(bundle) == registry.families()["ma_cross"].config(name="x")
        toy(tmp_path, ("spread >= rules", "spread > rules"))
        with pytest.raises(StrategyError, match=r"ES: the bundle's strategy .* family's code is another"):
            config_of(bundle)
        registry._registered.pop("ma_cross")
        with pytest.raises(StrategyError, match="ES: unknown strategy family 'ma_cross'"):
            config_of(bundle)

    def test_the_first_family_keeps_its_hashes(self) -> None:
        """Recorded before families had names; bundles, ledgers and files hold such hashes."""
        config = IbsConfig.model_validate({"name": "x", "stop": {"percent": 1.0}})
        assert config.config_hash == "06930999f9b6f2b0b91fa552896ba110794f174b98b5d1bf6720a3443b015496"
        strategy = {"family": "IbsConfig", "config": config.model_dump(mode="json")}
        bundle: Any = SimpleNamespace(
            symbol="ES", of_zoo=False, strategy={**strategy, "config_hash": config.config_hash}
        )
        assert config_of(bundle) == config


def test_no_other_module_names_the_first_family() -> None:
    """A second family must not need an edit anywhere; three files may know the class by name."""
    own = {"src/strategy/families/ibs.py", "src/strategy/ibs_strategy.py"}
    named = {
        str(path.relative_to(ROOT))
        for folder in ("src", "research", "certify", "operations", "scripts")
        for path in (ROOT / folder).rglob("*.py")
        if re.search(r"\bIbsConfig\b", path.read_text(encoding="utf-8"))
    }
    assert len(named - own) <= 3, named - own
