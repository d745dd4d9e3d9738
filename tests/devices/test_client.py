"""What a board says is input like any other: it is checked, bounded, and never reaches the terminal raw."""

import io
import json
import queue
import threading

import pytest
from edgeprune_agent import wire
from edgeprune_agent.wire import Lanes, Message, StreamReader, StreamWriter
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.devices.client import AgentClient
from edgeprune.devices.refusals import refusal
from edgeprune.devices.replies import clean_text, read_info
from edgeprune.devices.transport import Deadline, Transport
from edgeprune.errors import (
    ConnectFailed,
    DeviceBusy,
    DeviceError,
    DeviceTimeout,
    LinkClosed,
    ProtocolError,
    RemoteError,
    RunFailed,
)  # fmt: skip

HELLO = {
    "epl": [1, 1], "agent": "0.1.0", "sha256": "0" * 64, "py": "3.9.2", "boot_id": "b", "device_id": "d",
    "max_frame": 65536, "feat": [],
}  # fmt: skip
INFO = {
    "model": "Board", "os": "Debian", "kernel": "6.1", "arch": "aarch64", "cpu_count": 4, "memory_bytes": None,
    "disk_free_bytes": 5, "governor": None, "sensors": ["hwmon0"],
    "runtimes": [{"name": "onnxruntime", "version": None, "providers": [], "reason": "not installed"}],
}  # fmt: skip


class Puppet(Transport):
    """An agent that says whatever a test wants: `script` maps a message to the messages that answer it."""

    def __init__(self, script, hello=None, farewell=()):
        self.script, self.hello, self.farewell = script, HELLO if hello is None else hello, farewell
        self.reader, self.writer, self.lanes = StreamReader(), StreamWriter(), Lanes()
        self.out, self.heard, self.closed = queue.Queue(), [], False

    def open(self, deadline, greeting=b""):
        self.out.put(wire.PREAMBLE)
        self.send(greeting, deadline)

    def send(self, data, deadline):
        for frame in self.reader.feed(data):
            self.writer.session = frame.session
            if frame.kind == wire.HELLO:
                answer = {"nonce": wire.decode_json(frame.payload)["nonce"], **self.hello}
                self.writer.signal(wire.HELLO, wire.encode_json(answer))
            elif frame.kind == wire.BYE:
                for answer in self.farewell:
                    self.say(answer)
            elif frame.kind == wire.DATA:
                message = self.lanes.accept(frame)
                if message is not None:
                    self.heard.append(message)
                    for answer in self.script(message):
                        self.say(answer)
            for piece in iter(self.writer.take, b""):
                self.out.put(piece)
            if frame.kind == wire.BYE:
                self.out.put(None)

    def say(self, answer):
        if isinstance(answer, Message):
            self.writer.post(answer)
        else:
            self.out.put(answer)

    def receive(self, deadline):
        try:
            data = self.out.get(timeout=deadline.remaining_s)
        except queue.Empty:
            return b""
        if data is None:
            self.out.put(None)
            raise LinkClosed("The puppet is gone.", "Play again.")
        return data

    def close(self):
        self.closed = True


@pytest.fixture
def play():
    opened = []

    def play(script, **options):
        client = AgentClient(Puppet(script, **options), "board")
        opened.append(client)
        client.open()
        return client

    yield play
    for client in opened:
        client.close()
        assert client._connection._transport.closed
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("edgeprune")]


def always(data, kind=wire.RES):
    return lambda message: [wire.json_message(kind, message.request, data)] if message.type == wire.REQ else []


def test_an_answer_comes_to_the_request_that_asked(play):
    def swapped(message):
        op = message.data()["op"]
        stray = wire.json_message(wire.RES, message.request + 50, {"stray": True})
        return [stray, wire.json_message(wire.RES, message.request, {"op": op})]

    client = play(swapped)
    assert [client.request(op)["op"] for op in ("a", "b")] == ["a", "b"]


