"""The tables that are only ever added to: what was tried, looked at, declared and promised.

Both databases refuse to change or delete a row of them, and every addition is a link of one hash chain, see
`chain.py`. Moments are ISO texts in UTC.
"""

from __future__ import annotations

from datetime import date

from sqlalchemy import (
    BigInteger,
    Connection,
    Date,
    Double,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
)
from sqlalchemy.orm import Mapped, mapped_column

from research.ledger.tables import Base, Number


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


class NightRow(Base):
    """What a night of the pipeline did: that it began, each step that is complete, how it ended.

    night     its name, the date of the newest session; kind: `begun`, `step`, `failed`, `finished`
    step      name of the step, empty for the night as a whole; key: content hash of all that goes into it
    output    digest of the folder that the step left; sentence: what happened, in words
    """

    __tablename__ = "night"
    __table_args__ = (UniqueConstraint("night", "kind", "step", "key", name="night_event"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    night: Mapped[str] = mapped_column(String(32))
    kind: Mapped[str] = mapped_column(String(16))
    step: Mapped[str] = mapped_column(String(32))
    key: Mapped[str] = mapped_column(String(64))
    output: Mapped[str] = mapped_column(String(64))
    sentence: Mapped[str] = mapped_column(Text)
    recorded: Mapped[str] = mapped_column(String(32))


class EffectRow(Base):
    """Something that a night does to the world, written down before it is done, so that it is done once.

    key   names it, whoever asks for it again; kind: `register`, `log`, `message`, …; content   JSON
    """

    __tablename__ = "effect"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    key: Mapped[str] = mapped_column(String(64), unique=True)
    night: Mapped[str] = mapped_column(String(32))
    kind: Mapped[str] = mapped_column(String(16))
    subject: Mapped[str] = mapped_column(Text)
    content: Mapped[str] = mapped_column(Text)
    recorded: Mapped[str] = mapped_column(String(32))


class EffectDoneRow(Base):
    """That an effect was carried out; an effect without this row may or may not have been."""

    __tablename__ = "effect_done"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    effect_id: Mapped[int] = mapped_column(Integer, unique=True)
    outcome: Mapped[str] = mapped_column(Text)
    recorded: Mapped[str] = mapped_column(String(32))


class PerformanceRow(Base):
    """What a strategy earned in one complete day, week or month, written once.

    strategy   `config_hash` of a strategy, SHA-256 of a bundle; name: what people call it
    mode       `backtest`, `shadow`, `paper`, `live`; account: which of several, such as a desk's name
    period     `day`, `week`, `month`, from `first_date` to `last_date`, its first and last session
    result     sum of the session results, fractions of the capital; pnl   USD
    sharpe, drawdown, win_rate   as in `lockstep.metrics`, NULL where undefined
    content    JSON: where the numbers come from
    """

    __tablename__ = "performance"
    __table_args__ = (
        UniqueConstraint(
            "strategy", "symbol", "mode", "account", "period", "first_date", name="performance_of_a_period"
        ),
    )

    id: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    strategy: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(Text)
    symbol: Mapped[str] = mapped_column(String(32))
    mode: Mapped[str] = mapped_column(String(16))
    account: Mapped[str] = mapped_column(String(64))
    period: Mapped[str] = mapped_column(String(8))
    first_date: Mapped[date] = mapped_column(Date)
    last_date: Mapped[date] = mapped_column(Date)
    sessions: Mapped[int] = mapped_column(Integer)
    trades: Mapped[int] = mapped_column(Integer)
    result: Mapped[float] = mapped_column(Double)
    pnl: Mapped[float] = mapped_column(Double)
    sharpe: Mapped[float | None] = mapped_column(Double)
    drawdown: Mapped[float | None] = mapped_column(Double)
    win_rate: Mapped[float | None] = mapped_column(Double)
    content: Mapped[str] = mapped_column(Text)
    recorded: Mapped[str] = mapped_column(String(32))


class AbTestRow(Base):
    """An A/B test, with all that is decided before its first session.

    content   JSON: both arms, mode, plan, least sessions and trades, level
    stamp     UTC nanoseconds: only sessions that begin later count
    """

    __tablename__ = "ab_test"

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    symbol: Mapped[str] = mapped_column(String(32))
    content: Mapped[str] = mapped_column(Text)
    stamp: Mapped[int] = mapped_column(BigInteger)
    recorded: Mapped[str] = mapped_column(String(32))


class AbSessionRow(Base):
    """One session of one arm of a test.

    result   fraction of the capital; trades, won   that ended in it, and those of them with a profit
    """

    __tablename__ = "ab_session"
    __table_args__ = (UniqueConstraint("test_id", "arm", "session", name="ab_session_of_an_arm"),)

    id: Mapped[int] = mapped_column(Number, primary_key=True, autoincrement=True)
    test_id: Mapped[int] = mapped_column(Integer)
    arm: Mapped[str] = mapped_column(String(16))
    session: Mapped[date] = mapped_column(Date)
    result: Mapped[float] = mapped_column(Double)
    trades: Mapped[int] = mapped_column(Integer)
    won: Mapped[int] = mapped_column(Integer)
    recorded: Mapped[str] = mapped_column(String(32))


class AbEventRow(Base):
    """What became of a test: `won`, `lost`, `futile`, `stopped`, with the evidence then."""

    __tablename__ = "ab_event"
    __table_args__ = (UniqueConstraint("test_id", "kind", name="ab_event_of_a_test"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    test_id: Mapped[int] = mapped_column(Integer)
    kind: Mapped[str] = mapped_column(String(16))
    session: Mapped[date] = mapped_column(Date)
    evidence: Mapped[float] = mapped_column(Double)
    reason: Mapped[str] = mapped_column(Text)
    recorded: Mapped[str] = mapped_column(String(32))


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
)  # fmt: skip
"""The tables whose rows the chain holds."""

APPEND_ONLY = (*CHAINED, LinkRow)
_MESSAGE = "is append-only: nothing deletes or changes a count"

_ABORT = "BEGIN SELECT RAISE(ABORT, '{table} {rule}'); END"
_SQLITE = (
    f"CREATE TRIGGER {{table}}_no_update BEFORE UPDATE ON {{table}} {_ABORT}",
    f"CREATE TRIGGER {{table}}_no_delete BEFORE DELETE ON {{table}} {_ABORT}",
    # REPLACE deletes without the trigger above, unless recursive triggers are on; but it does insert.
    "CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} "
    f"WHEN EXISTS (SELECT 1 FROM {{table}} WHERE {{same}}) {_ABORT}",
)
_POSTGRESQL = (
    "CREATE OR REPLACE FUNCTION {table}_refuse() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION '{table} {rule}'; END $$",
    "CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
    "FOR EACH STATEMENT EXECUTE FUNCTION {table}_refuse()",
)


def seal(table: Table, connection: Connection, **_: object) -> None:
    """Make a table append-only: the database itself refuses to change or delete a row."""
    statements = {"sqlite": _SQLITE, "postgresql": _POSTGRESQL}.get(connection.dialect.name, ())
    for statement in statements:
        connection.exec_driver_sql(_spelled(statement, table))


def seal_again(table: Table, connection: Connection) -> None:
    """Make the guards of a table anew, whatever is there under their names."""
    on_table = f" ON {table.name}" if connection.dialect.name == "postgresql" else ""
    for name in guards(table, connection.dialect.name):
        connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}{on_table}")
    seal(table, connection)


def guards(table: Table, dialect: str) -> dict[str, tuple[str, ...]]:
    """Return the triggers of an append-only table by name, each with what its definition must hold."""
    if dialect == "postgresql":
        # As the server spells it: the events, `O` for enabled, and the body of the function.
        events = "BEFORE DELETE OR UPDATE OR TRUNCATE ON"
        body = f" O  BEGIN RAISE EXCEPTION '{table.name} {_MESSAGE}'; END "
        return {f"{table.name}_append_only": (events, "FOR EACH STATEMENT", body)}
    if dialect != "sqlite":
        return {}
    found = (_spelled(each, table) for each in _SQLITE)
    return {statement.split()[2]: (statement,) for statement in found}


def _spelled(statement: str, table: Table) -> str:
    return statement.format(table=table.name, rule=_MESSAGE, same=_same(table))


def _same(table: Table) -> str:
    """Return the condition under which a new row would take the place of another one."""
    alone = [[column.name] for column in table.columns if column.primary_key or column.unique]
    together = [
        [column.name for column in each.columns]
        for each in table.constraints
        if isinstance(each, UniqueConstraint) and len(each.columns) > 1
    ]
    return " OR ".join(" AND ".join(f"{name} = NEW.{name}" for name in names) for names in alone + together)


for _model in APPEND_ONLY:
    event.listen(_model.__table__, "after_create", seal)
