"""Exports: what was recorded, with types and all digits; refusals write nothing."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import json
import math
import subprocess
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lockstep.errors import JournalError
from lockstep.live.journal import Journal
from lockstep.live.journal.export import KINDS, Range, export, require_format, write
from lockstep.strategy.decision import ENTER_LONG
from support import journals as make
from support.journals import HOUR, START
from support.processes import ROOT, python

ALL = Range()
PORTFOLIO = ("portfolio", "proposals")
RECORDED = tuple(kind for kind in KINDS if kind not in ("backtests", *PORTFOLIO))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hours 0-9 on 2023-11-14 and 15, one of them with a filled order of an awkward price."""
    path = tmp_path_factory.mktemp("export") / "live.db"
    filled = make.order("ES", 8, status="completed", price=0.1 + 0.2, commission=2.5, stamp=START + 9 * HOUR)
    with Journal.open(path) as journal:
        journal.begin_epoch(make.epoch(mode="shadow"))
        for number in range(9):
            journal.append_set(make.bar_set(number, features=3))
        last = make.bar_set(9, features=3)
        vector = np.array([0.1, math.nan, -0.0]).tobytes()
        lane = make.lane("ES", 9, orders=(filled,), vector=vector, code=ENTER_LONG, reason='long, "first"')
        journal.append_set(dataclasses.replace(last, lanes=(lane,)))
    return path


def table(kind: str, path: Path, days: Range = ALL) -> pa.Table:
    return export(kind, days, journal=path, runs=path.parent, table="trades")


class TestRecorded:
    def test_fills_are_completed_orders(self, path: Path) -> None:
        (row,) = table("fills", path).to_pylist()
        end, decision = (pd.Timestamp(START + number * HOUR, tz="UTC") for number in (9, 8))
        assert row == {
            "epoch": 1,
            "mode": "shadow",
            "sequence": 10,
            "end": end,
            "decision": decision,
            "symbol": "ES",
            "intent": "entry",
            "reason": "long",
            "status": "completed",
            "quantity": 2.0,
            "price": 0.1 + 0.2,
            "commission": 2.5,
            "slippage": 0.0,
        }

    def test_orders_are_all_states(self, path: Path) -> None:
        found = table("orders", path).to_pylist()
        assert [(row["symbol"], row["status"]) for row in found[-2:]] == [
            ("CL", "accepted"),
            ("ES", "completed"),
        ]
        assert len(found) == 9
        assert found[0]["price"] is None

    def test_positions(self, path: Path) -> None:
        found = table("positions", path).to_pylist()
        assert len(found) == 9 * 4 + 1
        expected = make.lane("NQ", 2)
        row = found[2 * 4 + 1]
        assert (row["close"], row["position"], row["cash"], row["equity"]) == expected.mark
        assert (row["entry_price"], row["stop"], row["target"]) == (*expected.state.account[1:3], None)
        assert row["bars_held"] == 2

    def test_decisions_have_their_kind_and_their_vector(self, path: Path) -> None:
        found = table("decisions", path).to_pylist()[-1]
        assert (found["kind"], found["code"], found["reason"]) == ("entry", ENTER_LONG, 'long, "first"')
        assert np.array(found["vector"]).tobytes() == np.array([0.1, math.nan, -0.0]).tobytes()

    @pytest.mark.parametrize("kind", RECORDED)
    def test_types_are_declared(self, path: Path, kind: str) -> None:
        schema = table(kind, path).schema
        assert schema.field("end").type == pa.timestamp("ns", tz="UTC")
        assert schema.field("sequence").type == pa.int64()
        assert schema.field("symbol").type == pa.string()
        assert not [each.name for each in schema if pa.types.is_null(each.type)]


