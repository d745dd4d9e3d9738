"""The tables, under a prefix of their own: the search's study may live in the same database."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

SCHEMA_VERSION = 1

metadata = MetaData()

schema = Table(
    "edgeprune_schema",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
)

runs = Table(
    "edgeprune_runs",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("run_id", String(64), nullable=False, unique=True),
    Column("device", String(255), nullable=False),
    Column("config_digest", String(64), nullable=False),
    Column("info", Text, nullable=False),
    Column("started_utc", String(32), nullable=False),
    Column("finished_utc", String(32)),
    Column("summary", Text),
)

entries = Table(
    "edgeprune_entries",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("run_id", String(64), ForeignKey(runs.c.run_id), nullable=False),
    Column("variant_id", String(64), nullable=False),
    Column("plan_id", String(64), nullable=False),
    Column("variant", Text, nullable=False),
    Column("plan", Text, nullable=False),
    UniqueConstraint("run_id", "variant_id", "plan_id"),
)

repeats = Table(
    "edgeprune_repeats",
    metadata,
    Column("artifact_sha256", String(64), primary_key=True),
    Column("device_id", String(64), primary_key=True),
    Column("plan_id", String(64), primary_key=True),
    Column("repeat_index", Integer, primary_key=True, autoincrement=False),
    Column("n_samples", Integer, nullable=False),
    Column("samples", LargeBinary, nullable=False),
    Column("rest", Text, nullable=False),
)

accuracies = Table(
    "edgeprune_accuracies",
    metadata,
    Column("artifact_sha256", String(64), primary_key=True),
    Column("measured_on", String(64), primary_key=True),
    Column("data_id", String(64), primary_key=True),
    Column("accuracy", Float(53), nullable=False),
)
