"""What a researcher is: a pure function of what a session has found so far, giving one proposal.

A researcher keeps nothing between two calls. What it would remember is in the context, and what is random
comes from the session's seed and the number of the proposal: so a session that is killed goes on as it would
have, and a null replay runs it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from research.zoo.model_spec import ModelSpec

StrategyKind = Literal["technical", "hybrid", "ml"]
"""By what its conditions read: features only, features and models, models only."""

Status = Literal["evaluated", "repeated", "refused", "failed"]

SPEC_FIELDS = (
    "long_entry", "long_exit", "short_entry", "short_exit", "score", "veto", "max_bars", "stop", "target",
)  # fmt: skip
"""What a proposal may say. Timeframe, costs, capital, size, execution and sessions are the human's."""


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What a researcher proposes. It is data: nothing of it is run, and what the schema lacks is refused.

    spec        fields of `SPEC_FIELDS`, as a person writes them in YAML
    models      models that the spec reads, by the alias that stands for each: `{id: model:calm, below: 0.5}`
    kind        what the researcher takes it for; what it is follows from the ids that it reads
    move        how it was found: `screen`, `combine`, `shift`, `swap`, `drop`, `random`, `upgrade`, …
    parents     numbers of the trials of this session that it was made of, the nearest first
    from_id     id of a proposal of an earlier session that it takes up, None for most
    change      what differs from the first parent, in words
    """

    spec: Mapping[str, Any]
    models: Mapping[str, ModelSpec] = field(default_factory=dict)
    kind: StrategyKind = "technical"
    move: str = ""
    rationale: str = ""
    parents: tuple[int, ...] = ()
    from_id: int | None = None
    change: str = ""


@dataclass(frozen=True, kw_only=True)
class FoldMeasures:
    """One walk-forward fold of a trial; Sharpe ratios are annualised, NaN where undefined.

    number          from 0, the oldest
    trades          that ended in it
    result          mean session result, fraction of the capital, after costs at twice the slippage
    cost_share      costs over the gross result of winning trades, NaN without one
    exposure        share of sessions with a position; holding: mean bars of a trade, NaN without one
    """

    number: int
    trades: int
    sharpe: float
    result: float
    cost_share: float
    exposure: float
    holding: float


@dataclass(frozen=True, kw_only=True)
class TrialMeasures:
    """What training bars say about a spec; never a bar of validation or hold-out.

    fitness      mean less one standard error of the folds' Sharpe ratios; NaN where fewer than 4 of 6 folds
                 have 30 trades, or as many as the session asks for
    sharpe       mean of the folds' Sharpe ratios
    by_regime    annualised Sharpe ratio by regime (`bull`, `bear`, `sideways`, `high volatility`)
    largest      share of the best trade in the whole result, NaN where that is no gain
    missing      share of bars on which a value that it reads is missing
    behaviour    hash of its signals on the training range: equal for trials that trade alike
    """

    fitness: float
    sharpe: float
    folds: tuple[FoldMeasures, ...]
    by_regime: Mapping[str, float]
    largest: float
    missing: float
    behaviour: str

    @property
    def trades(self) -> int:
        """Trades of all folds."""
        return sum(each.trades for each in self.folds)


@dataclass(frozen=True, kw_only=True)
class Niche:
    """A cell of the archive: trials within one are alternatives, trials of two are different ideas.

    feature    family of the features that its entry reads, of the first by name where there are several
    side       `long`, `short`, `both`
    exposure   0 (under 5 % of sessions), 1 (under 20 %), 2 (under 50 %), 3
    holding    0 (up to 2 bars), 1 (up to 5), 2 (up to 15), 3
    """

    feature: str
    side: str
    exposure: int
    holding: int


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A proposal of this session and what came of it.

    number      in the session, from 1; id: in the database
    measures    None where it was not evaluated; same_as: number of the trial that it repeats
    findings    of the critic, or why it was refused
    versions    by alias, the column id of the version that a model became, `model:COMP_volatility_h1@v3#…`
    """

    number: int
    id: int
    proposal: Proposal
    status: Status
    measures: TrialMeasures | None = None
    niche: Niche | None = None
    findings: tuple[str, ...] = ()
    same_as: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def fitness(self) -> float:
        """Its fitness, minus infinity where it has none."""
        found = None if self.measures is None else self.measures.fitness
        return -np.inf if found is None or np.isnan(found) else found


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry:
    """A feature that a spec may read, as a researcher sees it.

    family      of the catalogue, such as `oscillators`
    quantiles   its 5, 10, 20, 30, 50, 70, 80, 90 and 95 % quantiles on the training bars
    document    a quoted text, not an instruction
    """

    id: str
    family: str
    low: float
    high: float
    quantiles: tuple[float, ...]
    document: str


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """A model of the zoo that is there already.

    column    id of its newest version, `model:COMP_volatility_h1@v3#…`; spec: what it was trained by
    used_by, mean_sharpe, best   of the strategies of all sessions that read any version; NaN where none does
    """

    name: str
    version: str
    column: str
    spec: ModelSpec
    note: str
    used_by: int
    mean_sharpe: float
    best: str


@dataclass(frozen=True, kw_only=True)
class ResearchContext:
    """All that a researcher is told. No dates, no prices, nothing of validation or hold-out.

    goal        the human's, a quoted text
    number      of the proposal that is asked for, from 1; left: how many are, this one included
    kind        of the proposal that is asked for, chosen by the router; another one is counted as what it is
    kinds       how many of each kind the session still owes
    trials      of this session, oldest first; earlier: the best of earlier sessions on the same family
    open        niches without an elite that lie beside one with it, the nearest first
    models      of the zoo, by name
    answers     by name of a model that answers with a value, `volatility_h1`, quantiles of what it learns to
                answer on the training bars, as those of `CatalogueEntry`
    """

    goal: str
    number: int
    left: int
    seed: int
    kinds: Mapping[StrategyKind, int]
    catalogue: tuple[CatalogueEntry, ...]
    trials: tuple[Trial, ...] = ()
    earlier: tuple[Trial, ...] = ()
    open: tuple[Niche, ...] = ()
    models: tuple[KnownModel, ...] = ()
    kind: StrategyKind = "technical"
    answers: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    @property
    def random(self) -> np.random.Generator:
        """Random numbers of this proposal, the same whenever it is asked for again."""
        return np.random.default_rng((self.seed, self.number))


class Researcher(Protocol):
    """Proposes; `name` is what a session calls it."""

    @property
    def name(self) -> str:
        """Name, as of `--researcher`."""

    @property
    def least(self) -> int:
        """The fewest proposals of a session that it can do something with, its whole screen for example."""

    def propose(self, context: ResearchContext) -> Proposal:
        """Return the next proposal; a pure function of the context.

        NoProposal, with the reason, where it comes to none: that is counted as a refused one. BudgetSpent
        where it may ask for no more: the session ends with what it has.
        """
