"""Usage of models: what the queries say equals a recount of the rows; versions and their parents."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lockstep.errors import TrainingError
from lockstep.market.loader import load_history
from research.ledger.agent_tables import AgentOutcomeRow, AgentProposalRow
from research.ledger.chain import append
from research.zoo.usage import (
    ModelUsage,
    get_latest_version,
    get_usage_stats,
    lineage,
    list_all_models,
    record_strategy_usage,
)
from research.zoo.zoo import ModelZoo, ZooModel
from support.evidence import NOW
from support.zoo import learning, spec, zoo_of

MODELS = [
    ZooModel(symbol=symbol, name=name, version=version, sha256=digit * 64)
    for symbol, name, version, digit in (
        ("COMP", "volatility_h1", "v1", "a"), ("COMP", "volatility_h1", "v2", "b"),
        ("COMP", "volatility_h10", "v1", "c"), ("ES", "regime_h5", "v1", "d"),
    )
]  # fmt: skip


def outcomes(zoo: ModelZoo, count: int = 60) -> list[tuple[list[ZooModel], float | None, str, str]]:
    """Write rows of strategies that read models at random, and return what was written."""
    random, written = np.random.default_rng(3), []
    with zoo.ledger.database.write() as connection:
        for number in range(1, count + 1):
            read = [each for each in MODELS if random.random() < 0.3]
            sharpe = None if random.random() < 0.2 else round(float(random.normal()), 6)
            status = str(random.choice(["evaluated", "evaluated", "repeated", "refused"]))
            proposal = {
                "session_id": 1 + number % 3, "number": number, "kind": "hybrid", "config_hash": "",
                "content": "{}", "recorded": "",
            }  # fmt: skip
            (id,) = append(connection, AgentProposalRow, [proposal])
            content = record_strategy_usage({}, {f"m{at}": each for at, each in enumerate(read)})
            row = {
                "proposal_id": id, "status": status, "fitness": None, "sharpe": sharpe,
                "content": json.dumps(content), "recorded": "",
            }  # fmt: skip
            append(connection, AgentOutcomeRow, [row])
            written.append((read, sharpe, status, f"session {1 + number % 3} #{number}"))
    return written


def recount(written: list[Any], reads: Any) -> ModelUsage:
    found = [
        (s, name) for read, s, status, name in written if status == "evaluated" and any(map(reads, read))
    ]
    known = [each for each in found if each[0] is not None]
    mean = sum(s for s, _ in known) / len(known) if known else math.nan
    return ModelUsage(strategies=len(found), mean_sharpe=mean, best=max(known)[1] if known else "")


def test_usage_equals_a_recount(tmp_path: Path) -> None:
    zoo = zoo_of(tmp_path)
    written = outcomes(zoo)
    stats = get_usage_stats(zoo.ledger.database)
    for each in MODELS:
        for key, reads in (
            (each.column, lambda other, each=each: other == each),
            (
                f"{each.symbol}_{each.name}",
                lambda other, each=each: (other.symbol, other.name) == (each.symbol, each.name),
            ),
        ):
            expected = recount(written, reads)
            assert stats[key].strategies == expected.strategies > 0
            assert stats[key].mean_sharpe == pytest.approx(expected.mean_sharpe)
            assert stats[key].best == expected.best
    assert len(stats) == 4 + 3
    one = get_usage_stats(zoo.ledger.database, "COMP_volatility_h1")
    assert set(one) == {"COMP_volatility_h1", MODELS[0].column, MODELS[1].column}, "and not that of h10"


def test_nothing_reads_a_model(tmp_path: Path) -> None:
    assert get_usage_stats(zoo_of(tmp_path).ledger.database) == {}


def test_versions_their_parents_and_the_latest(tmp_path: Path) -> None:
    zoo, bars = zoo_of(tmp_path), learning(load_history("COMP", start="2003-01-02", end="2009-12-31"))
    first = zoo.get_or_create_model(spec(), bars, measured=False)
    zoo.get_or_create_model(
        spec(label="clipped"), bars, measured=False, parent="v1", note="learned otherwise"
    )
    before = int(np.searchsorted(bars.sessions, np.datetime64("2007-01-03")))
    early = zoo.get_or_create_model(spec(), bars.until(before), measured=False)
    assert [each.version for each in list_all_models(zoo.store)] == ["v1", "v2", "v3"]
    assert [each.version for each in lineage(zoo.store, "COMP", first.name, "v2")] == ["v2", "v1"]
    latest = get_latest_version(zoo.store, "COMP", first.name)
    assert latest is not None
    assert (latest.version, latest.column) == ("v3", early.column)
    entry = zoo.store.manifest().entry("COMP", "v3", first.name)
    assert entry.training_range == ("2005-01-03", "2006-12-29"), "no label reaches into the day"
    zoo.store.retire("COMP", "v3", by="test", now=NOW, reason="a test", name=first.name)
    latest = get_latest_version(zoo.store, "COMP", first.name)
    assert latest is not None
    assert (latest.version, latest.note) == ("v2", "learned otherwise")
    with pytest.raises(TrainingError, match=r"COMP volatility_h1: no version v9 in .*; there is v1, v2, v3"):
        lineage(zoo.store, "COMP", first.name, "v9")
