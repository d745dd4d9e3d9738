"""The agent as a process, spoken to byte by byte: it answers everything once and survives everything."""

import contextlib
import hashlib
import json
import os
import subprocess
import time
import zlib
from pathlib import Path

import pytest
from edgeprune_agent import answers, wire
from edgeprune_agent.answers import Answers
from edgeprune_agent.folders import Root
from edgeprune_agent.store import Store
from edgeprune_agent.wire import AgentError, Frame, Message
from raw_agent import PLAIN, RawAgent


@pytest.fixture
def start(tmp_path):
    with contextlib.ExitStack() as stack:

        def start(script=PLAIN, greet=True, root=tmp_path / "root", options=()):
            agent = RawAgent(root, script, options)
            stack.callback(agent.close)
            if greet:
                agent.hello()
            return agent

        yield start


@pytest.fixture(scope="module")
def patient(tmp_path_factory):
    """One agent for many refusals: none of them may leave a trace."""
    agent = RawAgent(tmp_path_factory.mktemp("patient") / "root")
    agent.hello()
    yield agent
    agent.close()


def patched(change):
    return f"{change}; {PLAIN}"


def idem(letter="a"):
    return letter * 32


def digest(data):
    return hashlib.sha256(data).hexdigest()


def commit(agent):
    """Wait until the agent says that an upload is whole, and return which."""
    message = agent.message()
    while message.type == wire.CREDIT:
        message = agent.message()
    assert (message.type, message.data()) == (wire.RES, {})
    return message.request


def test_the_handshake_says_who_the_agent_is_and_echoes_the_nonce(start):
    frame = start(greet=False).hello(max_frame=1000)
    answer = json.loads(frame.payload)
    assert (frame.kind, frame.session) == (wire.HELLO, 5)
    assert answer["nonce"] == "n1"
    assert answer["max_frame"] == 1000
    assert answer["py"].startswith("3.")
    assert len(answer["device_id"]) == 16


@pytest.mark.parametrize("versions", [[2, 3], [0, 0]])
def test_no_common_version_is_said_so(start, versions):
    agent = start(greet=False)
    message = agent.lanes.accept(agent.hello(epl=versions))
    assert (message.type, message.request) == (wire.ERR, 0)
    assert message.data()["code"] == "E_VERSION"


def test_a_host_that_means_another_board_is_told_which_this_is_and_nothing_is_done_for_it(start, tmp_path):
    agent = start(greet=False)
    wanted = {"op": "lease.acquire", "holder": "ada", "steal": False, "idem": idem()}
    agent.writer.post(wire.json_message(wire.REQ, 1, wanted))  # goes out right behind the greeting
    assert len(json.loads(agent.hello(device_id="0" * 16).payload)["device_id"]) == 16
    assert agent.wait() == 0
    assert agent.read() == b""
    assert not (tmp_path / "root" / "lease.json").exists()


def test_a_request_right_behind_the_greeting_is_answered(start):
    agent = start(greet=False)
    agent.writer.post(wire.json_message(wire.REQ, 1, {"op": "lease.who"}))
    mine = json.loads(agent.hello().payload)["device_id"]
    assert agent.message().data()["holder"] is None
    agent = start(greet=False)
    agent.writer.post(wire.json_message(wire.REQ, 1, {"op": "lease.who"}))
    agent.hello(device_id=mine)
    assert agent.message().data()["holder"] is None


@pytest.mark.parametrize("garbage", [b"\xff" * 40, b"\0" * 64, b"GET / HTTP/1.1\r\n\r\n" * 3, os.urandom(4096)])
def test_garbage_ends_the_agent_with_a_reason_and_no_traceback(start, garbage):
    agent = start()
    with contextlib.suppress(BrokenPipeError):
        agent.write(b"\0\0\0\1" + garbage)
    agent.wait()
    words = agent.last_words()
    assert "broke the protocol" in words
    assert "Traceback" not in words


@pytest.mark.parametrize("kind", [wire.HELLO, wire.ACK, wire.RESET])
def test_a_frame_that_has_no_place_ends_the_link(start, kind):
    agent = start()
    agent.writer.signal(kind)
    agent.flush()
    agent.wait()
    assert "broke the protocol" in agent.last_words()


def test_a_frame_of_another_session_ends_the_link(start):
    agent = start()
    agent.writer.session = 6
    agent.ask("info")
    agent.wait()
    assert "another session" in agent.last_words()


