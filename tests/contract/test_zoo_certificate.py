"""A spec that reads a model of the zoo is certified bit for bit, its live engine killed and started again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from certify.certificate import Part
from certify.live_run import LiveRun
from certify.run import CertificateRequest, _Researched, certify, history_of, live_over, span_of
from lockstep.errors import LockstepError
from lockstep.features.feature_registry import default_registry
from lockstep.live.traded import TradedModel
from lockstep.market.config import load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.history import History
from lockstep.market.loader import load_history
from lockstep.models import model_column
from lockstep.models.model_column import ModelColumn
from lockstep.models.store import ModelStore, load_bundle
from research.backtest.run import run_backtest
from support.evidence import NOW
from support.zoo import hybrid, registered, trading, volatility

START, END = "2016-01-04", "2016-12-30"


@dataclass(frozen=True, kw_only=True)
class Certified:
    """What a certificate compares, taken apart: one live run, and what research has to say beside it."""

    column: str
    model: TradedModel
    request: CertificateRequest
    history: History
    span: DateRange
    live: LiveRun

    def parts(self) -> tuple[Part, Part]:
        """Compare what research and the sweep do now with what the live engine did."""
        result = run_backtest(self.model.config, self.history, "COMP", span=self.span)
        run = _Researched(model=self.model, result=result, history=self.history, span=self.span)
        return run.parts(self.live)


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Certified]:
    """A spec and the model that it reads, trained on the years before, in a store that is not the default."""
    store = ModelStore(tmp_path_factory.mktemp("store"))
    before = load_history("COMP", start="2008-01-02", end="2015-12-31")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model_column, "_opened", {})
        patch.setenv("LOCKSTEP_MODEL_STORE", str(store.folder))
        trained = volatility(before)
        column = registered(store, trained)
        calm = round(float(np.median(trained.golden.answers)), 1)
        registered(store, trading(hybrid(column, calm), before))
        request = CertificateRequest(
            versions={"COMP": "v1"}, store=store, start=START, end=END, restarts=1, seed=3
        )
        bundles = {"COMP": load_bundle("COMP", "v1", store=store)}
        models = {symbol: TradedModel.of(bundle) for symbol, bundle in bundles.items()}
        history = history_of(models, request, load_instruments())
        span = span_of(models, history, request)
        results = {"COMP": run_backtest(models["COMP"].config, history, "COMP", span=span)}
        live = live_over(bundles, request, span, results)
        yield Certified(
            column=column, model=models["COMP"], request=request, history=history, span=span, live=live
        )


def test_a_hybrid_spec_passes_bit_for_bit_kills_included(certified: Certified) -> None:
    swept, lived = certified.parts()
    assert (swept.first, lived.first) == ("", "")
    assert certified.live.restarts == len(certified.live.killed_after) == 1
    assert lived.bars == swept.bars == 252
    assert min(swept.fills, lived.fills) > 20
    assert certified.model.plan.ids == (certified.column, "rsi_2")
    assert lived.values == 252 * 2


def _leaf(certified: Certified, patch: pytest.MonkeyPatch) -> None:
    """Change the value of one leaf, in its last bit, of the tree that research asks."""
    column = _column(certified)
    nodes = column.model.steps[-1][1]._predictors[0][0].nodes
    leaf = int(np.flatnonzero(nodes["is_leaf"])[np.argmax(nodes["count"][nodes["is_leaf"] != 0])])
    changed = nodes.copy()
    changed["value"][leaf] *= 1.0 + 2.0**-40
    patch.setattr(column.model.steps[-1][1]._predictors[0][0], "nodes", changed)


def _shift(certified: Certified, patch: pytest.MonkeyPatch) -> None:
    """Let research read what the model answered a bar earlier."""
    honest = ModelColumn.answers
    patch.setattr(ModelColumn, "answers", lambda self, rows: np.roll(honest(self, rows), 1))


def _unclipped(certified: Certified, patch: pytest.MonkeyPatch) -> None:
    """Let research hold the answers within a narrower range of labels than the live engine."""
    column = _column(certified)
    low, high = column.low, column.high
    patch.setitem(vars(column), "_range", (low, low + 0.4 * (high - low)))


def _column(certified: Certified) -> Any:
    return default_registry().parse(certified.column).column


@pytest.mark.parametrize("spoil", [_leaf, _shift, _unclipped])
def test_another_answer_on_one_side_fails(
    certified: Certified, spoil: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The controls: the live engine's answers are the bundle's, research's are not."""
    spoil(certified, monkeypatch)
    _, lived = certified.parts()
    assert lived.different > 0
    assert certified.column in lived.first
    monkeypatch.undo()
    assert certified.parts()[1].different == 0


def test_a_changed_file_is_refused_before_anything_runs(certified: Certified, tmp_path: Path) -> None:
    """The leaf in the file itself: the column's hash is not that of the bundle any more."""
    path = certified.request.store.path("COMP", "v1", name="volatility_h1")
    content = path.read_bytes()
    spoilt = bytearray(content)
    spoilt[-200] ^= 1
    model_column._loaded.cache_clear()
    try:
        path.write_bytes(bytes(spoilt))
        with pytest.raises(LockstepError, match="SHA-256"):
            certify(certified.request, now=NOW)
    finally:
        path.write_bytes(content)
        model_column._loaded.cache_clear()


def test_the_model_trades_on_no_bar_that_it_was_trained_on(certified: Certified) -> None:
    trained = _column(certified).trained
    assert trained is not None
    assert str(trained.end) < START
