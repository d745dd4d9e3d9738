"""docs/wire.md: what goes in comes out, however it is cut; what is damaged never comes out altered."""

import contextlib
import itertools
import json
import random
import time
import tracemalloc
import zlib

import pytest
from edgeprune_agent import wire
from edgeprune_agent.wire import Frame, Lanes, Message, StreamReader, StreamWriter, WireError
from hypothesis import given, settings
from hypothesis import strategies as st

messages = st.builds(
    Message,
    type=st.sampled_from([wire.REQ, wire.RES, wire.ERR, wire.EVT, wire.CANCEL, wire.CHUNK, wire.CREDIT]),
    request=st.integers(0, 2**32 - 1),
    body=st.binary(max_size=3000),
    codec=st.sampled_from([wire.JSON, wire.RAW, wire.ZLIB]),
)
numbers = st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
flat = st.none() | st.booleans() | numbers | st.text()
nested = st.recursive(flat, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)
objects = st.dictionaries(st.text(), nested, max_size=5)


def stream_of(sent, max_frame=200):
    writer = StreamWriter(session=7, max_frame=max_frame)
    for message in sent:
        writer.post(message)
    frames = []
    while writer.waiting_bytes:
        frames.append(writer.take())
    return b"".join(frames)


def read_all(pieces, max_frame=200):
    reader, lanes = StreamReader(max_frame), Lanes()
    found = []
    for piece in pieces:
        for frame in reader.feed(piece):
            message = lanes.accept(frame)
            if message is not None:
                found.append(message)
    return found


def cut(data, places):
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def by_lane(some):
    return {lane: [message for message in some if message.lane == lane] for lane in wire.LANES_BY_URGENCY}


@given(st.lists(messages, max_size=6), st.lists(st.integers(0, 10**6), max_size=8), st.integers(64, 5000))
def test_messages_survive_any_split_of_the_stream(sent, places, max_frame):
    received = read_all(cut(stream_of(sent, max_frame), places), max_frame)
    assert by_lane(received) == by_lane(sent)


def test_messages_survive_a_stream_that_comes_byte_by_byte():
    sent = [wire.json_message(wire.REQ, 1, {"op": "info"}), wire.chunk_message(2, 5, b"x" * 1000)]
    data = stream_of(sent)
    assert by_lane(read_all(data[i : i + 1] for i in range(len(data)))) == by_lane(sent)


@given(st.binary(max_size=600), st.lists(st.integers(0, 600), max_size=4))
def test_garbage_raises_nothing_but_wire_error(garbage, places):
    with contextlib.suppress(WireError):
        read_all(cut(garbage, places))
    for read in (wire.decode_frame, wire.decode_message, wire.decode_json):
        with contextlib.suppress(WireError):
            read(garbage)


@given(messages, st.binary(max_size=40))
def test_garbage_in_a_whole_message_raises_nothing_but_wire_error(message, tail):
    for read in (Message.content, Message.data, wire.read_chunk, wire.read_credit):
        with contextlib.suppress(WireError):
            read(message._replace(body=tail))


@settings(max_examples=300)
@given(
    st.lists(messages, min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), min_size=1, max_size=6),
)
def test_flipped_bits_lose_messages_but_never_alter_one(sent, flips):
    data = bytearray(stream_of(sent))
    for place, mask in flips:
        data[place % len(data)] ^= mask
    reader, lanes, received = StreamReader(200), Lanes(), []
    try:
        for i in range(0, len(data), 50):
            received += [m for m in map(lanes.accept, reader.feed(bytes(data[i : i + 50]))) if m is not None]
    except WireError:
        pass
    expected, found = by_lane(sent), by_lane(received)
    assert all(found[lane] == expected[lane][: len(found[lane])] for lane in found)


def test_every_single_flip_of_a_frame_is_caught():
    raw = Frame(wire.DATA, wire.FIRST | wire.LAST, 9, 0, 0, wire.CONTROL, b"payload").encode()
    for bit in range(8 * len(raw)):
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(WireError):
            wire.decode_frame(bytes(damaged))


