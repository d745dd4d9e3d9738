"""Sessions with a true agent: what is pushed is there, what runs is heard whole, and who holds the board is known."""

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from edgeprune_agent import wire
from edgeprune_agent.lease import run_is_active

from edgeprune.devices import connect
from edgeprune.devices import session as session_module
from edgeprune.errors import ConnectFailed, DeviceBusy, DeviceTimeout, LinkClosed, RemoteError, RunFailed, StorageError
from edgeprune.values.device import DeviceProfile


def objects(root):
    return {path.name for path in Path(root, "objects").glob("*/*")}


def digest(data):
    return hashlib.sha256(data).hexdigest()


def wait_until(condition, seconds=10.0):
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def test_the_board_describes_itself(board):
    info = board.info
    assert info.python == ".".join(map(str, sys.version_info[:3]))
    assert info.arch == os.uname().machine
    assert info.runtime("onnxruntime").version
    assert board.info is info


def test_a_profile_can_be_connected_to(address):
    with connect(DeviceProfile("desk", address)) as session:
        assert session.profile.name == "desk"


def test_a_pushed_file_is_there_and_told_of(address, root, tmp_path):
    events = []
    data = os.urandom(700_000)
    (tmp_path / "m.onnx").write_bytes(data)
    with connect(address, listener=events.append) as session:
        session.push(tmp_path / "m.onnx", digest(data))
    assert (root / "objects" / digest(data)[:2] / digest(data)).read_bytes() == data
    assert {(event.stage, event.subject, event.total, event.unit) for event in events} == {
        ("push", "m.onnx", 700_000, "bytes")
    }
    assert [event.done for event in events] == sorted(event.done for event in events)
    assert events[-1].done == 700_000


def test_a_second_push_moves_no_payload(links, address):
    data = os.urandom(500_000)
    with connect(address) as session:
        sha = session.push_bytes(data)
        before = links[0].sent
        assert session.push_bytes(data) == sha == digest(data)
        assert links[0].sent - before < 500


def assert_push_survives_a_cut(links, address, root, monkeypatch, budget):
    data = os.urandom(600_000)
    with connect(address) as session:
        monkeypatch.setattr(session_module.make_transport, "cut_after_sent", links[0].sent + budget)
        sha = session.push_bytes(data)
        assert objects(root) == {sha}
        assert len(links) == 2
        lost = wire.MAX_FRAME_BYTES + 16 * 1024
        assert sum(link.sent for link in links) < 600_000 + lost + 3000


@pytest.mark.parametrize("budget", [0, 100, 399, 120_000, 262_500, 400_000, 599_999, 600_200])
def test_a_push_that_is_cut_anywhere_is_finished_over_a_new_link(links, address, root, monkeypatch, budget):
    assert_push_survives_a_cut(links, address, root, monkeypatch, budget)


@pytest.mark.slow
@pytest.mark.parametrize("budget", range(0, 600_500, 6005))
def test_a_push_that_is_cut_at_a_hundred_places_is_finished(links, address, root, monkeypatch, budget):
    assert_push_survives_a_cut(links, address, root, monkeypatch, budget)


@pytest.mark.parametrize("budget", [0, 20, 40, 60, 82])
def test_answers_that_are_cut_anywhere_are_asked_for_again(links, address, root, monkeypatch, budget):
    data = os.urandom(100_000)
    with connect(address) as session:
        monkeypatch.setattr(session_module.make_transport, "cut_after_received", links[0].received + budget)
        assert session.push_bytes(data) == digest(data)
        assert objects(root) == {digest(data)}
        assert len(links) == 2


@pytest.mark.parametrize("moment", [0, 1, 3])
def test_a_kill_of_the_agent_in_an_upload_leaves_the_store_whole(links, address, root, moment):
    data = os.urandom(3_000_000)
    seen = []

    def kill_at(event):
        seen.append(event)
        if len(seen) == moment + 1:
            links[0].kill()

    with connect(address, listener=kill_at) as session:
        sha = session.push_bytes(data)
    assert objects(root) == {sha}
    assert digest((root / "objects" / sha[:2] / sha).read_bytes()) == sha
    assert len(links) == 2


