"""`TrainingConfig`: one YAML file per instrument, `configs/training/<SYMBOL>.yml`.

`StrategyRelease` is its smaller sister: a strategy that is to trade without a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, ValidationInfo, field_validator, model_validator

from lockstep.errors import ConfigError
from lockstep.identity import json_digest
from lockstep.market.config import load_instruments
from lockstep.metrics import Floats
from lockstep.models.manifest import TrainingRecord
from lockstep.settings import Settings, read_yaml, suggestion, validated
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.family import AnyStrategy, load_strategy
from research.splits.walk_forward import WalkForward
from research.training.acceptance import (
    FORMER_LIMITS,
    FORMER_RELEASE_LIMITS,
    Acceptance,
    Share,
    StrategyAcceptance,
    without_former,
)
from research.training.estimators import ESTIMATORS, Dimension, Space


def _hash_with(strategy: StrategyConfig, content: dict[str, Any]) -> str:
    code, content = strategy.family_code, {**content, "strategy": hashed_strategy(strategy)}
    return json_digest([content, *code] if code else content)


def hashed_strategy(strategy: StrategyConfig) -> Any:
    """Return what stands for a strategy in the hash of what holds it: its values, or what they mean."""
    if strategy.meant_fields():
        return strategy.config_hash
    return strategy.model_dump(mode="json", exclude={"name"})


class DataRange(Settings):
    """Where bars come from: first and last session date to trade, and the source in instruments.yml."""

    start: date | None = None
    end: date | None = None
    source: str | None = None

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.start and self.end and self.start >= self.end:
            raise ValueError(f"{self.start} to {self.end}: start must be before end")
        return self


class Features(Settings):
    """What the model reads: whole families, then single ids; see `vector.py` for what they stand for."""

    families: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.families and not self.ids:
            raise ValueError("no feature: give families, ids or both")
        return self


class Selection(Settings):
    """How a fold chooses among the features: `mdi`, `clustered_permutation` or none; `keep` of them stay."""

    kind: Literal["none", "mdi", "clustered_permutation"] = "none"
    keep: Annotated[int, Field(ge=1)] = 15


class ModelSettings(Settings):
    """The estimator and what may be varied of it; `space` overrides single dimensions of the family's own."""

    family: str = "random_forest"
    space: dict[str, Dimension] = Field(default_factory=dict)
    calibration: Literal["none", "isotonic", "sigmoid"] = "none"
    calibration_folds: Annotated[int, Field(ge=2, le=10)] = 3
    feature_selection: Selection = Selection()

    @field_validator("family")
    @classmethod
    def _known_family(cls, family: str) -> str:
        if family not in ESTIMATORS:
            raise ValueError(f"there is no such model family{suggestion(family, ESTIMATORS)}")
        return family

    @model_validator(mode="after")
    def _known_dimensions(self) -> Self:
        known = ESTIMATORS[self.family].space
        for name in self.space:
            if name not in known:
                raise ValueError(f"space of {self.family}: unknown key {name!r}{suggestion(name, known)}")
        return self

    @property
    def searched(self) -> Space:
        """Every dimension of the search, in the order of the family's default space."""
        return {name: self.space.get(name, each) for name, each in ESTIMATORS[self.family].space.items()}


class SearchSettings(Settings):
    """Bayesian optimisation: `initial` random points, then what the surrogate proposes, `trials` in all.

    window_trials   steps per outer window; the same as `trials` where it is not given
    stop            `median`: steps that are hopeless after a third of the splits stop (see `stopping.py`);
                    `none`: every step sees every split
    objective       weighted mean over the splits; log loss with its sign turned, so that larger is better
    """

    trials: Annotated[int, Field(ge=1)] = 60
    window_trials: Annotated[int, Field(ge=1)] | None = None
    initial: Annotated[int, Field(ge=1)] = 15
    objective: Literal["log_loss", "roc_auc", "average_precision"] = "log_loss"
    surrogate: Literal["gp", "forest"] = "gp"
    stop: Literal["median", "none"] = "median"


