"""The tables that are only ever added to: what was tried, looked at, declared and promised.

Both databases refuse to change or delete a row of them (`guards.py`), and every addition is a link of one
hash chain (`chain.py`). Those of nights, performance, A/B tests, agents, the
model zoo and checked series have files of their own. Moments are ISO texts in UTC.
"""

from __future__ import annotations

from datetime import date

from sqlalchemy import (
    BigInteger,
    Date,
    Double,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    event,
)
from sqlalchemy.orm import Mapped, mapped_column

from research.ledger.ab_tables import AbEventRow, AbSessionRow, AbTestRow
from research.ledger.agent_tables import AgentEventRow, AgentOutcomeRow, AgentProposalRow, AgentSessionRow
from research.ledger.guards import seal
from research.ledger.night_tables import EffectDoneRow, EffectRow, NightRow
from research.ledger.performance_tables import PerformanceRow
from research.ledger.quality_tables import QualityRow
from research.ledger.tables import Base, Number
from research.ledger.zoo_tables import ModelAttemptRow, ModelBuildRow, WorkerStepRow


class LedgerRow(Base):
    """One trial: an evaluation that was made, whatever came of it; see `ledger.py`. Append-only.

    `experiment_id` is a number, not a reference: the row outlives its experiment.
    """

    __tablename__ = "ledger"

    id: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    evaluation: Mapped[str] = mapped_column(String(32), unique=True)
    family: Mapped[str] = mapped_column(String(32))
    symbol: Mapped[str] = mapped_column(String(32))
    first_date: Mapped[date] = mapped_column(Date)
    last_date: Mapped[date] = mapped_column(Date)
    kind: Mapped[str] = mapped_column(String(16))
    status: Mapped[str] = mapped_column(String(8))
    experiment_id: Mapped[int | None] = mapped_column(Integer)
    recorded: Mapped[str] = mapped_column(String(32))


Index("ledger_by_family", LedgerRow.family, LedgerRow.first_date, LedgerRow.last_date)


class EffectiveRow(Base):
    """How many independent trials a finished search made; written before schema 3, and read. Append-only."""

    __tablename__ = "effective"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    experiment_id: Mapped[int] = mapped_column(Integer)
    symbol: Mapped[str] = mapped_column(String(32))
    trials: Mapped[int] = mapped_column(Number)
    effective: Mapped[float] = mapped_column(Double)


class LookRow(Base):
    """One look at a hold-out, written before it is opened. Append-only."""

    __tablename__ = "look"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    family: Mapped[str] = mapped_column(String(32))
    symbol: Mapped[str] = mapped_column(String(32))
    first_date: Mapped[date] = mapped_column(Date)
    last_date: Mapped[date] = mapped_column(Date)
    experiment_id: Mapped[int | None] = mapped_column(Integer)
    purpose: Mapped[str] = mapped_column(Text)
    recorded: Mapped[str] = mapped_column(String(32))


