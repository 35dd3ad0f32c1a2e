"""A version that live.yml pins trades in paper and shadow, whatever is promoted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lockstep.errors import ConfigError, JournalError, LiveError
from lockstep.live.journal import Journal
from lockstep.live.messages import SetRecord
from lockstep.live.operator.rollout_cli import advance
from lockstep.live.service import Service
from lockstep.live.status.status import read_status
from lockstep.models.store import ModelStore
from support import papers

PINNED = [{"symbol": "COMP", "version": "v2"}]
BROKER = {"tickers": {"COMP": "NQZ2026"}}
TAIL = [
    {"kind": "tail", "symbol": symbol, "path": f"{symbol}.csv", "source": "futures_daily"}
    for symbol in ("COMP", "SPX")
]


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """v1 in production, v2 and v3 candidates."""
    return papers.store(tmp_path / "store", 0, 1, 2)


def sha_of(store: ModelStore, version: str) -> str:
    return store.manifest().entry("COMP", version).sha256


def run(folder: Path, *, sets: int, mode: Any = None, **changes: object) -> Service:
    path = papers.config(folder, **{"instruments": PINNED, **changes})
    with Service(path, mode=mode, environment={}, stop_after=sets) as service:
        service.run()
    return service


def decided_by(folder: Path) -> list[str]:
    with Journal.open(folder / "live.db", readonly=True) as journal:
        return [row.lanes[0].bundle for row in journal.entries(1) if isinstance(row, SetRecord)]


@pytest.mark.parametrize("mode", ["paper", "shadow"])
def test_a_candidate_trades_whatever_is_promoted(tmp_path: Path, store: ModelStore, mode: str) -> None:
    run(tmp_path, sets=4, mode=mode, traderspost=BROKER)
    assert read_status(tmp_path / "status.json").pinned == {"COMP": "v2 (production is v1)"}
    store.promote("COMP", "v3", by="me", now=papers.NOW, reason="test", force=True)
    run(tmp_path, sets=4, mode=mode, traderspost=BROKER)
    store.promote("COMP", "v2", by="me", now=papers.NOW, reason="test", force=True)
    run(tmp_path, sets=4, mode=mode, traderspost=BROKER)
    status = read_status(tmp_path / "status.json")
    assert status.versions == {"COMP": "v2"}
    assert status.pinned == {"COMP": "v2 (also in production)"}
    assert status.pending_swaps == {}
    assert decided_by(tmp_path) == [sha_of(store, "v2")] * 12


def test_a_desk_without_a_pin_follows_production(tmp_path: Path, store: ModelStore) -> None:
    run(tmp_path, sets=2, instruments=[{"symbol": "COMP", "version": "production"}])
    assert decided_by(tmp_path) == [sha_of(store, "v1")] * 2
    assert read_status(tmp_path / "status.json").pinned == {}


@pytest.mark.parametrize(
    ("version", "message"),
    [("v9", "COMP: version v9 is not in the manifest; it has v1, v2, v3"), ("v3", "version v3 is retired")],
)
def test_a_version_that_cannot_be_traded_is_refused(
    tmp_path: Path, store: ModelStore, version: str, message: str
) -> None:
    store.retire("COMP", "v3", by="me", now=papers.NOW, reason="test")
    with pytest.raises(LiveError, match=message) as refused:
        run(tmp_path, sets=1, instruments=[{"symbol": "COMP", "version": version}])
    assert "\n" not in str(refused.value)
    with Journal.open(tmp_path / "live.db", readonly=True) as journal:
        assert journal.newest_epoch() is None


def test_a_version_that_was_retired_does_not_start_again(tmp_path: Path, store: ModelStore) -> None:
    run(tmp_path, sets=2)
    store.retire("COMP", "v2", by="me", now=papers.NOW, reason="test")
    with pytest.raises(LiveError, match="version v2 is retired"):
        run(tmp_path, sets=1)


def test_another_pin_asks_for_a_new_epoch(tmp_path: Path, store: ModelStore) -> None:
    run(tmp_path, sets=2)
    with pytest.raises(JournalError, match="config changed since epoch 1"):
        run(tmp_path, sets=1, instruments=[{"symbol": "COMP", "version": "v3"}])


@pytest.mark.parametrize("rollout", [None, {"stages": [{"from_day": 1, "mode": "live"}]}])
def test_a_pin_never_goes_live(tmp_path: Path, store: ModelStore, rollout: dict[str, object] | None) -> None:
    """In no stage, the shadow stage of mode live included: it would go live at its next start."""
    changes = {"traderspost": BROKER, "feeds": TAIL, "fills_by_hand": True}
    with pytest.raises(ConfigError, match="COMP is pinned to v2, which trades in paper and shadow only"):
        run(tmp_path, sets=1, mode="live", **changes, **({"rollout": rollout} if rollout else {}))
    assert not (tmp_path / "live.db").exists()


def test_the_roll_out_of_a_pinned_version_does_not_advance(tmp_path: Path, store: ModelStore) -> None:
    run(tmp_path, sets=2, mode="shadow", traderspost=BROKER)
    with pytest.raises(ConfigError, match="COMP is pinned to v2"):
        advance(tmp_path / "comparison.json", "two weeks", config=tmp_path / "live.yml")
    assert not list((tmp_path / "mailbox").glob("*.json"))
