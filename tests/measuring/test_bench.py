import contextlib
import dataclasses
import hashlib
import os
import signal
from array import array
from pathlib import Path
from types import SimpleNamespace

import board_models
import numpy as np
import pytest

from edgeprune.errors import ArtifactError, DeviceError, ProtocolError, RunFailed, UnknownName, UsageError
from edgeprune.measuring import measure, measure_repeat, summarise
from edgeprune.values.device import DeviceInfo, DeviceProfile, RuntimeInfo
from edgeprune.values.measurement import Footprint
from edgeprune.values.plan import BenchPlan

PLAN = BenchPlan(
    "custom",
    warmup_s=0.02,
    min_duration_s=0.2,
    max_duration_s=10.0,
    min_runs=66,
    repeats=2,
    cool_s=0.0,
    max_wait_ratio=1.0,
)
INFO = DeviceInfo(
    device_id="id", boot_id="boot", agent="0.1.0", agent_sha256="abc", python="3.11", model="Board", os="OS",
    kernel="6", arch="aarch64", cpu_count=4, memory_bytes=None, disk_free_bytes=1 << 30, governor="performance",
    runtimes=(RuntimeInfo("onnxruntime", "1.20"), RuntimeInfo("litert", None, (), "No module named 'ai_edge_litert'")),
)  # fmt: skip


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    return board_models.artifact(board_models.linear(tmp_path_factory.mktemp("models") / "linear.onnx"))


class TestOnTheTrueAgent:
    def test_a_measurement_holds_samples_facts_and_reasons(self, session, linear):
        m = measure(session, linear, PLAN, accuracy=0.5)
        assert m.latency.n == len(m.latency.samples_ns) >= 66
        assert 0 < m.latency.p50_ci_s[0] <= m.latency.p50_s <= m.latency.p50_ci_s[1]
        assert m.latency.p90_s is not None
        assert 10 << 20 < m.peak_memory_bytes < 1 << 30
        assert (m.device, m.device_id) == (session.profile.name, session.info.device_id)
        assert (m.artifact, m.plan, m.device_accuracy) == (linear, PLAN, 0.5)
        assert m.energy is None
        assert m.missing["energy"].startswith("no meter: ")
        assert m.environment["runtime"] == "onnxruntime"
        assert m.environment["providers"] == "CPU"
        assert m.environment["boot_ids"] == session.info.boot_id
        assert m.verdict != "inconclusive"
        assert m.environment["load_by_others"].endswith(" processors")

    def test_a_board_tells_its_state_at_any_time(self, session):
        first, second = session.state(), session.state()
        assert first.cpus == session.info.cpu_count
        assert first.at_ns < second.at_ns
        assert first.busy_s <= second.busy_s

    def test_a_tflite_file_runs_by_litert(self, session):
        m = measure(session, board_models.artifact(board_models.TFLITE), PLAN)
        assert m.environment["runtime"] == "litert"
        assert "XNNPACK" in m.environment["providers"]

    def test_progress_is_told_in_samples(self, session, linear):
        events = []
        repeat = measure_repeat(session, linear, PLAN, 0, events.append)
        assert {event.stage for event in events} == {"measure"}
        assert events[-1].done == len(repeat.samples_ns)
        assert all(event.done <= event.total and event.unit == "samples" for event in events)

    def test_each_repeat_is_a_process_of_its_own(self, session, linear):
        runs = []
        original = session.run
        session.run = lambda spec, on_event, deadline_s: original(
            spec, lambda event: (runs.append(event["run"]), on_event(event)), deadline_s
        )
        try:
            measure(session, linear, PLAN)
        finally:
            del session.run
        assert len(set(runs)) == 1 + PLAN.repeats  # the first one finds out about loading and memory

    def test_a_file_that_is_no_model_is_an_artifact_error(self, session, linear, tmp_path):
        content = b"no model at all"
        (tmp_path / "bad.onnx").write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        bad = dataclasses.replace(linear, path=tmp_path / "bad.onnx", sha256=sha256, size_bytes=len(content))
        with pytest.raises(ArtifactError, match=r"bad\.onnx cannot be opened by onnxruntime"):
            measure_repeat(session, bad, PLAN, 0)

    def test_outputs_that_are_not_finite_are_told(self, session, tmp_path):
        artifact = board_models.artifact(board_models.square_root(tmp_path / "root.onnx"))
        events = []
        measure_repeat(session, artifact, PLAN, 0, events.append)
        assert any("NaN" in event.message for event in events)

    def test_a_worker_that_is_killed_is_a_failed_run(self, session, linear):
        runs = Path(session.profile.address.partition("root=")[2], "runs")

        def kill(event):
            if not event.done:
                return
            with contextlib.suppress(ProcessLookupError):
                os.kill(int((max(runs.iterdir()) / "pid").read_text()), signal.SIGKILL)

        with pytest.raises(RunFailed, match="SIGKILL"):
            measure_repeat(session, linear, dataclasses.replace(PLAN, min_duration_s=5.0), 0, kill)
        assert measure_repeat(session, linear, PLAN, 0).samples_ns


