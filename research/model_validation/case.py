"""`ValidationCase`: a bundle with all that is known of how it came about.

What several checks need is measured once.

A model is judged by its training run (`ModelCase`), a strategy without one as it is (`StrategyCase`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

import numpy as np

from lockstep.errors import ModelError
from lockstep.features.feature_registry import FeatureRegistry, default_registry
from lockstep.features.plan import FeaturePlan
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.metrics import Floats
from lockstep.models.bundle import Bundle
from lockstep.strategy.bundled import veto_of
from lockstep.strategy.config import StrategyConfig
from lockstep.strategy.step import vector_ids
from lockstep.strategy.veto import Veto
from research.backtest.account import Account, bundle_account, bundle_backtest
from research.backtest.result import BacktestResult
from research.training.acceptance import Acceptance, StrategyAcceptance
from research.training.config import DataRange
from research.training.gain import Gain, RandomVeto, random_veto
from research.training.importance import chances, reliance
from research.training.out_of_sample import OutOfSample, backtest, trading_span, unfiltered_account
from research.training.outcome import TrainingOutcome
from research.training.overfitting import Deflation, deflated_gain
from research.training.release import ReleasedStrategy, with_costs


class HoldOutVerdict(Protocol):
    """What the sealed hold-out said of a version, and how often the family's was opened by then."""

    @property
    def sharpe(self) -> float:
        """Annual Sharpe ratio of the veto's gain, or of a strategy without a model; nan where undefined."""

    @property
    def p_value(self) -> float:
        """Chance of so high a ratio by luck alone; nan where undefined."""

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
class ValidationCase(ABC):
    """A version to be judged: what every check may ask, whether it holds a model or not.

    history    bars of the traded series and of every series that its features read
    trials     what the ledger counts against it on the family over the days before the hold-out: trainings
               for a model, every evaluation for a strategy without one
    hold_out   opens the hold-out where it is given True; else only repeats an earlier result, None without
    champion   the production version, None where there is none
    """

    bundle: Bundle
    history: History
    trials: int
    hold_out: Callable[[bool], HoldOutVerdict | None]
    champion: Champion | None = None
    registry: FeatureRegistry | None = None

    @property
    @abstractmethod
    def kind(self) -> Literal["model", "strategy"]:
        """What is judged, in a word."""

    @property
    @abstractmethod
    def acceptance(self) -> Acceptance | StrategyAcceptance:
        """The limits."""

    @property
    @abstractmethod
    def strategy(self) -> StrategyConfig:
        """The configuration of the strategy."""

    @property
    @abstractmethod
    def data(self) -> DataRange:
        """Which bars were asked for."""

    @property
    @abstractmethod
    def seed(self) -> int:
        """Seed of what is drawn in judging."""

    @property
    @abstractmethod
    def hashes(self) -> dict[str, str]:
        """What the version depends on, for its evidence."""

    @property
    @abstractmethod
    def seen(self) -> str:
        """What the figures of `account` are of, as a sentence goes on."""

    @cached_property
    @abstractmethod
    def span(self) -> DateRange:
        """The session dates of `account`."""

    @cached_property
    @abstractmethod
    def result(self) -> BacktestResult:
        """The run that is judged, in Backtrader."""

    @cached_property
    def account(self) -> Account:
        """Its account."""
        return Account.of_backtest(self.result)

    @cached_property
    @abstractmethod
    def deflation(self) -> Deflation:
        """The Sharpe ratio of `account` after all trials."""

    @property
    @abstractmethod
    def compared(self) -> dict[str, Account]:
        """The account that is judged, then the one that a report sets beside it, by what they are of."""

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
        key = SeriesKey(self.bundle.symbol, self.strategy.bars)
        return self.features.plan(vector_ids(self.strategy, self.veto), key)


