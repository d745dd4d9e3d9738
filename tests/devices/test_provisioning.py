"""A board that lacks its runtimes gets them from here, over every way, and is as it was when that fails."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from serial_board import SerialBoard
from ssh_server import ssh_server, user_settings  # noqa: F401  (fixtures)
from wheel_maker import make_runtime, make_wheel

from edgeprune.devices import connect, local, provisioning, resolve
from edgeprune.devices.provisioning import prepare
from edgeprune.errors import DeviceError, LinkClosed, RemoteError, UsageError

# ruff: noqa: F811
BARE_PYTHON = os.path.realpath(sys.executable)
"""This Python without the packages of the venv that the tests run in: the board's."""


@pytest.fixture
def bare(monkeypatch):
    """The local agent runs with a Python that has no runtime, as a new board's."""
    done = subprocess.run([BARE_PYTHON, "-I", "-c", "import onnxruntime"], capture_output=True, check=False)
    if done.returncode == 0:
        pytest.skip(f"{BARE_PYTHON} has onnxruntime of its own")
    monkeypatch.setattr(local, "sys", SimpleNamespace(executable=BARE_PYTHON))


@pytest.fixture
def profile(bare, address):
    return resolve(address)


@pytest.fixture
def wheels(tmp_path):
    folder = tmp_path / "wheels"
    folder.mkdir()
    return folder


def versions(info):
    return {runtime.name: runtime.version for runtime in info.runtimes}


def facts(target):
    with connect(target, exclusive=False) as session:
        return session.info


def test_a_board_has_what_it_lacked(profile, wheels):
    assert versions(facts(profile)) == {"onnxruntime": None, "litert": None}
    make_runtime(wheels, "9.1")
    done = prepare(profile, wheels)
    assert done.wheels == ("onnxruntime-9.1-py3-none-any.whl",)
    assert [lack.runtime for lack in done.check.lacks] == ["litert"]
    assert versions(done.info)["onnxruntime"] == versions(facts(profile))["onnxruntime"] == "9.1"


def test_an_agent_that_goes_on_running_uses_the_new_venv(profile, wheels):
    make_runtime(wheels, "9.1")
    with connect(profile, exclusive=False) as before:
        prepare(profile, wheels)
        assert versions(before.info)["onnxruntime"] == "9.1"


def test_over_ssh_with_an_agent_that_the_link_brings(bare, ssh_server, wheels):
    (ssh_server.home / "bin").mkdir()
    (ssh_server.home / "bin" / "python3").symlink_to(BARE_PYTHON)
    config = Path(ssh_server.folder, "sshd_config")
    config.write_text(config.read_text().replace(f"PATH={Path(sys.executable).parent}", f"PATH={ssh_server.home}/bin"))
    ssh_server.stop()
    ssh_server.start()
    profile = resolve(f"ssh://{ssh_server.address}")
    assert versions(facts(profile))["onnxruntime"] is None
    make_runtime(wheels, "9.1")
    assert versions(prepare(profile, wheels).info)["onnxruntime"] == "9.1"


def test_over_a_console_into_which_the_agent_is_typed(bare, tmp_path, wheels, monkeypatch):
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python3").symlink_to(BARE_PYTHON)
    monkeypatch.setattr("serial_board.PYTHON_FOLDER", str(home / "bin"))
    board = SerialBoard(home, baud=3_000_000, rate=400_000)
    try:
        profile = resolve(board.address())
        assert versions(facts(profile))["onnxruntime"] is None
        make_runtime(wheels, "9.1")
        done = prepare(profile, wheels)
        assert versions(done.info)["onnxruntime"] == "9.1"
        after = facts(profile)  # by the agent that is typed in otherwise, which cannot install wheels
        assert versions(after)["onnxruntime"] == "9.1"
        assert after.agent_sha256 != done.info.agent_sha256
    finally:
        board.close()


def test_pip_is_asked_for_what_is_missing_and_only_for_that(profile, wheels, monkeypatch):
    asked = []

    def fetch(packages, target, folder):
        asked.append((list(packages), str(target)))
        return [make_runtime(folder, "9.1")]

    monkeypatch.setattr(provisioning, "fetch_wheels", fetch)
    prepare(profile)
    with pytest.raises(DeviceError, match="nothing more"):
        prepare(profile)
    (first, target), (second, _) = asked
    assert [package.partition("=")[0] for package in first] == ["onnxruntime", "ai-edge-litert"]
    assert [package.partition("=")[0] for package in second] == ["ai-edge-litert"]
    assert target.startswith(f"CPython {sys.version_info[0]}.{sys.version_info[1]} on ")


def test_a_board_that_lacks_nothing_is_left_alone(address, monkeypatch):
    monkeypatch.setattr(provisioning, "fetch_wheels", None)
    done = prepare(resolve(address))
    assert (done.wheels, done.check.lacks) == ((), ())


