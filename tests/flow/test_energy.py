"""Energy in the whole story: measured, stored, ranked by, bounded; on the true agent with a counter that is a fake."""

import pytest

from edgeprune import config, flow
from edgeprune.devices import resolve
from edgeprune.errors import ChoiceError, MeterFailed
from edgeprune.flow import Goal
from edgeprune.testing.sysfs import Rapl


@pytest.fixture
def metered(project, tmp_path, monkeypatch):
    """The project, on a device whose package takes 5 W all the time."""
    text = (project / "edgeprune.toml").read_text()
    device = f'\n[devices.bench]\naddress = "local://?root={tmp_path / "board"}"\nmeter = "onboard"\n'
    (project / "edgeprune.toml").write_text(text + device)
    tree = Rapl(tmp_path / "sys_tree")
    monkeypatch.setenv("EDGEPRUNE_FILESYSTEM", str(tree.root))
    with tree.play(lambda: 5.0, 0.02):
        yield project


def search(folder, **wanted):
    loaded = config.load(folder / "edgeprune.toml")
    return flow.run(loaded, "bench", Goal.of(loaded, **wanted), install=False)


@pytest.mark.slow
def test_variants_are_ranked_and_bounded_by_energy_and_a_second_run_measures_nothing(metered):
    result = search(metered, minimize=["energy"])
    data = result.to_data()
    for variant in data["variants"]:
        if variant["energy"] is None:
            pytest.skip(variant["missing"]["energy"])  # a machine too busy to be measured
        assert variant["energy"]["source"] == "rapl package-0" and variant["energy"]["boundary"] == "soc"
        assert variant["energy"]["per_inference_j"] > 0 and variant["energy"]["uncertainty_j"] > 0
    again = search(metered, minimize=["energy"])
    assert [m.energy for m in again.measurements] == [m.energy for m in result.measurements]
    with pytest.raises(ChoiceError, match="energy"):
        search(metered, constraints=["energy <= 0.000001uJ"])


@pytest.mark.slow
def test_a_bound_on_energy_without_a_meter_that_works_ends_the_run(metered, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEPRUNE_FILESYSTEM", str(tmp_path / "nothing"))
    with pytest.raises(MeterFailed, match="bench has no power sensor that works"):
        search(metered, constraints=["energy <= 50mJ"])


def test_the_doctor_tries_the_meter(metered, tmp_path, monkeypatch):
    loaded = config.load(metered / "edgeprune.toml")
    assert resolve("bench", loaded.devices).meter == "onboard"
    found = {finding.subject: finding for finding in flow.examine("bench", lambda: loaded)}
    assert found["  meter"].ok and found["  meter"].found == "rapl package-0 (soc, estimate)"
    monkeypatch.setenv("EDGEPRUNE_FILESYSTEM", str(tmp_path / "nothing"))
    found = {finding.subject: finding for finding in flow.examine("bench", lambda: loaded)}
    assert not found["  meter"].ok and "no RAPL" in found["  meter"].found
