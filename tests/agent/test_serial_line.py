"""The serial link in virtual time: what was posted arrives whole, once and in order, whatever the line does to it."""

import os
import random
import zlib

import pytest
from edgeprune_agent import wire
from edgeprune_agent.wire import Frame, Message, WireError, cobs
from edgeprune_agent.wire.repeat import SPAN, Ack, Receiver, decode_ack
from edgeprune_agent.wire.short import decode_short, encode_short, is_short
from hypothesis import given, settings
from hypothesis import strategies as st
from link_simulator import Simulation, bursts, chain, doubled, flips, intact, kernel_messages, lossy, stalls

CHUNK = 16_000


def chunks(data, request=9, size=CHUNK):
    return [wire.chunk_message(request, start, data[start : start + size]) for start in range(0, len(data), size)]


def send(simulation, messages, end=None, limit_s=600.0):
    """Post messages and let time pass until they are there; gives the seconds that took."""
    end = end or simulation.host
    started, already = simulation.now, len(end.peer.got)
    for message in messages:
        end.link.post(message)
    simulation.run(lambda: len(end.peer.got) == already + len(messages), limit_s)
    assert end.peer.got[already:] == messages
    return simulation.now - started


def goodput(size, up, down=None, rate=115200, seed=3):
    simulation = met(up, down or up, rate=rate, seed=seed)
    return size / (send(simulation, chunks(os.urandom(size))) * rate / 10)


def met(*damages, **options):
    simulation = Simulation(*damages, **options)
    simulation.run(lambda: wire.HELLO in simulation.host.kinds)
    return simulation


# What is a frame and what is not


@given(st.binary(max_size=2000) | st.builds(bytes, st.integers(0, 600)))
def test_cobs_gives_back_what_it_was_given_without_a_zero_and_hardly_longer(data):
    packed = cobs.encode(data)
    assert 0 not in packed
    assert cobs.decode(packed) == data
    assert len(packed) <= len(data) + 1 + len(data) // 254


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.data())
def test_chunks_are_the_same_however_the_line_cuts_them(bodies, data):
    stream = b"".join(b"\0" + cobs.encode(body) + b"\0" for body in bodies)
    splitter, got = cobs.Splitter(4096), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        got += splitter.feed(stream[:size])
        stream = stream[size:]
    assert [cobs.decode(chunk) for chunk in got] == bodies


@given(st.binary(max_size=600))
def test_what_is_no_chunk_is_a_wire_error_and_nothing_else(data):
    try:
        cobs.decode(data)
    except WireError:
        return
    assert 0 not in cobs.encode(cobs.decode(data))


def test_a_run_without_an_end_is_not_kept():
    splitter = cobs.Splitter(1000)
    for _ in range(100):
        splitter.feed(b"x" * 999)
        assert len(splitter.rest) <= 1000
    assert splitter.feed(b"y\0ab\0") == [b"ab"]


edit = st.tuples(st.sampled_from(["flip", "drop", "double", "insert"]), st.integers(0, 2**20), st.integers(1, 255))


def damaged(raw, edits):
    raw = bytearray(raw)
    for kind, at, value in edits:
        at %= max(1, len(raw))
        if kind == "flip" and raw:
            raw[at] ^= value
        elif kind == "drop":
            del raw[at : at + 1]
        elif kind == "double":
            raw[at:at] = raw[at : at + 1]
        elif kind == "insert":
            raw[at:at] = bytes([value])
    return bytes(raw)


def heard(raw):
    for chunk in cobs.Splitter(10_000).feed(raw):
        try:
            frame = cobs.decode(chunk)
            yield decode_short(frame, 7) if is_short(frame) else wire.decode_frame(frame)
        except WireError:
            continue


FORMS = (Frame.encode, encode_short)


@given(st.binary(max_size=400), st.lists(edit, min_size=1, max_size=6), st.sampled_from(FORMS))
@settings(max_examples=500)
def test_a_frame_that_was_edited_is_lost_or_intact_but_never_altered(payload, edits, encode):
    frame = Frame(wire.DATA, wire.FIRST, 7, 1, 2, wire.BULK, payload)
    raw = b"\0" + cobs.encode(encode(frame)) + b"\0"
    assert all(got == frame for got in heard(damaged(raw, edits)))


