"""Which features a model may read: registry ids, no price levels, nothing that rolls move."""

from __future__ import annotations

from lockstep.errors import TrainingError
from lockstep.features.feature_registry import FeatureRegistry
from lockstep.features.invariance import price_levels, shift_sensitive
from lockstep.market.bars import Adjustment
from lockstep.market.history import SeriesKey
from lockstep.strategy.ibs_decision import IbsConfig
from research.training.config import StrategyRelease, TrainingConfig


def model_ids(config: TrainingConfig, registry: FeatureRegistry, adjustment: Adjustment) -> tuple[str, ...]:
    """Return the ids that the model reads: those of the families, sorted, then the single ones, each once.

    A family stands for those of its ids that may be trained on. An id that is named by itself and may not
    is a TrainingError: a price level always; on `difference`-adjusted data whatever moves with a constant
    shift of all prices, unless the configuration allows it with a reason. The registry refuses what it
    does not know, outcomes of the trade among it.
    """
    named = config.features.ids
    registry.plan(named, SeriesKey(config.symbol, config.strategy.bars))
    members = [each for family in config.features.families for each in registry.list(family)]
    ids = tuple(dict.fromkeys((*members, *named)))
    unfit = dict.fromkeys(price_levels(ids, registry), "follows the level of prices")
    if _must_not_move(config, adjustment):
        moved = "moves when all prices are shifted, as each roll of difference-adjusted data does"
        unfit |= {each: moved for each in shift_sensitive(ids, registry) if each not in unfit}
    for each in named:
        if each in unfit:
            raise TrainingError(f"{config.symbol}: feature {each!r} {unfit[each]}; {_way_out(unfit[each])}")
    kept = tuple(each for each in ids if each not in unfit)
    if not kept:
        raise TrainingError(f"{config.symbol}: none of {len(ids)} features may be trained on; name others")
    return kept


def require_invariant_rules(
    config: TrainingConfig | StrategyRelease, registry: FeatureRegistry, adjustment: Adjustment
) -> None:
    """Raise TrainingError where the strategy's own rules move with the rolls of difference-adjusted data."""
    if not _must_not_move(config, adjustment):
        return
    strategy = config.strategy
    moving = [
        f"{name} percent"
        for name, distance in (("stop", strategy.stop), ("target", strategy.target))
        if distance is not None and distance.percent is not None
    ]
    moving += shift_sensitive(_ids_of_rules(strategy), registry)
    if moving:
        raise TrainingError(
            f"{config.symbol}: {', '.join(moving)}: moves when all prices are shifted, as each roll of "
            "difference-adjusted data does; use multiples of an ATR, or allow_shift_sensitive with a reason"
        )


def _ids_of_rules(strategy: IbsConfig) -> tuple[str, ...]:
    """Return the ids of the strategy's rules; what is only recorded decides nothing."""
    return strategy.replaced(features=()).feature_ids


def _must_not_move(config: TrainingConfig | StrategyRelease, adjustment: Adjustment) -> bool:
    return adjustment == "difference" and config.allow_shift_sensitive is None


def _way_out(why: str) -> str:
    if why.startswith("moves"):
        return "drop it, or allow_shift_sensitive with a reason"
    return "use it relative to an average or an ATR"