def test_a_file_that_is_not_what_it_should_be_is_refused(board, tmp_path, root):
    (tmp_path / "m.onnx").write_bytes(b"other")
    with pytest.raises(RemoteError, match="E_HASH") as caught:
        board.push(tmp_path / "m.onnx", digest(b"model"))
    assert caught.value.code == "E_HASH"
    assert objects(root) == set()
    assert list((root / "partial").iterdir()) == []


def test_a_file_that_cannot_be_read_is_said_so(board, tmp_path):
    with pytest.raises(StorageError, match=r"m\.onnx"):
        board.push(tmp_path / "m.onnx", "a" * 64)


def test_a_full_store_is_refused_before_the_first_byte(links, address):
    with connect(address + "&quota=100kB") as session:
        before = links[0].sent
        with pytest.raises(RemoteError, match="quota") as caught:
            session.push_bytes(os.urandom(100_001))
        assert caught.value.code == "E_QUOTA"
        assert caught.value.exit_code == 3
        assert "quota" in caught.value.next_step
        assert links[0].sent - before < 1000
        session.push_bytes(os.urandom(90_000))


@pytest.mark.parametrize("sha", ["../" * 21 + "x", "a" * 65, "a" * 63 + "\0", "/etc/passwd", ""])
def test_names_that_are_no_names_reach_no_file(board, root, sha):
    before = sorted(root.rglob("*"))
    with pytest.raises(RemoteError, match="E_ARG"):
        board.request("store.stat", sha=sha, size=1)
    with pytest.raises(RemoteError, match="E_ARG"):
        board.request("store.open", sha=sha, size=1)
    assert sorted(root.rglob("*")) == before


def test_a_run_is_heard_from_its_start_to_its_end(board, spec):
    events = []
    end = board.run(spec, events.append, 30.0)
    assert [event["ev"] for event in events] == list(range(len(events)))
    assert [event["kind"] for event in events[:2]] == ["state", "started"]
    assert events[-1] == end
    assert end["state"] == "done"
    assert sum(len(event["ns"]) for event in events if event["kind"] == "samples") >= 10


def test_one_run_follows_another_at_once(board, spec):
    short = {**spec, "min_duration_s": 0.01, "min_runs": 1}
    runs = [board.run(short, lambda event: None, 30.0)["run"] for _ in range(3)]
    assert len(set(runs)) == 3


@pytest.mark.parametrize("moment", [0, 3])
def test_a_run_outlives_its_agent_and_no_event_is_lost(links, address, model_bytes, plan, moment):
    events = []

    def kill_at(event):
        events.append(event)
        if len(events) == moment + 1:
            links[0].kill()

    with connect(address) as session:
        end = session.run({**plan, "sha": session.push_bytes(model_bytes), "min_duration_s": 0.8}, kill_at, 30.0)
    assert [event["ev"] for event in events] == list(range(len(events)))
    assert (end["state"], len(links)) == ("done", 2)


def test_a_link_that_is_lost_for_good_is_given_up(links, address, monkeypatch):
    def fail(self, deadline, greeting=b""):
        raise LinkClosed("The cable is gone.", "Plug it in.")

    heard = []
    with connect(address, listener=heard.append) as session:
        monkeypatch.setattr(session_module.make_transport, "open", fail)
        links[0].kill()
        with pytest.raises(ConnectFailed, match="The cable is gone"):
            session.request("lease.who")
        assert len(links) == 6
        assert [event.stage for event in heard] == ["connect"]
        assert "Connecting again" in heard[0].message
        with pytest.raises(LinkClosed, match="is closed"):
            session.request("lease.who")
    assert len(links) == 6  # neither another request nor the end of the session waits for it once more


def test_a_port_that_somebody_has_for_a_moment_is_tried_again(links, address, monkeypatch):
    opened = session_module.make_transport.open

    def busy_once(self, deadline, greeting=b""):
        if len(links) == 2:
            raise DeviceBusy("The port is in use by another process.", "Wait.")
        opened(self, deadline, greeting)

    with connect(address) as session:
        monkeypatch.setattr(session_module.make_transport, "open", busy_once)
        links[0].kill()
        assert session.request("lease.who")["holder"]
    assert len(links) == 3


