"""Energy in the whole story: measured, stored, ranked by, bounded; on the true agent with a counter that is a fake."""

import random

import pytest

from edgeprune import config, flow
from edgeprune.devices import resolve
from edgeprune.errors import ChoiceError, MeterFailed
from edgeprune.flow import Goal
from edgeprune.testing.sysfs import Rapl


def on_a_device(project, tmp_path, meter):
    """Give the project a device with a meter."""
    text = (project / "edgeprune.toml").read_text()
    device = f'\n[devices.bench]\naddress = "local://?root={tmp_path / "board"}"\nmeter = "{meter}"\n'
    (project / "edgeprune.toml").write_text(text + device)
    return project


@pytest.fixture
def replayed(project, tmp_path):
    """The project, on a device that takes about 5 W all the time by a recorded trace."""
    # Noise that repeats itself would be averaged away, and with it the uncertainty of load minus idle, which is zero.
    noise = random.Random(0)
    rows = "".join(f"{i / 100},{noise.gauss(5, 0.02)}\n" for i in range(20_000))
    (tmp_path / "trace.csv").write_text("time_s,power_w\n" + rows)
    return on_a_device(project, tmp_path, f"replay:{tmp_path / 'trace.csv'}?average_s=0.05")


@pytest.fixture
def counted(project, tmp_path, monkeypatch):
    """The project, on a device with a counter."""
    monkeypatch.setenv("EDGEPRUNE_FILESYSTEM", str(Rapl(tmp_path / "sys_tree").root))
    return on_a_device(project, tmp_path, "onboard")


def search(folder, **wanted):
    loaded = config.load(folder / "edgeprune.toml")
    return flow.run(loaded, "bench", Goal.of(loaded, **wanted), install=False)


@pytest.mark.slow
def test_variants_are_ranked_and_bounded_by_energy_and_a_second_run_measures_nothing(replayed):
    result = search(replayed, minimize=["energy"])
    data = result.to_data()
    for variant in data["variants"]:
        energy, latency = variant["energy"], variant["latency"]
        assert energy["source"] == "replay of trace.csv" and energy["boundary"] == "board"
        assert energy["mean_w"] == pytest.approx(5.0, rel=0.01) and energy["uncertainty_j"] > 0
        assert energy["per_inference_j"] > 5.0 * 0.5 * latency["p50_s"]
    again = search(replayed, minimize=["energy"])
    assert [m.energy for m in again.measurements] == [m.energy for m in result.measurements]
    with pytest.raises(ChoiceError, match="energy"):
        search(replayed, constraints=["energy <= 0.000001uJ"])


@pytest.mark.slow
def test_a_bound_on_energy_without_a_meter_that_works_ends_the_run(counted, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEPRUNE_FILESYSTEM", str(tmp_path / "nothing"))
    with pytest.raises(MeterFailed, match="bench has no power sensor that works"):
        search(counted, constraints=["energy <= 50mJ"])


def test_the_doctor_tries_the_meter(counted, tmp_path, monkeypatch):
    loaded = config.load(counted / "edgeprune.toml")
    assert resolve("bench", loaded.devices).meter == "onboard"
    found = {finding.subject: finding for finding in flow.examine("bench", lambda: loaded)}
    assert found["  meter"].ok and found["  meter"].found == "rapl package-0 (soc, estimate)"
    monkeypatch.setenv("EDGEPRUNE_FILESYSTEM", str(tmp_path / "nothing"))
    found = {finding.subject: finding for finding in flow.examine("bench", lambda: loaded)}
    assert not found["  meter"].ok and "no RAPL" in found["  meter"].found
