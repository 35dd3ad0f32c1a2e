"""Exports of a monitor's database: types, ranges, bytes, and refusals that write nothing."""

from __future__ import annotations

import gzip
import sqlite3
import subprocess
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from lockstep.errors import JournalError, MonitorError
from lockstep.live.journal import Journal
from lockstep.live.journal.export import KINDS, TIME, Range
from lockstep.monitoring.outcomes import SignalOutcome
from operations.export_cli import app
from operations.main import app as lockstep
from operations.watch.database import COLUMNS, MonitorDatabase
from operations.watch.export import WATCHED, watched
from support import journals as make
from support.processes import ROOT, python

HOUR = 3_600 * 10**9
DAY = 24 * HOUR
START = pd.Timestamp("2026-03-02T15:00", tz="UTC").value
ALL = Range()
PNL = 0.1 + 0.2


def outcome(day: int, **changes: Any) -> dict[str, Any]:
    signal = SignalOutcome(
        lane="COMP", decision=START + day * DAY, bundle="b1", side=1, probability=0.625, state="open",
        entry=START + day * DAY + HOUR, quantity=3.0, entry_price=100.25,
    )  # fmt: skip
    return {**asdict(signal), "version": "v3", "epoch": 1, "mode": "paper", "sequence": day + 1, **changes}


def drift(session: str, since: str, severity: str) -> dict[str, Any]:
    return {
        "lane": "COMP", "kind": "features", "session": session, "bundle": "b1", "verdict": "warning",
        "since": since, "years": 17, "score": 3.5, "highest": float("nan"), "feature": "rsi_14",
        "what": "level", "sentence": 'drift, warning: rsi_14, "level"', "severity": severity,
    }  # fmt: skip


