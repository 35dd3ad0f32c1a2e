"""What a bundle says to a strategy: its configuration and, where it holds a model, its veto."""

from __future__ import annotations

from lockstep.errors import StrategyError
from lockstep.models.bundle import Bundle
from lockstep.models.predictor import predictor
from lockstep.strategy.families.ibs import IbsConfig
from lockstep.strategy.veto import Veto

FAMILIES = {"IbsConfig": IbsConfig}


def config_of(bundle: Bundle) -> IbsConfig:
    """Return the strategy configuration that the bundle was made with; StrategyError where it is another.

    The hash in the bundle must be that of its content: a configuration that was edited is not traded.
    """
    family = bundle.strategy["family"]
    if family not in FAMILIES:
        raise StrategyError(f"{bundle.symbol}: strategy family {family!r}: known are {', '.join(FAMILIES)}")
    config = FAMILIES[family].model_validate(bundle.strategy["config"])
    if config.config_hash != bundle.strategy["config_hash"]:
        raise StrategyError(
            f"{bundle.symbol}: the bundle's strategy hashes to {config.config_hash[:12]}, recorded is "
            f"{bundle.strategy['config_hash'][:12]}; train again"
        )
    return config


def veto_of(bundle: Bundle) -> Veto | None:
    """Return the bundle's model as a veto, by its fast one-row path where it has one; None without."""
    if bundle.threshold is None:
        return None
    return Veto(
        model=predictor(bundle.pipeline), feature_ids=tuple(bundle.feature_ids), threshold=bundle.threshold
    )
