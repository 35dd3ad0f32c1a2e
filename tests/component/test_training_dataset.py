"""The samples: the trades of Backtrader, and every other signal followed to its own exit."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from lockstep.errors import NoBars, StoreFailure, TrainingError, UnknownFeature
from lockstep.features.batch import BatchFeatures
from lockstep.features.feature import feature
from lockstep.features.feature_registry import FeatureRegistry, default_registry
from lockstep.features.invariance import shifted
from lockstep.market.dates import DateRange
from lockstep.market.history import History, SeriesKey
from lockstep.market.timeframe import DAILY
from lockstep.strategy.decision import ENTRIES, PASS
from lockstep.strategy.families.ibs import decide
from research.backtest.run import run_backtest
from research.training.config import TrainingConfig, load_training
from research.training.dataset import Dataset, build_dataset, save_dataset, widened
from research.training.run import load_training_history
from support.training import ROOT, STRATEGY, config, spx_dataset, spx_history

SPX = SeriesKey("SPX", DAILY)
ES_FILE = ROOT / "configs/training/ES.yml"


def backtrader_trades(settings: TrainingConfig, history: History, dataset: Dataset) -> list[bytes]:
    """Return decision, entry and exit stamps, sides and net P&L of Backtrader's closed trades, as bytes."""
    span = DateRange.of(settings.data.start, settings.data.end)
    result = run_backtest(
        widened(settings.strategy, dataset.feature_ids), history, settings.symbol, span=span
    )
    closed = [each for each in result.records.trades if each.exit_stamp]
    stamps = [[getattr(each, name) for each in closed] for name in ("decision", "entry_stamp", "exit_stamp")]
    frame = result.trades[result.trades["status"] == "closed"]
    pnl, side = (frame[name].to_numpy(dtype=np.float64) for name in ("net_pnl", "side"))
    return [*(np.array(each, dtype=np.int64).tobytes() for each in stamps), side.tobytes(), pnl.tobytes()]


def taken_samples(dataset: Dataset) -> list[bytes]:
    taken = dataset.subset(np.flatnonzero(dataset.taken))
    columns = (taken.decision, taken.entry, taken.exit, taken.side, taken.net_pnl)
    return [column.tobytes() for column in columns]


def candidates(settings: TrainingConfig, history: History, dataset: Dataset) -> list[int]:
    """Return the bars at which `decide` enters when it is flat, asked one by one."""
    strategy = widened(settings.strategy, dataset.feature_ids)
    key = SeriesKey(settings.symbol, DAILY)
    matrix = BatchFeatures(default_registry().plan(strategy.feature_ids, key), history).matrix
    rules = strategy.rules(history.markets[settings.symbol].session)
    filters = strategy.filter_rules()
    always, flat = (1.0, 0.0, 0.0), (0.0, 0.0)
    return [
        row
        for row, values in enumerate(matrix)
        if decide(values, PASS, always, flat, rules, filters) in ENTRIES
    ]


class TestParity:
    def test_taken_samples_are_backtraders_trades(self) -> None:
        dataset = spx_dataset()
        assert taken_samples(dataset) == backtrader_trades(config(), spx_history(), dataset)
        assert 100 < dataset.taken.sum() < len(dataset)

    @pytest.mark.no_cover
    def test_so_they_are_for_es(self, shared_data: Path) -> None:
        settings = load_training(ES_FILE)
        history = load_training_history(settings, shared_data / "futures_daily")
        dataset = build_dataset(settings, history)
        assert taken_samples(dataset) == backtrader_trades(settings, history, dataset)
        assert 100 < dataset.taken.sum() < len(dataset)

    @pytest.mark.no_cover
    def test_training_with_one_filter_off_is_another_population(self) -> None:
        other = config(strategy={**STRATEGY, "filters": []})
        dataset = build_dataset(other, spx_history())
        assert taken_samples(dataset) != backtrader_trades(config(), spx_history(), dataset)
        assert dataset.hashes["config"] != spx_dataset().hashes["config"]

    def test_every_bar_that_would_enter_is_a_sample_or_unfinished(self) -> None:
        dataset = spx_dataset()
        rows = candidates(config(), spx_history(), dataset)
        # An order of the last bar is never filled.
        found = [row for row in rows if row < len(spx_history().series(SPX)) - 1]
        assert set(dataset.row) <= set(found)
        assert len(found) - len(dataset) == dataset.unfinished

    @pytest.mark.no_cover
    def test_both_sides_are_followed(self) -> None:
        both = config(strategy={**STRATEGY, "direction": "both", "filters": []})
        dataset = build_dataset(both, spx_history())
        assert taken_samples(dataset) == backtrader_trades(both, spx_history(), dataset)
        assert set(np.unique(dataset.side)) == {-1.0, 1.0}

    def test_features_are_the_vector_of_the_decision(self) -> None:
        dataset = spx_dataset()
        plan = default_registry().plan(dataset.feature_ids, SPX)
        matrix = BatchFeatures(plan, spx_history()).matrix
        assert dataset.features.tobytes() == np.ascontiguousarray(matrix[dataset.row]).tobytes()
        assert dataset.decision.tobytes() == spx_history().series(SPX).end[dataset.row].tobytes()

    def test_the_range_is_traded_and_nothing_else(self) -> None:
        short = config(data={"start": "2011-01-03", "end": "2012-12-31"})
        dataset = build_dataset(short, spx_history())
        days = dataset.decision.astype("datetime64[ns]").astype("datetime64[D]")
        assert date(2011, 1, 3) <= days.min().item()
        assert days.max().item() <= date(2012, 12, 31)
        assert taken_samples(dataset) == backtrader_trades(short, spx_history(), dataset)


