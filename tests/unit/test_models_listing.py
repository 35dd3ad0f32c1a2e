"""What the commands print."""

from __future__ import annotations

import getpass
import io
import json

import pytest
from rich.console import Console

from lockstep.errors import UnknownModel, VerbRefused
from lockstep.models.command_line import actor, show_change
from lockstep.models.listing import (
    chosen_instruments,
    versions_table,
)
from lockstep.models.policy import Policy
from lockstep.models.store import ModelStore
from lockstep.models.verbs import Change
from support.models import NOW, RECORD, evidence, make_bundle

CHANGE = Change(action="promote", symbol="ES", name="ibs_veto", version="v2", before="v1", after="v2")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    found = ModelStore(tmp_path_factory.mktemp("models"))
    for symbol in ("ES", "COMP"):
        bundle = make_bundle(training={}) if symbol == "ES" else make_bundle(symbol=symbol)
        found.register(bundle, record=RECORD, by="ann", now=NOW)
    found.promote("COMP", "v1", by="ann", now=NOW, reason="test", force=True)
    sha256 = found.manifest().entry("ES", "v1").sha256
    found.attach("ES", "v1", evidence(sha256, passed=False), by="ann", now=NOW)
    return found


def printed(*tables: object) -> str:
    text = io.StringIO()
    Console(width=200, file=text).print(*tables)
    return text.getvalue()


def test_versions_are_one_row_each(store: ModelStore) -> None:
    text = printed(versions_table(store.manifest()))
    assert text.index("COMP") < text.index("ES")
    assert "validation failed" in text
    assert "roc_auc 0.61" in text
    assert "profit_factor" not in text
    only = chosen_instruments(store.manifest(), "ES")
    assert list(only.instruments) == ["ES"]
    with pytest.raises(UnknownModel, match="did you mean 'COMP'"):
        chosen_instruments(store.manifest(), "CMP")


def test_changes_are_printed_as_text_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    show_change(CHANGE, as_json=False)
    assert capsys.readouterr().out == "ES ibs_veto: promoted v2; production v1 -> v2\n"
    show_change(CHANGE, as_json=True)
    assert json.loads(capsys.readouterr().out)["after"] == "v2"


def test_who_acts_is_named_or_the_user() -> None:
    assert actor("ann") == "ann"
    assert actor("") == getpass.getuser()


def test_evidence_that_came_with_another_bundle_does_not_count(store: ModelStore) -> None:
    entry = store.manifest().entry("ES", "v1")
    foreign = entry.model_copy(update={"evidence": (evidence("a" * 64),)})
    assert Policy(promotion=("validation",)).missing(foreign, NOW) == (
        "validation: is about another bundle, aaaaaaaaaaaa…",
    )


def test_other_models_do_not_count_in_a_rollback(store: ModelStore) -> None:
    manifest = store.manifest()
    assert {entry.symbol for entry in manifest.history} == {"ES", "COMP"}
    store.promote("ES", "v1", by="ann", now=NOW, reason="test", force=True)
    with pytest.raises(VerbRefused, match="nothing was in production before v1"):
        store.rollback("ES", by="ann", now=NOW, reason="x")
