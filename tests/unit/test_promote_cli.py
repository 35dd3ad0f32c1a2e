"""`promote`: a version, or the file of a strategy; what is refused, and what is left behind then."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lockstep.models.store import ModelStore
from operations.promote_cli import app
from support.models import NOW, RECORD, evidence

ROOT = Path(__file__).resolve().parents[2]
BASELINE = ROOT / "configs/strategies/ibs_baseline.yaml"


@pytest.fixture(autouse=True)
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "trials.db"
    monkeypatch.setenv("LOCKSTEP_DB", f"sqlite:///{path}")
    return path


def promote(folder: Path, *arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments), "--store", str(folder), "--by", "ann"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no symbol and no version: give both"),
        (("COMP",), "COMP: no version: give both"),
        (("COMP", "v1", "--strategy", BASELINE), "both select what to promote; give only one of them"),
        (("COMP", "v1", "--data-dir", "bars"), "--data-dir bars: goes with --strategy"),
        (("COMP", "v1", "--source", "x"), "--source x: goes with --strategy"),
        (("--strategy", BASELINE), "no symbol; name the instrument to trade"),
        (("CMP", "--strategy", BASELINE), "symbol 'CMP'; did you mean 'COMP'"),
        (("--strategy", ROOT / "configs/training/COMP.yml"), "is a training file"),
        (("COMP", "--strategy", "nothing.yaml"), "nothing.yaml: cannot be read"),
        (("COMP", "--strategy", BASELINE, "--force"), "COMP: force needs a reason"),
        (("COMP", "--strategy", BASELINE, "--data-dir", "/nowhere"), "/nowhere"),
    ],
)
def test_a_refusal_is_one_line_and_changes_nothing(
    tmp_path: Path, arguments: tuple[object, ...], said: str
) -> None:
    done = promote(tmp_path / "store", *arguments)
    assert done.exit_code != 0
    assert said in str(done.exception)
    assert "\n" not in str(done.exception)
    assert not (tmp_path / "store").exists()


def test_a_strategy_is_a_candidate_until_it_has_its_evidence(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "store")
    first = promote(store.folder, "COMP", "--strategy", BASELINE)
    assert first.exit_code == 1
    assert "COMP v1: registered as a candidate" in first.stdout
    assert f"certify --symbol COMP --version v1 --store {store.folder}" in first.stdout
    again = promote(store.folder, "COMP", "--strategy", BASELINE, "--json")
    assert (again.exit_code, json.loads(again.stdout)["new"]) == (1, False)
    entry = store.manifest().entry("COMP", "v1")
    assert entry.threshold is None
    (store.folder / "policy.json").write_text('{"promotion": ["validation"]}')
    store.attach("COMP", "v1", evidence(entry.sha256), by="ann", now=NOW)
    done = promote(store.folder, "COMP", "--strategy", BASELINE, "--reason", "holds")
    assert done.exit_code == 0
    assert done.stdout.startswith("COMP ibs_veto: promoted v1; production none -> v1")
    assert store.manifest().history[-1].reason == "holds"
    assert "is in production already" in str(promote(store.folder, "COMP", "v1").exception)


def test_a_model_and_a_strategy_replace_each_other(tmp_path: Path) -> None:
    """One version of an instrument is in production, with a model or without."""
    from support import desks

    store = ModelStore(tmp_path / "store")
    for bundle in (desks.bundle("COMP"), desks.bare_bundle("COMP")):
        store.register(bundle, record=RECORD, by="ann", now=NOW)
        store.promote("COMP", store.manifest().model("COMP").versions.popitem()[0], by="ann", now=NOW,
                      reason="a trial", force=True)  # fmt: skip
    change = store.rollback("COMP", by="ann", now=NOW, reason="back to the model")
    assert (change.before, change.after) == ("v2", "v1")
    told = "\n".join(change.lines())
    assert "threshold: none, there is no model -> 0.5" in told
    assert "target: none -> trade_wins" in told