def test_no_answer_is_a_timeout_and_the_request_is_cancelled(play):
    client = play(lambda message: [])
    with pytest.raises(DeviceTimeout):
        client.request("info", deadline_s=0.1)
    client.close()
    assert [message.type for message in client._connection._transport.heard] == [wire.REQ, wire.CANCEL]


@pytest.mark.parametrize(
    "answer",
    [
        Message(wire.RES, 1, b"\xff"), Message(wire.RES, 1, b"[" * 1000), Message(wire.RES, 1, b"x", wire.RAW),
        Message(wire.RES, 1, b"not packed", wire.ZLIB), Message(wire.EVT, 1, b"{}"), Message(wire.ERR, 1, b"{}"),
        Message(wire.ERR, 1, b'{"code": 1, "msg": 2}'), b"\0\0\0\5garbage", b"\xff\xff\xff\xff",
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_a_protocol_error(play, answer):
    client = play(lambda message: [answer] if message.type == wire.REQ else [])
    with pytest.raises(ProtocolError):
        client.request("info")


def test_a_link_that_ends_while_waiting_says_so_at_once(play):
    client = play(lambda message: [None])
    with pytest.raises(LinkClosed, match="puppet is gone"):
        client.request("info")
    with pytest.raises(LinkClosed, match="puppet is gone"):
        client.request("info")


@pytest.mark.parametrize(
    "hello",
    [
        {},
        {**HELLO, "max_frame": 10},
        {**HELLO, "max_frame": 1 << 30},
        {**HELLO, "max_frame": "x"},
        {**HELLO, "nonce": "x"},
    ],
)
def test_a_greeting_that_is_none_is_a_protocol_error(hello):
    puppet = Puppet(lambda message: [], hello=hello)
    with pytest.raises(ProtocolError):
        AgentClient(puppet, "board").open()
    assert puppet.closed


def test_an_agent_of_another_version_is_named(play):
    class Old(Puppet):
        def send(self, data, deadline):
            (frame,) = self.reader.feed(data)
            self.writer.session = frame.session
            self.writer.post(wire.json_message(wire.ERR, 0, wire.AgentError("E_VERSION", "no").to_data()))
            self.out.put(self.writer.take())

    puppet = Old(lambda message: [])
    with pytest.raises(ConnectFailed, match="another version"):
        AgentClient(puppet, "board").open()
    assert puppet.closed


def test_what_was_prepared_goes_out_without_waiting_for_the_agents_greeting():
    class Shy(Puppet):
        kept = b""

        def send(self, data, deadline):
            self.kept += data
            if b"lease.acquire" in self.kept or self.heard:
                kept, self.kept = self.kept, b""
                super().send(kept, deadline)

    client = AgentClient(Shy(always({"epoch": 3})), "board")
    asked = client.prepare("lease.acquire", {"holder": "ada", "steal": False})
    client.open("", asked)
    assert client.answer(asked) == {"epoch": 3}
    client.close()


def test_a_lease_is_given_back_and_goodbye_said_without_waiting_in_between(play):
    client = play(lambda message: [], farewell=[wire.json_message(wire.RES, 1, {})])
    client.release(3, 5.0)
    (asked,) = client._connection._transport.heard
    assert asked.data() == {"op": "lease.release", "epoch": 3}


def test_a_lease_that_could_not_be_given_back_is_noticed(play):
    error = wire.AgentError("E_FENCED", "over", detail={"holder": "ada"}).to_data()
    with pytest.raises(DeviceBusy, match="taken over by ada"):
        play(lambda message: [], farewell=[wire.json_message(wire.ERR, 1, error)]).release(3, 5.0)
    with pytest.raises(LinkClosed):
        play(lambda message: []).release(3, 5.0)


def events(*numbers):
    def script(message):
        if message.type != wire.REQ:
            return []
        told = [
            wire.json_message(wire.EVT, message.request, {"ev": n, "kind": "end" if n == 3 else "x"}) for n in numbers
        ]
        return [wire.json_message(wire.RES, message.request, {"state": "running"}), *told]

    return script


def test_events_are_told_up_to_the_end(play):
    heard = list(play(events(0, 1, 2, 3)).follow("r", 0, Deadline(5)))
    assert [event["ev"] for event in heard] == [0, 1, 2, 3]
    assert [event["ev"] for event in play(events(2, 3)).follow("r", 2, Deadline(5))] == [2, 3]


@pytest.mark.parametrize("numbers", [(0, 2, 3), (0, 0, 1, 3), (1, 2, 3), ("0",), (None,), (-1,), (True,)])
def test_events_with_gaps_or_repeats_are_a_protocol_error(play, numbers):
    with pytest.raises(ProtocolError):
        list(play(events(*numbers)).follow("r", 0, Deadline(5)))


def test_a_caller_who_does_not_keep_up_slows_the_board_down_and_loses_nothing(play):
    def flood(message):
        if message.type != wire.REQ:
            return []
        told = [wire.json_message(wire.EVT, message.request, {"ev": n, "kind": "x"}) for n in range(2000)]
        end = wire.json_message(wire.EVT, message.request, {"ev": 2000, "kind": "end"})
        return [wire.json_message(wire.RES, message.request, {}), *told, end]

    client = play(flood)
    follow = client.follow("r", 0, Deadline(20))
    next(follow)
    assert sum(1 for _ in follow) == 2000


def test_leaving_a_flood_does_not_block_the_link(play):
    def flood(message):
        if message.type == wire.REQ and message.data()["op"] == "run.attach":
            told = [wire.json_message(wire.EVT, message.request, {"ev": n, "kind": "x"}) for n in range(2000)]
            return [wire.json_message(wire.RES, message.request, {}), *told]
        return always({"ok": True})(message)

    client = play(flood)
    follow = client.follow("r", 0, Deadline(20))
    next(follow)
    follow.close()
    assert client.request("info")["ok"]


@pytest.mark.parametrize("credit", [(10**6, 0), (2**63, 0)])
def test_credit_for_bytes_that_were_not_sent_is_a_protocol_error(play, tmp_path, credit):
    def generous(message):
        if message.type == wire.CHUNK:
            return [wire.credit_message(message.request, *credit)]
        return always({"offset": 0})(message)

    (tmp_path / "f").write_bytes(bytes(1000))
    with (tmp_path / "f").open("rb") as file, pytest.raises(ProtocolError, match="not sent"):
        play(generous).upload(file, "a" * 64, 1000, 1, lambda done: None)


@pytest.mark.parametrize("offset", [-1, 1000, 1001, "0", None, 0.5])
def test_an_upload_does_not_go_on_where_the_file_is_not(play, tmp_path, offset):
    (tmp_path / "f").write_bytes(bytes(1000))
    with (tmp_path / "f").open("rb") as file, pytest.raises(ProtocolError, match="offset"):
        play(always({"offset": offset})).upload(file, "a" * 64, 1000, 1, lambda done: None)


def test_an_upload_never_runs_further_ahead_than_the_window(play, tmp_path):
    size = 3 * wire.WINDOW_BYTES
    ahead, received = [0], [0]

    def miserly(message):
        if message.type == wire.CHUNK:
            offset, data = wire.read_chunk(message)
            ahead[0] = max(ahead[0], offset + len(data) - received[0])
            if offset + len(data) >= min(size, received[0] + wire.WINDOW_BYTES):
                received[0] = offset + len(data)
                if received[0] == size:
                    return [wire.json_message(wire.RES, message.request, {})]
                return [wire.credit_message(message.request, received[0], 0)]
            return []
        return always({"offset": 0})(message)

    (tmp_path / "f").write_bytes(bytes(size))
    with (tmp_path / "f").open("rb") as file:
        play(miserly).upload(file, "a" * 64, size, 1, lambda done: None)
    assert wire.WINDOW_BYTES <= ahead[0] < wire.WINDOW_BYTES + wire.MAX_FRAME_BYTES


def test_a_file_that_is_there_is_not_sent_and_nothing_else_is_asked(play):
    client, told = play(always({"offset": 9, "complete": True})), []
    client.upload(io.BytesIO(bytes(9)), "a" * 64, 9, 1, told.append, lambda missing, share: told.append("begun"))
    assert told == [9]
    assert [message.data()["op"] for message in client._connection._transport.heard] == ["store.open"]


def test_a_file_that_was_not_all_sent_cannot_be_whole_there(play):
    def hasty(message):
        return [wire.json_message(wire.RES, message.request, {"offset": 0})] if message.type != wire.CANCEL else []

    size = 2 * wire.WINDOW_BYTES
    with pytest.raises(ProtocolError):
        play(hasty).upload(io.BytesIO(bytes(size)), "a" * 64, size, 1, lambda done: None)


def test_a_board_that_is_about_to_be_ready_is_waited_for(play):
    answers = iter([("E_BUSY", {}), ("E_BUSY", {}), None])

    def script(message):
        answer = next(answers)
        if answer is None:
            return [wire.json_message(wire.RES, message.request, {"run": "x"})]
        error = wire.AgentError(answer[0], "A run is going on.", retry=True, detail=answer[1])
        return [wire.json_message(wire.ERR, message.request, error.to_data())]

    client = play(script)
    assert client.request("run.start")["run"] == "x"
    keys = {message.data()["idem"] for message in client._connection._transport.heard}
    assert len(keys) == 1


def test_a_board_that_somebody_holds_is_not_waited_for(play):
    error = wire.AgentError(
        "E_BUSY", "held", retry=True, detail={"holder": "ada\x1b[2J", "since_utc": "now", "run": None}
    )
    client = play(always(error.to_data(), wire.ERR))
    with pytest.raises(DeviceBusy, match=r"board is held by ada \[2J since now") as caught:
        client.request("lease.acquire")
    client.close()
    assert [message.type for message in client._connection._transport.heard] == [wire.REQ]
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("code", sorted(wire.ERROR_CODES))
def test_every_code_is_an_error_of_ours_with_a_next_step(code):
    error = refusal("board", code, "words", {})
    assert isinstance(error, DeviceError)
    assert error.exit_code == 3
    assert "board" in error.message
    assert error.next_step.endswith(".")
    kinds = {"E_BUSY": DeviceBusy, "E_FENCED": DeviceBusy, "E_TIMEOUT": DeviceTimeout, "E_RUNNER": RunFailed}
    assert type(error) is kinds.get(code, RemoteError)


def test_a_good_description_is_read():
    info = read_info(INFO, HELLO)
    assert (info.model, info.python, info.cpu_count, info.memory_bytes) == ("Board", "3.9.2", 4, None)
    assert info.runtime("onnxruntime").reason == "not installed"
    assert info.sensors == ("hwmon0",)


@pytest.mark.parametrize("key", [key for key in INFO if key not in ("memory_bytes", "governor")])
def test_a_description_that_lacks_something_is_a_protocol_error(key):
    with pytest.raises(ProtocolError, match=key):
        read_info({name: value for name, value in INFO.items() if name != key}, HELLO)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cpu_count", -1), ("cpu_count", 1 << 60), ("cpu_count", True), ("cpu_count", 1.5), ("memory_bytes", "5"),
        ("model", None), ("model", ["x"]), ("runtimes", {}), ("runtimes", ["x"]), ("runtimes", [{}]), ("sensors", [1]),
        ("governor", 7),
    ],
)  # fmt: skip
def test_a_description_of_other_types_is_a_protocol_error(key, value):
    with pytest.raises(ProtocolError):
        read_info({**INFO, key: value}, HELLO)


@given(st.text())
def test_cleaned_text_holds_nothing_that_moves_a_cursor(text):
    shown = clean_text(text)
    assert shown.isprintable()
    assert clean_text(shown) == shown


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_a_description_that_is_anything_raises_nothing_but_a_protocol_error(data):
    for key in INFO:
        try:
            read_info({**INFO, key: data}, HELLO)
        except ProtocolError as error:
            assert str(error).isprintable()
    json.dumps(data)