class TestPortfolio:
    @pytest.fixture
    def settled(self, tmp_path: Path) -> Path:
        path = tmp_path / "portfolio.db"
        with Journal.open(path) as journal:
            journal.begin_epoch(make.epoch())
            journal.append_set(make.bar_set(0))
            journal.append_set(make.settled_set(1))
        return path

    def test_proposals_are_told_with_their_answers(self, settled: Path) -> None:
        found = table("proposals", settled)
        admitted, refused = found.to_pylist()
        assert (admitted["symbol"], admitted["quantity"], admitted["rule"]) == ("NQ", -1.0, "")
        assert (refused["symbol"], refused["place"], refused["rule"]) == ("ES", 1, "gross")
        assert (admitted["margin"], refused["margin"], refused["equity"]) == (None, 0.1, 1e5 / 7.0)
        assert found.schema.field("place").type == pa.int64()
        assert found.schema.field("rule").type == pa.string()

    def test_each_settled_set_has_a_row(self, settled: Path) -> None:
        (row,) = table("portfolio", settled).to_pylist()
        state = make.settled_set(1).settled.state  # type: ignore[union-attr]
        assert (row["equity"], row["day"], row["stopped"]) == (state.equity, state.day, 1)
        assert row["end"] == pd.Timestamp(START + HOUR, tz="UTC")

    @pytest.mark.parametrize("kind", PORTFOLIO)
    def test_a_journal_without_one_says_so(self, path: Path, kind: str) -> None:
        with pytest.raises(JournalError, match=f"no {kind} from the beginning"):
            table(kind, path)


class TestRange:
    @pytest.mark.parametrize(
        ("first", "last", "rows"),
        [
            (None, None, 37),
            ("2023-11-14", "2023-11-14", 8),
            ("2023-11-15", None, 29),
            (None, "2023-11-15", 37),
        ],
    )
    def test_days_are_included_in_utc(
        self, path: Path, first: str | None, last: str | None, rows: int
    ) -> None:
        assert table("decisions", path, Range.parse(first, last)).num_rows == rows

    def test_nothing_in_it(self, path: Path) -> None:
        with pytest.raises(JournalError, match="no orders from 2024-01-01 to 2024-02-01: widen"):
            table("orders", path, Range.parse("2024-01-01", "2024-02-01"))

    @pytest.mark.parametrize(
        ("first", "last", "message"),
        [("2024-02-01", "2024-01-01", "ends before it begins"), ("1.2.2024", None, "--start '1.2.2024'")],
    )
    def test_no_range(self, first: str, last: str | None, message: str) -> None:
        with pytest.raises(JournalError, match=message):
            Range.parse(first, last)

    def test_open_ends_are_named(self) -> None:
        assert str(Range(last=date(2024, 1, 2))) == "from the beginning to 2024-01-02"


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [("fils", True, "did you mean 'fills'"), ("fills", False, "--journal")],
)
def test_what_is_not_recorded(path: Path, kind: str, given: bool, message: str) -> None:
    with pytest.raises(JournalError, match=message):
        export(kind, ALL, journal=path if given else None, runs=path.parent, table="trades")


class TestFile:
    @pytest.mark.parametrize("kind", RECORDED)
    @pytest.mark.parametrize("compressed", [False, True])
    def test_csv_keeps_every_digit(self, path: Path, tmp_path: Path, kind: str, compressed: bool) -> None:
        rows, out = table(kind, path), tmp_path / "out"
        write(rows, out, "csv", kind=kind, compressed=compressed)
        raw = gzip.decompress(out.read_bytes()) if compressed else out.read_bytes()
        read = list(csv.DictReader(io.StringIO(raw.decode())))
        assert [told(row) for row in rows.to_pylist()] == read
        again = tmp_path / "again"
        write(rows, again, "csv", kind=kind, compressed=compressed)
        assert again.read_bytes() == out.read_bytes()

    @pytest.mark.parametrize("compressed", [False, True])
    def test_parquet_names_its_schema(self, path: Path, tmp_path: Path, compressed: bool) -> None:
        rows, out = table("decisions", path), tmp_path / "out"
        write(rows, out, "parquet", kind="decisions", compressed=compressed)
        read = pq.read_table(out)
        assert read.schema.metadata == {b"lockstep.export": b"decisions", b"lockstep.schema": b"1"}
        assert repr(read.to_pylist()) == repr(rows.to_pylist())
        codec = pq.ParquetFile(out).metadata.row_group(0).column(0).compression
        assert codec == ("GZIP" if compressed else "SNAPPY")

    def test_an_unknown_format(self) -> None:
        with pytest.raises(JournalError, match="did you mean 'parquet'"):
            require_format("parkett")

    def test_a_file_that_cannot_be_written_leaves_nothing(self, path: Path, tmp_path: Path) -> None:
        (tmp_path / "taken").mkdir()
        for out in (tmp_path / "nowhere" / "out", tmp_path / "taken"):
            with pytest.raises(JournalError, match="cannot be written"):
                write(table("fills", path), out, "csv", kind="fills")
        assert [each.name for each in tmp_path.iterdir()] == ["taken"]


