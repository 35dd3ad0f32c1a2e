"""Search steps and trainings in the ledger: each step is a trial, failures and outer windows too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from sqlalchemy import and_, func, select

from lockstep.identity import json_digest
from lockstep.market.dates import DateRange
from research.ledger.append_only import LedgerRow, SpaceRow
from research.ledger.counting import within
from research.ledger.ledger import Ledger, Trials
from research.ledger.spaces import TrialSpace
from research.ledger.tables import FAILED, OK
from research.training.config import TrainingConfig
from research.training.dataset import Dataset, dates_of
from research.training.scheme import divide
from research.training.search import SearchAttempt
from research.training.steps import Count
from research.training.train import FINAL, window_name

KIND = "training"
_DIGITS = 32
# Later than any moment, as text.
_NEVER = "~"


def trial_counter(
    ledger: Ledger,
    family: str,
    config: TrainingConfig,
    dataset: Dataset,
    *,
    seed: int,
    now: Callable[[], datetime],
) -> Count:
    """Declare the search, seal its hold-out, and return what enters an attempt into the ledger, as a trial.

    The same parameters, samples, code, split and seed are the same trial, however often they are run.
    """
    dates = searched_dates(config, dataset)
    ledger.declare(_space(config, dataset, seed), family, _all(dates), now=now())
    sealed = dates_of(dataset, divide(config, dataset).hold_out)
    ledger.enact(family, _all(dates), limits={}, holdout=sealed, now=now())

    def count(search: str, attempt: SearchAttempt) -> None:
        trial = evaluation_id(config, dataset, search, attempt, seed)
        trials = Trials(
            family=family,
            symbol=dataset.symbol,
            dates=dates[search],
            kind=KIND,
            evaluations={trial: FAILED if attempt.failed else OK},
        )
        ledger.record(trials, now=now())

    return count


def _space(config: TrainingConfig, dataset: Dataset, seed: int) -> TrialSpace:
    """A model is fitted to results: a training is never declared, whatever came before it."""
    content = [config.config_hash, dict(dataset.hashes), seed]
    return TrialSpace(
        proposer=KIND,
        symbol=dataset.symbol,
        windows=(),
        fields={KIND: (json_digest(content),)},
        size=None,
        learns=True,
    )


def trainings(ledger: Ledger, family: str, dates: DateRange) -> int:
    """Return how many trainings the ledger counts on a family and its relatives, dates overlapping these.

    A training is what was declared before its first step: configuration, samples and seed, each once however
    often it was run. Earlier versions entered steps alone. Of these it is not known which belong together, so
    that each counts as a training of its own.
    """
    families = ledger.relatives(family)
    with ledger.database.read() as connection:
        spaces = connection.execute(select(SpaceRow.content, SpaceRow.recorded).order_by(SpaceRow.id)).all()
        begun = min((row.recorded for row in spaces if _is_training(row.content)), default=_NEVER)
        loose = and_(LedgerRow.kind == KIND, LedgerRow.recorded < begun)
        alone = connection.scalar(select(func.count()).where(within(LedgerRow, families, dates), loose)) or 0
        own = within(SpaceRow, families, dates)
        known = connection.execute(select(SpaceRow.hash, SpaceRow.content).where(own))
        return alone + len({row.hash for row in known if _is_training(row.content)})


def _is_training(content: str) -> bool:
    return TrialSpace.read(content).proposer == KIND


def _all(dates: Mapping[str, DateRange]) -> DateRange:
    return DateRange(
        start=min(each.start for each in dates.values()), end=max(each.end for each in dates.values())
    )


def evaluation_id(
    config: TrainingConfig, dataset: Dataset, search: str, attempt: SearchAttempt, seed: int
) -> str:
    """Return the name of an evaluation: a hash of everything that it depends on."""
    content = {
        "hashes": dict(dataset.hashes),
        "model": config.model.model_dump(mode="json", exclude={"space"}),
        "objective": config.search.objective,
        "validation": config.validation.model_dump(mode="json"),
        "hold_out": config.hold_out.model_dump(mode="json"),
        "threshold": config.threshold.model_dump(mode="json"),
        "search": search,
        "parameters": attempt.parameters,
        "seed": seed,
    }
    return json_digest(content)[:_DIGITS]


def searched_dates(config: TrainingConfig, dataset: Dataset) -> Mapping[str, DateRange]:
    """Return the days that each search looks at, by its name."""
    scheme = divide(config, dataset)
    found = {window_name(number): train for number, (train, _) in enumerate(scheme.windows)}
    return {name: dates_of(dataset, rows) for name, rows in (found | {FINAL: scheme.development}).items()}