def test_the_end_of_the_input_and_goodbye_end_the_agent_with_0(start):
    hung_up, told = start(), start()
    hung_up.process.stdin.close()
    told.writer.signal(wire.BYE)
    told.flush()
    assert (hung_up.wait(), told.wait()) == (0, 0)
    assert hung_up.last_words() == told.last_words() == ""


def test_what_was_asked_right_before_goodbye_is_answered(start):
    agent = start()
    agent.writer.post(wire.json_message(wire.REQ, 7, {"op": "lease.who"}))
    request = agent.writer.take()
    agent.writer.signal(wire.BYE)
    agent.write(request + agent.writer.take())
    assert (agent.message().request, agent.wait()) == (7, 0)


def test_silence_ends_the_agent_with_0_and_it_asks_before(start):
    change = "from edgeprune_agent import wire, server; wire.PING_S, wire.DEAD_S, server._IDLE_S = 0.2, 0.8, 0.1"
    agent = start(patched(change))
    assert agent.frame().kind == wire.PING
    assert agent.wait() == 0
    assert "Nothing was heard" in agent.last_words()


def test_signs_of_life_keep_the_agent_alive(start):
    change = "from edgeprune_agent import wire, server; wire.PING_S, wire.DEAD_S, server._IDLE_S = 0.2, 0.8, 0.1"
    agent = start(patched(change))
    for _ in range(8):
        time.sleep(0.2)
        agent.writer.signal(wire.PING)
        agent.flush()
    assert agent.process.poll() is None


def test_what_is_printed_goes_to_standard_error(start):
    change = "from edgeprune_agent import boards; boards.describe = lambda root: print('noise') or {'model': 'x'}"
    agent = start(patched(change))
    assert agent.answer("info") == {"model": "x"}
    agent.process.stdin.close()
    agent.wait()
    assert "noise" in agent.last_words()


def test_a_bug_is_an_answer_and_the_agent_lives_on(start):
    agent = start(patched("from edgeprune_agent import boards; boards.describe = lambda root: 1 / 0"))
    refusal = agent.refusal("info")
    assert (refusal["code"], refusal["retry"]) == ("E_INTERNAL", False)
    assert refusal["msg"] == "ZeroDivisionError: division by zero"
    assert agent.answer("lease.who")["holder"] is None


def test_an_answer_too_long_for_a_message_is_refused(start):
    change = "from edgeprune_agent import boards; boards.describe = lambda root: {'model': 'x' * 100000}"
    assert start(patched(change)).refusal("info")["code"] == "E_LIMIT"


@pytest.mark.parametrize(
    ("op", "arguments", "code"),
    [
        ("no.such", {}, "E_UNKNOWN"), (None, {}, "E_UNKNOWN"), (["info"], {}, "E_UNKNOWN"),
        ("__init__", {}, "E_UNKNOWN"),
        ("store.stat", {"sha": "../../etc/passwd", "size": 1}, "E_ARG"),
        ("store.stat", {"sha": "a" * 65, "size": 1}, "E_ARG"),
        ("store.stat", {"sha": "a" * 63 + "\0", "size": 1}, "E_ARG"),
        ("store.stat", {"sha": "a" * 64, "size": -1}, "E_ARG"),
        ("store.stat", {"sha": "a" * 64, "size": 1.0}, "E_ARG"),
        ("store.stat", {"sha": "a" * 64, "size": True}, "E_ARG"),
        ("store.stat", {"sha": "a" * 64}, "E_ARG"),
        ("store.fetch", {"sha": "a" * 64, "offset": 0, "length": 1 << 21}, "E_ARG"),
        ("store.fetch", {"sha": "a" * 64, "offset": 0, "length": 1}, "E_NOTFOUND"),
        ("store.fetch", {"run": "../" * 8 + "aa", "offset": 0, "length": 1}, "E_ARG"),
        ("run.attach", {"run": "a" * 26, "from": 0}, "E_NOTFOUND"),
        ("run.attach", {"run": "/etc/passwd", "from": 0}, "E_ARG"),
        ("lease.acquire", {"holder": "x", "steal": False}, "E_ARG"),
        ("lease.acquire", {"holder": "x\n\x1b[2J", "steal": False, "idem": idem()}, "E_ARG"),
        ("lease.acquire", {"holder": "x", "steal": 1, "idem": idem()}, "E_ARG"),
        ("lease.renew", {"epoch": 1}, "E_LEASE"), ("lease.renew", {}, "E_ARG"),
        ("store.open", {"sha": "a" * 64, "size": 1}, "E_ARG"),
        ("store.open", {"sha": "a" * 64, "size": 1, "epoch": 7}, "E_LEASE"),
        ("run.start", {"spec": {}, "epoch": 7, "idem": idem()}, "E_LEASE"),
        ("release.switch", {"model": "m", "release": "r", "epoch": 7, "idem": idem()}, "E_LEASE"),
        ("release.list", {"model": "../.."}, "E_ARG"),
    ],
)  # fmt: skip
def test_a_request_that_is_wrong_is_refused_by_its_code(patient, op, arguments, code):
    assert patient.refusal(op, **arguments)["code"] == code
    assert patient.answer("lease.who")["holder"] is None