@given(st.integers(0, 15), st.integers(0, 65535), st.integers(0, 255), st.integers(0, 2), st.binary(max_size=300))
def test_a_short_frame_comes_back_and_in_no_other_session(flags, packet, sequence, lane, payload):
    frame = Frame(wire.DATA, flags, 7, packet, sequence, lane, payload)
    raw = encode_short(frame)
    assert is_short(raw)
    assert not is_short(frame.encode())
    assert decode_short(raw, 7) == frame
    for session in (0, 8, 65535):
        with pytest.raises(WireError):
            decode_short(raw, session)


@given(st.binary(max_size=60))
def test_what_is_no_short_frame_is_a_wire_error_and_nothing_else(raw):
    with pytest.raises(WireError):
        decode_short(raw, 7)


@given(st.integers(0, 65535), st.integers(-SPAN, SPAN))
def test_a_sequence_number_is_known_by_its_low_byte(due, ahead):
    receiver = Receiver()
    receiver._due[wire.BULK] = due
    sequence = due + ahead & 0xFFFF
    frame = Frame(wire.DATA, 0, 7, 0, sequence & 0xFF, wire.BULK, b"")
    assert receiver.complete(frame).sequence == sequence


def test_the_bytes_of_a_short_frame_are_those_of_the_page():
    raw = encode_short(Frame(wire.DATA, wire.FIRST | wire.LAST, 0x1234, 5, 0x0306, wire.EVENTS, b"hi"))
    head = bytes([0xA3, 0, 5, 6]) + b"hi"
    assert raw == head + zlib.crc32(b"\x12\x34" + head).to_bytes(4, "big")


def test_who_does_not_say_that_he_reads_short_frames_gets_none(monkeypatch):
    monkeypatch.setattr(Simulation, "features", ())
    simulation = met(flips(1e-4), flips(1e-4))
    send(simulation, chunks(os.urandom(40_000)))
    assert not any(end.link._short for end in simulation.ends)


def test_both_ends_of_today_speak_in_short_frames():
    simulation = met()
    send(simulation, chunks(os.urandom(20_000)))
    assert all(end.link._short for end in simulation.ends)


@given(st.binary(max_size=3000), st.binary(max_size=100))
def test_garbage_never_swallows_the_frame_behind_a_zero(garbage, payload):
    frame = Frame(wire.DATA, 0, 7, 1, 2, wire.BULK, payload)
    assert list(heard(garbage + b"\0" + cobs.encode(frame.encode()) + b"\0"))[-1] == frame


@pytest.mark.slow
def test_of_ten_million_errors_none_goes_undetected():
    rng, injected = random.Random(5), 0
    frames = [Frame(wire.DATA, 0, 7, n, n, wire.BULK, rng.randbytes(rng.choice((100, 400, 1000)))) for n in range(50)]
    frames = [frame._replace(sequence=frame.sequence & 0xFF) for frame in frames]
    raws = [b"\0" + cobs.encode(FORMS[n % 2](frame)) + b"\0" for n, frame in enumerate(frames)]
    while injected < 10_000_000:
        which = rng.randrange(len(frames))
        raw, errors = bytearray(raws[which]), rng.choice((1, 2, 3, 5, 20, 200, 900))
        for _ in range(errors):
            raw[rng.randrange(len(raw))] ^= rng.randrange(1, 256)
        injected += errors
        assert all(got == frames[which] for got in heard(bytes(raw)))


@given(st.binary(max_size=60))
def test_an_ack_is_read_or_refused(payload):
    try:
        ack = decode_ack(payload)
    except WireError:
        return
    assert all(lane in wire.LANES_BY_URGENCY for lane in ack.lanes)


