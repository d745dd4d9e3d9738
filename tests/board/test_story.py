"""The whole story on a virtual board: over SSH and over a serial line, with both runtimes' own arm64 wheels."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from edgeprune.board import listing
from edgeprune.devices.device_list import make_profile, put_device

sys.path.append(str(Path(__file__).parent))
from slow_line import slow_line

BAUD = 115200


def edgeprune(project, *arguments):
    command = [sys.executable, "-m", "edgeprune", *arguments, "--json"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def search_only(project, *formats):
    config = project / "edgeprune.toml"
    lines = [line for line in config.read_text("utf-8").splitlines() if not line.startswith("formats")]
    lines.insert(lines.index("[search]") + 1, f"formats = {json.dumps(formats)}")
    config.write_text("\n".join(lines), "utf-8")


@pytest.mark.slow
def test_a_network_is_deployed_over_ssh_and_over_a_serial_line_and_rolled_back(project, start_board):
    board = start_board()
    search_only(project, "onnx", "tflite")
    by_ssh = edgeprune(project, "deploy", "--device", board.name)
    assert_measured_there(by_ssh, {"onnx", "tflite"})
    (first,) = edgeprune(project, "releases", "status", "--device", board.name)["releases"]
    assert first["current"]
    assert first["path"] == by_ssh["release"]["path"]

    formats = {variant["id"]: variant["format"] for variant in by_ssh["variants"]}
    other = "tflite" if formats[by_ssh["winner"]["id"]] == "onnx" else "onnx"
    search_only(project, other)
    with slow_line(board.console, BAUD) as port:
        put_device(
            make_profile(board.name, f"serial://{port}?login=board&fastest={BAUD}", listing.BOARD_TYPE, "none", [])
        )
        store = ("--store", "sqlite:///serial.db")  # else what was measured over SSH would be known
        by_cable = edgeprune(project, "deploy", "--device", board.name, *store)
        assert_measured_there(by_cable, {other})
        assert by_cable["release"]["previous"] == by_ssh["release"]["name"]
        (back,) = edgeprune(project, "releases", "rollback", "--device", board.name)["releases"]
    assert back["path"] == first["path"]


def assert_measured_there(deployed, formats):
    variants = deployed["variants"]
    assert {variant["format"] for variant in variants} == formats
    for variant in variants:
        assert variant["device_accuracy"] == pytest.approx(variant["accuracy"], abs=1e-9)
        assert variant["latency"]["n"] >= 130