def test_hostile_bodies_are_refused_and_the_agent_lives_on(start):
    agent = start()
    bodies = [
        Message(wire.REQ, 1, b'{"op":' * 9000), Message(wire.REQ, 2, b"\xff"), Message(wire.REQ, 3, b"", wire.RAW),
        Message(wire.REQ, 4, zlib.compress(bytes(32 << 20)), wire.ZLIB), Message(wire.REQ, 5, b"[1]"),
        Message(wire.REQ, 6, b'{"op":"' + b"x" * 70_000 + b'"}'),
    ]  # fmt: skip
    for body in bodies:
        agent.writer.post(body)
        agent.flush()
        message = agent.message()
        assert (message.type, message.request, message.data()["code"]) == (wire.ERR, body.request, "E_ARG")
    agent.writer.post(Message(wire.CHUNK, 77, b"", wire.RAW))
    agent.writer.post(Message(wire.CREDIT, 77, b"", wire.RAW))
    agent.writer.post(Message(wire.CANCEL, 77, b"{}"))
    agent.flush()
    assert agent.answer("lease.who")["epoch"] == 0


def test_a_repeated_key_gives_the_first_answer_even_from_another_agent(start):
    agent = start()
    first = agent.answer("lease.acquire", holder="ada", steal=False, idem=idem())
    assert agent.answer("lease.acquire", holder="ada", steal=False, idem=idem()) == first
    agent.close()
    again = start()
    assert again.answer("lease.acquire", holder="ada", steal=False, idem=idem()) == first
    assert again.refusal("lease.acquire", holder="bob", steal=False, idem=idem())["code"] == "E_ARG"
    assert again.refusal("lease.acquire", holder="ada", steal=False, idem=idem("b"))["code"] == "E_BUSY"
    assert again.answer("lease.acquire", holder="bob", steal=True, idem=idem("b"))["epoch"] == first["epoch"] + 1


def test_a_cancelled_request_is_answered_exactly_once(start):
    change = "import time; from edgeprune_agent import boards; boards.describe = lambda root: time.sleep(60)"
    agent = start(patched(change))
    number = agent.ask("info")
    agent.writer.post(Message(wire.CANCEL, number, b"{}"))
    agent.writer.post(Message(wire.CANCEL, number, b"{}"))
    agent.flush()
    started = time.monotonic()
    message = agent.message()
    assert (message.type, message.request, message.data()["code"]) == (wire.ERR, number, "E_CANCELLED")
    assert time.monotonic() - started < 1.0
    assert agent.answer("lease.who")["holder"] is None


def test_ping_is_answered_while_a_slow_request_goes_on(start):
    change = "import time; from edgeprune_agent import boards; boards.describe = lambda root: time.sleep(2) or {}"
    agent = start(patched(change))
    number = agent.ask("info")
    agent.writer.signal(wire.PING)
    agent.flush()
    assert agent.frame(1.0).kind == wire.PONG
    assert agent.message().request == number


def test_too_many_requests_at_a_time_are_refused(start):
    change = "import time; from edgeprune_agent import boards; boards.describe = lambda root: time.sleep(60)"
    agent = start(patched(change))
    numbers = [agent.ask("info") for _ in range(257)]
    message = agent.message()
    assert (message.request, message.data()["code"]) == (numbers[-1], "E_LIMIT")
    agent.writer.post(wire.json_message(wire.REQ, numbers[0], {"op": "info"}))
    agent.flush()
    assert agent.message().data()["code"] == "E_ARG"


