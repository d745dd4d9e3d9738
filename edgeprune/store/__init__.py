"""Everything measured, kept on disk: runs, their variants, every raw sample. The only package that knows SQLAlchemy."""

from edgeprune.store.run_store import RunRecord, RunStore

__all__ = ["RunRecord", "RunStore"]