def test_who_took_the_board_over_is_told_at_once_over_a_new_link(links, address):
    with connect(address) as session, connect(address, steal=True):
        links[0].kill()
        with pytest.raises(DeviceBusy, match="was taken over by"):
            session.request("lease.who")
        assert len(links) == 3


def test_a_model_that_does_not_load_fails_with_the_workers_words(board, plan):
    with pytest.raises(RunFailed, match="the worker failed") as caught:
        board.run({**plan, "sha": board.push_bytes(b"no model")}, lambda event: None, 30.0)
    assert len(str(caught.value)) > 60
    wait_until(lambda: board.request("lease.who")["run"] is None)


def test_a_worker_that_is_killed_is_a_result_and_no_outage(board, spec, root):
    def kill(event):
        if event["kind"] == "samples":
            os.kill(int((root / "runs" / event["run"] / "pid").read_text()), signal.SIGKILL)

    with pytest.raises(RunFailed, match="SIGKILL"):
        board.run({**spec, "min_duration_s": 2.0}, kill, 30.0)
    assert board.run(spec, lambda event: None, 30.0)["state"] == "done"


def test_a_run_that_takes_too_long_is_cancelled(board, spec, root):
    with pytest.raises(DeviceTimeout, match="did not end in time"):
        board.run({**spec, "min_duration_s": 20.0, "max_duration_s": 30.0}, lambda event: None, 1.0)
    assert not run_is_active(str(root))
    assert board.run(spec, lambda event: None, 30.0)["state"] == "done"


def test_ctrl_c_in_a_run_cancels_it_and_gives_the_board_back(address, model_bytes, plan, root):
    def interrupt(event):
        if event["kind"] == "samples":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), connect(address) as session:
        spec = {**plan, "sha": session.push_bytes(model_bytes), "min_duration_s": 20.0, "max_duration_s": 30.0}
        session.run(spec, interrupt, 60.0)
    assert not run_is_active(str(root))
    with connect(address) as session:
        assert session.request("lease.who")["epoch"] == 2


def test_ctrl_c_kills_even_a_worker_that_does_not_listen(address, model_bytes, plan, root):
    def interrupt(event):
        if event["kind"] == "samples":
            os.kill(int((root / "runs" / event["run"] / "pid").read_text()), signal.SIGSTOP)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), connect(address) as session:
        spec = {**plan, "sha": session.push_bytes(model_bytes), "min_duration_s": 20.0, "max_duration_s": 30.0}
        session.run(spec, interrupt, 60.0)
    assert not run_is_active(str(root))


def test_a_second_session_is_told_who_holds_the_board(board, address):
    with pytest.raises(DeviceBusy, match=rf"is held by .* process {os.getpid()} session \d+ .* since 20") as caught:
        connect(address)
    assert caught.value.exit_code == 3
    assert "--steal" in caught.value.next_step


def test_a_board_is_free_after_its_session(address):
    for epoch in (1, 2, 3):
        with connect(address) as session:
            assert session.request("lease.who")["epoch"] == epoch


def test_a_thief_gets_the_board_and_the_former_holder_is_fenced(board, address):
    with connect(address, steal=True) as thief:
        with pytest.raises(DeviceBusy, match="was taken over by"):
            board.push_bytes(b"late")
        thief.push_bytes(b"mine")


def test_a_thief_ends_the_run_and_its_owner_is_told_by_whom(board, address, spec):
    long = {**spec, "min_duration_s": 20.0, "max_duration_s": 30.0}
    caught, started = [], threading.Event()

    def measure():
        try:
            board.run(long, lambda event: started.set(), 60.0)
        except DeviceBusy as error:
            caught.append(error)

    owner = threading.Thread(target=measure)
    owner.start()
    assert started.wait(20)
    with connect(address, steal=True) as thief:
        assert thief.run(spec, lambda event: None, 30.0)["state"] == "done"
    owner.join(20)
    assert "was taken over by" in str(caught[0])


def test_a_reader_needs_no_lease_and_gets_no_further(board, address):
    with connect(address, exclusive=False) as reader:
        assert reader.info.device_id == board.info.device_id
        assert reader.request("lease.who")["holder"]
        with pytest.raises(RemoteError, match="for reading"):
            reader.push_bytes(b"x")