def test_an_upload_is_credited_committed_and_fetched(start):
    agent = start()
    epoch = agent.answer("lease.acquire", holder="ada", steal=False, idem=idem())["epoch"]
    data = os.urandom(100_000)
    number = agent.number + 1
    file = {"sha": digest(data), "size": len(data), "epoch": epoch}
    assert agent.answer("store.open", **file) == {"offset": 0, "complete": False}
    agent.writer.post(wire.chunk_message(number, 0, data[:60_000]))
    agent.writer.post(
        Message(wire.CHUNK, number, zlib.compress((60_000).to_bytes(8, "big") + data[60_000:]), wire.ZLIB)
    )
    agent.flush()
    assert commit(agent) == number
    assert agent.answer("store.open", **file) == {"offset": len(data), "complete": True}
    assert agent.answer("store.fetch", sha=digest(data), offset=99_990, length=100) == data[-10:]


def test_a_file_that_came_but_was_not_committed_is_so_when_it_is_opened_again(start, tmp_path):
    agent = start()
    data = os.urandom(50_000)
    store = Store(Root(str(tmp_path / "root")))
    for _ in store.open(digest(data), len(data)):
        pass
    store._uploads[digest(data)].add(0, data)
    store.close()
    epoch = agent.answer("lease.acquire", holder="ada", steal=False, idem=idem())["epoch"]
    opened = agent.answer("store.open", sha=digest(data), size=len(data), epoch=epoch)
    assert opened == {"offset": len(data), "complete": True}
    assert agent.answer("store.fetch", sha=digest(data), offset=0, length=10) == data[:10]


def test_a_file_that_is_not_what_its_name_says_is_refused_and_gone(start):
    agent = start()
    epoch = agent.answer("lease.acquire", holder="ada", steal=False, idem=idem())["epoch"]
    for _ in range(2):
        number = agent.number + 1
        opened = agent.answer("store.open", sha="a" * 64, size=100, epoch=epoch)
        assert opened == {"offset": 0, "complete": False}
        agent.writer.post(wire.chunk_message(number, 0, bytes(100)))
        agent.flush()
        refused = agent.message()
        assert (refused.type, refused.request, refused.data()["code"]) == (wire.ERR, number, "E_HASH")


@pytest.mark.parametrize("chunk", [16_000, 200_000])
def test_of_an_upload_at_most_four_chunks_wait_for_a_credit(start, chunk):
    agent = start()
    epoch = agent.answer("lease.acquire", holder="ada", steal=False, idem=idem())["epoch"]
    data = bytes(20 * chunk)
    number = agent.number + 1
    agent.answer("store.open", sha=digest(data), size=len(data), epoch=epoch)
    sent = received = 0
    while True:
        while sent < len(data) and sent - received < 4 * chunk:
            agent.writer.post(wire.chunk_message(number, sent, data[sent : sent + chunk]))
            sent += chunk
        agent.flush()
        message = agent.message()
        if message.type == wire.RES:
            break
        received = wire.read_credit(message)[0]
    assert received >= len(data) - 4 * chunk


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 3 MB, of our own."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", place], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("only root mounts disks")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_disk_that_is_full_in_the_middle_is_said_so_and_the_upload_goes_on_when_there_is_room(start, small_disk):
    agent = start(root=small_disk / "root", options=("--reserve", "0"))
    epoch = agent.answer("lease.acquire", holder="ada", steal=False, idem=idem())["epoch"]
    data = os.urandom(2_000_000)
    number = agent.number + 1
    agent.answer("store.open", sha=digest(data), size=len(data), epoch=epoch)
    (small_disk / "somebody-else").write_bytes(bytes(2_000_000))
    agent.writer.post(wire.chunk_message(number, 0, data[:1_000_000]))
    agent.writer.post(wire.chunk_message(number, 1_000_000, data[1_000_000:]))
    agent.flush()
    messages = [agent.message()]
    while messages[-1].type == wire.CREDIT:
        messages.append(agent.message())
    assert messages[-1].data()["code"] == "E_NOSPC"
    (small_disk / "somebody-else").unlink()
    number = agent.number + 1
    there = agent.answer("store.open", sha=digest(data), size=len(data), epoch=epoch)["offset"]
    agent.writer.post(wire.chunk_message(number, there, data[there : there + 1_000_000]))
    agent.writer.post(wire.chunk_message(number, min(len(data), there + 1_000_000), data[there + 1_000_000 :]))
    agent.flush()
    assert commit(agent) == number


