"""What a session came to, as values: by kind, move, family of features and model, and what the critic found.

All of it is worked out from the strategy database. Its measures are of training bars, and of the best of many
trials: they say what the search found there, and not what to expect.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from lockstep.errors import LockstepError
from lockstep.models.store import read_column_id
from research.agents.archive import elites
from research.agents.bench import training_days, training_history
from research.agents.critic import may_win, review
from research.agents.database import FROZEN, GATE, REGISTERED, AgentBook, SessionRecord, Strategy
from research.agents.fold_measures import SessionFolds
from research.agents.gate import PASSED, unreplayable
from research.agents.knowledge import KnowledgeSplit, known_until, split_folds
from research.agents.plan import SessionPlan
from research.agents.proposal import Niche
from research.agents.router import KINDS

MOST_OPEN = 10
"""Under-explored areas that are named."""

EXPOSURES = ("under 5% of sessions", "under 20% of sessions", "under 50% of sessions", "50% or more")
HOLDINGS = ("up to 2 bars", "up to 5 bars", "up to 15 bars", "more than 15 bars")
"""What the numbers of a niche mean."""

_STATUSES = ("evaluated", "repeated", "refused", "failed")


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Trials that have something in common, such as their kind or their move.

    name           what that is
    status         how many became what; they sum to `tried`
    mean_sharpe    of the evaluated trials that have one, annualised, mean of their folds; NaN without any
    mean_fitness   of the evaluated trials that have one; NaN without any
    best           the evaluated one with the greatest fitness, None without any
    better, compared   how many have more fitness than the first trial that they were made of, of how many
    """

    name: str
    status: Mapping[str, int]
    mean_sharpe: float
    mean_fitness: float
    best: Strategy | None
    better: int
    compared: int

    @property
    def tried(self) -> int:
        """How many there are."""
        return sum(self.status.values())


@dataclass(frozen=True, kw_only=True)
class ModelInSession:
    """A model that a session knew, or that its strategies read.

    name          instrument and model, `COMP_volatility_h1`
    start, end    its newest version before the session, and the one that a winner was frozen with, else as at
                  the start; "" for none: then only the versions of the folds were read
    read_by       how many evaluated strategies read it; mean_sharpe: of these, NaN without any
    """

    name: str
    start: str
    end: str
    read_by: int
    mean_sharpe: float


