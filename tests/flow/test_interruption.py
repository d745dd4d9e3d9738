"""Ctrl-C, a full disk, a file in the way: one message, nothing lost, the board given back."""

import json
import os
import resource
import subprocess
import sys

import pytest

from edgeprune import config, flow
from edgeprune.devices import connect, resolve
from edgeprune.errors import StorageError
from edgeprune.flow import Goal


def story(folder, listener=lambda event: None):
    loaded = config.load(folder / "edgeprune.toml")
    return flow.run(loaded, "local", Goal.of(loaded, device_time="30s"), install=True, listener=listener)


def interrupt_at(stage):
    """Listen until a stage is inside its work, then press Ctrl-C."""
    seen = []

    def listener(event):
        seen.append(event.stage)
        if event.stage == stage:
            raise KeyboardInterrupt

    return listener, seen


@pytest.mark.usefixtures("quick_is_brief")
def test_ctrl_c_in_every_stage_gives_the_board_back_and_the_next_call_goes_on(project):
    stages = ["prune", "export", "push", "accuracy", "measure", "install"]
    for stage in stages:
        listener, seen = interrupt_at(stage)
        with pytest.raises(KeyboardInterrupt):
            story(project, listener)
        assert seen[-1] == stage
        with connect(resolve("local")):  # the lease is free
            pass
        assert not [p for p in (project / ".edgeprune").rglob(".*") if p.is_dir() and any(p.iterdir())]
    result = story(project)
    assert result.release is not None
    assert len(result.measurements) == 2


def limited(folder, file_bytes):
    """Deploy in a process that cannot write a longer file: what a full disk is to it."""
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({file_bytes}, resource.RLIM_INFINITY)); "
        "sys.argv = ['edgeprune', 'deploy', '--device', 'local', '--json']; "
        "from edgeprune.cli.app import main; main()"
    )
    return subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.usefixtures("quick_is_brief")
def test_full_disk_is_one_message_and_what_is_there_stays_usable(project):
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    done = limited(project, 6000)
    assert done.returncode in {2, 3}, done.stdout + done.stderr
    error = json.loads(done.stdout)["error"]
    assert error["type"] in {"StorageError", "RemoteError", "RunFailed", "ConnectFailed"}
    assert error["next_step"]
    assert "Traceback" not in done.stderr
    assert story(project).release is not None


def test_a_file_where_the_workspace_should_be_is_a_storage_error(project):
    (project / ".edgeprune").write_text("in the way", "utf-8")
    with pytest.raises(StorageError, match=r"\.edgeprune"):
        story(project)
    assert (project / ".edgeprune").read_text("utf-8") == "in the way"


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere; the case above stands for it there")
def test_read_only_project_is_a_storage_error(project):
    project.chmod(0o500)
    try:
        with pytest.raises(StorageError):
            story(project)
    finally:
        project.chmod(0o700)
