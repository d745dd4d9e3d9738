"""The whole story over ssh://: pruned here, measured, chosen and installed on the other side of a real sshd."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "devices"))
from ssh_server import ssh_server, user_settings  # noqa: F401

# ruff: noqa: F811


@pytest.mark.slow
def test_deploy_installs_a_release_on_a_board_behind_ssh(project, ssh_server, user_settings):
    def edgeprune(*arguments):
        command = [sys.executable, "-m", "edgeprune", *arguments, "--device", "board", "--json"]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    with (project / "edgeprune.toml").open("a") as config:
        config.write(f'\n[devices.board]\naddress = "ssh://{ssh_server.address}"\n')
    deployed = edgeprune("deploy")
    assert len(deployed["variants"]) >= 2
    release = Path(deployed["release"]["path"])
    assert release.is_relative_to(ssh_server.home / ".edgeprune" / "models")
    assert (release / "manifest.json").is_file()
    (status,) = edgeprune("releases", "status")["releases"]
    assert status["current"]
    assert not [*(user_settings / "board").glob("*/*")], "nothing was done on this side"
    assert not ssh_server.agents()