@given(st.integers(0, 65535), st.integers(0, 65535), st.integers(0, 2**64 - 1), st.integers(0, 64))
def test_an_ack_comes_back_as_it_was(highest, due, bits, credit):
    ack = Ack(highest, {wire.BULK: (due, bits, credit), wire.CONTROL: (0, 0, 64)})
    assert decode_ack(ack.encode()) == ack


def test_no_byte_of_an_acknowledgement_can_break_the_sender():
    simulation, rng = met(), random.Random(2)
    for message in chunks(os.urandom(50_000)):
        simulation.host.link.post(message)
    for _ in range(300):
        simulation.pass_time(0.01)
        payload = rng.randbytes(2) + b"".join(bytes([rng.randrange(3)]) + rng.randbytes(12) for _ in range(2))
        frame = Frame(wire.ACK, 0, 7, rng.randrange(65536), 0, 0, payload)
        simulation.host.link.feed(b"\0" + cobs.encode(frame.encode()) + b"\0", simulation.now)


# What arrives

LINES = {
    "clean": intact,
    "flips 1e-5": flips(1e-5),
    "flips 1e-4": flips(1e-4),
    "flips 1e-3": flips(1e-3),
    "bursts 1e-4": bursts(1e-4),
    "doubled": doubled(0.2),
    "doubled and flips": chain(doubled(0.1), flips(2e-4)),
    "one frame in five is lost": lossy(0.2),
}


@pytest.mark.parametrize("name", LINES)
def test_both_ways_at_once_everything_arrives_once_and_in_order(name):
    simulation = met(LINES[name], chain(LINES[name], kernel_messages(0.5)), seed=4)
    rng = random.Random(1)
    up = [*chunks(os.urandom(40_000)), *(Message(wire.REQ, n, rng.randbytes(50)) for n in range(20))]
    down = [*(Message(wire.EVT, 1, rng.randbytes(900)) for _ in range(20)), Message(wire.RES, 2, b"r" * 9000, wire.RAW)]
    for message in up:
        simulation.host.link.post(message)
    for message in down:
        simulation.agent.link.post(message)
    simulation.run(lambda: len(simulation.agent.got) == len(up) and len(simulation.host.got) == len(down))
    for sent, got in ((up, simulation.agent.got), (down, simulation.host.got)):
        for lane in wire.LANES_BY_URGENCY:
            assert [m for m in got if m.lane == lane] == [m for m in sent if m.lane == lane]


@pytest.mark.parametrize("seed", range(20))
def test_kernel_messages_stop_nothing(seed):
    simulation = met(flips(1e-5), chain(flips(1e-5), kernel_messages(2.0)), seed=seed)
    data = os.urandom(120_000)
    assert len(data) / (send(simulation, chunks(data)) * 11520) > 0.93


@given(st.integers(0, 2**32), st.lists(st.integers(0, 5000), min_size=1, max_size=12), st.floats(0, 8e-4))
@settings(max_examples=40, deadline=None)
def test_whatever_the_sizes_and_the_noise_messages_arrive_as_sent(seed, sizes, noise):
    rng = random.Random(seed)
    simulation = met(chain(flips(noise), bursts(noise / 4)), flips(noise), seed=seed)
    kinds = (wire.REQ, wire.CHUNK, wire.EVT)
    messages = [Message(rng.choice(kinds), n, rng.randbytes(size)) for n, size in enumerate(sizes)]
    for message in messages:
        simulation.host.link.post(message)
    simulation.run(lambda: len(simulation.agent.got) == len(messages))
    assert sorted(simulation.agent.got, key=lambda m: m.request) == messages


@pytest.mark.parametrize(
    ("size", "noise", "rate", "least"),
    [(256_000, 0.0, 115200, 0.985), (400_000, 1e-5, 115200, 0.965), (256_000, 1e-4, 115200, 0.915),
     (128_000, 1e-3, 115200, 0.65), (2_000_000, 1e-5, 921600, 0.97), (4_000_000, 1e-5, 3_000_000, 0.97)],
)  # fmt: skip
def test_a_share_of_the_line_carries_the_file(size, noise, rate, least):
    assert goodput(size, flips(noise), rate=rate) >= least


