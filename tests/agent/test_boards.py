import dataclasses
import json
from pathlib import Path

import pytest
from edgeprune_agent import boards, identity, runtimes

from edgeprune.values.device import DeviceInfo, RuntimeInfo

ABOUT = {"name": "x", "version": "1", "providers": [], "reason": ""}


@pytest.fixture(autouse=True)
def probes(monkeypatch):
    """Counts probes instead of importing runtimes."""
    asked = []
    monkeypatch.setattr(runtimes, "probe", lambda name, python: asked.append(name) or dict(ABOUT, name=name))
    return asked


def tree(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(folder)


RASPBERRY_PI = {
    "proc/device-tree/model": b"Raspberry Pi 5 Model B Rev 1.0\0",
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nID=debian\n',
    "proc/meminfo": "MemTotal:        8256048 kB\nMemFree:         5340000 kB\n",
    "proc/sys/kernel/osrelease": "6.6.31+rpt-rpi-2712\n",
    "proc/sys/kernel/arch": "aarch64\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "ondemand\n",
}
JETSON = {
    "proc/device-tree/model": b"NVIDIA Jetson Orin Nano Developer Kit\0",
    "etc/nv_tegra_release": (
        "# R36 (release), REVISION: 3.0, GCID: 36191598, BOARD: generic, EABI: aarch64, DATE: Mon May  6 17:34:21 UTC\n"
        "# KERNEL_VARIANT: oot\n"
    ),
    "etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 22.04.4 LTS"\n',
    "proc/meminfo": "MemTotal:        7802032 kB\n",
    "proc/sys/kernel/osrelease": "5.15.136-tegra\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil\n",
}
PC = {
    "sys/class/dmi/id/sys_vendor": "LENOVO\n",
    "sys/class/dmi/id/product_name": "20XW0055GE\n",
    "etc/os-release": "PRETTY_NAME='Arch Linux'\n",
}


def described(tmp_path, files):
    (tmp_path / "root").mkdir(exist_ok=True)
    return boards.describe(str(tmp_path / "root"), tree(tmp_path / "fs", files))


def test_a_raspberry_pi_names_itself(tmp_path):
    facts = described(tmp_path, RASPBERRY_PI)
    assert facts["model"] == "Raspberry Pi 5 Model B Rev 1.0"
    assert facts["os"] == "Debian GNU/Linux 12 (bookworm)"
    assert facts["kernel"] == "6.6.31+rpt-rpi-2712"
    assert facts["arch"] == "aarch64"
    assert facts["memory_bytes"] == 8256048 * 1024
    assert facts["governor"] == "ondemand"


def test_a_jetson_names_its_l4t_release(tmp_path):
    facts = described(tmp_path, JETSON)
    assert facts["model"] == "NVIDIA Jetson Orin Nano Developer Kit"
    assert facts["os"] == "Ubuntu 22.04.4 LTS, L4T 36.3.0"
    assert facts["governor"] == "schedutil"


def test_a_jetson_with_an_unknown_release_line_is_still_a_jetson(tmp_path):
    assert described(tmp_path, dict(JETSON, **{"etc/nv_tegra_release": "what?\n"}))["os"] == "Ubuntu 22.04.4 LTS"


def test_a_pc_names_itself_in_dmi(tmp_path):
    facts = described(tmp_path, PC)
    assert (facts["model"], facts["os"]) == ("LENOVO 20XW0055GE", "Arch Linux")
    assert facts["governor"] is None


@pytest.mark.parametrize("vendor", ["To Be Filled By O.E.M.", "Default string", ""])
def test_a_makers_placeholder_is_no_name(tmp_path, vendor):
    files = dict(PC, **{"sys/class/dmi/id/sys_vendor": vendor})
    assert described(tmp_path, files)["model"] == "20XW0055GE"


def test_a_board_that_says_nothing_is_unknown_and_its_gaps_are_none(tmp_path):
    facts = described(tmp_path, {"proc/nothing": ""})
    assert (facts["model"], facts["os"]) == ("unknown board", "Linux")
    assert (facts["memory_bytes"], facts["governor"]) == (None, None)


def test_the_facts_are_those_of_a_device_info(tmp_path):
    facts = described(tmp_path, RASPBERRY_PI)
    assert set(facts) == {field.name for field in dataclasses.fields(DeviceInfo)}
    for runtime in facts["runtimes"]:
        assert set(runtime) == {field.name for field in dataclasses.fields(RuntimeInfo)}
    assert json.loads(json.dumps(facts)) == facts
    assert facts["device_id"] == identity.device_id()
    assert facts["disk_free_bytes"] > 0
    assert facts["cpu_count"] >= 1


def test_runtimes_are_probed_once_per_installed_version(tmp_path, probes, monkeypatch):
    first = described(tmp_path, PC)["runtimes"]
    assert described(tmp_path, PC)["runtimes"] == first
    assert sorted(probes) == sorted(runtimes.OF_WHEELS)
    monkeypatch.setattr(runtimes, "stamp", lambda name, root: ["installed anew", [None]])
    described(tmp_path, PC)
    assert len(probes) == 2 * len(runtimes.OF_WHEELS)


@pytest.mark.parametrize("content", ["", "[1]", "{", '{"litert": 5}'])
def test_a_broken_cache_is_made_anew(tmp_path, probes, content):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "runtimes.json").write_text(content)
    assert len(described(tmp_path, PC)["runtimes"]) == len(runtimes.OF_WHEELS)
    assert len(probes) == len(runtimes.OF_WHEELS)


def test_a_disk_that_takes_no_cache_is_probed_each_time(tmp_path, probes, monkeypatch):
    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(boards.os, "replace", fail)
    described(tmp_path, PC)
    described(tmp_path, PC)
    assert len(probes) == 2 * len(runtimes.OF_WHEELS)
    assert not list(Path(tmp_path / "root").iterdir())


def test_a_machine_without_a_name_is_called_by_its_processor(tmp_path):
    facts = described(tmp_path, {"proc/cpuinfo": "processor\t: 0\nmodel name\t: Some CPU @ 3 GHz\n"})
    assert facts["model"] == "Some CPU @ 3 GHz"
