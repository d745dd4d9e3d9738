"""The way of an energy through a true agent: sensor, worker, wire, estimate; and the ways on which there is none."""

import contextlib
import dataclasses
import os
import time
from pathlib import Path

import board_models
import pytest

from edgeprune.devices import connect
from edgeprune.errors import MeterFailed
from edgeprune.measuring import measure, power_for
from edgeprune.testing import gauges, sysfs
from edgeprune.values.device import DeviceProfile
from edgeprune.values.event import ignore
from edgeprune.values.plan import BenchPlan

PLAN = BenchPlan(
    "custom", warmup_s=0.02, min_duration_s=0.4, max_duration_s=10.0, min_runs=20, repeats=1, cool_s=0.0,
    max_wait_ratio=1.0,
)  # fmt: skip
IDLE_W, BUSY_W = 5.0, 15.0


def open_board(tmp_path, monkeypatch, meter, tree=None):
    monkeypatch.setenv("EDGEPRUNE_FILESYSTEM", str(tree.root if tree else tmp_path / "nothing"))
    return connect(DeviceProfile("bench", f"local://?root={tmp_path / 'root'}", meter=meter))


class Worker:
    """Whether the agent's worker computes at this moment, by the kernel's count of its processor time."""

    def __init__(self, root):
        self._runs, self._last_ns, self._busy_at_s = Path(root, "runs"), 0, 0.0

    def power(self):
        ran, now_s = self._ran_ns(), time.monotonic()
        if ran > self._last_ns + 300_000:
            self._busy_at_s = now_s
        self._last_ns = ran
        return BUSY_W if now_s - self._busy_at_s < 0.04 else IDLE_W

    def _ran_ns(self):
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid = (max(self._runs.iterdir()) / "pid").read_text()
            return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
        return 0


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return board_models.artifact(board_models.deep(tmp_path_factory.mktemp("models") / "deep.onnx"))


def test_a_measurement_on_a_board_with_a_counter_has_an_energy(tmp_path, monkeypatch, model):
    tree = sysfs.Rapl(tmp_path / "sys_tree", begin_uj=262143328850 - 9_000_000)
    worker = Worker(tmp_path / "root")
    with open_board(tmp_path, monkeypatch, "onboard", tree) as board, tree.play(worker.power, 0.02):
        assert board.info.sensors == ("rapl package-0",)
        m = measure(board, model, PLAN)
    if m.energy is None:  # a machine too busy for steady work; then the reason is a gate's
        assert m.missing["energy"].partition(":")[0] in ("unsteady", "gap", "imprecise", "low_coverage")
        pytest.skip(m.missing["energy"])
    assert m.energy.source == "rapl package-0" and m.energy.boundary == "soc" and m.energy.fidelity == "estimate"
    assert IDLE_W < m.energy.mean_w < 1.1 * BUSY_W
    assert m.energy.per_inference_j == pytest.approx(m.energy.mean_w * m.latency.mean_s, rel=0.3)
    assert "energy" not in m.missing and m.energy.uncertainty_j > m.energy.repeatability_j > 0


@pytest.mark.slow
def test_the_run_is_as_long_as_the_meter_needs_and_idles_before_and_after(tmp_path, monkeypatch, model):
    tree = sysfs.Rapl(tmp_path / "sys_tree")
    specs = []
    with open_board(tmp_path, monkeypatch, "onboard", tree) as board, tree.play(lambda: 5.0, 0.02):
        run = board.run
        board.run = lambda spec, *rest: specs.append(spec) or run(spec, *rest)
        m = measure(board, model, PLAN)
    (spec,) = (spec for spec in specs if spec["kind"] == "latency")
    assert spec["min_duration_s"] == 1.0 and spec["idle_s"] == 1.0
    assert spec["power"] == {"sensor": None, "rails": [], "current_unit": "uA"}
    assert m.latency.n * m.latency.mean_s >= 0.9
    assert m.energy is not None or m.missing["energy"].partition(":")[0] in ("unsteady", "gap", "imprecise")


def test_a_board_without_a_sensor_is_measured_without_energy_and_says_why(tmp_path, monkeypatch, model):
    told = []
    with open_board(tmp_path, monkeypatch, "onboard") as board:
        m = measure(board, model, PLAN, listener=told.append)
    assert m.energy is None and "no power sensor that works: ina: no INA sensor" in m.missing["energy"]
    assert any(event.message.startswith("No energy: ") for event in told)
    assert m.latency.n >= 20


def test_a_meter_that_is_needed_and_not_there_is_an_error(tmp_path, monkeypatch):
    with open_board(tmp_path, monkeypatch, "onboard") as board, pytest.raises(MeterFailed, match="no power sensor"):
        power_for(board, "onboard", ignore, needed=True)
    assert power_for(board, "none", ignore).source is None


def test_a_sensor_that_fails_in_the_middle_leaves_the_latency_and_a_reason(tmp_path, monkeypatch, model):
    tree = gauges.Battery(tmp_path / "sys_tree")
    tree.show(5.0)
    plan = dataclasses.replace(PLAN, min_duration_s=0.1)
    with open_board(tmp_path, monkeypatch, "onboard", tree) as board:
        power = power_for(board, "onboard", ignore)
        short = dataclasses.replace(power.source.facts, period_s=0.02, average_s=0.05, delay_s=0.0)
        power.source.facts = short
        tree.put("sys/class/power_supply/battery/type", "Gone")
        from edgeprune.measuring import measure_repeat, summarise

        repeat = measure_repeat(board, model, plan, 0, ignore, power)
        m = summarise(model, plan, [repeat], device="bench", info=board.info)
    assert m.energy is None and "the board's power sensor failed: " in m.missing["energy"].lower()
    assert os.path.sep in m.missing["energy"] or "no battery" in m.missing["energy"]
