import sys
from array import array
from pathlib import Path

import pytest

from edgeprune.values.measurement import Repeat

sys.path.append(str(Path(__file__).parent))  # for board_models, which several folders share


@pytest.fixture(scope="session")
def repeat():
    """Makes a Repeat of samples in nanoseconds."""

    def make(samples, index=0, **changes):
        facts = {
            "load_ns": 5_000_000, "first_run_ns": 3_000_000, "warmup_runs": 20, "steady": True,
            "peak_memory_bytes": 60 << 20, "memory_before_bytes": 50 << 20, "runtime_version": "1.0",
            "providers": ("CPU",), "boot_id": "boot", "started_utc": "2026-01-01T00:00:00.000+00:00",
        }  # fmt: skip
        return Repeat(index=index, samples_ns=array("q", [int(s) for s in samples]), **dict(facts, **changes))

    return make


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """The true agent on this machine."""
    from edgeprune.devices import connect

    with connect(f"local://?root={tmp_path_factory.mktemp('agent') / 'root'}") as opened:
        yield opened
