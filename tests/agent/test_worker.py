"""Workers run here as on a board: in a process of their own, from a folder with a spec."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import board_models
import numpy as np
import pytest
from edgeprune_agent import identity
from edgeprune_agent.events import EventIndex
from edgeprune_agent.releases import Releases
from safetensors.numpy import load_file, save

LATENCY = {
    "kind": "latency", "format": "onnx", "runtime": "onnxruntime", "threads": 1, "warmup_s": 0.02, "warmup_runs": 5,
    "min_duration_s": 0.2, "min_runs": 30, "max_duration_s": 5.0, "period_s": 0, "provider": "auto", "strict": False,
    "state_period_s": 0.05,
    "seed": 0, "inputs": None, "idle_s": 0.0, "power": None, "marker": None,
}  # fmt: skip
FOOTPRINT = {
    "kind": "footprint", "format": "onnx", "runtime": "onnxruntime", "threads": 1, "provider": "CPU", "strict": False,
    "runs": 3, "seed": 0,
}  # fmt: skip
LAYERS = dict(FOOTPRINT, kind="layers")
INFER = {"kind": "infer", "format": "onnx", "runtime": "onnxruntime", "threads": 1, "provider": "auto"}
RUN = "0" * 26


@pytest.fixture
def begin(root):
    """Starts a worker; gives the process and the run's folder."""
    started = []

    def start(spec):
        folder = Path(root, "runs", RUN)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "spec.json").write_text(json.dumps(spec))
        process = subprocess.Popen([*identity.worker_command(sys.executable), str(folder)], stderr=subprocess.DEVNULL)
        started.append(process)
        return process, folder

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def work(begin):
    """Runs a worker to its end; gives its events and the run's folder."""

    def run(spec):
        process, folder = begin(spec)
        process.wait(60)
        return EventIndex(str(folder / "events.log")).read(), folder

    return run


def but_states(events):
    return [event for event in events if event["kind"] != "state"]


def of_kind(events, kind):
    return [event for event in events if event["kind"] == kind]


def test_a_latency_run_tells_all_that_the_contract_names(work, keep, tmp_path):
    sha = keep(board_models.linear(tmp_path / "m.onnx"))
    events, _ = work(dict(LATENCY, sha=sha))
    assert [event["ev"] for event in events] == list(range(len(events)))
    assert {event["run"] for event in events} == {RUN}
    started, loaded, warm = but_states(events)[:3]
    assert [event["kind"] for event in (started, loaded, warm)] == ["started", "loaded", "warm"]
    assert started["boot_id"] == identity.boot_id()
    assert started["memory_before_bytes"] < events[-1]["peak_memory_bytes"] < 1 << 30
    assert loaded["inputs"] == [{"name": "x", "shape": [-1, 4], "dtype": "float32"}]
    assert loaded["outputs"] == [{"name": "y", "shape": [-1, 4], "dtype": "float32"}]
    assert loaded["providers"] == ["CPU"]
    assert loaded["load_ns"] > 0
    assert warm["first_run_ns"] > 0
    assert warm["runs"] >= 5
    assert warm["finite"] is True
    assert (events[-1]["kind"], events[-1]["state"], events[-1]["error"]) == ("end", "done", None)


def test_a_latency_run_reads_the_boards_state_before_during_and_after(work, keep, tmp_path):
    events, _ = work(dict(LATENCY, sha=keep(board_models.linear(tmp_path / "m.onnx"))))
    warm_ns, states = of_kind(events, "warm")[0]["at_ns"], [e["at_ns"] for e in of_kind(events, "state")]
    assert [event["kind"] for event in (events[0], events[-2], events[-1])] == ["state", "state", "end"]
    assert states == sorted(states)
    assert states[0] < warm_ns
    assert len([at for at in states if at > warm_ns]) >= 2


def test_a_footprint_run_tells_two_loads_and_the_peak_of_memory(work, keep, tmp_path):
    sha = keep(board_models.linear(tmp_path / "m.onnx"))
    events, _ = work(dict(FOOTPRINT, sha=sha))
    started, loaded, footprint, end = events
    assert [event["kind"] for event in events] == ["started", "loaded", "footprint", "end"]
    assert loaded["load_ns"] > 0 < footprint["warm_load_ns"]
    assert started["memory_before_bytes"] <= footprint["peak_memory_bytes"] <= end["peak_memory_bytes"]


