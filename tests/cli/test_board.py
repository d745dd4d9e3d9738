"""`edgeprune board` where no board can be had, or none was made."""

import json
import os
import subprocess
import sys

import pytest


@pytest.fixture
def edgeprune(tmp_path):
    def run(*arguments, **environment):
        folders = {f"XDG_{kind}_HOME": str(tmp_path / kind) for kind in ("CACHE", "CONFIG", "STATE")}
        command = [sys.executable, "-m", "edgeprune", "board", *arguments, "--json"]
        env = {**os.environ, **folders, **environment}
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        return done.returncode, json.loads(done.stdout)

    return run


def test_without_boards_the_status_is_empty(edgeprune):
    assert edgeprune("status") == (0, {"image": None, "boards": []})


def test_a_board_that_was_not_made_cannot_be_powered_off(edgeprune):
    code, answer = edgeprune("down", "ghost")
    assert code == 2
    assert "'ghost'" in answer["error"]["message"]
    assert "edgeprune board up" in answer["error"]["next_step"]


def test_a_name_that_is_another_devices_is_refused_before_anything_is_built(edgeprune, tmp_path):
    (tmp_path / "CONFIG/edgeprune").mkdir(parents=True)
    (tmp_path / "CONFIG/edgeprune/devices.toml").write_text('[devices.virtual]\naddress = "ssh://pi@desk"\n')
    code, answer = edgeprune("up")
    assert code == 2
    assert "ssh://pi@desk" in answer["error"]["message"]
    assert not (tmp_path / "CACHE").exists()
