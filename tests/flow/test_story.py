"""The whole story on the real agent: measured, chosen, installed, resumed, rolled back."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgeprune import config, deploying, flow
from edgeprune.cli.app import app
from edgeprune.devices import connect, resolve
from edgeprune.errors import ChoiceError
from edgeprune.flow import Goal
from edgeprune.store import RunStore
from edgeprune.values.plan import PLANS


def goal_of(folder, **overrides):
    loaded = config.load(folder / "edgeprune.toml")
    return loaded, Goal.of(loaded, **overrides)


def run_story(folder, *, install=True, listener=lambda event: None, **overrides):
    loaded, goal = goal_of(folder, **overrides)
    return flow.run(loaded, "local", goal, install=install, listener=listener)


def samples(folder):
    with RunStore.open("sqlite:///.edgeprune/runs.db", folder) as store:
        run = store.runs()[0]
        device = run.info["board"]["device_id"]
        return {
            (variant.label, repeat.index): len(repeat.samples_ns)
            for variant, plan in store.entries(run.run_id)
            for repeat in store.repeats(variant.artifact.sha256, device, plan)
        }


@pytest.fixture(scope="module")
def deployed(trained_project, tell_runtimes, brief, tmp_path_factory):
    """A project that was deployed once; its tests only read."""
    base = tmp_path_factory.mktemp("story")
    tell_runtimes(base / "board")
    folder = shutil.copytree(trained_project, base / "stripes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEPRUNE_AGENT_ROOT", str(base / "board"))
        patch.setitem(PLANS, "quick", brief)
        yield folder, run_story(folder)


def test_winner_is_installed_and_healthy(deployed):
    _, result = deployed
    assert result.release is not None
    assert Path(result.release.path).is_dir()
    with connect(resolve("local", None)) as session:
        status = deploying.status(session, "stripes")
    assert status is not None
    assert status.current
    assert status.sha256 == result.choice.winner.artifact.sha256


def test_accuracy_on_the_device_equals_the_hosts(deployed):
    _, result = deployed
    for m in result.measurements:
        assert m.device_accuracy == m.variant.accuracy


def test_json_has_the_keys_that_scripts_hold_on_to(deployed):
    _, result = deployed
    data = json.loads(json.dumps(result.to_data(), allow_nan=False))
    top = "run device baseline variants front winner reason release verdict device_time_s wall_s"
    assert set(data) >= set(top.split())
    variant = (
        "id method criterion ratio format precision runtime threads params macs size_bytes accuracy device_accuracy "
        "latency energy peak_memory_bytes verdict"
    )
    assert set(data["winner"]) >= set(variant.split())
    assert data["winner"]["energy"] is None
    assert data["winner"]["missing"]["energy"]
    assert set(data["release"]) >= {"name", "path", "previous"}
    assert data["baseline"]["method"] == "dense"
    assert {data["winner"]["id"], *data["front"]} <= {v["id"] for v in data["variants"]}


def test_second_deploy_measures_nothing_and_installs_nothing_new(deployed):
    folder, result = deployed
    before = samples(folder)
    events = []
    again = run_story(folder, listener=events.append)
    assert samples(folder) == before
    assert again.run == result.run
    assert again.release.id == result.release.id
    assert not [e for e in events if e.stage == "measure"]


def test_choose_again_needs_no_device(deployed, monkeypatch):
    folder, result = deployed
    monkeypatch.setenv("EDGEPRUNE_AGENT_ROOT", "/nowhere")
    loaded, goal = goal_of(folder, minimize=["size"])
    again = flow.choose_again(loaded, goal, result.run[:6])
    assert again.choice.winner.artifact.size_bytes == min(m.artifact.size_bytes for m in result.measurements)


def test_goal_that_nothing_reaches_names_the_nearest_miss(deployed):
    folder, _ = deployed
    loaded, goal = goal_of(folder, constraints=["latency <= 1ns"])
    with pytest.raises(ChoiceError, match="latency"):
        flow.choose_again(loaded, goal, None)


def test_accuracy_that_nothing_reaches_is_exit_1(deployed, monkeypatch, capfd):
    folder, _ = deployed
    monkeypatch.chdir(folder)
    capfd.readouterr()
    done = CliRunner().invoke(app, ["choose", "--min-accuracy", "100.5%", "--json"])
    assert done.exit_code == 1
    assert json.loads(capfd.readouterr().out)["error"]["type"] == "ChoiceError"


@pytest.mark.parametrize(
    ("number", "code"),
    [
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 130, marks=pytest.mark.slow),
        (signal.SIGKILL, -9),
    ],
)
@pytest.mark.usefixtures("quick_is_brief")
def test_killed_deploy_loses_no_measured_repeat_and_goes_on(project, brief, number, code):
    process = start_deploy(project, brief)
    try:
        wait_for_repeats(process, project, 2)
        process.send_signal(number)
        process.communicate(timeout=30)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == code
    before = samples(project)
    assert len(before) >= 2
    result = run_story(project)
    after = samples(project)
    assert {key: after[key] for key in before} == before
    assert len(after) == 6
    assert result.release is not None


def start_deploy(folder, quick):
    """Deploy in a process of its own, with another plan in the place of "quick"."""
    script = (
        "import sys; from edgeprune.cli.app import main; from edgeprune.values.plan import PLANS, BenchPlan; "
        f"PLANS['quick'] = {quick!r}; sys.argv = ['edgeprune', 'deploy', '--device', 'local']; main()"
    )
    command = [sys.executable, "-c", script]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_repeats(process, folder, count, limit_s=300):
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        if (folder / ".edgeprune" / "runs.db").exists():
            try:
                if len(samples(folder)) >= count:
                    return
            except IndexError:  # the run is not begun yet
                pass
        time.sleep(0.2)
    raise AssertionError(f"no {count} repeats within {limit_s} s")