@pytest.mark.parametrize("noise", [1e-5, 1e-4])
def test_an_error_costs_little_more_than_the_frame_that_it_hit(noise):
    simulation = met(flips(noise), flips(noise), seed=8)
    data = os.urandom(500_000)
    send(simulation, chunks(data))
    sender = simulation.host.link.sender
    assert sender.sent_bytes - len(data) * 1.03 < 1.5 * max(1, sender.lost) * 2100


def test_pieces_become_short_where_there_is_noise_and_long_where_there_is_none():
    simulation = met(flips(1e-3), intact)
    start = simulation.host.link.sender.piece_bytes
    send(simulation, chunks(os.urandom(60_000)))
    noisy = simulation.host.link.sender.piece_bytes
    simulation.host.damage = intact
    send(simulation, chunks(os.urandom(1_500_000)))
    assert noisy < 250 < start < simulation.host.link.sender.piece_bytes


def test_lost_acknowledgements_cost_next_to_nothing():
    simulation = met(intact, lossy(0.3))
    data = os.urandom(200_000)
    took = send(simulation, chunks(data))
    assert len(data) / (took * 11520) > 0.93


@pytest.mark.parametrize("seconds", [0.3, 2.0, 8.0, 14.0])
def test_a_line_that_stalls_goes_on_where_it_was(seconds):
    simulation = met(stalls(1.0, 1.0 + seconds), stalls(1.0, 1.0 + seconds))
    data = os.urandom(60_000)
    took = send(simulation, chunks(data))
    assert took < 60_000 / 11520 * 1.1 + seconds + 6.0
    assert simulation.host.link.sender.sent_bytes < 60_000 * 1.03 + 20_000


def test_without_credit_nothing_is_sent_and_with_it_everything():
    simulation = met()
    simulation.agent.link.receiver.grant(0, 0.0)
    for message in chunks(os.urandom(40_000)):
        simulation.host.link.post(message)
    simulation.pass_time(20.0)
    assert simulation.agent.got == []
    sent = simulation.host.link.sender.sent_bytes
    simulation.pass_time(20.0)
    assert simulation.host.link.sender.sent_bytes - sent < 30_000  # it asks again, patiently
    simulation.agent.link.receiver.grant(SPAN, simulation.now)
    simulation.run(lambda: len(simulation.agent.got) == 3, 30.0)


def test_an_urgent_message_overtakes_a_file():
    simulation = met()
    for message in chunks(os.urandom(400_000)):
        simulation.host.link.post(message)
    simulation.pass_time(3.0)
    cancel = Message(wire.CANCEL, 9, b"{}")
    simulation.host.link.post(cancel)
    started = simulation.now
    simulation.run(lambda: cancel in simulation.agent.got)
    assert simulation.now - started < 0.4


def test_a_dropped_request_sends_no_more_than_the_message_that_had_begun():
    simulation = met()
    for message in [*chunks(os.urandom(160_000), request=9), *chunks(os.urandom(16_000), request=10)]:
        simulation.host.link.post(message)
    simulation.pass_time(0.5)
    simulation.host.link.drop(9)
    simulation.run(lambda: not simulation.host.link.busy)
    assert [message.request for message in simulation.agent.got] == [9, 10]


def test_a_receiver_takes_no_more_than_its_span():
    receiver = Receiver()
    for sequence in range(1, 500):
        receiver.accept(Frame(wire.DATA, 0, 7, sequence, sequence, wire.BULK, bytes(1000)), 0.0)
    assert len(receiver._early[wire.BULK]) < SPAN


@pytest.mark.slow
def test_numbers_may_wrap():
    simulation = met(flips(1e-4), flips(1e-4), rate=3_000_000)
    for end in simulation.ends:
        end.link._packets = 65_500
        end.link.sender._lanes[wire.BULK].next = end.link.sender._lanes[wire.BULK].due = 0
    messages = [Message(wire.CHUNK, n, bytes(10)) for n in range(66_000)]
    for start in range(0, len(messages), 2000):
        send(simulation, messages[start : start + 2000])


