"""Columns of a run hold what the recorder was told, and refuse what does not fit together."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from lockstep.errors import StrategyError
from lockstep.strategy.decision import ENTER_LONG, NO_SIGNAL
from lockstep.strategy.records import MemoryRecorder, OrderRecord, TradeRecord
from research.backtest import frames
from research.backtest.records import EQUITY, RecordColumns, RunRecords, TextCodes

ORDER = OrderRecord(
    symbol="ES", reference=7, decision=10, intent="entry", reason="enter long", status="accepted", stamp=10,
    quantity=1.0, price=math.nan, commission=0.0, slippage=0.0,
)  # fmt: skip
TRADE = TradeRecord(
    symbol="ES", decision=10, quantity=1.0, entry_stamp=20, entry_price=4000.25, probability=0.5,
    commission=1.25, slippage=6.25,
)  # fmt: skip


def recorder() -> MemoryRecorder:
    kept = MemoryRecorder()
    for stamp, code, reason in (
        (10, ENTER_LONG, "enter long"),
        (20, NO_SIGNAL, "no signal"),
        (30, NO_SIGNAL, "no signal"),
    ):
        kept.decision(stamp, np.array([stamp / 7.0, math.nan]), 0.5, code, reason)
        kept.mark(stamp, 4000.0 + stamp, 0.0, 1e5, 1e5 - stamp)
    kept.order(ORDER)
    kept.order(replace(ORDER, status="completed", stamp=20, price=4000.25, commission=1.25))
    kept.trade(TRADE)
    return kept


def test_columns_hold_what_was_reported() -> None:
    kept = recorder()
    records = RunRecords.of(kept)
    assert records.stamps.tolist() == kept.stamps == [10, 20, 30]
    assert records.vectors.tobytes() == np.array(kept.vectors).tobytes()
    assert records.vectors.shape == (3, 2)
    assert records.reason.texts() == kept.reasons
    assert records.reason_names == ("enter long", "no signal")
    assert records.marks[:, EQUITY].tolist() == [mark[-1] for mark in kept.marks]
    assert repr(list(records.orders)) == repr(kept.orders)
    assert repr(list(records.trades)) == repr(kept.trades)
    kinds = {
        name: column.dtype.kind
        for name, column in records.orders.columns.items()
        if name != "price" and isinstance(column, np.ndarray)
    }
    assert kinds == dict.fromkeys(("reference", "decision", "stamp"), "i") | dict.fromkeys(
        ("quantity", "commission", "slippage"), "f"
    )


def test_a_trade_that_closes_after_it_was_reported_is_closed_in_the_columns() -> None:
    kept = recorder()
    kept.trades[0].exit_stamp, kept.trades[0].exit_reason = 30, "stop"
    trades = RunRecords.of(kept).trades
    assert trades["exit_stamp"].tolist() == [30]
    assert trades.text("exit_reason").texts() == ["stop"]


def test_a_run_without_orders_has_the_same_types_as_any_other() -> None:
    some, none = RunRecords.of(recorder()), RunRecords.of(replace(recorder(), orders=[], trades=[]))
    assert len(none.orders) == len(none.trades) == 0
    filled, empty = frames.orders_frame(some), frames.orders_frame(none)
    assert filled.dtypes.to_dict() == empty.dtypes.to_dict()
    assert (len(filled), len(empty)) == (2, 0)


def test_decisions_are_read_without_a_string_for_each() -> None:
    decisions = frames.decisions_frame(RunRecords.of(recorder()))
    assert decisions["kind"].tolist() == ["entry", "no_trade", "no_trade"]
    assert decisions["reason"].tolist() == ["enter long", "no signal", "no signal"]
    assert {str(decisions[name].dtype) for name in ("kind", "reason")} == {"str"}


def test_a_bar_without_its_mark_is_refused() -> None:
    kept = recorder()
    kept.marks.pop()
    with pytest.raises(StrategyError, match="2 marks for decisions at 3 bars"):
        RunRecords.of(kept)
    with pytest.raises(StrategyError, match="2 codes for 3 bars"):
        replace(RunRecords.of(recorder()), codes=np.zeros(2, dtype=np.int64))


def test_columns_that_lack_a_field_or_a_row_are_refused() -> None:
    columns = dict(RunRecords.of(recorder()).trades.columns)
    with pytest.raises(StrategyError, match="columns of TradeRecord: differ in length"):
        RecordColumns(TradeRecord, columns | {"quantity": np.zeros(2)})
    del columns["entry_price"]
    with pytest.raises(StrategyError, match=r"columns of TradeRecord: .*; need symbol, decision, quantity"):
        RecordColumns(TradeRecord, columns)


def test_text_and_numbers_are_asked_for_by_what_they_are() -> None:
    orders = RunRecords.of(recorder()).orders
    with pytest.raises(StrategyError, match=r"OrderRecord.reason: is text"):
        orders["reason"]
    with pytest.raises(StrategyError, match=r"OrderRecord.stamp: is numbers"):
        orders.text("stamp")
    assert TextCodes.of([]).texts() == TextCodes.of([]).array().tolist() == []
