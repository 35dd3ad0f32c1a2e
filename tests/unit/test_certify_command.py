"""Which bars a certificate is issued on: those of the training, unless others are named."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from certify import command
from certify.command import app, bars_of_training
from certify.run import CertificateRequest
from lockstep.errors import ConfigError
from lockstep.models.manifest import TrainingRecord
from lockstep.models.store import ModelStore
from support import desks

NOW = datetime(2026, 1, 5, tzinfo=UTC)


def record(data_dir: str | None = None, source: str | None = None) -> TrainingRecord:
    config = {"data": {"start": None, "end": None, "source": source}}
    return TrainingRecord(
        code_hash="0", config=config, data_hashes={}, data_dir=data_dir, seed=0, python="3", versions={}
    )


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """Return a store of COMP v1 (embedded), COMP v2 and SPX v1 (a folder and a source), SPX v2 (older)."""
    found = ModelStore(tmp_path / "store")
    without = TrainingRecord(code_hash="0", config={}, data_hashes={}, seed=0, python="3", versions={})
    for symbol, kept in (
        ("COMP", record()), ("COMP", record("bars", "mine")),
        ("SPX", record("bars", "mine")), ("SPX", without),
    ):  # fmt: skip
        found.register(desks.bundle(symbol, seed=1), record=kept, by="test", now=NOW)
    return found


def test_bars_are_those_of_the_record(store: ModelStore) -> None:
    assert bars_of_training(store, {"COMP": "v1"}, None, None) == (None, None)
    assert bars_of_training(store, {"SPX": "v2"}, None, None) == (None, None)
    assert bars_of_training(store, {"COMP": "v2"}, None, None) == (Path("bars"), "mine")
    assert bars_of_training(store, {"COMP": "v2", "SPX": "v1"}, None, None) == (Path("bars"), "mine")


def test_what_is_named_wins(store: ModelStore) -> None:
    assert bars_of_training(store, {"COMP": "v2"}, Path("other"), None) == (Path("other"), "mine")
    assert bars_of_training(store, {"COMP": "v2"}, Path("other"), "his") == (Path("other"), "his")
    assert bars_of_training(store, {"COMP": "v2"}, None, "embedded_comp") == (None, "embedded_comp")


def test_versions_of_different_bars_are_certified_apart(store: ModelStore) -> None:
    apart = r"COMP was trained on embedded data, SPX on bars \(source mine\): .*one at a time"
    with pytest.raises(ConfigError, match=apart):
        bars_of_training(store, {"COMP": "v1", "SPX": "v1"}, None, None)


def test_the_command_asks_for_them(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[CertificateRequest] = []

    def certify(request: CertificateRequest, **_: Any) -> list[Any]:
        asked.append(request)
        return []

    monkeypatch.setattr(command, "certify", certify)
    done = CliRunner().invoke(
        app, ["--symbol", "COMP", "--version", "v2", "--store", str(store.folder)], catch_exceptions=False
    )
    assert done.exit_code == 0
    assert (asked[0].data_dir, asked[0].source) == (Path("bars"), "mine")
    assert "bars of the training: bars (source mine)" in done.output
