"""Rows of append-only tables have one way in: past the chain, nobody would miss them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from research.ledger.append_only import APPEND_ONLY
from support.sources import trees

MODELS = {model.__name__ for model in APPEND_ONLY}
TABLES = {model.__tablename__ for model in APPEND_ONLY}
# The chain itself; migrations make tables, and triggers speak of rows.
WRITERS = {"research/ledger/chain.py"}
_STATEMENT = re.compile(r"\b(?:INSERT INTO|REPLACE INTO|UPDATE|DELETE FROM|COPY) (\w+)")
_CALLS = {"insert", "update", "delete", "insert_rows", "add", "add_all"}


def writes(tree: ast.Module) -> Iterator[str]:
    """Yield the append-only tables that a module writes to by itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from (each for each in _STATEMENT.findall(node.value) if each in TABLES)
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        given = {
            each.id for argument in node.args for each in ast.walk(argument) if isinstance(each, ast.Name)
        }
        if name in _CALLS:
            yield from given & MODELS


def test_only_the_chain_writes_to_append_only_tables() -> None:
    found = {path: sorted(set(writes(tree))) for path, tree in trees().items()}
    assert {name: tables for name, tables in found.items() if tables}.keys() <= WRITERS
    assert found["research/ledger/chain.py"] == ["LinkRow"]


def test_a_second_way_in_is_found() -> None:
    """The negative control."""
    for second in (
        "connection.execute(insert(LookRow).values(family='x'))",
        "connection.execute(LookRow.__table__.insert())\nconnection.execute(delete(LawRow))",
        "insert_rows(connection, table_of(LedgerRow), columns, rows)",
        "session.add(VerdictRow(kind='promoted'))",
        "connection.exec_driver_sql('DELETE FROM verdict WHERE id = 1')",
    ):
        assert list(writes(ast.parse(second))), second
    assert not list(
        writes(ast.parse("connection.execute(select(LookRow)); append(connection, LookRow, rows)"))
    )