class FakeSession:
    """A board that answers every run with the events it was given."""

    profile = DeviceProfile("bench", "local://")
    info = INFO
    client = SimpleNamespace(line_rate=0, hello={})

    def __init__(self, events=()):
        self.events, self.specs, self.pushed = events, [], []

    def push(self, path, sha256):
        self.pushed.append(sha256)

    def run(self, spec, on_event, deadline_s):
        self.specs.append(spec)
        events = FOOTPRINT if spec["kind"] == "footprint" else self.events
        for event in events:
            on_event(event)
        return events[-1]


EVENTS = [
    {"kind": "started", "runtime": "onnxruntime", "version": "1.20", "providers": ["CUDA", "CPU"], "boot_id": "boot",
     "memory_before_bytes": None},
    {"kind": "loaded", "load_ns": 7, "providers": ["CPU"], "inputs": [], "outputs": []},
    {"kind": "warm", "first_run_ns": 9, "runs": 20, "steady": False, "finite": True, "at_ns": 50},
    {"kind": "samples", "ns": [100, 101]},
    {"kind": "samples", "ns": [102]},
    {"kind": "end", "state": "done", "peak_memory_bytes": None, "error": None},
]  # fmt: skip

FOOTPRINT = [
    {"kind": "started", "memory_before_bytes": 20},
    {"kind": "loaded", "load_ns": 90},
    {"kind": "footprint", "warm_load_ns": 30, "peak_memory_bytes": 50},
    {"kind": "end", "state": "done", "peak_memory_bytes": 60, "error": None},
]


def test_loading_and_memory_are_measured_once_before_the_first_repeat(linear):
    session = FakeSession(EVENTS)
    first, second = (measure_repeat(session, linear, PLAN, index) for index in range(2))
    assert [spec["kind"] for spec in session.specs] == ["footprint", "latency", "latency"]
    assert first.footprint == Footprint(90, 30, 50, 20)
    assert second.footprint is None
    m = summarise(linear, PLAN, [first, second], device="bench", info=INFO)
    assert m.peak_memory_bytes == 50
    assert (m.latency.first_load_s, m.latency.warm_load_s) == pytest.approx((90e-9, 30e-9))


def test_a_repeat_holds_what_the_events_said(linear):
    repeat = measure_repeat(FakeSession(EVENTS), linear, PLAN, 1)
    assert repeat.samples_ns == array("q", [100, 101, 102])
    assert (repeat.index, repeat.load_ns, repeat.first_run_ns, repeat.warmup_runs) == (1, 7, 9, 20)
    assert (repeat.steady, repeat.providers, repeat.runtime_version) == (False, ("CPU",), "1.20")
    assert (repeat.peak_memory_bytes, repeat.memory_before_bytes) == (None, None)


@pytest.mark.parametrize(("rate_hz", "period_s"), [(0.0, 0.0), (20.0, 0.05)])
def test_a_rate_is_asked_for_as_the_time_between_two_inferences(linear, rate_hz, period_s):
    session = FakeSession(EVENTS)
    measure_repeat(session, linear, dataclasses.replace(PLAN, rate_hz=rate_hz), 1)
    assert session.specs[0]["period_s"] == period_s