def told(row: dict[str, Any]) -> dict[str, str]:
    """Spell a row as csv has it."""

    def spelled(value: object) -> str:
        if value is None:
            return ""
        if isinstance(value, pd.Timestamp):
            return value.tz_localize(None).isoformat(timespec="nanoseconds") + "Z"
        if isinstance(value, list):
            return json.dumps(value)
        if isinstance(value, float):
            return repr(int(value)) if value.is_integer() else repr(value)
        return str(value)

    return {name: spelled(value) for name, value in row.items()}


class TestBacktests:
    @pytest.fixture
    def runs(self, tmp_path: Path) -> Path:
        for name, day in (("ES-b-2", "2024-01-03"), ("ES-a-1", "2024-01-02")):
            folder = tmp_path / "results" / name
            folder.mkdir(parents=True)
            end = pd.DatetimeIndex([f"{day}T21:00:00"], tz="UTC").as_unit("ns")
            pd.DataFrame({"decision_end": end, "net_pnl": [1.5]}).to_parquet(folder / "trades.parquet")
            days = end.tz_localize(None).normalize().as_unit("s")
            equity = pd.DataFrame({"session_date": days, "equity": [2.5]}, index=end.rename("end"))
            equity.to_parquet(folder / "equity.parquet")
        return tmp_path / "results"

    def test_trades_of_all_runs(self, runs: Path) -> None:
        found = export("backtests", ALL, journal=None, runs=runs, table="trades").to_pylist()
        assert [(row["run"], row["net_pnl"]) for row in found] == [("ES-a-1", 1.5), ("ES-b-2", 1.5)]

    def test_equity_in_a_range(self, runs: Path, tmp_path: Path) -> None:
        days = Range.parse("2024-01-03", None)
        found = export("backtests", days, journal=None, runs=runs, table="equity")
        write(found, tmp_path / "out.csv", "csv", kind="backtests")
        assert (tmp_path / "out.csv").read_text().splitlines() == [
            '"run","session_date","equity","end"',
            '"ES-b-2","2024-01-03",2.5,"2024-01-03T21:00:00.000000000Z"',
        ]

    def test_refusals(self, runs: Path, tmp_path: Path) -> None:
        with pytest.raises(JournalError, match="did you mean 'trades'"):
            export("backtests", ALL, journal=None, runs=runs, table="trade")
        with pytest.raises(JournalError, match="no trades of a backtest from 2025"):
            export("backtests", Range.parse("2025-01-01", None), journal=None, runs=runs, table="trades")
        with pytest.raises(JournalError, match="name the folder of runs"):
            export("backtests", ALL, journal=None, runs=tmp_path / "none", table="trades")
        (runs / "ES-a-1" / "trades.parquet").write_text("PAR1")
        with pytest.raises(JournalError, match="cannot be read as parquet"):
            export("backtests", ALL, journal=None, runs=runs, table="trades")


class TestCommand:
    def call(self, *words: object) -> subprocess.CompletedProcess[str]:
        return python(ROOT / "scripts/export.py", *words)

    def test_it_writes_and_counts(self, path: Path, tmp_path: Path) -> None:
        out = tmp_path / "positions.csv.gz"
        done = self.call("positions", "--journal", path, "--start", "2023-11-15", "--gzip", "--out", out)
        assert (done.returncode, done.stdout) == (0, f"29 rows of positions: {out}\n")
        assert len(gzip.decompress(out.read_bytes()).splitlines()) == 30

    def test_a_refusal_is_one_line(self, path: Path, tmp_path: Path) -> None:
        done = self.call("fills", "--journal", path, "--format", "xlsx", "--out", tmp_path / "out")
        assert done.returncode == 2
        assert done.stderr == "error: --format 'xlsx': unknown; known are csv, parquet\n"
        assert list(tmp_path.iterdir()) == []
