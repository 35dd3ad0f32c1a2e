"""A paper journal as the actual impact of a strategy: the same measures as the backtest of the same bars."""

from __future__ import annotations

from pathlib import Path

import pytest

from certify.realised import SHOWN, of_journal
from lockstep.errors import LockstepError
from research.backtest.run import run_backtest
from support import desks, papers


def test_a_journal_tells_what_its_backtest_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = papers.store(tmp_path / "store")
    monkeypatch.setenv("LOCKSTEP_MODEL_STORE", str(store.folder))
    (model,) = papers.models(store)
    journal = papers.traded(tmp_path, model)
    (deed,) = of_journal(journal)
    history = desks.history(papers.WARM + papers.SETS)
    span = desks.span_after(history, papers.COMP, papers.WARM)
    metrics = run_backtest(model.config, history, "COMP", span=span, veto=model.veto).metrics
    assert deed.metrics == pytest.approx({name: metrics[name] for name in SHOWN})
    assert metrics["trades"] > 10
    assert deed.config_hash == model.config.config_hash
    assert f"COMP from {deed.first} to {deed.last}: Sharpe {metrics['sharpe']:.2f}" in str(deed)


def test_what_is_neither_journal_nor_run_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_bytes(b"no journal")
    for path in (tmp_path / "text.db", tmp_path / "nowhere"):
        with pytest.raises(LockstepError):
            of_journal(path)
