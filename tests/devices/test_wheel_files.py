"""Wheels come from a folder or by pip; what stands in the way is one clear message with the next step."""

import subprocess

import pytest
from wheel_maker import make_wheel

from edgeprune.devices import wheel_files
from edgeprune.devices.wheel_files import fetch_wheels, wheels_of
from edgeprune.devices.wheel_names import read_target
from edgeprune.errors import StorageError, UsageError

PI = read_target("cpython-311-aarch64-linux-gnu", "glibc 2.36")


def test_all_wheels_of_a_folder_are_meant_and_other_files_are_not(tmp_path):
    wheels = [make_wheel(tmp_path, "one"), make_wheel(tmp_path, "two")]
    (tmp_path / "notes.txt").touch()
    assert wheels_of(tmp_path, PI) == wheels


def test_a_wheel_for_another_python_is_named_and_so_is_the_right_one(tmp_path):
    make_wheel(tmp_path, tags="cp312-cp312-manylinux_2_28_x86_64")
    with pytest.raises(UsageError, match=r"tiny-1.0-cp312.*CPython 3.11 on aarch64"):
        wheels_of(tmp_path, PI)


@pytest.mark.parametrize("damage", ["cut", "flipped", "no zip"])
def test_a_damaged_wheel_is_found_before_it_is_sent(tmp_path, damage):
    path = make_wheel(tmp_path, files={"tiny.py": "x = 1\n" * 500})
    data = bytearray(path.read_bytes())
    data[50] ^= 0xFF
    path.write_bytes({"cut": data[:100], "flipped": data, "no zip": b"hello"}[damage])
    with pytest.raises(UsageError, match="damaged") as refused:
        wheels_of(tmp_path, PI)
    assert "again" in refused.value.next_step


def test_a_file_that_has_no_wheels_name_is_refused(tmp_path):
    make_wheel(tmp_path).rename(tmp_path / "tiny.whl")
    with pytest.raises(UsageError, match="no name of a wheel"):
        wheels_of(tmp_path, PI)


def test_a_folder_without_wheels_and_one_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="no wheel in"):
        wheels_of(tmp_path, PI)
    with pytest.raises(StorageError, match="cannot be read"):
        wheels_of(tmp_path / "nowhere", PI)


@pytest.fixture
def pip(monkeypatch):
    """What pip is asked, and says."""
    asked = []

    def run(command, **options):
        assert not options.get("shell")
        asked.append(command)
        return subprocess.CompletedProcess(command, 1, "", pip_says[0])

    pip_says = [""]
    monkeypatch.setattr(wheel_files.subprocess, "run", run)
    return asked, pip_says


@pytest.mark.parametrize(
    ("said", "words", "step"),
    [
        ("/usr/bin/python3: No module named pip\n", "has no pip", "ensurepip"),
        ("Retrying after connection broken by 'x'\nERROR: No matching distribution\n", "reached", "--wheels"),
        ("ERROR: No matching distribution found for onnxruntime\n", "no wheel of onnxruntime", "--wheels"),
        ("ERROR: Could not install: [Errno 28] No space left on device\n", "disk is full", "TMPDIR"),
        ("ERROR: something \x1b[2Jnew\n", r"pip failed: ERROR: something \[2Jnew", "--wheels"),
    ],
)
def test_what_pip_says_becomes_one_message_with_the_next_step(tmp_path, pip, said, words, step):
    pip[1][0] = said
    with pytest.raises(UsageError, match=words) as refused:
        fetch_wheels(["onnxruntime"], PI, tmp_path)
    assert step in refused.value.next_step


def test_pip_is_asked_for_the_boards_python_and_not_for_this_one(tmp_path, pip):
    with pytest.raises(UsageError):
        fetch_wheels(["onnxruntime==1.32.0", "--index-url=evil"], PI, tmp_path)
    (command,) = pip[0]
    assert command[command.index("--python-version") + 1] == "3.11"
    assert command[command.index("--abi") + 1] == "cp311"
    assert "manylinux_2_28_aarch64" in command
    assert command[command.index("--") + 1 :] == ["onnxruntime==1.32.0", "--index-url=evil"]
