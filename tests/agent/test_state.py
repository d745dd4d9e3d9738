"""A board's state from sysfs trees as the kernels of these boards lay them out, and the process that reads it."""

import os
import signal
import time
from pathlib import Path

import pytest
from edgeprune_agent.boards.state import StateReader
from edgeprune_agent.sampler import Sampler

from edgeprune.devices.replies import read_state

# Other tests bring a library that warns of any fork; a board's worker has no threads when it forks.
pytestmark = pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")

STAT = "cpu  100 5 20 1000 7 3 2 50 0 0\ncpu0 50 5 10 500 7 3 2 25 0 0\ncpu1 50 0 10 500 0 0 0 25 0 0\nintr 1\n"
RASPBERRY_PI = {
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "51121\n",
    "sys/devices/system/cpu/cpufreq/policy0/related_cpus": "0 1 2 3\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "ondemand\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "2400000\n",
    "sys/devices/system/cpu/cpufreq/policy0/cpuinfo_cur_freq": "1500000\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
    "sys/class/thermal/cooling_device0/type": "cpufreq-cpu0\n",
    "sys/class/thermal/cooling_device0/cur_state": "1\n",
    "sys/class/thermal/cooling_device1/type": "pwm-fan\n",
    "sys/class/thermal/cooling_device1/cur_state": "3\n",
    "proc/stat": STAT,
}
JETSON = {
    "sys/class/thermal/thermal_zone0/type": "CPU-therm\n",
    "sys/class/thermal/thermal_zone0/temp": "48500\n",
    "sys/class/thermal/thermal_zone1/type": "GPU-therm\n",
    "sys/class/thermal/thermal_zone1/temp": "-256000\n",
    "sys/class/thermal/thermal_zone2/type": "PMIC-Die\n",
    "sys/class/thermal/thermal_zone2/temp": "100000\n",
    "sys/class/hwmon/hwmon3/name": "soctherm_oc\n",
    "sys/class/hwmon/hwmon3/oc1_event_cnt": "0\n",
    "sys/class/hwmon/hwmon3/oc3_event_cnt": "37\n",
    "sys/devices/system/cpu/cpufreq/policy0/related_cpus": "0 1 2 3\n",
    "sys/devices/system/cpu/cpufreq/policy4/related_cpus": "4 5\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq": "729600\n",
    "sys/devices/system/cpu/cpufreq/policy4/scaling_cur_freq": "1510400\n",
    "var/lib/nvpmodel/status": "pmode:0002\n",
    "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n",
    "proc/77/stat": "77 (a (b) c) S 1 77 77 0 -1 4194304 1 0 0 0 250 50 0 0 20 0 5 0 9 8 7 " + "0 " * 14 + "5 0 0\n",
    "proc/77/task/77/schedstat": "2000000000 500000000 9\n",
    "proc/77/task/78/schedstat": "1000000000 0 4\n",
}
PC = {
    "sys/class/thermal/thermal_zone0/type": "acpitz\n",
    "sys/class/thermal/thermal_zone0/temp": "40000\n",
    "sys/class/thermal/thermal_zone1/type": "acpitz\n",
    "sys/class/thermal/thermal_zone1/temp": "41000\n",
    "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "12\n",
    "sys/firmware/acpi/platform_profile": "balanced\n",
}


@pytest.fixture
def reading(tmp_path):
    """Reads a tree, as the host takes it."""

    def read(files, worker=None):
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content)
        return read_state(StateReader(str(tmp_path), worker).read())

    return read


def test_a_raspberry_pi_tells_true_clock_flags_and_what_cools_it_by_slowing_it(reading):
    state = reading(RASPBERRY_PI)
    assert state.temperatures_c == {"cpu-thermal": 51.121}
    assert (state.governors, state.clocks_hz) == ({"0": "ondemand"}, {"0": 1.5e9})
    assert state.throttle == {"raspberry_pi": 0x50005, "cooling:cpufreq-cpu0": 1}
    assert state.power_mode is None


def test_a_jetson_tells_its_mode_its_events_and_no_temperature_of_what_is_off(reading):
    state = reading(JETSON)
    assert state.temperatures_c == {"CPU-therm": 48.5}
    assert state.throttle == {"event:oc1": 0, "event:oc3": 37}
    assert state.power_mode == "MAXN_SUPER"
    assert state.clocks_hz == {"0": 729.6e6, "4": 1510.4e6}


def test_a_pc_tells_equal_zones_apart(reading):
    state = reading(PC)
    assert state.temperatures_c == {"acpitz": 40.0, "acpitz1": 41.0}
    assert (state.throttle, state.power_mode) == ({"event:cpu0": 12}, "balanced")


def test_a_workers_time_is_that_of_all_its_threads_and_its_processor_names_the_policy(reading):
    state = reading(JETSON, worker=77)
    ticks = os.sysconf("SC_CLK_TCK")
    assert state.own_s == 300 / ticks
    assert (state.ran_s, state.waited_s, state.policy) == (3.0, 0.5, "4")


def test_busy_time_is_without_idling_and_without_what_was_stolen(reading):
    state, ticks = reading(RASPBERRY_PI), os.sysconf("SC_CLK_TCK")
    assert (state.cpus, state.busy_s, state.stolen_s) == (2, 130 / ticks, 50 / ticks)


def test_a_board_that_tells_nothing_is_no_error(reading):
    state = reading({"proc/stat": ""}, worker=1)
    assert (state.temperatures_c, state.throttle, state.busy_s, state.waited_s) == ({}, {}, None, None)


def test_this_machine_is_read(reading):
    state = read_state(StateReader(worker=os.getpid()).read())
    assert state.cpus == os.cpu_count()
    assert 0 < state.own_s < state.busy_s


def count_from(start):
    numbers = iter(range(start, 10**9))
    return lambda: {"n": next(numbers)}


def test_a_sampler_reads_before_during_and_after():
    sampler = Sampler(count_from(0), 0.01)
    readings = sampler.first()
    assert readings[0] == {"n": 0}
    while len(readings) < 5:
        readings += sampler.take()
    readings += sampler.close()
    assert [reading["n"] for reading in readings] == list(range(len(readings)))


def test_a_sampler_reads_once_more_when_it_is_closed():
    sampler = Sampler(count_from(0), 3600.0)
    assert sampler.first() == [{"n": 0}]
    assert sampler.take() == []
    assert sampler.close() == [{"n": 1}]


def test_a_sampler_that_cannot_read_ends_without_harm():
    sampler = Sampler(lambda: {}[0], 0.01)
    assert sampler.first() == []
    assert sampler.close() == []


def test_a_sampler_ends_with_its_worker_and_holds_nothing_of_it():
    there, here = os.pipe()
    watched, held = os.pipe()
    worker = os.fork()
    if not worker:
        os.write(here, b"%d" % Sampler(count_from(0), 3600.0)._child)
        time.sleep(3600)
    os.close(held)
    child = int(os.read(there, 20))
    os.kill(worker, signal.SIGKILL)
    os.waitpid(worker, 0)
    assert os.read(watched, 1) == b""  # the last descriptor is closed: neither has it any more
    give_up = time.monotonic() + 30
    while is_alive(child):
        assert time.monotonic() < give_up
        time.sleep(0.01)


def is_alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