class TestUnfinished:
    def test_trades_open_at_the_last_bar_are_left_out_and_counted(self) -> None:
        whole = build_dataset(config(), spx_history())
        row = int(whole.row[len(whole) // 2])
        bars = spx_history().series(SPX)
        cut = replace(spx_history(), bars={**spx_history().bars, SPX: bars.rows(0, row + 2)})
        dataset = build_dataset(config(data={}), cut)
        before = whole.row < row + 2
        assert dataset.unfinished == before.sum() - len(dataset) > 0
        assert dataset.exit.max() <= bars.end[row + 1]


class TestWeights:
    def test_uniqueness_is_on_by_default_and_has_mean_one(self) -> None:
        dataset = spx_dataset()
        assert np.isclose(dataset.weight.mean(), 1.0)
        assert np.ptp(dataset.weight) > 0.1

    def test_uniform_weights_are_ones(self) -> None:
        dataset = build_dataset(config(sample_weight="uniform"), spx_history())
        assert set(dataset.weight) == {1.0}


@feature(lookback=1)
def raw_close(close: Any) -> Any:
    """The close itself."""
    return close[-1]


def adjusted(history: History) -> History:
    """Return the history as if rolls had been taken out of its prices by differences."""
    bars = {key: replace(each, adjustment="difference") for key, each in history.bars.items()}
    return replace(history, bars=bars)


ATR_STOP = {**STRATEGY, "stop": {"atr": 3.0}, "filters": []}


class TestRefusals:
    def test_a_price_level_is_refused(self) -> None:
        registry = FeatureRegistry()
        registry.register(raw_close)
        with pytest.raises(TrainingError, match="'raw_close' follows the level of prices"):
            build_dataset(config(features={"ids": ["raw_close"]}), spx_history(), registry=registry)

    @pytest.mark.parametrize("name", ["exit_price", "net_pnl", "target", "taken"])
    def test_outcomes_are_no_features(self, name: str) -> None:
        with pytest.raises(UnknownFeature, match=name):
            build_dataset(config(features={"ids": ["ibs", name]}), spx_history())

    def test_what_moves_with_rolls_is_refused_on_adjusted_bars(self) -> None:
        asked = {"features": {"ids": ["ibs", "ret_1"]}, "strategy": ATR_STOP}
        with pytest.raises(TrainingError, match="'ret_1' moves when all prices are shifted"):
            build_dataset(config(**asked), adjusted(spx_history()))
        allowed = config(**asked, allow_shift_sensitive="rolls are under a tenth of a percent")
        assert len(build_dataset(allowed, adjusted(spx_history())))

    def test_an_adjusted_pair_is_enough(self) -> None:
        pair = SeriesKey("COMP", DAILY)
        history = load_training_history(config(features={"ids": ["pair_ret_1"]}))
        bars = {**history.bars, pair: replace(history.bars[pair], adjustment="difference")}
        settings = config(features={"ids": ["pair_ret_1"]}, strategy=ATR_STOP)
        with pytest.raises(TrainingError, match="'pair_ret_1' moves"):
            build_dataset(settings, replace(history, bars=bars))

    @pytest.mark.parametrize(
        ("strategy", "named"),
        [
            ({"stop": {"percent": 2.0}}, "stop percent"),
            ({"target": {"percent": 2.0}}, "target percent"),
            ({"filters": [{"feature": "ret_1", "max": 0.0}]}, "ret_1"),
            ({"size": {"kind": "volatility", "target": 0.1}}, "realised_vol_20_252"),
        ],
    )
    def test_rules_that_move_with_rolls_are_refused(self, strategy: dict[str, Any], named: str) -> None:
        settings = config(features={"ids": ["ibs"]}, strategy={**ATR_STOP, **strategy})
        with pytest.raises(TrainingError, match=f"{named}: moves when all prices are shifted"):
            build_dataset(settings, adjusted(spx_history()))

    def test_a_family_stands_for_what_may_be_trained_on(self) -> None:
        settings = config(features={"families": ["returns"]}, strategy=ATR_STOP)
        plain = build_dataset(settings, spx_history()).feature_ids
        kept = build_dataset(settings, adjusted(spx_history())).feature_ids
        assert set(plain) - set(kept) >= {"ret_1", "log_ret_1"}
        assert "zscore_20" in kept

    def test_a_family_without_anything_left_is_refused(self) -> None:
        settings = config(features={"ids": ["ret_1"]}, strategy=ATR_STOP)
        only = settings.replaced(features={"families": ["only"]})
        registry = FeatureRegistry(
            [each for each in default_registry() if each.name in ("ibs", "ret", "atr")]
        )
        renamed = FeatureRegistry([replace(each, family="only") for each in registry if each.name == "ret"])
        for each in registry:
            if each.name != "ret":
                renamed.register(each)
        with pytest.raises(TrainingError, match=r"none of .* features may be trained on"):
            build_dataset(only, adjusted(spx_history()), registry=renamed)

    def test_bars_of_another_symbol_are_refused(self) -> None:
        with pytest.raises(TrainingError, match="training of GC: the bars are of"):
            build_dataset(config(symbol="GC"), spx_history())

    @pytest.mark.no_cover
    def test_no_signal_is_refused(self) -> None:
        silent = config(strategy={**STRATEGY, "filters": [{"feature": "rsi_2", "min": 200.0}]})
        with pytest.raises(TrainingError, match="no signal"):
            build_dataset(silent, spx_history())

    def test_dates_outside_the_bars_are_refused(self) -> None:
        with pytest.raises(NoBars, match="2030"):
            build_dataset(config(data={"start": "2030-01-01"}, hold_out={"share": 0.2}), spx_history())
        with pytest.raises(
            TrainingError, match=r"the configuration asks for 2000-01-03 to 2018-12-31, .* holds 2008"
        ):
            load_training_history(config(data={"start": "2000-01-03", "end": "2018-12-31"}))

    def test_shifted_prices_give_other_percent_features(self) -> None:
        bars = {key: shifted(each, 512.0) for key, each in spx_history().bars.items()}
        dataset = build_dataset(config(data={}), replace(spx_history(), bars=bars))
        assert dataset.hashes["data"] != spx_dataset().hashes["data"]


class TestFile:
    def test_it_holds_what_the_dataset_holds(self, tmp_path: Path) -> None:
        dataset = spx_dataset()
        table = pq.read_table(save_dataset(dataset, tmp_path / "d.parquet"))
        for name in ("target", "row", "side", "net_pnl", "net_return", "taken", "weight"):
            assert np.array_equal(table.column(name).to_numpy(), getattr(dataset, name)), name
        for name in ("decision", "entry", "exit"):
            stamps = table.column(name).to_numpy().astype("datetime64[ns]").astype(np.int64)
            assert np.array_equal(stamps, getattr(dataset, name)), name
        for column, each in enumerate(dataset.feature_ids):
            assert table.column(each).to_numpy().tobytes() == dataset.features[:, column].tobytes(), each
        described = json.loads(table.schema.metadata[b"lockstep"])
        assert (described["symbol"], described["schema"]) == ("SPX", 1)
        assert described["feature_ids"] == list(dataset.feature_ids)
        assert described["hashes"] == dataset.hashes

    def test_equal_datasets_give_equal_bytes(self, tmp_path: Path) -> None:
        first, second = (save_dataset(spx_dataset(), tmp_path / name) for name in ("a", "b"))
        assert first.read_bytes() == second.read_bytes()

    def test_a_full_disk_leaves_what_was_there(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / "d.parquet"
        path.write_text("before")

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(StoreFailure, match="No space left"):
            save_dataset(spx_dataset(), path)
        assert path.read_text() == "before"
        assert list(tmp_path.iterdir()) == [path]