@pytest.fixture
def sent(monkeypatch):
    """Counts what crosses the link to the board; where `cut_at` is set, the cable is pulled there, once."""
    counts = SimpleNamespace(bytes=0, cut_at=None)
    send = local.LocalTransport.send

    def counted(self, data, deadline):
        send(self, data, deadline)
        counts.bytes += len(data)
        if counts.cut_at is not None and counts.bytes > counts.cut_at:
            counts.cut_at = None
            self._process.stdin.close()
            raise LinkClosed("The cable was pulled.", "Plug it in.")

    monkeypatch.setattr(local.LocalTransport, "send", counted)
    return counts


def test_a_link_that_is_cut_in_the_middle_of_a_wheel_is_opened_again_and_goes_on(profile, wheels, sent):
    make_runtime(wheels, "9.1")
    large = make_wheel(wheels, "large", files={"large.py": os.urandom(1_000_000).hex()})
    sent.cut_at = large.stat().st_size // 2
    assert versions(prepare(profile, wheels).info)["onnxruntime"] == "9.1"
    assert sent.cut_at is None
    assert sent.bytes < 1.2 * large.stat().st_size


def test_a_call_that_was_cut_short_changes_nothing_and_the_next_one_sends_no_wheel_again(
    profile, root, wheels, sent, monkeypatch
):
    make_runtime(wheels, "9.1")
    large = make_wheel(wheels, "large", files={"large.py": os.urandom(1_000_000).hex()})

    def interrupt(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(provisioning, "_judge", interrupt)
        prepare(profile, wheels)
    assert not (root / "venv").exists()
    assert versions(facts(profile))["onnxruntime"] is None
    sent.bytes = 0
    assert versions(prepare(profile, wheels).info)["onnxruntime"] == "9.1"
    assert sent.bytes < 0.05 * large.stat().st_size


def test_wheels_with_which_nothing_works_change_nothing(profile, root, wheels):
    make_wheel(wheels, "onnxruntime", files={"onnxruntime/__init__.py": "import something_that_is_missing"})
    with pytest.raises(DeviceError, match=r"something_that_is_missing.*Nothing was changed"):
        prepare(profile, wheels)
    assert not (root / "venv").exists()


def test_wheels_that_would_break_what_works_change_nothing(profile, wheels):
    make_runtime(wheels, "9.1")
    prepare(profile, wheels)
    shutil.rmtree(wheels)
    wheels.mkdir()
    make_wheel(wheels, "onnxruntime", "9.2", files={"onnxruntime/__init__.py": "import something_that_is_missing"})
    with pytest.raises(DeviceError, match=r"no longer have.*onnxruntime.*Nothing was changed"):
        prepare(profile, wheels)
    assert versions(facts(profile))["onnxruntime"] == "9.1"


def test_a_venv_of_the_users_own_is_left_alone_and_the_command_for_it_is_said(profile, root, wheels):
    (root / "venv").mkdir(parents=True)
    root.chmod(stat.S_IRWXU)
    make_runtime(wheels)
    with pytest.raises(DeviceError, match="not made by") as refused:
        prepare(profile, wheels)
    assert "pip install onnxruntime" in refused.value.next_step


def test_an_agent_that_cannot_install_wheels_is_said_so_before_anything_is_fetched(profile, wheels, monkeypatch):
    from edgeprune.devices.client import AgentClient

    opened = AgentClient.open

    def older(self, *arguments):
        opened(self, *arguments)
        self.hello = {**self.hello, "feat": []}

    monkeypatch.setattr(AgentClient, "open", older)
    monkeypatch.setattr(provisioning, "fetch_wheels", None)
    with pytest.raises(RemoteError, match="cannot install wheels") as refused:
        prepare(profile)
    assert "this version" in refused.value.next_step


def test_a_wheel_for_another_board_reaches_no_board(profile, root, wheels):
    make_runtime(wheels, tags="cp36-cp36m-manylinux2014_armv7l")
    with pytest.raises(UsageError, match="another Python"):
        prepare(profile, wheels)
    assert not list((root / "objects").iterdir())


def test_a_wheel_that_lies_about_its_files_is_refused_with_the_next_step(profile, root, wheels):
    make_wheel(wheels, record=["tiny/__init__.py,sha256=AAAA,3"])
    with pytest.raises(RemoteError, match="does not list") as refused:
        prepare(profile, wheels)
    assert "Fetch the wheel again" in refused.value.next_step
    assert not (root / "venv").exists()


@pytest.mark.slow
def test_real_wheels_of_an_index_measure_a_model(profile, model_bytes, plan, tmp_path, monkeypatch):
    try:
        done = prepare(profile)
    except UsageError as error:
        pytest.skip(f"no index to fetch from: {error}")
    assert done.check.lacks == ()
    with connect(profile) as session:
        events = []
        session.run({**plan, "sha": session.push_bytes(model_bytes)}, events.append, 60.0)
    (started,) = [event for event in events if event["kind"] == "started"]
    assert started["version"] == versions(done.info)["onnxruntime"]
    assert events[-1]["state"] == "done"