class Validation(Settings):
    """Inner purged combinations of `groups`, `test_groups` at a time; outer walk-forward train/test/step."""

    groups: Annotated[int, Field(ge=3, le=20)] = 6
    test_groups: Annotated[int, Field(ge=1)] = 2
    embargo_days: Annotated[float, Field(ge=0)] = 5.0
    walk_forward: str = "4y/1y/1y"
    anchored: bool = False

    @field_validator("walk_forward")
    @classmethod
    def _spelled(cls, text: str) -> str:
        try:
            parsed = WalkForward.parse(text)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        if parsed.train.in_bars or parsed.step.in_bars:
            raise ValueError("windows of samples are calendar spans; use y, m or d")
        return text

    @model_validator(mode="after")
    def _some_train(self) -> Self:
        if self.test_groups >= self.groups:
            raise ValueError(f"test_groups {self.test_groups}: must be below the {self.groups} groups")
        return self

    @property
    def outer(self) -> WalkForward:
        """The walk-forward, not yet bound to samples."""
        return WalkForward.parse(self.walk_forward, anchored=self.anchored)


class HoldOutSettings(Settings):
    """The sealed end of the data: from a date on, or the last `share` of the days."""

    share: Annotated[float, Field(gt=0, lt=1)] | None = None
    start: date | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.share is None) == (self.start is None):
            raise ValueError("give either share or start")
        return self


class Threshold(Settings):
    """Probabilities tried as the veto's threshold, and how one of them is chosen.

    Accepting all (0) is always tried. `keep` is the least share of the unfiltered trades that must stay.
    criterion   of the trades that would really be taken, out of fold: `sharpe` (mean over deviation of the
                trades' returns, times the square root of their number), `net_pnl` or `profit_factor`
    """

    low: Share = 0.35
    high: Share = 0.75
    step: Annotated[float, Field(gt=0, le=0.5)] = 0.01
    criterion: Literal["sharpe", "net_pnl", "profit_factor"] = "sharpe"
    keep: Share = 0.3

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low {self.low}: must be below high {self.high}")
        return self

    @property
    def grid(self) -> Floats:
        """The thresholds, rising, 0 first."""
        count = int(np.floor((self.high - self.low) / self.step + 1e-9)) + 1
        return np.unique(np.concatenate(([0.0], np.round(self.low + self.step * np.arange(count), 6))))


class TrainingConfig(Settings):
    """Everything that a training run is told; with data, seed and code it fixes the bundle bit for bit.

    strategy                inline, or the path of its YAML, taken from the folder of this file
    label                   `net_pnl`: 1 where the trade's net P&L is positive
    sample_weight           `uniqueness`: average uniqueness of the label (see `uniqueness.py`)
    allow_shift_sensitive   the reason why features and exits that move with a constant shift of all prices
                            may be trained on difference-adjusted data
    """

    symbol: str
    data: DataRange = DataRange()
    strategy: AnyStrategy
    features: Features
    label: Literal["net_pnl"] = "net_pnl"
    sample_weight: Literal["uniform", "uniqueness"] = "uniqueness"
    model: ModelSettings = ModelSettings()
    search: SearchSettings = SearchSettings()
    validation: Validation = Validation()
    hold_out: HoldOutSettings = HoldOutSettings(share=0.2)
    threshold: Threshold = Threshold()
    acceptance: Acceptance = Acceptance()
    allow_shift_sensitive: Annotated[str, Field(min_length=10)] | None = None

    @field_validator("strategy")
    @classmethod
    def _tradable(cls, strategy: StrategyConfig) -> StrategyConfig:
        if strategy.execution != "next_open":
            raise ValueError(f"execution {strategy.execution}: cannot be traded; train on next_open")
        return strategy

    @field_validator("hold_out")
    @classmethod
    def _sealed_after_the_start(cls, hold_out: HoldOutSettings, known: ValidationInfo) -> HoldOutSettings:
        start = known.data["data"].start if "data" in known.data else None
        if start and hold_out.start and hold_out.start <= start:
            raise ValueError(f"overlaps all of the training, which starts on {start}; let it start later")
        return hold_out

    @classmethod
    def recorded(cls, content: Mapping[str, Any], *, where: str) -> Self:
        """Return what a record holds, one of an earlier version too: limits that are gone are left out."""
        return validated(cls, without_former(content, FORMER_LIMITS), where=where)

    @property
    def config_hash(self) -> str:
        """SHA-256 (hex) of every value but the strategy's name, and of the code of a family of your own."""
        return _hash_with(self.strategy, self.model_dump(mode="json", exclude={"strategy"}))

    def replaced(self, **changes: Any) -> Self:
        """Return a validated copy with other values; ConfigError as for a file."""
        return validated(type(self), {**self.model_dump(), **changes}, where=f"training of {self.symbol}")

    def with_trials(self, trials: int | None) -> Self:
        """Return the configuration with this many search steps, in the outer windows too."""
        if trials is None:
            return self
        return self.replaced(search={**self.search.model_dump(), "trials": trials, "window_trials": None})