def test_a_repeat_asks_for_its_share_of_the_plan(linear):
    session = FakeSession(EVENTS)
    measure_repeat(session, linear, BenchPlan(threads=2, seed=5), 0)
    spec = session.specs[-1]
    assert spec["min_duration_s"] == pytest.approx(10 / 3)
    assert (spec["min_runs"], spec["max_duration_s"], spec["warmup_s"]) == (44, 20.0, 1.0)
    assert (spec["threads"], spec["seed"], spec["sha"]) == (2, 5, linear.sha256)
    assert session.pushed == [linear.sha256]


@pytest.mark.parametrize("gone", ["started", "loaded", "warm"])
def test_a_run_that_leaves_an_event_out_is_a_protocol_error(linear, gone):
    with pytest.raises(ProtocolError, match="not understood"):
        measure_repeat(FakeSession([event for event in EVENTS if event["kind"] != gone]), linear, PLAN, 0)


@pytest.mark.parametrize("change", [{"load_ns": None}, {"load_ns": "soon"}, {"providers": 5}], ids=str)
def test_an_event_that_holds_something_else_is_a_protocol_error(linear, change):
    with pytest.raises(ProtocolError, match="not understood"):
        measure_repeat(FakeSession([dict(event, **change) for event in EVENTS]), linear, PLAN, 0)


def test_a_run_without_samples_has_failed(linear):
    with pytest.raises(RunFailed, match="without a sample"):
        measure_repeat(FakeSession([event for event in EVENTS if event["kind"] != "samples"]), linear, PLAN, 0)


def test_a_runtime_that_the_board_lacks_is_named_with_its_pip_line():
    with pytest.raises(DeviceError, match=r"bench cannot run tflite files: litert") as caught:
        measure_repeat(FakeSession(), board_models.artifact(board_models.TFLITE), PLAN, 0)
    assert "pip install ai-edge-litert" in caught.value.next_step
    assert caught.value.exit_code == 3


def test_runtimes_and_formats_that_do_not_fit_are_usage_errors(linear):
    with pytest.raises(UsageError, match="litert does not run onnx"):
        measure_repeat(FakeSession(), linear, dataclasses.replace(PLAN, runtime="litert"), 0)
    with pytest.raises(UnknownName, match="openvino"):
        measure_repeat(FakeSession(), linear, dataclasses.replace(PLAN, runtime="openvino"), 0)
    with pytest.raises(UnknownName, match="pickle"):
        measure_repeat(FakeSession(), dataclasses.replace(linear, format="pickle"), PLAN, 0)


def test_a_summary_is_the_same_for_the_same_repeats_in_any_order(linear, repeat):
    source = np.random.default_rng(0)
    repeats = [repeat(source.normal(1e6, 1e4, 50), index) for index in range(2)]
    first = summarise(linear, PLAN, repeats, device="bench", info=INFO)
    assert summarise(linear, PLAN, repeats[::-1], device="bench", info=INFO) == first
    assert first.environment["governor"] == "performance"
    assert first.environment["agent_sha256"] == "abc"
    assert first.peak_memory_bytes == 60 << 20


def test_memory_that_nobody_told_is_none_with_its_reason(linear, repeat):
    m = summarise(linear, PLAN, [repeat([5] * 70, peak_memory_bytes=None)], device="bench", info=INFO)
    assert m.peak_memory_bytes is None
    assert "peak memory" in m.missing["memory"]


def test_repeats_of_two_boots_are_inconclusive_and_both_are_named(linear, repeat):
    repeats = [repeat([5] * 70), repeat([5] * 70, 1, boot_id="other")]
    m = summarise(linear, PLAN, repeats, device="bench", info=INFO)
    assert m.verdict == "inconclusive"
    assert m.environment["boot_ids"] == "boot, other"


def test_no_repeats_are_no_measurement(linear):
    with pytest.raises(UsageError, match="no repeats"):
        summarise(linear, PLAN, [], device="bench", info=INFO)