@dataclass(frozen=True, kw_only=True, eq=False)
class ModelCase(ValidationCase):
    """A model to be judged, with the training run that made it: models of outer windows stand in for it."""

    outcome: TrainingOutcome

    def __post_init__(self) -> None:
        require_same_run(self.bundle, self.outcome)

    @property
    def kind(self) -> Literal["model"]:
        """A model."""
        return "model"

    @property
    def acceptance(self) -> Acceptance:
        """The limits of the training configuration."""
        return self.outcome.config.acceptance

    @property
    def strategy(self) -> StrategyConfig:
        """The strategy that the model was trained for."""
        return self.outcome.config.strategy

    @property
    def data(self) -> DataRange:
        """The bars of the training."""
        return self.outcome.config.data

    @property
    def seed(self) -> int:
        """The seed of the training."""
        return self.outcome.seed

    @property
    def hashes(self) -> dict[str, str]:
        """Those of the dataset and of the training configuration."""
        dataset = {f"dataset {name}": value for name, value in self.outcome.dataset.hashes.items()}
        return {**dataset, "training_config": self.outcome.config.config_hash}

    @property
    def seen(self) -> str:
        """One account over all outer windows in order, not a mean over them."""
        return f"over the outer walk-forward, {self.span.start} to {self.span.end}, in Backtrader"

    @cached_property
    def span(self) -> DateRange:
        """The session dates of the outer walk-forward."""
        return trading_span(self.outcome, self.history)

    @cached_property
    def out_of_sample(self) -> OutOfSample:
        """The walk-forward's answer to each sample."""
        return OutOfSample.of(self.outcome)

    @cached_property
    def result(self) -> BacktestResult:
        """The strategy with the walk-forward's veto, out of sample."""
        return backtest(self.outcome, self.history, self.registry)

    @cached_property
    def in_sample(self) -> Account:
        """The strategy with the bundle itself over the same dates, on which it was fitted."""
        return bundle_account(self.bundle, self.history, self.span, self.registry)

    @cached_property
    def unfiltered(self) -> Account:
        """The strategy without the veto, on the same sessions."""
        return unfiltered_account(self.outcome, self.history, self.registry)

    @cached_property
    def gain(self) -> Gain:
        """What the walk-forward's veto adds, out of sample."""
        return Gain(filtered=self.account, unfiltered=self.unfiltered)

    @cached_property
    def gain_interval(self) -> tuple[float, float]:
        """The 90 % interval of the annual gain."""
        return self.gain.interval(seed=self.seed)

    @cached_property
    def gain_in_sample(self) -> Gain:
        """What the bundle's own veto adds over the same dates, on which it was fitted."""
        return Gain(filtered=self.in_sample, unfiltered=self.unfiltered)

    @cached_property
    def random_veto(self) -> RandomVeto:
        """Vetoes that draw lots, as many of each window's signals let through."""
        found = self.out_of_sample
        return random_veto(
            self.outcome.dataset.subset(found.sample),
            found.passed,
            found.window,
            self.history.series(self.plan.base).end,
            seed=self.seed,
        )

    @cached_property
    def separate(self) -> OutOfSample:
        """The answers to the trades of the plain strategy, no two of which overlap: independent outcomes."""
        found = self.out_of_sample
        return found.where(self.outcome.dataset.taken[found.sample])

    @property
    def compared(self) -> dict[str, Account]:
        """Out of sample and in sample."""
        return {"out of sample": self.account, "in sample": self.in_sample}

    @cached_property
    def deflation(self) -> Deflation:
        """The Sharpe ratio of the gain after all trainings."""
        return deflated_gain(self.gain, trainings=self.trials)

    @cached_property
    def reliance(self) -> Floats:
        """What the bundle leans on among its features, over the samples it was fitted on, float64 (k,)."""
        features = self.outcome.dataset.features[self.outcome.development]
        return reliance(self.bundle.pipeline, features, seed=self.outcome.seed)


@dataclass(frozen=True, kw_only=True, eq=False)
class StrategyCase(ValidationCase):
    """A strategy without a model to be judged: as it is, on the dates before the hold-out.

    Nothing was fitted, but somebody chose it, perhaps on these very dates: the deflation by the ledger's
    trials stands for that, and the hold-out for what nobody had looked at.

    independent   independent ones among the `trials`, >= 1: searches whose maximum is known by what their
                  best would reach without skill, everything else in full
    """

    released: ReleasedStrategy
    independent: float

    def __post_init__(self) -> None:
        own, known = self.bundle.strategy["config_hash"], self.strategy.config_hash
        if self.bundle.has_model or own != known:
            raise ModelError(
                f"bundle {self.bundle.symbol} {self.bundle.version}: is not that of the released strategy "
                f"{known[:12]}; judge the version that was registered"
            )

    @property
    def kind(self) -> Literal["strategy"]:
        """A strategy."""
        return "strategy"

    @property
    def acceptance(self) -> StrategyAcceptance:
        """The limits of the release."""
        return self.released.release.acceptance

    @property
    def strategy(self) -> StrategyConfig:
        """The released strategy."""
        return self.released.release.strategy

    @property
    def data(self) -> DataRange:
        """The bars of the release."""
        return self.released.release.data

    @property
    def seed(self) -> int:
        """Nothing is drawn in a strategy; what judging it draws begins here."""
        return 0

    @property
    def hashes(self) -> dict[str, str]:
        """Those of the release: configuration, data and code."""
        return {f"release {name}": value for name, value in self.released.hashes.items()}

    @property
    def seen(self) -> str:
        """One account over all dates before the hold-out."""
        return f"before the hold-out, {self.span.start} to {self.span.end}, in Backtrader"

    @cached_property
    def span(self) -> DateRange:
        """The session dates before the hold-out."""
        return self.released.dates.development

    @cached_property
    def result(self) -> BacktestResult:
        """The strategy as it is."""
        return bundle_backtest(self.bundle, self.history, self.span, self.registry)

    @cached_property
    def costly(self) -> Account:
        """The same with twice the commission and twice the slippage, in the sweep."""
        return self.released.account(self.released.dates.development, with_costs(self.history, 2.0))

    @property
    def compared(self) -> dict[str, Account]:
        """As configured, and with twice the costs."""
        return {"before the hold-out": self.account, "with twice the costs": self.costly}

    @cached_property
    def halves(self) -> tuple[Account, Account]:
        """The earlier and the later half of its sessions."""
        sessions = self.account.sessions
        middle = sessions.size // 2
        return (
            self.account.between(sessions[0], sessions[middle - 1]),
            self.account.between(sessions[middle], sessions[-1]),
        )

    @cached_property
    def deflation(self) -> Deflation:
        """Its Sharpe ratio after all trials."""
        account = self.account
        return Deflation.of(
            account.returns, account.sessions_per_year, trials=self.trials, independent=self.independent
        )


def require_same_run(bundle: Bundle, outcome: TrainingOutcome) -> None:
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