class SeriesRow(Base):
    """The daily returns of one series of bars that somebody searched on: a family is found by them.

    bars      SHA-256 (hex) of the bars; days int32 (n,) since 1970-01-01, rising; returns float64 (n,)

    The same bars may come under another family: that is how it shows that they are one.
    """

    __tablename__ = "series"
    __table_args__ = (UniqueConstraint("bars", "family", name="series_of_family"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    symbol: Mapped[str] = mapped_column(String(32))
    family: Mapped[str] = mapped_column(String(32))
    bars: Mapped[str] = mapped_column(String(64))
    days: Mapped[bytes] = mapped_column(LargeBinary)
    returns: Mapped[bytes] = mapped_column(LargeBinary)
    recorded: Mapped[str] = mapped_column(String(32))


class KinshipRow(Base):
    """Two families whose bars move together; `verdict` is `merged` or `close`.

    days   how many are in common, where those of `other_symbol` are taken `lag` days later
    """

    __tablename__ = "kinship"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    family: Mapped[str] = mapped_column(String(32))
    other: Mapped[str] = mapped_column(String(32))
    symbol: Mapped[str] = mapped_column(String(32))
    other_symbol: Mapped[str] = mapped_column(String(32))
    correlation: Mapped[float] = mapped_column(Double)
    days: Mapped[int] = mapped_column(Integer)
    lag: Mapped[int] = mapped_column(Integer)
    verdict: Mapped[str] = mapped_column(String(8))
    recorded: Mapped[str] = mapped_column(String(32))


class LawRow(Base):
    """Under which limits, and with which hold-out, a search over a family and dates began.

    limits   JSON, see `GateLimits`; the hold-out is NULL where none was sealed
    """

    __tablename__ = "law"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    family: Mapped[str] = mapped_column(String(32))
    first_date: Mapped[date] = mapped_column(Date)
    last_date: Mapped[date] = mapped_column(Date)
    holdout_first: Mapped[date | None] = mapped_column(Date)
    holdout_last: Mapped[date | None] = mapped_column(Date)
    limits: Mapped[str] = mapped_column(Text)
    experiment_id: Mapped[int | None] = mapped_column(Integer)
    recorded: Mapped[str] = mapped_column(String(32))


class SpaceRow(Base):
    """A space of variants on a family and dates, written before anything of it is evaluated.

    hash       of `content`, JSON: what is searched; size: variants in it, NULL where nothing bounds them
    declared   1 where no result on the family and dates existed, or it lies within a space of which that
               is true; else 0: the search could learn from earlier results
    """

    __tablename__ = "space"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    family: Mapped[str] = mapped_column(String(32))
    first_date: Mapped[date] = mapped_column(Date)
    last_date: Mapped[date] = mapped_column(Date)
    hash: Mapped[str] = mapped_column(String(64))
    content: Mapped[str] = mapped_column(Text)
    size: Mapped[int | None] = mapped_column(Number)
    declared: Mapped[int] = mapped_column(Integer)
    within: Mapped[int | None] = mapped_column(Integer)
    experiment_id: Mapped[int | None] = mapped_column(Integer)
    recorded: Mapped[str] = mapped_column(String(32))


class MaximumRow(Base):
    """What the best of a search's trials would reach without skill, for those that come after it.

    draws       float64 (1000,): greatest z of the trials in each draw, see `statistics/maximum.py`
    trials      how many are in it; best: their greatest z; survivors: how many pass at 5 %, step by step
    dates       of the test ranges
    """

    __tablename__ = "maximum"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    experiment_id: Mapped[int] = mapped_column(Integer)
    family: Mapped[str] = mapped_column(String(32))
    symbol: Mapped[str] = mapped_column(String(32))
    first_date: Mapped[date] = mapped_column(Date)
    last_date: Mapped[date] = mapped_column(Date)
    trials: Mapped[int] = mapped_column(Number)
    best: Mapped[float] = mapped_column(Double)
    survivors: Mapped[int] = mapped_column(Number)
    draws: Mapped[bytes] = mapped_column(LargeBinary)
    recorded: Mapped[str] = mapped_column(String(32))


class VerdictRow(Base):
    """What was decided about a promotion, and by which rules.

    kind      `refused`, `forced`, `promoted`
    subject   name of the strategy, or SHA-256 of the bundle; families, limits, refusals   JSON
    """

    __tablename__ = "verdict"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    subject: Mapped[str] = mapped_column(Text)
    experiment_id: Mapped[int | None] = mapped_column(Integer)
    families: Mapped[str] = mapped_column(Text)
    limits: Mapped[str] = mapped_column(Text)
    refusals: Mapped[str] = mapped_column(Text)
    reason: Mapped[str] = mapped_column(Text)
    recorded: Mapped[str] = mapped_column(String(32))


class ReplayRow(Base):
    """A whole search, run again on decisions that were shifted against the bars.

    search        hash of the search with its seed; config_hash   of the winner that it found
    replays       how often it was run again; p_value   rank of its own result among them, (0, 1]
    """

    __tablename__ = "replay"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    experiment_id: Mapped[int | None] = mapped_column(Integer)
    family: Mapped[str] = mapped_column(String(32))
    symbol: Mapped[str] = mapped_column(String(32))
    search: Mapped[str] = mapped_column(String(64))
    config_hash: Mapped[str] = mapped_column(String(64))
    replays: Mapped[int] = mapped_column(Integer)
    p_value: Mapped[float] = mapped_column(Double)
    recorded: Mapped[str] = mapped_column(String(32))


class FirstSeenRow(Base):
    """A bar as it was when it was first seen; a later correction of it adds nothing.

    series   `ES:1d`; stamp: its end, UTC nanoseconds; seen: when, and `source`, by whom
    """

    __tablename__ = "first_seen"
    __table_args__ = (UniqueConstraint("series", "stamp", name="first_seen_bar"),)

    id: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    series: Mapped[str] = mapped_column(String(48))
    stamp: Mapped[int] = mapped_column(BigInteger)
    open: Mapped[float] = mapped_column(Double)
    high: Mapped[float] = mapped_column(Double)
    low: Mapped[float] = mapped_column(Double)
    close: Mapped[float] = mapped_column(Double)
    volume: Mapped[float] = mapped_column(Double)
    seen: Mapped[str] = mapped_column(String(32))
    source: Mapped[str] = mapped_column(String(64))


class CandidateRow(Base):
    """A strategy or a model that was registered for forward evidence, with all that is frozen then.

    kind        `strategy` or `model`; content   JSON: the strategy's configuration, or the model's name
    hash        `config_hash` of the strategy, SHA-256 of the bundle
    stamp       UTC nanoseconds: only bars that end later count; year, weight   of its error budget
    sigma       standard deviation of a session's P&L residual, from history; beta   exposure to the market
    searched    `declared` or `adaptive`; trials: K, NULL where nothing bounds it
    p_value     from history, before the correction for K; e_history   what it is worth, once
    champion    hash of what it is compared with, NULL for zero
    """

    __tablename__ = "candidate"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(String(16))
    symbol: Mapped[str] = mapped_column(String(32))
    family: Mapped[str] = mapped_column(String(32))
    hash: Mapped[str] = mapped_column(String(64))
    content: Mapped[str] = mapped_column(Text)
    stamp: Mapped[int] = mapped_column(BigInteger)
    year: Mapped[int] = mapped_column(Integer)
    weight: Mapped[float] = mapped_column(Double)
    sigma: Mapped[float] = mapped_column(Double)
    beta: Mapped[float] = mapped_column(Double)
    searched: Mapped[str] = mapped_column(String(16))
    trials: Mapped[int | None] = mapped_column(Number)
    p_value: Mapped[float | None] = mapped_column(Double)
    e_history: Mapped[float] = mapped_column(Double)
    champion: Mapped[str | None] = mapped_column(String(64))
    recorded: Mapped[str] = mapped_column(String(32))


class ForwardRow(Base):
    """One session of a candidate on bars as first seen: its P&L residual over sigma, written once."""

    __tablename__ = "forward"
    __table_args__ = (UniqueConstraint("candidate_id", "session", name="forward_session"),)

    id: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    candidate_id: Mapped[int] = mapped_column(Integer)
    session: Mapped[date] = mapped_column(Date)
    residual: Mapped[float] = mapped_column(Double)
    recorded: Mapped[str] = mapped_column(String(32))


class CandidateEventRow(Base):
    """What became of a candidate, with the evidence then.

    kind   `pilot`, `full`, `retired`, `risk`, or `withdrawn`: retired by hand
    """

    __tablename__ = "candidate_event"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    candidate_id: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str] = mapped_column(String(16))
    session: Mapped[date] = mapped_column(Date)
    evidence: Mapped[float] = mapped_column(Double)
    reason: Mapped[str] = mapped_column(Text)
    recorded: Mapped[str] = mapped_column(String(32))


class BehaviourRow(Base):
    """What one run does, an evaluation in one window: by it, a trial that does the same is known.

    run           the evaluation and the number of the window: `3f2a…:0`; variant   of `experiment_id`
    train, test   SHA-256 (hex) of all that decides its trades on the range
    """

    __tablename__ = "behaviour"

    id: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    run: Mapped[str] = mapped_column(String(40), unique=True)
    evaluation: Mapped[str] = mapped_column(String(32))
    experiment_id: Mapped[int] = mapped_column(Integer)
    symbol: Mapped[str] = mapped_column(String(32))
    window_number: Mapped[int] = mapped_column(Integer)
    variant: Mapped[int] = mapped_column(Number)
    train: Mapped[str] = mapped_column(String(64))
    test: Mapped[str] = mapped_column(String(64))
    recorded: Mapped[str] = mapped_column(String(32))


for _column in ("evaluation", "train", "test"):
    Index(f"behaviour_by_{_column}", BehaviourRow.__table__.c[_column])


class LinkRow(Base):
    """One link of the chain: rows that were added to an append-only table, see `chain.py`.

    Two links after the same one would be a fork, which the database refuses.
    """

    __tablename__ = "link"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    table_name: Mapped[str] = mapped_column(String(32))
    first_row: Mapped[int] = mapped_column(Number)
    last_row: Mapped[int] = mapped_column(Number)
    rows: Mapped[int] = mapped_column(Number)
    digest: Mapped[str] = mapped_column(String(64))
    previous: Mapped[str] = mapped_column(String(64), unique=True)
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    recorded: Mapped[str] = mapped_column(String(32))


CHAINED = (
    LedgerRow, EffectiveRow, LookRow, SeriesRow, KinshipRow, LawRow, SpaceRow, MaximumRow, VerdictRow,
    ReplayRow, FirstSeenRow, CandidateRow, ForwardRow, CandidateEventRow, BehaviourRow,
    NightRow, EffectRow, EffectDoneRow, PerformanceRow, AbTestRow, AbSessionRow, AbEventRow,
    AgentSessionRow, AgentProposalRow, AgentOutcomeRow, AgentEventRow,
    ModelBuildRow, ModelAttemptRow, WorkerStepRow, QualityRow,
)  # fmt: skip
"""The tables whose rows the chain holds."""

APPEND_ONLY = (*CHAINED, LinkRow)

for _model in APPEND_ONLY:
    event.listen(_model.__table__, "after_create", seal)