def test_a_layers_run_tells_each_node_its_provider_and_its_time(work, keep, tmp_path):
    events, _ = work(dict(LAYERS, sha=keep(board_models.deep(tmp_path / "m.onnx", layers=120, size=8))))
    rows = [row for event in of_kind(events, "layers") for row in event["rows"]]
    assert [len(event["rows"]) for event in of_kind(events, "layers")] == [100, 20]
    assert {(row["op"], row["provider"]) for row in rows} == {("MatMul", "CPU")}
    assert all(row["ns"] >= 0 for row in rows)
    assert len({row["name"] for row in rows}) == 120


def test_a_runtime_that_cannot_time_nodes_says_so(work, keep):
    end = work(dict(LAYERS, sha=keep(board_models.TFLITE), format="tflite", runtime="litert", provider="auto"))[0][-1]
    assert (end["state"], end["error"]["type"]) == ("failed", "NoProfile")


def test_a_provider_that_this_build_lacks_is_no_silent_cpu(work, keep, tmp_path):
    sha = keep(board_models.linear(tmp_path / "m.onnx"))
    end = work(dict(LATENCY, sha=sha, provider="TensorRT"))[0][-1]
    assert (end["state"], end["error"]["type"]) == ("failed", "ModelRejected")
    assert "no provider TensorRT, only" in end["error"]["message"]


def test_a_latency_run_reaches_its_duration_and_its_runs(work, keep, tmp_path):
    sha = keep(board_models.linear(tmp_path / "m.onnx"))
    samples = [ns for event in of_kind(work(dict(LATENCY, sha=sha))[0], "samples") for ns in event["ns"]]
    assert len(samples) >= 30
    assert min(samples) > 0
    assert 0.05 < sum(samples) / 1e9 <= 0.5


def test_a_slow_model_stops_at_the_longest_duration(work, keep, tmp_path):
    sha = keep(board_models.deep(tmp_path / "m.onnx"))
    spec = dict(LATENCY, sha=sha, min_runs=10**6, max_duration_s=0.3)
    events, _ = work(spec)
    assert sum(len(event["ns"]) for event in of_kind(events, "samples")) < 10**4
    assert events[-1]["state"] == "done"


def test_a_tflite_model_is_measured_by_litert(work, keep):
    sha = keep(board_models.TFLITE)
    events, _ = work(dict(LATENCY, sha=sha, format="tflite", runtime="litert"))
    started, loaded = but_states(events)[:2]
    assert started["runtime"] == "litert"
    assert loaded["inputs"][0]["shape"] == [1, 4]
    assert sum(len(event["ns"]) for event in of_kind(events, "samples")) >= 30


def test_outputs_that_are_not_finite_are_reported(work, keep, tmp_path):
    sha = keep(board_models.square_root(tmp_path / "m.onnx"))
    events, _ = work(dict(LATENCY, sha=sha))
    assert of_kind(events, "warm")[0]["finite"] is False
    assert events[-1]["state"] == "done"


@pytest.mark.parametrize("rows", [1, 6, 7])
@pytest.mark.parametrize("batch", ["N", 3])
def test_inference_gives_one_row_per_example_whatever_the_batch(work, keep, tmp_path, rows, batch):
    sha = keep(board_models.linear(tmp_path / "m.onnx", batch=batch))
    x = np.random.default_rng(0).standard_normal((rows, 4)).astype(np.float32)
    events, folder = work(dict(INFER, sha=sha, inputs=keep(save({"input_0": x}))))
    assert events[-1]["state"] == "done"
    output = load_file(folder / "output.safetensors")
    assert list(output) == ["output_0"]
    np.testing.assert_allclose(output["output_0"], x @ board_models.weights(), rtol=1e-6)
    assert of_kind(events, "progress")[-1]["done"] == rows


