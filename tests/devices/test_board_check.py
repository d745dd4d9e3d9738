"""Boards name themselves; profiles say what they lack and how it comes there."""

import dataclasses
import re
import shlex

import pytest

from edgeprune.devices.board_check import check_board, fitting_board
from edgeprune.devices.profiles import board_types
from edgeprune.values.device import DeviceInfo, DeviceProfile, RuntimeInfo

NEITHER = (RuntimeInfo("onnxruntime", None, (), "not installed"), RuntimeInfo("litert", None, (), "not installed"))
INFO = DeviceInfo(
    "id", "boot", "0.1.0", "ab", "3.11.2", "Raspberry Pi 5 Model B Rev 1.0", "Debian GNU/Linux 12", "6.6", "aarch64", 4,
    8 << 30, 1 << 30, None, NEITHER,
)  # fmt: skip
BOARD = DeviceProfile("board", "ssh://pi@board")


def info(model="unknown board", arch="aarch64", python="3.11.2", runtimes=NEITHER):
    return dataclasses.replace(INFO, model=model, arch=arch, python=python, runtimes=runtimes)


def commands(profile, facts):
    return {lack.runtime: lack.command for lack in check_board(profile, facts).lacks}


@pytest.mark.parametrize(
    ("model", "arch", "name"),
    [
        ("Raspberry Pi 3 Model B Plus Rev 1.3", "aarch64", "raspberry-pi-3"),
        ("Raspberry Pi 3 Model B Plus Rev 1.3", "armv7l", "raspberry-pi-3"),
        ("Raspberry Pi 4 Model B Rev 1.5", "aarch64", "raspberry-pi-4"),
        ("Raspberry Pi 5 Model B Rev 1.0", "aarch64", "raspberry-pi-5"),
        ("Raspberry Pi Zero 2 W Rev 1.0", "aarch64", "raspberry-pi-zero-2-w"),
        ("NVIDIA Jetson Nano Developer Kit", "aarch64", "jetson-nano"),
        ("quill", "aarch64", "jetson-tx2"),
        ("NVIDIA Jetson Xavier NX Developer Kit", "aarch64", "jetson-xavier-nx"),
        ("Jetson-AGX", "aarch64", "jetson-agx-xavier"),
        ("NVIDIA Jetson Orin Nano Developer Kit", "aarch64", "jetson-orin-nano"),
        ("NVIDIA Jetson Orin NX Engineering Reference Developer Kit", "aarch64", "jetson-orin-nx"),
        ("NVIDIA Jetson AGX Orin Developer Kit", "aarch64", "jetson-agx-orin"),
        ("NVIDIA Jetson AGX Thor Developer Kit", "aarch64", "jetson-agx-thor"),
        ("Some board", "aarch64", "generic-linux-arm64"),
        ("Some board", "armv7l", "generic-linux-armv7"),
        ("Dell Inc. Laptop", "x86_64", "generic-linux-x86-64"),
        ("Dell Inc. Laptop", "riscv64", "generic-linux"),
        ("Raspberry Pi 5 look-alike", "x86_64", "generic-linux-x86-64"),
    ],
)
def test_a_board_fits_the_profile_that_its_name_begins_with(model, arch, name):
    assert fitting_board(info(model, arch), board_types()).name == name


def test_no_two_profiles_claim_the_same_model():
    claimed = [
        str(fact.value) for board in board_types().values() for key, fact in board.facts.items()
        if key.startswith("device_tree_model")
    ]  # fmt: skip
    assert len(claimed) == len(set(claimed)) >= 13


@pytest.mark.parametrize(
    ("python", "arch", "onnxruntime", "litert"),
    [
        ("3.6.9", "aarch64", "onnxruntime==1.10.0", None),
        ("3.8.10", "aarch64", "onnxruntime==1.19.2", "tflite-runtime==2.13.0"),
        ("3.10.12", "aarch64", "onnxruntime==1.23.2", "ai-edge-litert==2.3.0"),
        ("3.13.5", "aarch64", "onnxruntime==1.32.0", "ai-edge-litert==2.3.0"),
        ("3.11.2", "armv7l", None, "tflite-runtime==2.14.0"),
    ],
)
def test_the_wheel_is_the_newest_one_for_processor_and_python(python, arch, onnxruntime, litert):
    found = commands(BOARD, info("Raspberry Pi 3 Model B", arch, python))
    for name, wanted in (("onnxruntime", onnxruntime), ("litert", litert)):
        assert found[name].endswith(f"pip install {wanted}") if wanted else found[name] == ""


def test_a_python_that_no_profile_knows_leaves_it_to_pip_and_says_so():
    (ort, _) = check_board(BOARD, info(python="3.99.0")).lacks
    assert ort.command.endswith("pip install onnxruntime")
    assert "3.99.0" in ort.note


def test_a_jetsons_venv_sees_the_systems_packages_and_others_do_not():
    jetson = commands(BOARD, info("NVIDIA Jetson Orin Nano Developer Kit", python="3.10.12"))["onnxruntime"]
    assert jetson.startswith("python3 -m venv --system-site-packages ~/.edgeprune/venv && ")
    assert "--system-site-packages" not in commands(BOARD, info())["onnxruntime"]


@pytest.mark.parametrize("address", ["ssh://board?root=/mnt/my%20disk", "serial:///dev/ttyUSB0?root=/mnt/my%20disk"])
def test_the_venv_lies_in_the_root_of_the_address_quoted_for_the_shell(address):
    profile = DeviceProfile("board", address)
    words = shlex.split(commands(profile, info())["onnxruntime"])
    assert words[3] == "/mnt/my disk/venv"
    assert words[5] == "/mnt/my disk/venv/bin/python3"


def test_a_root_in_the_home_stays_one_for_the_shell():
    profile = DeviceProfile("board", "ssh://board?root=~/my%20disk")
    assert commands(profile, info())["onnxruntime"].startswith("python3 -m venv ~/'my disk/venv' && ")


def test_this_machine_needs_no_venv():
    command = commands(DeviceProfile("local", "local://"), info(arch="x86_64"))["onnxruntime"]
    assert re.fullmatch(r"\S+python\S* -m pip install onnxruntime==\S+", command)


def test_a_venv_in_this_machines_root_is_what_its_workers_run_with(tmp_path):
    own = tmp_path / "venv/bin/python3"
    own.parent.mkdir(parents=True)
    own.touch()
    command = commands(DeviceProfile("local", f"local://?root={tmp_path}"), info(arch="x86_64"))["onnxruntime"]
    assert command.startswith(f"{own} -m pip install ")


def test_a_phone_is_believed_to_be_what_the_list_says():
    listed = dataclasses.replace(BOARD, board="android-termux")
    check = check_board(listed, info("Google raven"))
    assert (check.board, check.agrees) == ("android-termux", True)
    assert [lack.command for lack in check.lacks] == ["pkg install python-onnxruntime", ""]


def test_a_list_that_names_another_board_is_told():
    check = check_board(dataclasses.replace(BOARD, board="raspberry-pi-4"), INFO)
    assert (check.board, check.listed, check.agrees) == ("raspberry-pi-5", "raspberry-pi-4", False)


def test_a_board_that_has_all_lacks_nothing():
    both = (RuntimeInfo("onnxruntime", "1.32.0"), RuntimeInfo("litert", "2.3.0"))
    assert check_board(BOARD, info(runtimes=both)).lacks == ()