# A cut, and a new session over a new link

FILE, EVENTS = random.Random(6).randbytes(20_000), 60


class Work:
    """An upload and a run's events, each of which goes on in the next session where it was."""

    def __init__(self):
        self.stored, self.heard, self.bytes = b"", [], [0, 0]

    def session(self, cut_up=None, cut_down=None):
        simulation = met_or_cut(cut_up, cut_down)
        for message in chunks(FILE[len(self.stored) :], size=4000):
            simulation.host.link.post(message)
        for number in range(len(self.heard), EVENTS):
            simulation.agent.link.post(Message(wire.EVT, 5, b"%d %0100d" % (number, number)))
        ends = simulation.ends
        simulation.run_while(lambda: any(end.link.busy for end in ends) and simulation.now < 2.0)
        self.stored += b"".join(wire.read_chunk(message)[1] for message in simulation.agent.got)
        self.heard += [int(message.body.split()[0]) for message in simulation.host.got]
        self.bytes = [total + end.line_bytes for total, end in zip(self.bytes, ends, strict=True)]


def met_or_cut(cut_up, cut_down):
    simulation = Simulation(rate=3_000_000)
    simulation.host.cut_after, simulation.agent.cut_after = cut_up, cut_down
    return simulation


def whole_traffic():
    work = Work()
    work.session()
    return work.bytes


def work_with_a_cut(way, offset):
    work = Work()
    work.session(**{f"cut_{way}": offset})
    work.session()
    assert work.stored == FILE
    assert work.heard == [*range(EVENTS)]


WAYS = ("up", "down")


@pytest.mark.parametrize("way", WAYS)
def test_a_cut_anywhere_loses_and_doubles_nothing(way):
    for offset in range(0, whole_traffic()[WAYS.index(way)] + 50, 173):
        work_with_a_cut(way, offset)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_cut_at_every_byte_loses_and_doubles_nothing(way):
    for offset in range(whole_traffic()[WAYS.index(way)] + 1):
        work_with_a_cut(way, offset)


# Who is there


def quiet_agent(session=0):
    link = wire.SerialLink(wire.Follower(115200, wire.LADDER))
    link.session = session
    return link


def test_a_question_in_print_is_heard_behind_any_garbage():
    link = quiet_agent()
    link.feed(b"[ 12.3] noise\r\n\xff\x80" + wire.PROBE_TEXT, 10.0)
    assert link.probed


def test_a_question_is_part_of_a_file_while_frames_come():
    link = quiet_agent(session=7)
    ping = Frame(wire.PING, 0, 7, 0, 0, 0, b"")
    link.feed(b"\0" + cobs.encode(ping.encode()) + b"\0", 10.0)
    link.feed(wire.PROBE_TEXT, 10.2)
    assert not link.probed
    link.feed(wire.PROBE_TEXT, 11.0)
    assert link.probed


def test_the_word_to_leave_counts_only_between_zeros():
    link = quiet_agent(session=7)
    body = cobs.encode(Frame(wire.DATA, 3, 7, 0, 0, 1, b"x" + wire.LEAVE_TEXT + b"x").encode())
    link.feed(b"\0" + body + b"\0" + wire.LEAVE_TEXT, 1.0)
    assert not link.dismissed
    link.feed(b"\0\0" + wire.LEAVE_TEXT + b"\0", 1.0)
    assert link.dismissed


def test_an_agent_that_knows_no_session_says_so():
    simulation = met()
    simulation.agent.link.session = 0  # it was restarted
    simulation.host.link.post(Message(wire.REQ, 1, b"{}"))
    simulation.run(lambda: wire.RESET in simulation.host.kinds, 5.0)


def test_frames_of_another_session_are_not_heard():
    link = quiet_agent(session=7)
    stray = Frame(wire.DATA, 3, 8, 0, 0, 0, b"\1\0\0\0\0\1{}")
    assert link.feed(b"\0" + cobs.encode(stray.encode()) + b"\0", 1.0) == []


