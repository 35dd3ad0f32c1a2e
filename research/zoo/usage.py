"""What there is in the zoo, and which strategies read it: queries, nothing is stored twice.

Whether a strategy reads a version is in the row of its outcome, which a session of agents writes: `versions`,
by the name that the spec has for a model, the id of the column that it became.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from lockstep.errors import TrainingError
from lockstep.models.manifest import VersionEntry
from lockstep.models.store import ModelStore, column_id, read_column_id
from research.ledger.agent_tables import AgentOutcomeRow, AgentProposalRow
from research.ledger.database import Database
from research.zoo.bundling import build_of
from research.zoo.model_spec import ModelSpec
from research.zoo.zoo import ZooModel

EVALUATED = "evaluated"
_VERSIONS = "versions"


@dataclass(frozen=True, kw_only=True)
class ModelUsage:
    """Strategies that were evaluated and read a model, or one version of it.

    mean_sharpe   of their folds' mean Sharpe ratios, annualised, of those that have one; NaN without any
    best          the one with the highest, as `session 3 #17`, "" without any
    """

    strategies: int = 0
    mean_sharpe: float = math.nan
    best: str = ""


@dataclass(frozen=True, kw_only=True)
class ZooVersion:
    """A version of a model of the zoo.

    column   id under which a spec reads it; note: how it improves its parent
    """

    symbol: str
    name: str
    version: str
    column: str
    status: str
    spec: ModelSpec
    parent: str | None
    note: str
    metrics: Mapping[str, float | None]


def record_strategy_usage(outcome: Mapping[str, Any], models: Mapping[str, ZooModel]) -> dict[str, Any]:
    """Return the content of an outcome's row with the versions that its strategy reads.

    The row is what usage is worked out from; there is no other record of it.

    >>> model = ZooModel(symbol="COMP", name="volatility_h1", version="v2", sha256="3f" * 32)
    >>> record_strategy_usage({"findings": []}, {"calm": model})
    {'findings': [], 'versions': {'calm': 'model:COMP_volatility_h1@v2#3f3f3f3f3f3f'}}
    """
    return {**outcome, _VERSIONS: {alias: each.column for alias, each in models.items()}}


def get_usage_stats(database: Database, model: str | None = None) -> Mapping[str, ModelUsage]:
    """Return usage by model, such as `COMP_volatility_h1`, and by version, by the id of its column.

    model   only this one, whatever its version

    A strategy that reads two versions of a model counts once for the model.
    """
    sharpes: dict[str, list[tuple[float | None, str]]] = defaultdict(list)
    for columns, sharpe, strategy in _evaluated(database):
        named = {each: read_column_id(each) for each in columns}
        keys = {each for each, found in named.items() if found is not None}
        keys |= {f"{found.symbol}_{found.name}" for found in named.values() if found is not None}
        for key in keys:
            sharpes[key].append((sharpe, strategy))
    return {key: _usage(found) for key, found in sorted(sharpes.items()) if _is_of(key, model)}


@dataclass(frozen=True, kw_only=True)
class StrategyReading:
    """A strategy that reads a version: its name, such as `session 3 #17`, and its Sharpe ratio, or NaN."""

    name: str
    sharpe: float


def readers(database: Database, column: str) -> tuple[StrategyReading, ...]:
    """Return the strategies that were evaluated and read a version, by the id of its column; the best first.

    A strategy without a Sharpe ratio comes last.
    """
    found = [
        StrategyReading(name=strategy, sharpe=math.nan if sharpe is None else sharpe)
        for columns, sharpe, strategy in _evaluated(database)
        if column in columns
    ]
    return tuple(sorted(found, key=lambda each: (math.isnan(each.sharpe), -each.sharpe)))


def usage_of(database: Database, column: str) -> ModelUsage:
    """Return the usage of one version, by the id of its column."""
    return get_usage_stats(database).get(column, ModelUsage())


def _is_of(key: str, model: str | None) -> bool:
    return model is None or key == model or key.startswith(f"model:{model}@")


def _evaluated(database: Database) -> Iterator[tuple[set[str], float | None, str]]:
    """Yield, for each strategy that was evaluated, the columns that it reads, its Sharpe ratio, its name."""
    outcome, proposal = AgentOutcomeRow, AgentProposalRow
    wanted = (
        select(outcome.content, outcome.sharpe, proposal.session_id, proposal.number)
        .join_from(outcome.__table__, proposal.__table__, outcome.proposal_id == proposal.id)
        .where(outcome.status == EVALUATED)
        .order_by(proposal.id)
    )
    with database.read() as connection:
        rows = connection.execute(wanted).all()
    for content, sharpe, session, number in rows:
        columns = set((json.loads(content).get(_VERSIONS) or {}).values())
        if columns:
            yield columns, sharpe, f"session {session} #{number}"


def _usage(found: list[tuple[float | None, str]]) -> ModelUsage:
    known = [(sharpe, name) for sharpe, name in found if sharpe is not None and math.isfinite(sharpe)]
    if not known:
        return ModelUsage(strategies=len(found))
    best = max(known, key=lambda each: each[0])
    mean = math.fsum(sharpe for sharpe, _ in known) / len(known)
    return ModelUsage(strategies=len(found), mean_sharpe=mean, best=best[1])


def list_all_models(store: ModelStore, symbol: str | None = None) -> list[ZooVersion]:
    """Return all versions of models of the zoo, by instrument, name and number; vetoes are not among them."""
    return [
        _version(of, name, version, entry)
        for of, models in store.manifest().instruments.items()
        for name, model in models.items()
        for version, entry in model.versions.items()
        if entry.of_zoo and symbol in (None, of) and "zoo" in entry.record.config
    ]


def get_latest_version(store: ModelStore, symbol: str, name: str) -> ZooVersion | None:
    """Return the newest version of a model that was not retired; None where there is none."""
    usable = [
        each for each in list_all_models(store, symbol) if each.name == name and each.status != "retired"
    ]
    return usable[-1] if usable else None


def lineage(store: ModelStore, symbol: str, name: str, version: str | None = None) -> list[ZooVersion]:
    """Return a version, its parent, and so on to the first; None: the latest. TrainingError without any."""
    known = {each.version: each for each in list_all_models(store, symbol) if each.name == name}
    latest = get_latest_version(store, symbol, name)
    at = version or (latest.version if latest else None)
    if at not in known:
        there = ", ".join(known) or "none"
        raise TrainingError(
            f"{symbol} {name}: no version {at or 'at all'} in {store.folder}; there is {there}"
        )
    found: list[ZooVersion] = []
    while at in known and known[at] not in found:
        found.append(known[at])
        at = known[at].parent
    return found


def _version(symbol: str, name: str, version: str, entry: VersionEntry) -> ZooVersion:
    return ZooVersion(
        symbol=symbol,
        name=name,
        version=version,
        column=column_id(symbol, version, entry.sha256, name=name),
        status=entry.status,
        spec=build_of(entry.record).spec,
        parent=entry.parent,
        note=entry.supersedes_reason,
        metrics=entry.metrics,
    )
