"""The database and the ledger: append-only, counted by family and dates, nothing forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import select, text

from lockstep.errors import ConfigError, ExperimentError
from lockstep.market.config import load_instruments
from lockstep.market.dates import DateRange
from lockstep.market.families import Families, load_families
from research.ledger import bulk
from research.ledger.append_only import APPEND_ONLY, EffectiveRow, KinshipRow, LookRow
from research.ledger.bulk import insert_rows
from research.ledger.chain import table_of
from research.ledger.database import Database, default_url, row_counts
from research.ledger.ledger import Ledger, Trials
from research.ledger.tables import SchemaRow
from support.databases import KINDS, fresh_url
from support.experiments import NOON
from support.ledgers import fill

EARLY = DateRange(start=date(2001, 1, 1), end=date(2004, 12, 31))
LATE = DateRange(start=date(2005, 1, 1), end=date(2008, 12, 31))


@pytest.fixture(params=KINDS)
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    with fresh_url(request.param, tmp_path) as url:
        yield Ledger(Database.open(url))


def trials(names: str, *, dates: DateRange = EARLY, family: str = "SP500", **changes: object) -> Trials:
    content = {
        "family": family, "symbol": "ES", "dates": dates, "kind": "grid",
        "evaluations": dict.fromkeys(names.split(), "ok"), **changes,
    }  # fmt: skip
    return Trials(**content)  # type: ignore[arg-type]


class TestCount:
    def test_identical_evaluations_once(self, ledger: Ledger) -> None:
        assert ledger.record(trials("a b c"), now=NOON) == 3
        assert ledger.record(trials("b c d", kind="random", experiment_id=9), now=NOON) == 1
        assert ledger.count("SP500", EARLY.start, EARLY.end) == 4

    def test_failures_count(self, ledger: Ledger) -> None:
        ledger.record(trials("", evaluations={"a": "ok", "b": "failed"}), now=NOON)
        assert ledger.count("SP500", EARLY.start, EARLY.end) == 2

    @pytest.mark.parametrize(
        ("start", "end", "count"),
        [
            (date(2004, 12, 31), date(2004, 12, 31), 1),
            (date(2004, 12, 31), date(2005, 1, 1), 2),
            (date(2009, 1, 1), date(2010, 1, 1), 0),
            (date(1990, 1, 1), date(2000, 12, 31), 0),
            (date(2004, 6, 1), date(2005, 6, 1), 2),
        ],
    )
    def test_overlapping_dates(self, ledger: Ledger, start: date, end: date, count: int) -> None:
        ledger.record(trials("a", dates=EARLY), now=NOON)
        ledger.record(trials("b", dates=LATE), now=NOON)
        assert ledger.count("SP500", start, end) == count

    def test_other_families_are_apart(self, ledger: Ledger) -> None:
        ledger.record(trials("a"), now=NOON)
        ledger.record(trials("b", family="GOLD"), now=NOON)
        assert ledger.count("GOLD", EARLY.start, EARLY.end) == 1

    def test_a_caller_s_transaction_decides(self, ledger: Ledger) -> None:
        def interrupted() -> None:
            with ledger.database.write() as connection:
                ledger.record(trials("a b"), now=NOON, connection=connection)
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert ledger.count("SP500", EARLY.start, EARLY.end) == 0


class TestAppendOnly:
    @pytest.mark.no_cover
    @pytest.mark.parametrize("model", APPEND_ONLY)
    @pytest.mark.parametrize("statement", ["DELETE FROM {}", "UPDATE {} SET id = id + 1", "TRUNCATE {}"])
    def test_no_row_changes_or_goes(self, ledger: Ledger, model: type, statement: str) -> None:
        if statement.startswith("TRUNCATE") and not ledger.database.is_postgresql:
            statement = "DELETE FROM {} WHERE id = 1"
        fill(ledger.database)
        table = model.__tablename__
        before = row_counts(ledger.database)[table]
        assert before >= 1
        with pytest.raises(ExperimentError, match="append-only"), ledger.database.write() as connection:
            connection.execute(text(statement.format(table)))
        assert row_counts(ledger.database)[table] == before

    def test_sqlite_cannot_replace(self, tmp_path: Path) -> None:
        ledger = Ledger(Database.open(f"sqlite:///{tmp_path / 'x.db'}"))
        ledger.record(trials("a"), now=NOON)
        for columns, values in (("id, evaluation", "1, 'z'"), ("evaluation", "'a'")):
            statement = (
                f"INSERT OR REPLACE INTO ledger ({columns}, family, symbol, first_date, last_date, kind, "
                f"status, recorded) VALUES ({values}, 'X', 'ES', '2001-01-01', '2001-01-01', 'x', 'x', 'x')"
            )
            with pytest.raises(ExperimentError, match="append-only"), ledger.database.write() as connection:
                connection.execute(text(statement))
        assert ledger.count("SP500", EARLY.start, EARLY.end) == 1


class TestLooks:
    def test_looks_are_counted_by_family_and_overlap(self, ledger: Ledger) -> None:
        assert ledger.look("SP500", "ES", LATE, purpose="first", now=NOON, experiment_id=3) == 1
        assert ledger.look("SP500", "SPY", LATE, purpose="second", now=NOON) == 2
        assert ledger.look("GOLD", "GC", LATE, purpose="other", now=NOON) == 1
        assert [each.purpose for each in ledger.looks("SP500", LATE)] == ["first", "second"]
        assert ledger.looks("SP500", LATE)[0].dates == LATE
        assert ledger.looks("SP500", EARLY) == []

    def test_rows_keep_the_moment(self, ledger: Ledger) -> None:
        ledger.look("SP500", "ES", LATE, purpose="first", now=NOON)
        with ledger.database.read() as connection:
            moment = connection.scalar(text(f"SELECT recorded FROM {LookRow.__tablename__}"))
        assert moment == "2026-01-02T12:00:00+00:00"


class TestFamilies:
    @pytest.mark.parametrize(
        ("symbol", "family"),
        [
            ("ES", "SP500"),
            ("SPX", "SP500"),
            ("SPY", "SP500"),
            ("COMP", "NASDAQ100"),
            ("NQ", "NASDAQ100"),
            ("ZC", "ZC"),
        ],
    )
    def test_of(self, symbol: str, family: str) -> None:
        assert load_families().of(load_instruments().instrument(symbol)) == family

    def test_a_symbol_stands_in_one_family(self) -> None:
        families = Families(families={"A": ("ES",), "B": ("ES",)})
        with pytest.raises(ConfigError, match="ES is in A and in B"):
            families.of(load_instruments().instrument("ES"))

    def test_a_wrong_file(self, tmp_path: Path) -> None:
        path = tmp_path / "families.yml"
        path.write_text("family: {}")
        with pytest.raises(ConfigError, match="did you mean 'families'"):
            load_families(path)


class TestDatabase:
    def test_the_default_is_the_user_s_data_folder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("LOCKSTEP_DB", raising=False)
        monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
        assert default_url() == "sqlite:////somewhere/lockstep/experiments.db"
        monkeypatch.setenv("LOCKSTEP_DB", "postgresql+psycopg://db")
        assert default_url() == "postgresql+psycopg://db"

    @pytest.mark.parametrize(
        "url",
        [
            "nonsense",
            "nosuch://x/y",
            "sqlite:////proc/nowhere/x.db",
            "postgresql+psycopg://u:secret@127.0.0.1:1/x",
        ],
    )
    def test_what_cannot_be_opened_is_one_line_without_password(self, url: str) -> None:
        with pytest.raises(ExperimentError) as caught:
            Database.open(url)
        assert "\n" not in str(caught.value)
        assert "secret" not in str(caught.value)

    def test_another_schema_is_refused(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path / 'x.db'}"
        with Database.open(url).write() as connection:
            connection.execute(text(f"UPDATE {SchemaRow.__tablename__} SET version = 99"))
        with pytest.raises(ExperimentError, match="has schema 99"):
            Database.open(url)

    def test_values_that_all_rows_share_come_in_as_if_each_row_had_them(
        self, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bulk, "_STATEMENT_ROWS", 3)
        table, columns = table_of(KinshipRow), ("id", "symbol", "days")
        same = {
            "family": "SP500", "other": "it's", "other_symbol": "y", "correlation": 0.1 + 0.2, "lag": 0,
            "verdict": "merged", "recorded": NOON.isoformat(),
        }  # fmt: skip
        shared = [(number, f'it\'s "{number}" %s ? é', number) for number in range(1, 8)]
        each = [(number + 10, *row, *same.values()) for number, *row in shared]
        with ledger.database.write() as connection:
            insert_rows(connection, table, columns, shared, same=same)
            insert_rows(connection, table, (*columns, *same), each)
        with ledger.database.read() as connection:
            found = connection.execute(select(table).order_by(table.c.id)).all()
        assert [row.id for row in found] == [*range(1, 8), *range(11, 18)]
        assert [row[1:] for row in found[:7]] == [row[1:] for row in found[7:]]
        assert found[6].symbol == shared[6][1]

    def test_all_rows_or_none(self, ledger: Ledger) -> None:
        rows = [(1, 4, "ES", 1.0), (1, 4, "NQ", 1.0)]
        with pytest.raises(ExperimentError), ledger.database.write() as connection:
            insert_rows(
                connection,
                EffectiveRow.__table__,
                ("id", "trials", "symbol", "effective"),
                rows,  # type: ignore[arg-type]
            )
        with ledger.database.read() as connection:
            assert connection.scalar(text("SELECT count(*) FROM effective")) == 0
