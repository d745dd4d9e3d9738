import sys
from array import array
from pathlib import Path

import numpy as np
import pytest

from edgeprune.devices import connect
from edgeprune.measuring import summarise
from edgeprune.values.measurement import Repeat
from edgeprune.values.plan import BenchPlan

sys.path.append(str(Path(__file__).parents[1] / "measuring"))  # for board_models, which several folders share


@pytest.fixture
def root(tmp_path):
    return tmp_path / "agent"


@pytest.fixture
def session(root, tell_runtimes):
    """The true agent on this machine, with nothing installed."""
    tell_runtimes(root)
    with connect(f"local://?root={root}") as opened:
        yield opened


@pytest.fixture
def measured(session):
    """Makes a measurement of an artifact without measuring."""

    def make(artifact):
        repeat = Repeat(
            index=0, samples_ns=array("q", [1000] * 200), load_ns=1, first_run_ns=1, warmup_runs=5, steady=True,
            peak_memory_bytes=1, memory_before_bytes=1, runtime_version="1", providers=("CPU",), boot_id="boot",
            started_utc="2026-01-01T00:00:00.000+00:00",
        )  # fmt: skip
        return summarise(artifact, BenchPlan(repeats=1), [repeat], device="local", info=session.info)

    return make


@pytest.fixture
def models(tmp_path, measured):
    """Makes measured models that differ; gives the measurement and its golden data."""
    import board_models

    def make(size=4):
        artifact = board_models.artifact(board_models.linear(tmp_path / f"linear{size}.onnx", size=size))
        x = np.random.default_rng(0).standard_normal((3, size)).astype(np.float32)
        return measured(artifact), ([x], [x @ board_models.weights(size)])

    return make