@pytest.mark.parametrize("lost", range(4))
def test_a_greeting_is_repeated_until_it_is_answered(lost):
    simulation = Simulation(losing({*range(lost)}), losing({0}))
    simulation.run(lambda: wire.HELLO in simulation.host.kinds, 0.4 * (lost + 2))


# Speed


def losing(numbers):
    """The transmissions of these numbers get lost."""
    count = iter(range(10**9))
    return lambda data, rng, now: b"" if next(count) in numbers else data


def climbed(simulation):
    simulation.run(lambda: not simulation.host.link._tuner.active and simulation.host.link.sender.resolved > 0, 60.0)
    return simulation.host.link.rate


def test_both_climb_to_the_fastest_speed():
    simulation = met(fastest=3_000_000)
    send(simulation, chunks(os.urandom(400_000)))
    assert {end.rate for end in simulation.ends} == {3_000_000}
    assert simulation.now < 400_000 / 300_000 + 2.0


def test_a_speed_that_the_agent_lacks_is_left_out():
    simulation = met(fastest=3_000_000, supported=(115200, 460800, 921600))
    send(simulation, chunks(os.urandom(100_000)))
    assert {end.rate for end in simulation.ends} == {921600}


def test_a_line_that_garbles_a_speed_stays_at_the_one_before():
    def garble(data, rng, now):
        fast = max(end.rate for end in simulation.ends) > 1_000_000
        return bytes(rng.randrange(256) for _ in data) if fast else data

    simulation = Simulation(garble, garble, fastest=3_000_000)
    simulation.host.link.post(Message(wire.REQ, 1, b"{}"))
    simulation.run(lambda: len(simulation.agent.got) == 1, 20.0)
    send(simulation, chunks(os.urandom(200_000)))
    assert {end.rate for end in simulation.ends} == {921600}


@pytest.mark.parametrize("way", ["up", "down"])
@pytest.mark.parametrize("step", range(24))
def test_a_loss_at_any_step_of_a_change_leaves_both_at_one_speed(way, step):
    gone = losing({*range(step, step + 2)})
    simulation = Simulation(*((gone, intact) if way == "up" else (intact, gone)), fastest=460_800)
    data = os.urandom(30_000)
    send(simulation, chunks(data), limit_s=30.0)
    simulation.pass_time(6.0)
    assert simulation.host.rate == simulation.agent.rate
    send(simulation, chunks(data), limit_s=30.0)


@pytest.mark.parametrize("way", ["up", "down", "both"])
@pytest.mark.parametrize("start_s", [0.02, 0.06, 0.1, 0.15, 0.2, 0.25, 0.3, 0.5])
def test_a_stall_during_a_change_leaves_both_at_one_speed(way, start_s):
    gone = stalls(start_s, start_s + 6.0)
    simulation = Simulation(gone if way != "down" else intact, gone if way != "up" else intact, fastest=460_800)
    send(simulation, chunks(os.urandom(10_000)), limit_s=60.0)
    simulation.pass_time(6.0)
    assert simulation.host.rate == simulation.agent.rate


def test_silence_brings_both_back_to_the_consoles_speed():
    simulation = met(fastest=921_600)
    send(simulation, chunks(os.urandom(10_000)))
    assert simulation.host.rate == 921_600
    for end in simulation.ends:
        end.damage = lossy(1.0)
    simulation.pass_time(6.0)
    assert {end.link.rate for end in simulation.ends} == {115_200}
    for end in simulation.ends:
        end.damage = intact
    send(simulation, chunks(os.urandom(10_000)), limit_s=20.0)


def test_a_line_that_loses_too_much_is_slowed_down():
    simulation = met(fastest=921_600)
    send(simulation, chunks(os.urandom(50_000)))
    for end in simulation.ends:
        end.damage = lossy(0.12)
    send(simulation, chunks(os.urandom(600_000)), limit_s=120.0)
    assert simulation.host.rate == simulation.agent.rate < 921_600
