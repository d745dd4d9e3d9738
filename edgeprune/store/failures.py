"""What SQLAlchemy, its drivers and the disk raise -> one StorageError that says what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from edgeprune.errors import StorageError, nearest

_OTHER_STORE = "or name another store with --store"
_UNWRITABLE = ("cannot be opened for writing", f"Make its folder writable, {_OTHER_STORE}.")
_NO_STORE = ("is no store of EdgePrune, or is damaged", f"Move the file away, {_OTHER_STORE}.")
_LOCKED = ("is kept locked by another process", "Wait until that one ends, then run again.")
_SQLITE = {
    sqlite3.SQLITE_FULL: ("cannot grow: the disk is full", "Free some space and run again; what was stored is safe."),
    sqlite3.SQLITE_IOERR: ("met an error of the disk", f"Check the disk and its quota, {_OTHER_STORE}."),
    sqlite3.SQLITE_READONLY: _UNWRITABLE,
    sqlite3.SQLITE_CANTOPEN: _UNWRITABLE,
    sqlite3.SQLITE_PERM: _UNWRITABLE,
    sqlite3.SQLITE_NOTADB: _NO_STORE,
    sqlite3.SQLITE_CORRUPT: _NO_STORE,
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
}
_SCHEMES = ("sqlite", "postgresql", "postgresql+psycopg", "mysql", "mariadb")


@contextmanager
def storage_errors(place: str) -> Iterator[None]:
    """Turn every failure of the block into a StorageError.

    Args:
        place: The store's URL without its password, for the message.

    Yields:
        Nothing.

    Raises:
        StorageError: Something below the store failed.
    """
    try:
        yield
    except DBAPIError as error:
        what, step = _refusal(error)
        raise StorageError(f"The store {place} {what}.", step) from error
    except NoSuchModuleError as error:
        scheme = place.partition(":")[0]
        guess = nearest(scheme, _SCHEMES)
        hint = f"Did you mean {guess!r}? " if guess else ""
        step = f"{hint}Write it like sqlite:///runs.db or postgresql+psycopg://user@host/database."
        raise StorageError(f"The store {place} has an unknown scheme {scheme!r}.", step) from error
    except ModuleNotFoundError as error:
        step = f"Run: pip install {error.name}, {_OTHER_STORE}."
        raise StorageError(f"The store {place} needs the package {error.name!r}.", step) from error
    except ArgumentError as error:
        step = "Write it like sqlite:///runs.db or postgresql+psycopg://user@host/database."
        raise StorageError("The store's URL cannot be read.", step) from error
    except SQLAlchemyError as error:
        raise StorageError(f"The store {place} failed: {error}.", f"Check its URL, {_OTHER_STORE}.") from error
    except OSError as error:
        step = f"Make its folder writable, {_OTHER_STORE}."
        raise StorageError(f"The store {place} cannot be opened ({error.strerror}).", step) from error


def _refusal(error: DBAPIError) -> tuple[str, str]:
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in _SQLITE:  # the low byte is SQLite's primary code
        return _SQLITE[code & 0xFF]
    why = str(error.orig).strip().partition("\n")[0]
    return f"failed: {why}", f"Check that the database answers, {_OTHER_STORE}."
