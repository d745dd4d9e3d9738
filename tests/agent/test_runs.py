import json
import os
import signal
import time
from pathlib import Path

import board_models
import pytest
from edgeprune_agent import events, identity, runs
from edgeprune_agent.runs import Runs
from edgeprune_agent.wire import NAMES, AgentError

QUICK = {
    "kind": "latency", "format": "onnx", "runtime": "onnxruntime", "threads": 1, "warmup_s": 0.0, "warmup_runs": 0,
    "min_duration_s": 0.01, "min_runs": 5, "max_duration_s": 5.0, "period_s": 0, "provider": "auto", "strict": False,
    "state_period_s": 1.0,
    "seed": 0, "inputs": None, "idle_s": 0.0, "power": None, "marker": None,
}  # fmt: skip


def key(number=0):
    return f"{number:032x}"


@pytest.fixture
def quick(keep, tmp_path):
    return dict(QUICK, sha=keep(board_models.linear(tmp_path / "m.onnx")))


@pytest.fixture
def long(quick):
    return dict(quick, min_duration_s=60.0, max_duration_s=120.0)


@pytest.fixture
def agent(root):
    """Makes agents of one root; what they left running is killed and awaited."""
    made = []

    def make():
        made.append(Runs(root))
        return made[-1]

    yield make
    for child in [child for agent in made for child in agent._children.values()]:
        child.kill()
        child.wait()


def wait_until(condition, seconds=20):
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def wait_for_end(agent, run):
    wait_until(lambda: agent.status(run)["state"] != "running")
    return agent.events(run)[-1]


def wait_for_samples(agent, run):
    wait_until(lambda: any(event["kind"] == "samples" for event in agent.events(run)))


def pid_of(root, run):
    return int(Path(root, "runs", run, "pid").read_text())


def test_a_run_starts_goes_on_and_ends(agent, quick):
    runs = agent()
    run = runs.start(quick, key())
    assert NAMES["run"].fullmatch(run)
    assert runs.active() == run
    end = wait_for_end(runs, run)
    assert (end["kind"], end["state"]) == ("end", "done")
    assert runs.active() is None
    status = runs.status(run)
    assert status["events"] == len(runs.events(run))
    assert runs.events(run, 2) == runs.events(run)[2:]


def test_the_same_key_gives_the_same_run_even_to_another_agent(agent, quick):
    run = agent().start(quick, key(1))
    assert agent().start(quick, key(1)) == run
    wait_for_end(agent(), run)
    assert agent().start(quick, key(1)) == run
    assert agent().start(quick, key(2)) != run


def test_a_second_run_has_to_wait(agent, long):
    runs = agent()
    run = runs.start(long, key(1))
    for other in (runs, agent()):
        with pytest.raises(AgentError) as caught:
            other.start(long, key(2))
        assert caught.value.code == "E_BUSY"
        assert other.active() == run


def test_a_cancelled_run_ends_and_keeps_its_samples(agent, long):
    runs = agent()
    run = runs.start(long, key())
    wait_for_samples(runs, run)
    assert runs.cancel(run) == {"state": "cancelling"}
    assert wait_for_end(runs, run)["state"] == "cancelled"
    assert runs.cancel(run) == {"state": "cancelled"}
    assert any(event["kind"] == "samples" for event in runs.events(run))


def test_a_run_that_does_not_hear_is_killed(agent, root, long, monkeypatch):
    monkeypatch.setattr(runs, "GRACE_S", 0.1)
    agent = agent()
    run = agent.start(long, key())
    wait_for_samples(agent, run)
    os.kill(pid_of(root, run), signal.SIGSTOP)
    agent.cancel(run)
    end = wait_for_end(agent, run)
    assert (end["state"], end["error"]) == ("cancelled", None)


def test_a_worker_that_is_killed_is_a_failed_run_with_its_signal(agent, root, long):
    runs = agent()
    run = runs.start(long, key())
    wait_for_samples(runs, run)
    os.kill(pid_of(root, run), signal.SIGSEGV)
    end = wait_for_end(runs, run)
    assert (end["state"], end["error"]["type"]) == ("failed", "Crash")
    assert "SIGSEGV" in end["error"]["message"]
    assert [event["ev"] for event in runs.events(run)] == list(range(end["ev"] + 1))