def alarm(day: int, acknowledged: int) -> dict[str, Any]:
    return {
        "place": "COMP win_rate", "level": "ALARM", "raised": START + day * DAY, "bundle": "b1",
        "stream": "win_rate", "since": START, "outcomes": 79, "sentence": "ALARM COMP@v3: it fell",
        "severity": "alert", "acknowledged": acknowledged,
    }  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days: outcomes on each, drift on two sessions, an alarm on each of two days."""
    path = tmp_path_factory.mktemp("watched") / "monitor.db"
    closed = {
        "state": "taken",
        "exit": START + DAY + HOUR,
        "exit_price": 101.0,
        "pnl": PNL,
        "following": -0.25,
    }
    with MonitorDatabase.open(path) as database, database.step():
        database.put(
            "outcomes", [outcome(0, **closed), outcome(1), outcome(2, state="refused", reason="limit")]
        )
        rows = [drift("2026-03-02", "", ""), drift("2026-03-03", "2026-03-02", "warning")]
        database.put("drift", rows)
        database.put("alarms", [alarm(0, START + DAY), alarm(2, 0)])
    return path


def stamp(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


class TestTables:
    def test_an_outcome_has_types_and_what_has_not_happened_is_missing(self, path: Path) -> None:
        taken, held, refused = watched(path, "outcomes", ALL).to_pylist()
        assert list(taken) == list(COLUMNS["outcomes"])
        assert (taken["decision"], taken["exit"]) == (stamp("2026-03-02T15:00"), stamp("2026-03-03T16:00"))
        assert (taken["pnl"], taken["side"], taken["quantity"], taken["state"]) == (PNL, 1, 3.0, "taken")
        assert (held["exit"], held["pnl"], held["exit_price"], held["following"]) == (None,) * 4
        assert (refused["state"], refused["reason"]) == ("refused", "limit")

    def test_drift_has_dates_and_an_alarm_is_open_or_acknowledged(self, path: Path) -> None:
        first, second = watched(path, "drift", ALL).to_pylist()
        assert (str(first["session"]), first["since"], str(second["since"])) == (
            "2026-03-02",
            None,
            "2026-03-02",
        )
        assert (second["years"], second["score"], second["highest"]) == (17, 3.5, None)
        noted, still = watched(path, "alarms", ALL).to_pylist()
        assert (noted["acknowledged"], still["acknowledged"]) == (stamp("2026-03-03T15:00"), None)
        assert noted["raised"] == stamp("2026-03-02T15:00")

    @pytest.mark.parametrize("kind", WATCHED)
    def test_every_column_of_the_table_is_typed(self, path: Path, kind: str) -> None:
        schema = watched(path, kind, ALL).schema
        assert schema.names == list(COLUMNS[kind])
        times = {name for name in schema.names if schema.field(name).type == TIME}
        assert times == {
            "outcomes": {"decision", "entry", "exit"}, "drift": set(),
            "alarms": {"raised", "since", "acknowledged"},
        }[kind]  # fmt: skip

    @pytest.mark.parametrize(
        ("kind", "first", "last", "rows"),
        [
            ("outcomes", "2026-03-03", None, 2),
            ("outcomes", None, "2026-03-03", 2),
            ("outcomes", "2026-03-03", "2026-03-03", 1),
            ("drift", "2026-03-03", None, 1),
            ("drift", None, "2026-03-02", 1),
            ("drift", "2026-03-02", "2026-03-03", 2),
            ("alarms", "2026-03-03", "2026-03-04", 1),
        ],
    )
    def test_a_range_has_both_its_days(
        self, path: Path, kind: str, first: str | None, last: str | None, rows: int
    ) -> None:
        assert watched(path, kind, Range.parse(first, last)).num_rows == rows

    @pytest.mark.parametrize("kind", WATCHED)
    def test_a_range_without_rows_is_refused(self, path: Path, kind: str) -> None:
        with pytest.raises(MonitorError, match=f"no {kind} from 2027-01-01 to the end: widen the range"):
            watched(path, kind, Range.parse("2027-01-01", None))

    def test_a_row_that_no_monitor_wrote_is_refused(self, path: Path, tmp_path: Path) -> None:
        for table, change in (("outcomes", {"side": "long"}), ("drift", {"session": "2026-3-2"})):
            with MonitorDatabase.open(tmp_path / f"{table}.db") as database, database.step():
                row = outcome(0) if table == "outcomes" else drift("2026-03-02", "", "")
                database.put(table, [{**row, **change}])
            with pytest.raises(
                MonitorError, match=r"a row is not what a monitor writes.*lockstep monitor rebuild"
            ):
                watched(tmp_path / f"{table}.db", table, ALL)

    def test_it_can_be_read_while_a_monitor_writes(self, path: Path) -> None:
        with MonitorDatabase.open(path) as writer, suppress(InterruptedError), writer.step():
            writer.put("outcomes", [outcome(7)])
            assert watched(path, "outcomes", ALL).num_rows == 3
            raise InterruptedError
        assert watched(path, "outcomes", ALL).num_rows == 3


def call(*words: object) -> Any:
    return CliRunner().invoke(app, [str(each) for each in words])


class TestCommand:
    def script(self, *words: object) -> subprocess.CompletedProcess[str]:
        return python(ROOT / "scripts/export.py", *words)

    @pytest.mark.parametrize("kind", WATCHED)
    def test_parquet_names_kind_and_schema(self, path: Path, tmp_path: Path, kind: str) -> None:
        out = tmp_path / "out.parquet"
        done = call(kind, "--monitor", path, "--format", "parquet", "--gzip", "--out", out)
        assert done.exit_code == 0, done.output
        found = pq.read_table(out)
        metadata: Mapping[bytes, bytes] = found.schema.metadata
        assert (metadata[b"lockstep.export"], metadata[b"lockstep.schema"]) == (kind.encode(), b"1")
        assert found.replace_schema_metadata().equals(watched(path, kind, ALL))
        assert pq.ParquetFile(out).metadata.row_group(0).column(0).compression == "GZIP"

    def test_csv_has_all_digits_and_equal_bytes(self, path: Path, tmp_path: Path) -> None:
        for name in ("one.csv.gz", "two.csv.gz"):
            assert call("outcomes", "--monitor", path, "--gzip", "--out", tmp_path / name).exit_code == 0
        one, two = ((tmp_path / name).read_bytes() for name in ("one.csv.gz", "two.csv.gz"))
        assert one == two
        head, taken, held, _ = gzip.decompress(one).decode().splitlines()
        assert head.replace('"', "") == ",".join(COLUMNS["outcomes"])
        assert "2026-03-02T15:00:00.000000000Z" in taken
        assert "0.30000000000000004" in taken
        assert ',"open","",' in held

    def test_csv_of_drift_has_dates(self, path: Path, tmp_path: Path) -> None:
        assert (
            call("drift", "--monitor", path, "--start", "2026-03-03", "--out", tmp_path / "d.csv").exit_code
            == 0
        )
        (line,) = (tmp_path / "d.csv").read_text().splitlines()[1:]
        assert line.startswith('"COMP","features",2026-03-03,"b1","warning",2026-03-02,17,3.5,,"rsi_14"')
        assert '"drift, warning: rsi_14, ""level"""' in line

    def test_the_script_writes_and_counts(self, path: Path, tmp_path: Path) -> None:
        out = tmp_path / "alarms.csv"
        done = self.script("alarms", "--monitor", path, "--out", out)
        assert (done.returncode, done.stdout) == (0, f"2 rows of alarms: {out}\n"), done.stderr
        listed = CliRunner().invoke(lockstep, ["data", "export", "--help"])
        assert "--monitor" in listed.output

    def test_what_a_journal_holds_is_exported_as_before(self, tmp_path: Path) -> None:
        with Journal.open(tmp_path / "live.db") as journal:
            journal.begin_epoch(make.epoch(mode="shadow"))
            journal.append_set(make.bar_set(0, features=3))
        out = tmp_path / "decisions.csv"
        done = call("decisions", "--journal", tmp_path / "live.db", "--out", out)
        assert done.exit_code == 0, done.output
        assert len(out.read_text().splitlines()) > 1

    @pytest.mark.parametrize(
        ("words", "error", "message"),
        [
            (["outcomes"], MonitorError, "outcomes: which monitor? Name its file with --monitor"),
            (
                ["outcomes", "--monitor", "{tmp}/none.db"],
                MonitorError,
                "there is no such file; run the monitor first",
            ),
            (
                ["drift", "--monitor", "{tmp}/other.db"],
                MonitorError,
                "is no database of a monitor; name another file",
            ),
            (["drift", "--monitor", "{tmp}/text.db"], MonitorError, "file is not a database"),
            (
                ["alarms", "--monitor", "{path}", "--start", "2030-01-01"],
                MonitorError,
                "no alarms from 2030-01-01",
            ),
            (
                ["outcome", "--monitor", "{path}"],
                JournalError,
                "'outcome' is not recorded; did you mean 'outcomes'?",
            ),
            (["fils", "--journal", "x"], JournalError, "did you mean 'fills'?"),
            (["drift", "--monitor", "{path}", "--end", "soon"], JournalError, "--end 'soon': must be a date"),
            (["fills"], JournalError, "fills: which journal? Name its file with --journal"),
        ],
    )
    def test_a_refusal_is_one_line_and_writes_nothing(
        self, path: Path, tmp_path: Path, words: list[str], error: type[Exception], message: str
    ) -> None:
        with closing(sqlite3.connect(tmp_path / "other.db")) as other:
            other.execute("CREATE TABLE drift (session)")
        (tmp_path / "text.db").write_text(
            "this is no database at all, and long enough for a header of one\n" * 9
        )
        there = sorted(each.name for each in tmp_path.iterdir())
        done = call(*(word.format(tmp=tmp_path, path=path) for word in words), "--out", tmp_path / "out.csv")
        assert isinstance(done.exception, error)
        assert message in str(done.exception)
        assert "\n" not in str(done.exception)
        assert sorted(each.name for each in tmp_path.iterdir()) == there

    def test_no_kind_of_one_source_hides_that_of_another(self) -> None:
        assert not set(KINDS) & set(WATCHED)
        assert pa.types.is_timestamp(TIME)
