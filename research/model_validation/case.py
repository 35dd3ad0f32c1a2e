"""`Case`: a bundle with all that is known of how it came about. What several checks need is measured once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from lockstep.errors import ModelError
from lockstep.features.feature_registry import FeatureRegistry, default_registry
from lockstep.features.plan import FeaturePlan
from lockstep.market.history import History, SeriesKey
from lockstep.metrics import Floats
from lockstep.models.bundle import Bundle
from lockstep.strategy.bundled import veto_of
from lockstep.strategy.lane import vector_ids
from lockstep.strategy.veto import Veto
from research.backtest.account import Account, bundle_account
from research.backtest.run import Span
from research.splits.ranges import DateRange
from research.training.importance import Refit, chances, reliance
from research.training.out_of_sample import OutOfSample, backtest, trading_span
from research.training.outcome import TrainingOutcome
from research.training.overfitting import Deflation, deflation


class HoldOut(Protocol):
    """What the sealed hold-out said of a version, and how often the family's was opened by then."""

    @property
    def sharpe(self) -> float:
        """Annual Sharpe ratio of the filtered strategy, nan where undefined."""

    @property
    def looks(self) -> int:
        """Looks at the hold-out days of the family, this one included."""

    @property
    def dates(self) -> DateRange:
        """First decision to last exit."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Champion:
    """The production version on the same sessions; `how` says which answers its account stands for."""

    version: str
    account: Account
    how: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """A model to be judged.

    history    bars of the traded series and of every series that its features read
    trials     evaluations that the ledger counts for the family over the days before the hold-out
    refit      fits an outer window's model on its training samples with the labels it is given
    hold_out   opens the hold-out where it is given True; else only repeats an earlier result, None without
    champion   the production version, None where there is none
    """

    bundle: Bundle
    outcome: TrainingOutcome
    history: History
    trials: int
    refit: Refit
    hold_out: Callable[[bool], HoldOut | None]
    champion: Champion | None = None
    registry: FeatureRegistry | None = None

    def __post_init__(self) -> None:
        _require_same(self.bundle, self.outcome)

    @property
    def features(self) -> FeatureRegistry:
        """The registry that ids are resolved against."""
        return self.registry or default_registry()

    @property
    def veto(self) -> Veto | None:
        """The bundle's model as production asks it, None without one."""
        return veto_of(self.bundle)

    @cached_property
    def plan(self) -> FeaturePlan:
        """What has to be computed for a decision with this bundle."""
        config = self.outcome.config.strategy
        return self.features.plan(vector_ids(config, self.veto), SeriesKey(self.bundle.symbol, config.bars))

    @cached_property
    def span(self) -> Span:
        """The session dates of the outer walk-forward."""
        return trading_span(self.outcome, self.history)

    @cached_property
    def out_of_sample(self) -> OutOfSample:
        """The walk-forward's answer to each sample."""
        return OutOfSample.of(self.outcome)

    @cached_property
    def filtered(self) -> Account:
        """The strategy with the walk-forward's veto, in Backtrader, out of sample."""
        return Account.of_backtest(backtest(self.outcome, self.history, self.registry))

    @cached_property
    def in_sample(self) -> Account:
        """The strategy with the bundle itself over the same dates, on which it was fitted."""
        return bundle_account(self.bundle, self.history, self.span, self.registry)

    @cached_property
    def deflation(self) -> Deflation:
        """The filtered Sharpe ratio after all trials."""
        return deflation(self.outcome, self.filtered, trials=self.trials)

    @cached_property
    def reliance(self) -> Floats:
        """What the bundle leans on among its features, over the samples it was fitted on, float64 (k,)."""
        features = self.outcome.dataset.features[self.outcome.development]
        return reliance(self.bundle.pipeline, features, seed=self.outcome.seed)


def _require_same(bundle: Bundle, outcome: TrainingOutcome) -> None:
    """Raise ModelError where the training run is not the one that made the bundle."""
    pairs = {
        "symbol": (bundle.symbol, outcome.dataset.symbol),
        "features": (bundle.feature_ids, outcome.dataset.feature_ids),
        "threshold": (bundle.threshold, outcome.threshold),
        "strategy": (bundle.strategy["config_hash"], outcome.config.strategy.config_hash),
    }
    other = [what for what, (own, trained) in pairs.items() if own != trained]
    if not other:
        known = outcome.dataset.features[outcome.development]
        own, trained = (chances(each, known) for each in (bundle.pipeline, outcome.pipeline))
        other = [] if np.allclose(own, trained, rtol=0.0, atol=1e-12) else ["answers"]
    if other:
        raise ModelError(
            f"bundle {bundle.symbol} {bundle.version}: its {', '.join(other)} are not those of the training "
            "run; give the folder of the run that made it"
        )
