"""What decides what becomes of a session: settings of the human, dates, hashes of bars and code."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from lockstep.errors import AgentError
from lockstep.identity import AGENTS, code_hash, json_digest
from lockstep.market.config import InstrumentBook, load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.families import load_families
from lockstep.market.loader import load_bars, load_history
from lockstep.market.timeframe import Timeframe
from lockstep.settings import Settings
from research.agents.proposal import KnownModel, StrategyKind
from research.agents.router import KINDS
from research.agents.specs import SpecTerms
from research.agents.team import require_known, source_of
from research.experiments.evaluation import data_hash
from research.splits.ranges import training_end
from research.zoo.model_spec import ModelSpec

LEAST_SESSIONS = 600
"""Of a training range: enough for six folds, and to move decisions by a year either way."""

_KEPT = 0.5


class AgentSettings(Settings):
    """What a human says of a session; `configs/pipeline` spells it the same under `agents`.

    goal         a text for the researcher, quoted and never obeyed
    strategies   how many proposals; kinds: how many of each kind at least, other kinds are not made
    seed         of all that is random
    terms        what no researcher may say, see `SpecTerms`
    least_trades trades that a fold must have to count, in four folds of six
    data_dir, source   where bars come from, as for the backtest runner
    start, end   first and last session of the data range; None: all there is
    options      of the researcher, such as the address of a language model

    >>> AgentSettings(goal="calm dips", symbol="COMP").kinds
    {'technical': 10, 'hybrid': 10, 'ml': 10}
    """

    goal: Annotated[str, Field(max_length=2_000)] = ""
    symbol: str
    researcher: str = "screen"
    strategies: int = 100
    kinds: dict[StrategyKind, Annotated[int, Field(ge=0)]] = dict.fromkeys(KINDS, 10)
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    terms: SpecTerms = SpecTerms()
    least_trades: Annotated[int, Field(ge=1)] = 30
    data_dir: str | None = None
    source: str | None = None
    start: date | None = None
    end: date | None = None
    options: Mapping[str, Any] = {}

    @field_validator("kinds")
    @classmethod
    def _in_order(cls, given: dict[StrategyKind, int]) -> dict[StrategyKind, int]:
        return {kind: given[kind] for kind in KINDS if kind in given}

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.start and self.end and self.start > self.end:
            raise ValueError(f"start {self.start}, end {self.end}: starts after it ends; swap the dates")
        return self


class PinnedModel(Settings):
    """A model of the zoo that was there when a session began; fields as of `KnownModel`, None for NaN."""

    name: str
    version: str
    column: str
    spec: ModelSpec
    note: str = ""
    used_by: int = 0
    mean_sharpe: float | None = None
    best: str = ""


class SessionPlan(Settings):
    """A session with all that decides what becomes of it; two with one `key` are the same session.

    train, validation   ranges of session dates
    hold_out   what comes after them, which is sealed when the session begins; None where nothing does
    code      hash of what proposes, steps and evaluates
    bars      SHA-256 of the bars up to the end of training
    models    of the zoo that its researcher is told of
    """

    settings: AgentSettings
    family: str
    train: DateRange
    validation: DateRange
    hold_out: DateRange | None = None
    code: str
    bars: str
    models: tuple[PinnedModel, ...] = ()

    @property
    def key(self) -> str:
        """SHA-256 (hex) of all of it but how much the models were used so far."""
        used = {"used_by", "mean_sharpe", "best", "note"}
        return json_digest(self.model_dump(mode="json", exclude={"models": {"__all__": used}}))

    @property
    def where(self) -> str:
        """SHA-256 (hex) of what an evaluation depends on beside the spec: equal, and so is the result."""
        settings = self.settings
        return json_digest([self.code, self.bars, str(self.train), settings.symbol, settings.least_trades])

    @property
    def has_models(self) -> bool:
        """Whether strategies of it may read models."""
        return set(self.settings.kinds) != {"technical"}

    @property
    def timeframe(self) -> Timeframe:
        """Of the bars that are decided on."""
        return Timeframe.parse(self.settings.terms.timeframe)


def code_of(researcher: str) -> str:
    """Return the hash of what proposes, steps and evaluates; the source of one's own researcher counts."""
    known = code_hash(AGENTS)
    own = source_of(researcher)
    return known if own is None else json_digest([known, own])


def plan_of(
    settings: AgentSettings,
    *,
    models: tuple[KnownModel, ...] = (),
    book: InstrumentBook | None = None,
) -> SessionPlan:
    """Return the plan of a session: reads its bars, to split their dates.

    Two thirds of the range are for training, half of the rest for validation. AgentError where the range is
    too short; NoBars, DataError or ConfigError where there are no bars.
    """
    require_known(settings.researcher)
    book = book or load_instruments()
    folder = None if settings.data_dir is None else Path(settings.data_dir)
    frame = Timeframe.parse(settings.terms.timeframe)
    bars = load_bars(
        settings.symbol, folder, timeframe=frame, start=settings.start, end=settings.end, book=book,
        source=settings.source,
    )  # fmt: skip
    dates = book.market(settings.symbol).session.dates(bars.end, bars.timeframe)
    first, last = dates[[0, -1]].tolist()
    until = training_end(first, last)
    days = sorted({each for each in dates.tolist() if each <= until})
    if len(days) < LEAST_SESSIONS:
        raise AgentError(
            f"{settings.symbol}, {first} to {last}: {len(days):,} sessions to train on, two thirds of all; "
            f"at least {LEAST_SESSIONS} are needed: give more bars, or a longer range"
        )
    judged = until + timedelta(days=int((last - until).days * _KEPT))
    after = judged + timedelta(days=1)
    history = load_history(
        settings.symbol, folder, timeframe=frame, start=settings.start, end=until, book=book,
        source=settings.source,
    )  # fmt: skip
    return SessionPlan(
        settings=settings,
        family=load_families().of(book.instrument(settings.symbol)),
        train=DateRange(start=first, end=until),
        validation=DateRange(start=until + timedelta(days=1), end=judged),
        hold_out=DateRange(start=after, end=last) if after <= last else None,
        code=code_of(settings.researcher),
        bars=data_hash(history, settings.symbol),
        models=tuple(
            PinnedModel(
                name=each.name,
                version=each.version,
                column=each.column,
                spec=each.spec,
                note=each.note,
                used_by=each.used_by,
                best=each.best,
                mean_sharpe=None if math.isnan(each.mean_sharpe) else each.mean_sharpe,
            )
            for each in models
        ),
    )