def test_inference_takes_and_gives_several_tensors_in_order(work, keep, tmp_path):
    sha = keep(board_models.two_in_two_out(tmp_path / "m.onnx"))
    a, b = np.float32([[1, 2], [3, 4]]), np.int64([[10, 20], [30, 40]])
    _, folder = work(dict(INFER, sha=sha, inputs=keep(save({"input_0": a, "input_1": b}))))
    output = load_file(folder / "output.safetensors")
    np.testing.assert_array_equal(output["output_0"], a + b)
    np.testing.assert_array_equal(output["output_1"], a - b)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"input_0": np.zeros((2, 4))}, "float64"),
        ({"input_0": np.zeros((2, 5), np.float32)}, "[2, 5]"),
        ({"input_0": np.zeros(4, np.float32)}, "[4]"),
        ({"input_0": np.zeros((0, 4), np.float32)}, "hold none"),
        ({"input_0": np.zeros((2, 4), np.float32), "input_1": np.zeros((2, 4), np.float32)}, "2 inputs"),
        ({"x": np.zeros((2, 4), np.float32)}, "0 inputs"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_inputs_that_do_not_fit_fail_the_run_and_are_named(work, keep, tmp_path, inputs, said):
    sha = keep(board_models.linear(tmp_path / "m.onnx"))
    end = work(dict(INFER, sha=sha, inputs=keep(save(inputs))))[0][-1]
    assert (end["state"], end["error"]["type"]) == ("failed", "BadInputs")
    assert said in end["error"]["message"]


def test_an_output_without_a_row_per_example_fails_the_run(work, keep, tmp_path):
    sha = keep(board_models.total(tmp_path / "m.onnx"))
    end = work(dict(INFER, sha=sha, inputs=keep(save({"input_0": np.zeros((2, 4), np.float32)}))))[0][-1]
    assert end["error"]["type"] == "BadOutputs"


@pytest.mark.parametrize(("format", "runtime"), [("onnx", "onnxruntime"), ("tflite", "litert")])
def test_a_file_that_is_no_model_is_rejected(work, keep, format, runtime):
    end = work(dict(LATENCY, sha=keep(b"no model"), format=format, runtime=runtime))[0][-1]
    assert (end["state"], end["error"]["type"]) == ("failed", "ModelRejected")


def test_a_worker_stops_at_sigterm_and_outlives_sighup(begin, keep, tmp_path):
    sha = keep(board_models.linear(tmp_path / "m.onnx"))
    process, folder = begin(dict(LATENCY, sha=sha, min_duration_s=30.0, max_duration_s=60.0))
    index = EventIndex(str(folder / "events.log"))
    while not of_kind(index.read(), "samples"):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGHUP)
    before = index.count
    while index.count < before + 2:
        time.sleep(0.01)
        index.refresh()
    process.terminate()
    process.wait(10)
    end = index.last()[0]
    assert (end["kind"], end["state"]) == ("end", "cancelled")


@pytest.fixture
def stage(root, keep, tmp_path):
    """Stages a release whose golden outputs are off by `error`."""

    def build(error=0.0, tolerance=1e-3):
        x = np.float32([[1, 2, 3, 4], [0, -1, 0, 1]])
        golden = save({"input_0": x, "output_0": x @ board_models.weights() + np.float32(error)})
        sha = keep(board_models.linear(tmp_path / "m.onnx"))
        releases, release = Releases(root), "20260101T000000Z-00000000"
        releases.stage("net", release, "onnx", sha, keep(golden), {"tolerance": tolerance})
        releases.switch("net", release)
        return releases, release

    return build


CHECK = {"kind": "check", "model": "net", "release": None, "runtime": "onnxruntime", "threads": 1, "provider": "auto"}


def test_a_release_that_gives_its_golden_outputs_passes_and_notes_when(work, stage):
    releases, release = stage()
    assert releases.list("net")["releases"][0]["checked_utc"] is None
    events, _ = work(CHECK)
    checked = of_kind(events, "checked")[0]
    assert (checked["ok"], checked["n"], checked["tolerance"]) == (True, 2, 1e-3)
    assert checked["max_abs"] <= 1e-6
    assert releases.list("net")["releases"][0]["checked_utc"].endswith("Z")
    assert releases.damaged("net", release) is None


def test_a_release_that_gives_other_outputs_does_not_pass(work, stage):
    releases, release = stage(error=0.5)
    events, _ = work(dict(CHECK, release=release))
    checked = of_kind(events, "checked")[0]
    assert checked["ok"] is False
    assert checked["max_abs"] == pytest.approx(0.5)
    assert events[-1]["state"] == "done"
    assert releases.list("net")["releases"][0]["checked_utc"] is None


def test_a_golden_output_that_is_nan_does_not_pass(work, stage):
    stage(error=np.nan)
    checked = of_kind(work(CHECK)[0], "checked")[0]
    assert (checked["ok"], checked["max_abs"]) == (False, None)


def test_a_release_with_a_changed_file_is_not_run(work, stage):
    releases, release = stage()
    Path(releases.folder("net", release), "manifest.json").write_text("{}")
    end = work(CHECK)[0][-1]
    assert end["error"]["type"] == "NotWhole"
    assert "manifest.json" in end["error"]["message"]