def test_a_lease_left_by_a_killed_process_of_this_machine_is_taken_over_at_once(address):
    script = f"from edgeprune.devices import connect; s = connect({address!r}); print('up', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"up\n"
        with pytest.raises(DeviceBusy, match=f"process {holder.pid} "):
            connect(address)
        holder.kill()
    with connect(address) as session:
        assert session.request("lease.who")["epoch"] == 2


def test_a_lease_whose_session_lost_its_link_before_it_knew_of_it_is_taken_over_at_once(links, address, monkeypatch):
    monkeypatch.setattr(session_module.make_transport, "cut_after_received", 330)
    with pytest.raises((LinkClosed, ConnectFailed)):
        connect(address)
    with connect(address) as session:
        assert session.request("lease.who")["epoch"] == 2


def test_a_lease_that_could_not_be_given_back_is_taken_over_at_once(links, address, monkeypatch):
    def fail(self, deadline, greeting=b""):
        raise LinkClosed("The cable is gone.", "Plug it in.")

    with monkeypatch.context() as gone, connect(address):
        links[0].kill()
        gone.setattr(session_module.make_transport, "open", fail)
    with connect(address) as session:
        assert session.request("lease.who")["epoch"] == 2


def test_a_lease_of_another_machine_is_never_taken_over_unasked(address, board):
    request = board.request("lease.acquire", holder="ada@elsewhere process 1 session 1 [00000000]", steal=True)
    assert request["epoch"] == 2
    with pytest.raises(DeviceBusy, match="ada@elsewhere"):
        connect(address)


def test_an_idle_session_keeps_its_lease_by_heartbeats(root, address, monkeypatch):
    monkeypatch.setattr(wire, "PING_S", 0.1)
    with connect(address):
        first = (root / "lease.beat").read_bytes()
        wait_until(lambda: (root / "lease.beat").read_bytes() != first)
        assert (root / "lease.beat").read_bytes() != first


def test_a_frozen_agent_is_noticed_and_replaced(links, address, monkeypatch):
    monkeypatch.setattr(wire, "DEAD_S", 1.0)
    monkeypatch.setattr(wire, "PING_S", 0.2)
    with connect(address) as session:
        os.kill(links[0].process_id, signal.SIGSTOP)
        started = time.monotonic()
        assert session.request("lease.who")["holder"]
        assert 0.9 < time.monotonic() - started < 10.0
    assert len(links) == 2


def test_a_session_whose_agent_was_killed_still_gives_the_board_back(links, address):
    with connect(address):
        links[0].kill()
    with connect(address) as session:
        assert session.request("lease.who")["epoch"] == 2


@pytest.mark.parametrize("way", ["sent", "received"])
def test_a_board_is_free_although_its_release_or_the_answer_to_it_was_lost(links, address, monkeypatch, way):
    with connect(address):
        monkeypatch.setattr(session_module.make_transport, f"cut_after_{way}", getattr(links[0], way))
    assert len(links) == 2
    with connect(address, exclusive=False) as session:
        assert session.request("lease.who")["holder"] is None


def test_an_error_inside_the_block_gives_the_board_back(address):
    with pytest.raises(ZeroDivisionError), connect(address):
        raise ZeroDivisionError
    with connect(address):
        pass


def test_a_closed_session_closes_again_and_is_of_no_use(address):
    session = connect(address)
    session.close()
    with contextlib.suppress(LinkClosed):
        session.close()
    with pytest.raises(LinkClosed, match="is closed"):
        session.push_bytes(b"x")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("edgeprune")]


def test_release_requests_reach_the_board(board, model_bytes):
    sha = board.push_bytes(model_bytes)
    arguments = {"model": "net", "release": f"20260101T000000Z-{sha[:8]}"}
    staged = board.request("release.stage", **arguments, format="onnx", sha=sha, golden=None, manifest={"label": "x"})
    assert arguments["release"] in staged["path"]
    assert board.request("release.switch", **arguments)["previous"] is None
    assert arguments["release"] in str(board.request("release.list", model="net"))
    with pytest.raises(RemoteError):
        board.request("release.remove", **arguments)
