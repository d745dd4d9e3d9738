import dataclasses
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "measuring"))
import board_models
from test_verdict import QUIET

from edgeprune.exporting import predict
from edgeprune.exporting.probe import probe_network
from edgeprune.flow import Questions, profile_board, watch_board
from edgeprune.flow.board_profile import wasteful
from edgeprune.flow.monitor import read_between
from edgeprune.testing import gauges, sysfs
from edgeprune.testing.lines import SerialLine
from edgeprune.testing.ppk2 import FakePpk2
from edgeprune.values.board_profile import Point


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    return f"local://?root={tmp_path_factory.mktemp('board') / 'root'}"


def test_a_profile_of_this_machine_answers_what_was_asked(address):
    found = profile_board(address, Questions(minutes=0.005, widths=(4, 8), batches=(1, 2)))
    assert [point.value for point in found.stairs] == [4, 8]
    assert [point.value for point in found.batch] == [1, 2]
    assert found.threads[0].value == 1
    assert all(0 < point.p50_ci_s[0] <= point.p50_s for point in (*found.stairs, *found.batch, *found.threads))
    assert found.heat
    assert found.heat[0].at_s >= 0
    assert found.idle_power_w is None
    assert found.missing["idle_power"] == "no meter is read"


def test_a_model_of_the_users_is_asked_instead_and_what_was_not_asked_is_told(tmp_path, monkeypatch):
    model = board_models.linear(tmp_path / "mine.onnx")
    tree = sysfs.Rapl(tmp_path / "sys_tree")
    monkeypatch.setenv("EDGEPRUNE_FILESYSTEM", str(tree.root))
    with tree.play(lambda: 5.0):
        address = f"local://?root={tmp_path / 'root'}"
        found = profile_board(address, Questions(model, minutes=0, widths=(), batches=(), meter="onboard"))
    assert found.model == "mine.onnx"
    assert (found.batch, found.stairs, found.heat) == ((), (), ())
    assert set(found.missing) == {"heat", "throttling", "batch"}
    assert found.idle_power_w == pytest.approx(5.0, rel=0.05)
    assert found.power_source == "rapl package-0, soc"


def test_a_width_that_is_clearly_slower_than_a_larger_one_is_wasteful():
    times = {4: (1, 2), 8: (5, 6), 12: (3, 4), 16: (3.5, 7)}
    stairs = [Point(width, sum(ends) / 2, ends, "ok") for width, ends in times.items()]
    assert wasteful(stairs) == (8,)
    assert wasteful(stairs[:2]) == ()


def test_the_probe_is_a_network_of_its_width_and_batch(tmp_path):
    import numpy as np

    artifact = probe_network(tmp_path, 8, 2)
    assert artifact.inputs[0].shape == (2, 8, 32, 32)
    x = np.ones((2, 8, 32, 32), np.float32)
    (y,) = predict(artifact, (x,))
    assert y.shape == (2, 8, 32, 32)
    assert np.isfinite(y).all()


def test_a_board_is_watched_without_its_lease(address):
    from edgeprune.devices import connect

    with connect(address):
        readings = list(watch_board(address, 0.01, 2))
    assert len(readings) == 2
    assert readings[0].at_s < readings[1].at_s
    assert readings[0].busy >= 0
    assert {(reading.power_w, reading.power_missing) for reading in readings} == {(None, "no meter is read")}


def test_a_meter_at_the_host_is_read_while_a_board_is_watched(address):
    with SerialLine(FakePpk2(lambda: 2.0)) as line:
        meter = f"ppk2://{line.place}?mode=source&millivolt=5000"
        readings = list(watch_board(address, 0.2, 2, meter=meter))
    assert [reading.power_w for reading in readings] == pytest.approx([2.0, 2.0], rel=0.02)
    assert {reading.power_missing for reading in readings} == {""}


@pytest.mark.parametrize("make", [sysfs.Rapl, sysfs.Ina2xx], ids=["a counter", "powers"])
def test_the_boards_own_sensor_is_read_while_it_is_watched(address, make, tmp_path, monkeypatch):
    tree = make(tmp_path / "sys_tree")
    monkeypatch.setenv("EDGEPRUNE_FILESYSTEM", str(tree.root))
    with tree.play(lambda: 5.0):
        readings = list(watch_board(address, 0.01, 3, meter="onboard"))
    assert [reading.power_w for reading in readings] == pytest.approx([5.0] * 3, rel=0.15)  # this machine is not alone
    assert {reading.power_missing for reading in readings} == {""}


def test_a_charging_battery_shows_no_power_of_the_board_until_it_is_unplugged(address, tmp_path, monkeypatch):
    phone = gauges.Battery(tmp_path, status="Charging")
    monkeypatch.setenv("EDGEPRUNE_FILESYSTEM", str(phone.root))
    phone.show(-3.0)
    watched = watch_board(address, 0.01, 2, meter="onboard")
    charging = next(watched)
    phone.put("sys/class/power_supply/battery/status", "Discharging")
    phone.show(3.0)
    unplugged = next(watched)
    assert (charging.power_w, unplugged.power_w) == (None, pytest.approx(3.0))
    assert "charged" in charging.power_missing


@pytest.mark.parametrize(
    ("meter", "words"), [("ppk2:///dev/no_such_port", "/dev/no_such_port"), ("onboard", "no power sensor that works")]
)
def test_without_power_a_board_is_watched_all_the_same_and_told_why(address, meter, words, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEPRUNE_FILESYSTEM", str(tmp_path))
    (reading,) = watch_board(address, 0.01, 1, meter=meter)
    assert reading.power_w is None
    assert words in reading.power_missing
    assert reading.state.cpus >= 1


def test_load_is_what_happened_between_two_readings():
    now = dataclasses.replace(QUIET, at_ns=2 * 10**9, busy_s=101.0, throttle={"event:oc1": 3})
    before = dataclasses.replace(QUIET, throttle={"event:oc1": 1})
    reading = read_between(QUIET, before, now)
    assert (reading.at_s, reading.busy, reading.throttling) == (2.0, 0.5, "2 events of oc1")
    assert read_between(QUIET, dataclasses.replace(QUIET, busy_s=None), now).busy is None