def test_a_worker_that_cannot_even_start_tells_its_last_words(agent, quick, monkeypatch):
    words = "import sys; sys.exit('no such luck')"
    monkeypatch.setattr(identity, "worker_command", lambda python: ["/usr/bin/env", "python3", "-c", words])
    runs = agent()
    end = wait_for_end(runs, runs.start(quick, key()))
    assert end["error"]["message"] == "the worker ended with status 1; its last words: no such luck"


def test_no_process_is_an_answer_not_a_crash(agent, quick, monkeypatch):
    monkeypatch.setattr(identity, "worker_command", lambda python: ["/nowhere/python3"])
    runs = agent()
    with pytest.raises(AgentError) as caught:
        runs.start(quick, key())
    assert caught.value.code == "E_RUNNER"
    assert runs.active() is None


def test_a_run_outlives_its_agent_and_the_next_one_takes_it_over(agent, root, long):
    first = agent()
    run = first.start(long, key())
    wait_for_samples(first, run)
    second = agent()
    assert second.active() == run
    before = second.status(run)["events"]
    wait_until(lambda: second.status(run)["events"] > before)
    assert second.cancel(run) == {"state": "cancelling"}
    assert wait_for_end(second, run)["state"] == "cancelled"


def test_a_worker_that_died_while_no_agent_was_there_has_failed(agent, root, long):
    first = agent()
    run = first.start(long, key())
    wait_for_samples(first, run)
    os.kill(pid_of(root, run), signal.SIGKILL)
    first._children[run].wait()
    end = agent().events(run)[-1]
    assert (end["state"], end["error"]["type"]) == ("failed", "Crash")


def test_a_run_of_another_boot_is_interrupted_and_keeps_its_samples(agent, root, long, monkeypatch):
    first = agent()
    run = first.start(long, key())
    wait_for_samples(first, run)
    os.kill(pid_of(root, run), signal.SIGKILL)
    first._children[run].wait()
    monkeypatch.setattr(identity, "boot_id", lambda: "another boot")
    second = agent()
    assert second.status(run)["state"] == "interrupted"
    assert any(event["kind"] == "samples" for event in second.events(run))


def test_a_full_disk_delays_the_end_and_does_not_hurt_the_agent(agent, root, long, monkeypatch):
    agent = agent()
    run = agent.start(long, key())
    wait_for_samples(agent, run)
    os.kill(pid_of(root, run), signal.SIGKILL)
    agent._children[run].wait()

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    for module, name in ((runs, "EventWriter"), (events, "write_all")):
        monkeypatch.setattr(module, name, fail)
        agent.poll()
        assert agent.status(run)["state"] == "running"
    monkeypatch.undo()
    assert agent.status(run)["state"] == "failed"


def test_a_worker_sees_only_the_environment_it_needs(agent, root, long, monkeypatch):
    monkeypatch.setenv("SECRET", "1")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    runs = agent()
    run = runs.start(dict(long, threads=2), key())
    wait_for_samples(runs, run)
    names = dict(
        pair.split("=", 1) for pair in Path(f"/proc/{pid_of(root, run)}/environ").read_text().split("\0") if pair
    )
    assert not {"SECRET", "PYTHONPATH"} & set(names)
    assert names["OMP_NUM_THREADS"] == "2"
    assert names["PATH"] == os.environ["PATH"]


def test_a_worker_has_a_session_of_its_own(agent, root, long):
    runs = agent()
    run = runs.start(long, key())
    wait_for_samples(runs, run)
    assert os.getsid(pid_of(root, run)) == pid_of(root, run)


def test_last_words_that_grow_too_long_are_cut(agent, root, long):
    agent = agent()
    run = agent.start(long, key())
    wait_for_samples(agent, run)
    path = Path(root, "runs", run, "stderr.txt")
    with path.open("ab") as file:
        file.write(b"x" * (2 << 20))
    agent.poll()
    assert path.stat().st_size < 1 << 20