def test_a_cancelled_upload_stops_without_a_word_and_its_late_chunks_are_ignored(start):
    agent = start()
    epoch = agent.answer("lease.acquire", holder="ada", steal=False, idem=idem())["epoch"]
    number = agent.number + 1
    agent.answer("store.open", sha="a" * 64, size=100, epoch=epoch)
    agent.writer.post(Message(wire.CANCEL, number, b"{}"))
    agent.flush()
    agent.writer.post(wire.chunk_message(number, 0, bytes(50)))
    agent.flush()
    assert agent.answer("lease.who")["holder"] == "ada"
    assert agent.answer("store.open", sha="a" * 64, size=100, epoch=epoch)["offset"] == 0


def test_a_chunk_at_the_wrong_place_ends_the_upload(start):
    agent = start()
    epoch = agent.answer("lease.acquire", holder="ada", steal=False, idem=idem())["epoch"]
    number = agent.number + 1
    agent.answer("store.open", sha="a" * 64, size=100, epoch=epoch)
    agent.writer.post(wire.chunk_message(number, 7, bytes(50)))
    agent.flush()
    assert agent.message().data()["detail"] == {"expected": 0}
    assert agent.answer("store.stat", sha="a" * 64, size=100)["state"] != "complete"


def test_an_upload_is_fenced_when_the_lease_is_stolen(start):
    ada, bob = start(), start()
    epoch = ada.answer("lease.acquire", holder="ada", steal=False, idem=idem())["epoch"]
    number = ada.number + 1
    ada.answer("store.open", sha="a" * 64, size=100, epoch=epoch)
    bob.answer("lease.acquire", holder="bob", steal=True, idem=idem("b"))
    ada.writer.post(wire.chunk_message(number, 0, bytes(100)))
    ada.flush()
    refusal = ada.message().data()
    assert (refusal["code"], refusal["detail"]["holder"]) == ("E_FENCED", "bob")
    assert ada.refusal("store.open", sha="a" * 64, size=100, epoch=epoch)["code"] == "E_FENCED"


def test_a_root_that_cannot_be_used_ends_the_agent_with_1_and_one_line(start, tmp_path):
    (tmp_path / "open").mkdir(mode=0o777)
    (tmp_path / "open").chmod(0o777)
    agent = start(greet=False, root=tmp_path / "open")
    assert agent.wait() == 1
    assert agent.last_words().count("\n") == 1


def test_everything_in_the_root_is_for_its_owner_alone(start, tmp_path):
    agent = start()
    agent.answer("lease.acquire", holder="ada", steal=False, idem=idem())
    modes = {path.name: path.lstat().st_mode & 0o077 for path in (tmp_path / "root").rglob("*")}
    assert modes
    assert not any(modes.values())


def test_an_answer_outlives_torn_lines_and_only_the_last_ones_are_kept(tmp_path):
    root = Root(str(tmp_path / "root"))
    kept = Answers(root)
    kept.keep(idem("a"), {"op": "x"}, {"n": -1})
    path = Path(root.path, answers.FILE)
    path.write_bytes(path.read_bytes() + b'\n{"idem": "torn')
    kept.keep(idem("b"), {"op": "x"}, {"n": -2})
    assert kept.recall(idem("a"), {"op": "x", "epoch": 9}) == {"n": -1}
    assert kept.recall(idem("b"), {"op": "x"}) == {"n": -2}
    for number in range(2 * answers.KEPT):
        kept.keep(f"{number:032x}", {"op": "x"}, {"n": number})
    assert kept.recall(idem("a"), {"op": "x"}) is None
    assert kept.recall(f"{answers.KEPT:032x}", {"op": "x"}) == {"n": answers.KEPT}
    assert len(path.read_bytes().splitlines()) <= 2 * answers.KEPT + 1
    with pytest.raises(AgentError, match="E_ARG"):
        kept.recall(f"{answers.KEPT:032x}", {"op": "y"})
    root.close()


def test_a_fragmented_request_is_one_request(start):
    agent = start()
    raw = wire.json_message(wire.REQ, 1, {"op": "lease.who"}).encode()
    pieces = [raw[:3], raw[3:10], raw[10:]]
    agent.writer.take()
    for sequence, piece in enumerate(pieces):
        flags = (wire.FIRST if sequence == 0 else 0) | (wire.LAST if sequence == 2 else 0)
        frame = Frame(wire.DATA, flags, 5, sequence + 1, sequence, wire.CONTROL, piece).encode()
        agent.write(len(frame).to_bytes(4, "big") + frame)
    assert agent.message().data()["holder"] is None