@pytest.mark.parametrize("change", ["drop", "repeat", "swap"])
def test_a_frame_that_is_lost_repeated_or_moved_ends_the_stream(change):
    writer = StreamWriter(session=7)
    for number in range(3):
        writer.post(wire.json_message(wire.REQ, number, {}))
    frames = [writer.take() for _ in range(3)]
    changed = {"drop": [frames[0], frames[2]], "repeat": [frames[0], frames[0]], "swap": [frames[1], frames[0]]}
    with pytest.raises(WireError, match="packet"):
        read_all(changed[change], wire.MAX_FRAME_BYTES)


def test_a_length_of_two_gigabytes_is_refused_before_anything_is_kept():
    with pytest.raises(WireError, match="claims"):
        StreamReader().feed(b"\x80\x00\x00\x00")


def test_a_message_that_never_ends_is_refused_within_bounded_memory():
    reader, lanes = StreamReader(), Lanes()
    payload = bytes(wire.MAX_FRAME_BYTES)
    tracemalloc.start()
    with pytest.raises(WireError, match="over the limit"):
        for number in range(10_000):
            flags = wire.FIRST if number == 0 else 0
            raw = Frame(wire.DATA, flags, 7, number & 0xFFFF, number & 0xFFFF, wire.BULK, payload).encode()
            for frame in reader.feed(len(raw).to_bytes(4, "big") + raw):
                lanes.accept(frame)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_numbers_wrap_after_65536_frames():
    writer, reader = StreamWriter(session=1), StreamReader()
    for _ in range(65_540):
        writer.signal(wire.PING)
        (frame,) = reader.feed(writer.take())
    assert frame.packet == 3


def test_urgent_lanes_overtake_bulk_between_frames():
    writer = StreamWriter(session=7, max_frame=100)
    writer.post(wire.chunk_message(1, 0, bytes(250)))
    first = writer.take()
    writer.post(wire.json_message(wire.EVT, 2, {"ev": 0}))
    writer.post(wire.json_message(wire.REQ, 3, {"op": "info"}))
    writer.signal(wire.PONG)
    rest = b"".join(iter(writer.take, b""))
    kinds = [(frame.kind, frame.lane) for frame in StreamReader(100).feed(first + rest)]
    bulk = (wire.DATA, wire.BULK)
    assert kinds == [bulk, (wire.PONG, 0), (wire.DATA, wire.CONTROL), (wire.DATA, wire.EVENTS), bulk, bulk]


@given(objects)
def test_json_comes_back_as_it_went(data):
    try:
        body = wire.encode_json(data)
        assert wire.decode_json(body) == data
    except WireError as error:
        assert "deeper" in str(error) or "limit" in str(error)


@pytest.mark.parametrize(
    "body",
    [b"[]", b"1", b"{", b'{"a": NaN}', b'{"a": -Infinity}', b'{"a": 1e999}', b'{"a": "\xff"}', b"\x00", b"{}" * 2],
)
def test_json_that_is_none_or_no_object_or_not_finite_is_refused(body):
    with pytest.raises(WireError):
        wire.decode_json(body)


def test_json_nested_100_000_deep_is_refused_without_recursion():
    with pytest.raises(WireError, match=r"limit|deeper"):
        wire.decode_json(b'{"a":' * 20_000)
    with pytest.raises(WireError, match="deeper"):
        wire.decode_json(b"[" * wire.MAX_JSON_BYTES)
    assert wire.decode_json(json.dumps({"a": "[" * 1000}).encode()) == {"a": "[" * 1000}


def test_depth_is_counted_in_linear_time_even_in_hostile_strings():
    started = time.process_time()
    for hostile in (b'"' + b'\\"' * 32_000, b'"' * 65_000, b'\\"' * 32_000, b"\\" * 65_000):
        with pytest.raises(WireError):
            wire.decode_json(hostile)
    assert time.process_time() - started < 2.0


def test_nan_and_overlong_bodies_are_not_sent():
    with pytest.raises(WireError):
        wire.encode_json({"a": float("nan")})
    with pytest.raises(WireError):
        wire.encode_json({"a": "x" * wire.MAX_JSON_BYTES})
    with pytest.raises(WireError):
        wire.encode_json({"a": object()})