def test_only_the_newest_runs_are_kept(agent, root, quick, monkeypatch):
    monkeypatch.setattr(runs, "KEPT_RUNS", 3)
    agent = agent()
    made = []
    for number in range(5):
        made.append(agent.start(quick, key(number)))
        wait_for_end(agent, made[-1])
    assert sorted(path.name for path in Path(root, "runs").iterdir()) == made[2:]


def test_ids_sort_by_age_even_when_the_clock_is_set_back(agent, quick, monkeypatch):
    agent = agent()
    first = agent.start(quick, key(1))
    wait_for_end(agent, first)
    monkeypatch.setattr(runs.time, "time", lambda: 1000.0)
    second = agent.start(quick, key(2))
    assert second > first
    wait_for_end(agent, second)


def test_output_is_a_path_once_there_is_one(agent, keep, quick):
    from safetensors.numpy import save

    runs = agent()
    run = runs.start(quick, key(1))
    wait_for_end(runs, run)
    with pytest.raises(AgentError, match="has no outputs"):
        runs.output(run)
    spec = {name: quick[name] for name in ("sha", "format", "runtime", "threads", "provider")}
    inputs = keep(save({"input_0": board_models.weights()}))
    run = runs.start(dict(spec, kind="infer", inputs=inputs), key(2))
    wait_for_end(runs, run)
    assert Path(runs.output(run)).is_file()


@pytest.mark.parametrize("call", ["status", "events", "cancel", "output"])
def test_an_unknown_run_is_not_found_and_a_bad_name_is_an_argument(agent, call):
    runs = agent()
    with pytest.raises(AgentError) as caught:
        getattr(runs, call)("0" * 26)
    assert caught.value.code == "E_NOTFOUND"
    with pytest.raises(AgentError) as caught:
        getattr(runs, call)("../" + "0" * 23)
    assert caught.value.code == "E_ARG"


def test_files_that_are_not_in_the_store_are_named(agent, quick):
    runs = agent()
    for change in ({"sha": "a" * 64}, {"inputs": "b" * 64}):
        with pytest.raises(AgentError) as caught:
            runs.start(dict(quick, **change), key())
        assert caught.value.code == "E_NOTFOUND"
        assert not list(Path(runs._folder).iterdir())


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "destroy"}, {"kind": None}, {"sha": "../../etc/passwd"}, {"sha": None}, {"sha": "A" * 64},
        {"format": "pickle"}, {"format": ["onnx"]}, {"runtime": "torch"}, {"runtime": "litert"}, {"threads": 0},
        {"threads": 1.0}, {"threads": True}, {"threads": 10**6}, {"warmup_s": -1}, {"warmup_s": "1"},
        {"warmup_s": float("nan")}, {"warmup_s": float("inf")}, {"warmup_runs": -1}, {"warmup_runs": 1.5},
        {"min_duration_s": 1e9}, {"min_runs": 0}, {"max_duration_s": 0}, {"seed": -1}, {"seed": 2**32},
        {"inputs": "short"}, {"inputs": 5}, {"extra": 1}, {"min_runs": ...},
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_spec_is_refused_and_leaves_no_trace(agent, quick, change):
    spec = {name: value for name, value in dict(quick, **change).items() if value is not ...}
    runs = agent()
    with pytest.raises(AgentError) as caught:
        runs.start(spec, key())
    assert caught.value.code == "E_ARG"
    assert not list(Path(runs._folder).iterdir())


@pytest.mark.parametrize("spec", [None, [], "latency", {}, {"kind": "check", "model": "../x"}], ids=str)
def test_what_is_no_spec_at_all_is_refused(agent, spec):
    with pytest.raises(AgentError) as caught:
        agent().start(spec, key())
    assert caught.value.code == "E_ARG"


def test_a_folder_that_a_power_cut_left_without_a_status_is_no_run(agent, root, quick):
    Path(root, "runs", "0" * 26).mkdir()
    runs = agent()
    with pytest.raises(AgentError) as caught:
        runs.status("0" * 26)
    assert caught.value.code == "E_NOTFOUND"
    run = runs.start(quick, key())
    assert wait_for_end(runs, run)["state"] == "done"
    assert json.loads(Path(root, "runs", run, "status.json").read_text())["state"] == "done"
