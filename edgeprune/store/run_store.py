"""The store of runs, their variants and their raw samples.

Lifecycle: `RunStore.open` -> any calls, from any thread -> `close` (or a `with` block). Every call that adds something
is one transaction, committed and on the disk when it returns. Nothing measured is ever overwritten.
"""

from __future__ import annotations

import json
import math
import re
from array import array
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from sqlalchemy import Connection, Engine, Row, Table, and_, func, inspect, select
from sqlalchemy.exc import IntegrityError

from edgeprune.errors import DataError, StorageError, UnknownName, UsageError
from edgeprune.store import tables
from edgeprune.store.engine import WRITES, open_engine, resolve_url
from edgeprune.store.failures import storage_errors
from edgeprune.store.samples import pack, unpack
from edgeprune.values.json import canonical, from_data
from edgeprune.values.measurement import Repeat
from edgeprune.values.plan import BenchPlan
from edgeprune.values.variant import Variant

MIN_PREFIX = 4
"""Digits of a run id that are enough to name it, if only one begins with them."""

T = TypeVar("T")

_PASSWORD = re.compile(r"(://[^:@/]*):.*@")


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run, as it was begun and finished.

    Attributes:
        run_id: Unique in the store.
        device: The device's name.
        config_digest: Of the configuration that it ran with.
        info: What `begin_run` was given besides.
        started_utc: ISO 8601, by the host's clock.
        finished_utc: Likewise; None while it runs, or when it was cut short.
        summary: What `finish_run` was given; None until then.
    """

    run_id: str
    device: str
    config_digest: str
    info: Mapping[str, Any]
    started_utc: str
    finished_utc: str | None
    summary: Mapping[str, Any] | None


class RunStore:
    """An open store; a context manager."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._place = engine.url.render_as_string(hide_password=True)

    @classmethod
    def open(cls, url: str, folder: Path) -> RunStore:
        """Open a store, and create it if it does not exist.

        Args:
            url: SQLAlchemy's, such as "sqlite:///.edgeprune/runs.db" or "postgresql+psycopg://user@host/database".
            folder: Where relative SQLite paths start.

        Returns:
            The store.
        """
        with storage_errors(_PASSWORD.sub(r"\1:***@", url)):
            store = cls(open_engine(resolve_url(url, folder)))
        try:
            store._prepare()
        except BaseException:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Give up every connection; closing twice is harmless."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- runs

    def begin_run(self, run_id: str, device: str, config_digest: str, info: Mapping[str, Any]) -> None:
        """Note that a run begins; beginning it again changes nothing.

        Args:
            run_id: Unique in the store.
            device: The device's name.
            config_digest: Of the configuration.
            info: Anything else worth keeping, plain data.

        Raises:
            UsageError: A run of this id exists with another device or configuration.
        """
        values = {"device": device, "config_digest": config_digest, "info": _text(info), "started_utc": _now()}
        self._put(tables.runs, {"run_id": run_id}, values)
        known = self._run(run_id)
        if (known.device, known.config_digest) != (device, config_digest):
            raise UsageError(
                f"Run {run_id} exists with another device or configuration.", "Begin a run under a new id."
            )

    def finish_run(self, run_id: str, summary: Mapping[str, Any]) -> None:
        """Note that a run is done; a second call replaces the summary.

        Args:
            run_id: A run that was begun.
            summary: Its result, plain data.
        """
        self._run(run_id)
        values = {"summary": _text(summary), "finished_utc": _now()}
        self._put(tables.runs, {"run_id": run_id}, values, overwrite=True)

    def runs(self) -> list[RunRecord]:
        """Return every run, the newest first."""
        return [self._record(row) for row in self._rows(select(tables.runs).order_by(tables.runs.c.seq.desc()))]

    def run(self, run_id: str | None = None) -> RunRecord:
        """Return one run.

        Args:
            run_id: Its id, or at least the first four characters of it; None for the newest.

        Returns:
            The run.

        Raises:
            UnknownName: There is no such run, or several begin like this.
        """
        known = self.runs()
        if run_id is None and known:
            return known[0]
        named = [record for record in known if record.run_id == run_id]
        if not named and run_id is not None and len(run_id) >= MIN_PREFIX:
            named = [record for record in known if record.run_id.startswith(run_id)]
        if len(named) != 1:
            hint = " Give more of its id." if named else "" if known else " Run `edgeprune deploy` or `search` first."
            raise UnknownName("run", run_id or "newest", [record.run_id for record in named or known], hint)
        return named[0]

    # --- entries

    def put_entry(self, run_id: str, variant: Variant, plan: BenchPlan) -> None:
        """Add a variant and its plan to a run; put again, it keeps its place and takes what is newly known.

        Args:
            run_id: A run that was begun.
            variant: What is to be measured.
            plan: How.
        """
        self._run(run_id)
        key = {"run_id": run_id, "variant_id": variant.id, "plan_id": plan.id}
        values = {"variant": _text(variant), "plan": _text(plan)}
        self._put(tables.entries, key, values, overwrite=True)

    def entries(self, run_id: str) -> list[tuple[Variant, BenchPlan]]:
        """Return a run's variants and plans, in the order in which they were first put.

        Args:
            run_id: A run that was begun.

        Returns:
            Pairs equal to those that were put.
        """
        self._run(run_id)
        table = tables.entries
        rows = self._rows(select(table).where(table.c.run_id == run_id).order_by(table.c.seq))
        return [(self._value(Variant, row.variant), self._value(BenchPlan, row.plan)) for row in rows]

    # --- measurements

    def add_repeat(self, artifact_sha256: str, device_id: str, plan: BenchPlan, repeat: Repeat) -> None:
        """Keep the raw samples of one process; added again, the first stays.

        Args:
            artifact_sha256: What ran,
            device_id: where,
            plan: and how.
            repeat: What came out.
        """
        key = {
            "artifact_sha256": artifact_sha256,
            "device_id": device_id,
            "plan_id": plan.id,
            "repeat_index": repeat.index,
        }
        values = {
            "n_samples": len(repeat.samples_ns),
            "samples": pack(repeat.samples_ns),
            "rest": _text(replace(repeat, samples_ns=array("q"))),
        }
        self._put(tables.repeats, key, values)

    def repeats(self, artifact_sha256: str, device_id: str, plan: BenchPlan) -> list[Repeat]:
        """Return what is known of an artifact on a device by a plan.

        Args:
            artifact_sha256: What ran,
            device_id: where,
            plan: and how.

        Returns:
            Repeats in the order of their index; empty if there are none.
        """
        table = tables.repeats
        key = {"artifact_sha256": artifact_sha256, "device_id": device_id, "plan_id": plan.id}
        rows = self._rows(select(table).where(_matches(table, key)).order_by(table.c.repeat_index))
        return [self._repeat(row) for row in rows]

    def put_accuracy(self, artifact_sha256: str, where: str, data_id: str, value: float) -> None:
        """Keep an artifact's accuracy; put again, the newer one counts.

        Args:
            artifact_sha256: The artifact.
            where: A device id, or "host".
            data_id: Which data and metric.
            value: Finite, larger is better.

        Raises:
            DataError: The value is not finite.
        """
        if not math.isfinite(value):
            raise DataError(f"The accuracy of {artifact_sha256[:8]} is {value}.", "Check the metric and the test data.")
        key = {"artifact_sha256": artifact_sha256, "measured_on": where, "data_id": data_id}
        self._put(tables.accuracies, key, {"accuracy": float(value)}, overwrite=True)

    def accuracy(self, artifact_sha256: str, where: str, data_id: str) -> float | None:
        """Return an artifact's accuracy.

        Args:
            artifact_sha256: The artifact.
            where: A device id, or "host".
            data_id: Which data and metric.

        Returns:
            The value, or None if it was never put.
        """
        table = tables.accuracies
        key = {"artifact_sha256": artifact_sha256, "measured_on": where, "data_id": data_id}
        rows = self._rows(select(table.c.accuracy).where(_matches(table, key)))
        return float(rows[0].accuracy) if rows else None

    # --- below the surface

    def _prepare(self) -> None:
        with self._transaction() as connection:
            exists = inspect(connection).has_table(tables.schema.name)
        if not exists:
            self._create()
        versions = [row.version for row in self._rows(select(tables.schema))]
        if versions != [tables.SCHEMA_VERSION]:
            raise _other_version(self._place, versions)

    def _create(self) -> None:
        with self._transaction(writes=True) as connection:
            tables.metadata.create_all(connection)
            if not connection.scalar(select(func.count()).select_from(tables.schema)):
                connection.execute(tables.schema.insert().values(version=tables.SCHEMA_VERSION))

    @contextmanager
    def _transaction(self, *, writes: bool = False) -> Iterator[Connection]:
        with (
            storage_errors(self._place),
            self._engine.connect().execution_options(**{WRITES: writes}) as connection,
            connection.begin(),
        ):
            yield connection

    def _rows(self, query: Any) -> list[Row[Any]]:
        with self._transaction() as connection:
            return list(connection.execute(query))

    def _put(self, table: Table, key: dict[str, Any], values: dict[str, Any], *, overwrite: bool = False) -> None:
        with storage_errors(self._place):
            try:
                self._put_once(table, key, values, overwrite)
            except IntegrityError:  # not on SQLite: another host put the same row between our look and our insert
                self._put_once(table, key, values, overwrite)

    def _put_once(self, table: Table, key: dict[str, Any], values: dict[str, Any], overwrite: bool) -> None:
        with self._engine.connect().execution_options(**{WRITES: True}) as connection, connection.begin():
            found = connection.scalar(select(func.count()).select_from(table).where(_matches(table, key)))
            if not found:
                connection.execute(table.insert().values(**key, **values))
            elif overwrite:
                connection.execute(table.update().where(_matches(table, key)).values(**values))

    def _run(self, run_id: str) -> RunRecord:
        rows = self._rows(select(tables.runs).where(tables.runs.c.run_id == run_id))
        if not rows:
            raise UnknownName("run", run_id, [record.run_id for record in self.runs()])
        return self._record(rows[0])

    def _record(self, row: Row[Any]) -> RunRecord:
        columns = row._asdict()
        del columns["seq"]
        summary = None if row.summary is None else json.loads(row.summary)
        return RunRecord(**{**columns, "info": json.loads(row.info), "summary": summary})

    def _repeat(self, row: Row[Any]) -> Repeat:
        rest = self._value(Repeat, row.rest)
        try:
            return replace(rest, samples_ns=unpack(row.samples))
        except ValueError as error:
            raise _damaged(self._place, error) from error

    def _value(self, kind: type[T], text: str) -> T:
        try:
            return from_data(kind, json.loads(text))
        except (ValueError, UsageError) as error:
            raise _damaged(self._place, error) from error


def _matches(table: Table, key: Mapping[str, Any]) -> Any:
    return and_(*(table.c[name] == value for name, value in key.items()))


def _text(value: Any) -> str:
    try:
        return canonical(value)
    except ValueError as error:
        raise DataError(f"A result cannot be stored ({error}).", "Check the model and the metric for NaN.") from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _damaged(place: str, error: Exception) -> StorageError:
    step = "It was changed by hand or damaged: restore it, or name another store with --store."
    return StorageError(f"The store {place} holds a row that cannot be read ({error}).", step)


def _other_version(place: str, versions: list[int]) -> StorageError:
    found = max(versions, default=0)
    what = f"The store {place} has schema {found}; this EdgePrune reads {tables.SCHEMA_VERSION}."
    newer = found > tables.SCHEMA_VERSION
    upgrade = "Upgrade: pip install --upgrade edgeprune, or name another store with --store."
    return StorageError(what, upgrade if newer else "Name another store with --store.")
