"""What a bundle says to a strategy: its configuration and, where it holds a model, its veto."""

from __future__ import annotations

from typing import Any

from lockstep.errors import ConfigError, StrategyError
from lockstep.models.bundle import Bundle
from lockstep.models.predictor import predictor
from lockstep.models.tasks import NOT_TRADED
from lockstep.strategy.config import DEFAULT_FAMILY, StrategyConfig
from lockstep.strategy.family import family_named, family_of
from lockstep.strategy.veto import Veto

# What bundles called the first family before families had names.
_FIRST = "IbsConfig"


def bundled_strategy(config: StrategyConfig) -> dict[str, Any]:
    """Return what a bundle says of its strategy: family, configuration as JSON, and its hash."""
    return {
        "family": family_of(config).name,
        "config": config.model_dump(mode="json"),
        "config_hash": config.config_hash,
    }


def config_of(bundle: Bundle) -> StrategyConfig:
    """Return the strategy configuration that the bundle was made with; StrategyError where it is another.

    The hash in the bundle must be that of its content: a configuration that was edited is not traded. Nor is
    a model of the zoo, which has none.
    """
    if bundle.of_zoo:
        version = f"{bundle.symbol} {bundle.name} {bundle.version}".strip()
        raise StrategyError(f"{version}: {NOT_TRADED}")
    named = bundle.strategy["family"]
    try:
        family = family_named(DEFAULT_FAMILY if named == _FIRST else named, where=bundle.symbol)
    except ConfigError as error:
        raise StrategyError(str(error)) from error
    config = family.config.model_validate(bundle.strategy["config"])
    if config.config_hash != bundle.strategy["config_hash"]:
        raise StrategyError(
            f"{bundle.symbol}: the bundle's strategy hashes to {config.config_hash[:12]}, recorded is "
            f"{bundle.strategy['config_hash'][:12]}: its configuration or its family's code is another; "
            "train again"
        )
    return config


def veto_of(bundle: Bundle) -> Veto | None:
    """Return the bundle's model as a veto, by its fast one-row path where it has one; None without."""
    if bundle.threshold is None:
        return None
    return Veto(
        model=predictor(bundle.pipeline),
        feature_ids=tuple(bundle.feature_ids),
        threshold=bundle.threshold,
        in_batches=True,
    )