@dataclass(frozen=True, kw_only=True)
class SessionSummary:
    """A session with all its strategies, in the order in which they were proposed.

    folds   its walk-forward folds, None where its bars are not at hand any more
    """

    record: SessionRecord
    strategies: Sequence[Strategy]
    open: Sequence[Niche]
    folds: SessionFolds | None = None

    @classmethod
    def of(cls, book: AgentBook, number: int) -> SessionSummary:
        """Return the summary of a session; AgentError where there is none of this number."""
        record = book.session(number)
        return cls(
            record=record,
            strategies=book.strategies(record.id),
            open=book.get_underexplored_areas(record.id, MOST_OPEN),
            folds=_folds(record.plan),
        )

    @cached_property
    def evaluated(self) -> list[Strategy]:
        """The strategies that were evaluated."""
        return [each for each in self.strategies if each.trial.status == "evaluated"]

    @cached_property
    def top(self) -> Strategy | None:
        """The top performer: the first winner that was frozen, else the best so far that may win."""
        able = [each for each in self.evaluated if may_win(each.trial)]
        frozen = self.record.events.get(FROZEN, {}).get("winners") or ()
        if frozen:
            able = [each for each in able if each.trial.number == frozen[0]["number"]]
        return max(able, key=lambda each: (each.trial.fitness, -each.trial.number), default=None)

    def best(self, most: int) -> list[Strategy]:
        """Return the evaluated strategies with the greatest fitness, the best first."""
        known = [each for each in self.evaluated if math.isfinite(each.trial.fitness)]
        return sorted(known, key=lambda each: (-each.trial.fitness, each.trial.number))[:most]

    @property
    def kinds(self) -> list[Tally]:
        """Trials by kind of strategy, those kinds that were tried."""
        found = self._by(lambda each: each.trial.proposal.kind)
        return [found[kind] for kind in KINDS if kind in found]

    @property
    def moves(self) -> list[Tally]:
        """Trials by move, the most frequent first."""
        return sorted(self._by(lambda each: each.trial.proposal.move).values(), key=_often)

    @property
    def families(self) -> list[Tally]:
        """Trials that have a niche by family of the features that their entries read, the best first."""
        with_one = [each for each in self.strategies if each.trial.niche is not None]
        found = self._by(lambda each: each.trial.niche.feature if each.trial.niche else "", with_one)
        return sorted(found.values(), key=lambda each: (-_best_fitness(each), each.name))

    @property
    def niches(self) -> int:
        """How many niches have an elite."""
        return len(elites([each.trial for each in self.strategies]))

    @property
    def findings(self) -> list[tuple[str, int, bool]]:
        """What the critic found: about what, in how many trials, and whether such a trial cannot win."""
        counts, fatal = Counter[str](), dict[str, bool]()
        for each in self.evaluated:
            if each.trial.measures is None:
                continue
            for objection in review(each.trial.measures):
                counts[objection.about] += 1
                fatal[objection.about] = objection.fatal
        return [(about, times, fatal[about]) for about, times in counts.most_common()]

    @property
    def refusals(self) -> list[tuple[str, int]]:
        """Why proposals were refused, or failed, with how often, the most frequent first."""
        lost = [each.trial for each in self.strategies if each.trial.status in ("refused", "failed")]
        return Counter(each.findings[0] if each.findings else each.status for each in lost).most_common()

    @property
    def models(self) -> list[ModelInSession]:
        """Models that were known at the start or are read by a strategy, by name."""
        start = _versions(each.column for each in self.record.plan.models)
        frozen = self.record.events.get(FROZEN, {}).get("winners") or ()
        end = _versions(column for each in frozen for column in each["versions"].values())
        sharpes: dict[str, list[float]] = {}
        for each in self.evaluated:
            for name in _versions(each.trial.versions.values()):
                sharpes.setdefault(name, []).append(_sharpe(each))
        return [
            ModelInSession(
                name=name, start=start.get(name, ""), end=end.get(name, start.get(name, "")),
                read_by=len(sharpes.get(name, [])), mean_sharpe=mean_of(sharpes.get(name, [])),
            )
            for name in sorted({*start, *end, *sharpes})
        ]  # fmt: skip

    @property
    def knowledge_until(self) -> date | None:
        """Up to when a language model may have read the history, None for a session without one."""
        return known_until(self.record.plan.settings)

    def split(self, found: Strategy) -> KnowledgeSplit | None:
        """Return measures before and after what the model knew; None without a model, measures or bars."""
        until, measures = self.knowledge_until, found.trial.measures
        if until is None or measures is None or self.folds is None:
            return None
        return split_folds(measures, self.folds, until)

    @property
    def verdict(self) -> str:
        """What may be done with the winner, a sentence: `Not promoted: …` whatever the session found."""
        number, events = self.record.id, self.record.events
        if FROZEN not in events:
            made = f"{len(self.strategies)} of {self.record.plan.settings.strategies} strategies were tried"
            return f"Not promoted: {made}, and `lockstep agents resume {number}` tries the others."
        if not events[FROZEN]["winners"]:
            return "Not promoted: no strategy has enough trades in enough folds to win."
        if GATE not in events and (why := unreplayable(self.record)):
            shown = f"`lockstep agents gate {number}` shows what it does on validation dates"
            return f"Not promoted: only forward evidence can say, since {why}; {shown}."
        if GATE not in events:
            return f"Not promoted: nobody judged the winner yet; `lockstep agents gate {number}` does."
        if REGISTERED in events:
            name = events[REGISTERED]["candidate"]
            return f"Not promoted: registered as {name}, and bars that come from now on will say."
        event = events[GATE]
        if event["verdict"] == PASSED:
            register = f"`lockstep agents register {number}` begins its forward evidence"
            return f"Not promoted: it passed its gate, {event['reason']}; {register}."
        return f"Not promoted: {event['reason']}."

    def _by(
        self, name: Callable[[Strategy], str], among: Sequence[Strategy] | None = None
    ) -> dict[str, Tally]:  # fmt: skip
        parts: dict[str, list[Strategy]] = {}
        for each in self.strategies if among is None else among:
            parts.setdefault(name(each), []).append(each)
        return {name: self._tally(name, part) for name, part in parts.items()}

    def _tally(self, name: str, part: Sequence[Strategy]) -> Tally:
        judged = [each for each in part if each.trial.status == "evaluated"]
        fitness = {each.trial.number: each.trial.fitness for each in self.strategies}
        steps = [
            (each.trial.fitness, fitness[each.trial.proposal.parents[0]])
            for each in judged
            if each.trial.proposal.parents and each.trial.proposal.parents[0] in fitness
        ]
        steps = [(own, parent) for own, parent in steps if math.isfinite(own) and math.isfinite(parent)]
        with_one = [each for each in judged if math.isfinite(each.trial.fitness)]
        return Tally(
            name=name,
            status={each: sum(one.trial.status == each for one in part) for each in _STATUSES},
            mean_sharpe=mean_of([_sharpe(each) for each in judged]),
            mean_fitness=mean_of([each.trial.fitness for each in with_one]),
            best=max(
                with_one, key=lambda each: (each.trial.fitness, -each.trial.number), default=None
            ),
            better=sum(own > parent for own, parent in steps),
            compared=len(steps),
        )  # fmt: skip


def mean_of(values: Sequence[float]) -> float:
    """Return the mean of the values that are finite, NaN without any.

    >>> mean_of([1.0, float("nan"), 3.0])
    2.0
    """
    known = [each for each in values if math.isfinite(each)]
    return math.fsum(known) / len(known) if known else math.nan


def in_words(niche: Niche) -> str:
    """Return what a niche is.

    >>> in_words(Niche(feature="volume", side="long", exposure=1, holding=0))
    'volume, long, in the market under 20% of sessions, held up to 2 bars'
    """
    return (
        f"{niche.feature}, {niche.side}, in the market {EXPOSURES[niche.exposure]}, "
        f"held {HOLDINGS[niche.holding]}"
    )


def _folds(plan: SessionPlan) -> SessionFolds | None:
    """Return how a session's training is cut; None where its bars changed, or are gone."""
    try:
        return SessionFolds.of(training_days(plan, training_history(plan)))
    except LockstepError:
        return None


def _versions(columns: Iterable[str]) -> dict[str, str]:
    """Return by name of the model the version of its column; what is no column is left out."""
    found = [read_column_id(each) for each in columns]
    return {f"{each.symbol}_{each.name}": each.version for each in found if each is not None}


def _sharpe(strategy: Strategy) -> float:
    return math.nan if strategy.trial.measures is None else strategy.trial.measures.sharpe


def _often(tally: Tally) -> tuple[int, str]:
    return -tally.tried, tally.name


def _best_fitness(tally: Tally) -> float:
    return -math.inf if tally.best is None else tally.best.trial.fitness