def test_a_zip_bomb_is_refused_without_unpacking_it():
    bomb = zlib.compress(bytes(64 << 20), 9)
    tracemalloc.start()
    with pytest.raises(WireError, match="limit"):
        Message(wire.REQ, 1, bomb, wire.ZLIB).data()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20


@given(st.binary(max_size=2000))
def test_packed_bodies_come_back(data):
    assert Message(wire.CHUNK, 1, zlib.compress(data), wire.ZLIB).content() == data


@given(st.integers(0, 2**64 - 1), st.binary(max_size=100))
def test_chunks_and_credits_come_back(offset, data):
    assert wire.read_chunk(wire.chunk_message(1, offset, data)) == (offset, data)
    assert wire.read_credit(wire.credit_message(1, offset, offset // 2)) == (offset, offset // 2)


def test_a_full_chunk_is_one_frame():
    assert len(wire.chunk_message(1, 0, bytes(wire.CHUNK_BYTES)).encode()) == wire.MAX_FRAME_BYTES


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        ("sha", "a" * 63), ("sha", "a" * 65), ("sha", "A" * 64), ("sha", "a" * 64 + "\n"), ("sha", None), ("sha", 5),
        ("run", "../../../../../etc/passwd0"), ("run", "a" * 25 + "\0"), ("model", "../x"), ("model", ".."),
        ("model", ""), ("model", "a/b"), ("model", "a" * 65), ("model", "a\0"),
        ("release", "20260101T000000Z-00000000/.."), ("idem", "g" * 32), ("sha", "é" * 64),
        ("release", "20260101T000000Z-0000000٣"),
    ],
)  # fmt: skip
def test_names_that_are_no_names_are_refused(kind, bad):
    with pytest.raises(wire.AgentError) as caught:
        wire.check_name(kind, bad)
    assert caught.value.code == "E_ARG"


def test_good_names_are_themselves():
    good = {
        "sha": "a" * 64,
        "run": "0" * 26,
        "model": "net-1.2_b",
        "release": "20260101T000000Z-0123abcd-12",
        "idem": "f" * 32,
    }
    assert {kind: wire.check_name(kind, name) for kind, name in good.items()} == good


def test_an_error_with_an_endless_message_still_fits():
    body = wire.encode_json(wire.AgentError("E_IO", "\x00" * 10**6).to_data())
    assert wire.decode_json(body)["code"] in wire.ERROR_CODES


def test_the_bytes_of_a_frame_are_those_of_the_page():
    raw = Frame(wire.DATA, wire.FIRST | wire.LAST, 0x1234, 5, 6, wire.EVENTS, b"hi").encode()
    head = bytes([0x11, 0x03, 0x12, 0x34, 0, 5, 0, 6, 2, 0, 0, 2]) + b"hi"
    assert raw == head + zlib.crc32(head).to_bytes(4, "big")
    assert wire.json_message(wire.REQ, 258, {"op": "x"}).encode() == b'\x01\x00\x00\x00\x01\x02{"op":"x"}'


@pytest.mark.slow
def test_a_million_seeded_edits_of_a_stream_never_alter_a_message():
    dice = random.Random(20260101)
    sent = [wire.json_message(wire.REQ, n, {"op": "x", "n": n}) for n in range(20)]
    clean = stream_of(sent, 64)
    expected = by_lane(sent)[wire.CONTROL]
    for _ in range(100_000):
        data = bytearray(clean)
        for _ in range(10):
            place = dice.randrange(len(data))
            edit = dice.randrange(3)
            if edit == 0:
                data[place] ^= 1 << dice.randrange(8)
            elif edit == 1:
                del data[place]
            else:
                data.insert(place, dice.randrange(256))
        reader, lanes, received = StreamReader(64), Lanes(), []
        try:
            for frame in reader.feed(bytes(data)):
                received.append(lanes.accept(frame))
        except WireError:
            pass
        whole = [message for message in received if message is not None]
        assert whole == expected[: len(whole)]
