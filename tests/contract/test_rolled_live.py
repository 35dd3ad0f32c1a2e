"""The live engine over rolls of contracts, killed at each, against research: the same bits."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from certify.run import CertificateRequest, certify
from lockstep.errors import LiveError
from lockstep.features.feature_registry import default_registry
from lockstep.live.messages import SetRecord
from lockstep.live.rerun import step_of
from lockstep.live.traded import TradedModel
from lockstep.live.warmup import require_known_rolls
from lockstep.market.config import USER_FILE_VARIABLE
from lockstep.market.history import History
from lockstep.models.bundle import Bundle
from lockstep.models.golden import golden_vectors
from lockstep.models.store import ModelStore
from lockstep.monitoring.parity import ParityComparison, compare
from lockstep.strategy.families.ibs import IbsConfig
from research.backtest.result import steps_of
from research.backtest.run import run_backtest
from support import desks
from support.contracts import KEY, ROLLS, contracts, raw, rolled_history, table, write_contracts
from support.evidence import NOW
from support.markets import CME
from support.zoo import RECORD

# The windows are full, and the first roll is near.
WARM = ROLLS[0] - 20
CONFIG = IbsConfig.model_validate(
    {
        "name": "rolled", "direction": "both", "entry": (0.0, 0.3), "exit": (0.98, 1.0),
        "short_entry": (0.7, 1.0), "short_exit": (0.0, 0.02), "stop": {"atr": 3.0, "feature": "atr_14"},
        "features": ["atr_14", "pair_zscore_20", "atr_pctile_14_252", "ret_5", "zscore_20%252"],
    }
)  # fmt: skip


@cache
def history() -> History:
    return rolled_history(raw("ES"))


@cache
def bundle() -> Bundle:
    """Return a bundle without a model, whose golden vectors reach over rolls."""
    ids, ends = CONFIG.feature_ids, history().series(KEY).end
    stamps = ends[[ROLLS[0] - 1, ROLLS[0], ROLLS[3] + 2]]
    golden = golden_vectors(history(), KEY, ids, None, stamps, CONFIG.max_age.limits)
    return Bundle(
        symbol="ES", target="", pipeline=None, feature_ids=ids, threshold=None, training={}, metrics={},
        fingerprints={each: default_registry().fingerprint(each) for each in ids},
        strategy={
            "family": "IbsConfig",
            "config": CONFIG.model_dump(mode="json"),
            "config_hash": CONFIG.config_hash,
        },
        golden=golden, sha256="ES-rolled-v1", version="v1",
    )  # fmt: skip


def compared(journal: desks.MemoryJournal, model: TradedModel) -> ParityComparison:
    """Compare what an engine did with research."""
    span = desks.span_after(history(), KEY, WARM)
    result = run_backtest(model.config, history(), "ES", span=span)
    steps = [
        step_of(lane, row.release.stamp, row.release.bars[KEY]) for row in journal.sets for lane in row.lanes
    ]
    return compare(steps_of(result), steps, model.plan.ids)


def plain(rows: list[SetRecord]) -> list[str]:
    return [repr(replace(row, sequence=0)) for row in rows]


def test_killed_at_each_of_eight_rolls_it_equals_research(tmp_path: Path) -> None:
    model = TradedModel.of(bundle())
    whole, pieces = desks.MemoryJournal(), desks.MemoryJournal()
    desks.engine(tmp_path, {"ES": model}, whole, history(), warm=WARM).run()
    done = 0
    for stop in [each - WARM + k for each in ROLLS for k in (-1, 0, 1)]:
        desks.engine(tmp_path, {"ES": model}, pieces, history(), warm=WARM, stop_after=stop - done).run()
        done = stop
    desks.engine(tmp_path, {"ES": model}, pieces, history(), warm=WARM).run()
    assert plain(whole.sets) == plain(pieces.sets)
    found = compared(whole, model)
    assert found.first is None, found.first
    assert found.fills > 30
    reasons = [row.lanes[0].reason for row in whole.sets]
    assert reasons.count("roll") >= 3


def test_an_engine_that_knows_of_no_roll_is_found(tmp_path: Path) -> None:
    """The control: the same bars, taken for those of one contract."""
    blind = {name: replace(each, rolls=None) for name, each in history().markets.items()}
    journal, model = desks.MemoryJournal(), TradedModel.of(bundle())
    desks.engine(tmp_path, {"ES": model}, journal, replace(history(), markets=blind), warm=WARM).run()
    found = compared(journal, model)
    assert found.first is not None


def test_a_certificate_over_files_of_contracts_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "instruments.yml"
    file.write_text(
        """sources: {contracts: {folder: contracts, file: "{symbol}{contract}_bt", timeframe: 1d,
        stamp: session_date, session: CME, adjustment: none}}"""
    )
    monkeypatch.setenv(USER_FILE_VARIABLE, str(file))
    folder = tmp_path / "contracts"
    for symbol in ("ES", "NQ"):
        write_contracts(folder, contracts(symbol), CME)
        table(symbol).write(folder / "rolls" / f"{symbol}.csv")
    store = ModelStore(tmp_path / "store")
    version = store.register(bundle(), record=RECORD, by="test", now=NOW)
    first, last = (str(np.datetime64(table("ES").rolls[number].at)) for number in (0, 3))
    request = CertificateRequest(
        versions={"ES": version}, store=store, data_dir=folder, start=first, end=last, restarts=2, seed=4
    )
    [found] = certify(request, now=NOW)
    assert [part.first for part in found.parts] == ["", ""]
    assert found.restarts == 2


def test_a_table_that_grows_while_the_engine_runs_is_refused() -> None:
    with pytest.raises(LiveError, match="ES, NQ: raw contracts are traded by feed replay only"):
        require_known_rolls(history(), replay=False)
    require_known_rolls(history(), replay=True)