class StrategyRelease(Settings):
    """A strategy that is to trade as it is, without a model, and what it is judged by.

    A file of it is a training file without features and model; a strategy's own file gets the defaults.
    """

    symbol: str
    data: DataRange = DataRange()
    strategy: AnyStrategy
    hold_out: HoldOutSettings = HoldOutSettings(share=0.2)
    acceptance: StrategyAcceptance = StrategyAcceptance()
    allow_shift_sensitive: Annotated[str, Field(min_length=10)] | None = None

    @field_validator("strategy")
    @classmethod
    def _tradable(cls, strategy: StrategyConfig) -> StrategyConfig:
        if strategy.execution != "next_open":
            raise ValueError(f"execution {strategy.execution}: cannot be traded; release it on next_open")
        return strategy

    @classmethod
    def recorded(cls, content: Mapping[str, Any], *, where: str) -> Self:
        """As `TrainingConfig.recorded`."""
        return validated(cls, without_former(content, FORMER_RELEASE_LIMITS), where=where)

    @property
    def config_hash(self) -> str:
        """SHA-256 (hex) of every value but the strategy's name, and of the code of a family of your own."""
        return _hash_with(self.strategy, self.model_dump(mode="json", exclude={"strategy"}))


# Keys that only a training file has beside `strategy`; a strategy's own `features` are another matter.
_OF_TRAINING = frozenset(TrainingConfig.model_fields) - frozenset(StrategyRelease.model_fields)


def load_release(path: Path | str, symbol: str = "", *, source: str | None = None) -> StrategyRelease:
    """Read a strategy that is to trade without a model: the file of a `StrategyRelease`, or of a strategy.

    symbol   to trade; "": the one that the file names
    source   in instruments.yml, in place of the file's

    ConfigError naming file, key, value and rule: for a training file, for one that names no symbol where none
    is given, and for one that names another.
    """
    where = Path(path)
    content = read_yaml(where)
    if not isinstance(content, dict):
        raise ConfigError(f"{where}: holds no keys; give the YAML file of a strategy")
    if "strategy" not in content:
        content = {"strategy": load_strategy(where).model_dump()}
    elif training := sorted(_OF_TRAINING & content.keys()):
        raise ConfigError(
            f"{where}: is a training file, with {', '.join(training)}: train it with train_model.py, or give "
            "the file of its strategy alone"
        )
    elif isinstance(content["strategy"], str):
        strategy = load_strategy(where.parent / content["strategy"])
        content = {**content, "strategy": strategy.model_dump()}
    named = content.get("symbol") or symbol
    if not named:
        raise ConfigError(f"{where}: no symbol; name the instrument to trade, such as ES, before --strategy")
    if symbol and named != symbol:
        raise ConfigError(f"{where}: is for {named}, not for {symbol}; give the file of {symbol}")
    if source is not None:
        content = {**content, "data": {**(content.get("data") or {}), "source": source}}
    release = validated(StrategyRelease, {**content, "symbol": named}, where=str(where))
    known = load_instruments().instruments
    if release.symbol not in known:
        raise ConfigError(f"{where}: symbol {release.symbol!r}{suggestion(release.symbol, known)}")
    return release


def recorded_config(record: TrainingRecord) -> TrainingConfig | StrategyRelease:
    """Return the configuration of a version's record: a release's where it was made without a model."""
    if "features" in record.config:
        return TrainingConfig.recorded(record.config, where="training record")
    return StrategyRelease.recorded(record.config, where="record of the release")


def load_training(path: Path | str, *, strategy: Path | str | None = None) -> TrainingConfig:
    """Read a training file; ConfigError naming file, key, value and rule, with the nearest key.

    strategy   file of the strategy to train for, instead of the one in the training file

    A file that is named for one instrument and trains another is refused.
    """
    where = Path(path)
    content = read_yaml(where)
    if isinstance(content, dict):
        named = content.get("strategy")
        if strategy is not None:
            content = {**content, "strategy": load_strategy(Path(strategy)).model_dump()}
        elif isinstance(named, str):
            content = {**content, "strategy": load_strategy(where.parent / named).model_dump()}
    config = validated(TrainingConfig, content, where=str(where))
    known = load_instruments().instruments
    if config.symbol not in known:
        raise ConfigError(f"{where}: symbol {config.symbol!r}{suggestion(config.symbol, known)}")
    if where.stem in known and where.stem != config.symbol:
        raise ConfigError(
            f"{where}: symbol {config.symbol!r}: the file is named for {where.stem}; "
            "rename it, or correct the symbol"
        )
    return config
