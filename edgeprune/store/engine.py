"""A URL -> an engine whose commits survive kill -9 and a pulled plug."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url

BUSY_TIMEOUT_S = 30.0
"""How long a writer waits for another; a commit takes milliseconds, so this is only reached by a stuck process."""

WRITES = "edgeprune_writes"
"""Execution option of a connection that is going to write."""


def resolve_url(url: str, folder: Path) -> URL:
    """Read a store URL; a relative SQLite path starts at `folder`, and its parent is created.

    Args:
        url: SQLAlchemy's.
        folder: Of the project.

    Returns:
        The URL with an absolute path.
    """
    parsed = make_url(url)
    name = parsed.database
    if parsed.get_backend_name() != "sqlite" or not name or name.startswith((":memory:", "file:")):
        return parsed
    path = folder.absolute() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return parsed.set(database=str(path))


def open_engine(url: URL) -> Engine:
    """Create the engine.

    Args:
        url: From `resolve_url`.

    Returns:
        An engine; nothing is opened yet.
    """
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, record: object) -> None:
    del record
    connection.isolation_level = None  # the driver opens no transactions of its own: `_begin_sqlite` does
    _use_wal(connection)
    connection.execute("PRAGMA synchronous=FULL")  # WAL alone would lose the last commits when the plug is pulled
    connection.execute("PRAGMA foreign_keys=ON")


def _use_wal(connection: Any) -> None:
    # Leaving the rollback journal needs the file for itself, and SQLite does not wait for that: two first opens at
    # once would fail. The mode is stored in the file, so this waits at most once in its life.
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and then writes fails at once when another one wrote in between; taking the
    # write lock at the start makes it wait instead.
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
