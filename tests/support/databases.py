"""Databases for tests: SQLite always, PostgreSQL where `LOCKSTEP_TEST_POSTGRES` has the URL of one."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.pool import NullPool

KINDS = ("sqlite", "postgresql")


@contextmanager
def fresh_url(kind: str, folder: Path) -> Iterator[str]:
    """Yield the URL of an empty database; skipped, visibly, where there is no server for it."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'experiments.db'}"
        return
    server = os.environ.get("LOCKSTEP_TEST_POSTGRES")
    if not server:
        pytest.skip("no PostgreSQL: set LOCKSTEP_TEST_POSTGRES to its URL, postgresql+psycopg://…")
    schema = f"test_{uuid.uuid4().hex}"
    engine = create_engine(server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    url = make_url(server).update_query_dict({"options": f"-csearch_path={schema}"})
    try:
        yield url.render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
