import pathlib

import pytest
from edgeprune_agent import events
from edgeprune_agent.events import EventIndex, EventWriter, SpoolBusy
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "events.log")


def write(path, count):
    writer = EventWriter(path, "run")
    for number in range(count):
        writer.emit("samples", ns=[number])
    writer.close()


def test_events_come_back_numbered_without_gaps(path):
    write(path, 3)
    assert EventIndex(path).read() == [{"run": "run", "ev": n, "kind": "samples", "ns": [n]} for n in range(3)]


def test_reading_starts_at_any_number(path):
    write(path, 5)
    index = EventIndex(path)
    assert [event["ev"] for event in index.read(3)] == [3, 4]
    assert index.read(5) == []
    assert index.last()[0]["ev"] == 4


def test_a_spool_that_does_not_exist_yet_is_empty(path):
    index = EventIndex(path)
    assert (index.count, index.read(), index.last()) == (0, [], ())


def test_an_index_follows_a_growing_file(path):
    index = EventIndex(path)
    write(path, 2)
    assert len(index.read()) == 2
    write(path, 1)
    assert [event["ev"] for event in index.read(2)] == [2]


def test_a_file_cut_at_any_byte_gives_the_whole_events_before_it(tmp_path, path):
    write(path, 3)
    data = (tmp_path / "events.log").read_bytes()
    size = len(data) // 3
    for length in range(len(data)):
        (tmp_path / "cut").write_bytes(data[:length])
        assert EventIndex(str(tmp_path / "cut")).count == length // size


def test_a_writer_removes_a_torn_tail_and_goes_on_numbering(tmp_path, path):
    write(path, 2)
    with pathlib.Path(path).open("ab") as file:
        file.write(b"\x00\x00\x00\x20torn")
    write(path, 1)
    assert [event["ev"] for event in EventIndex(path).read()] == [0, 1, 2]


def test_a_changed_byte_ends_the_spool_there(tmp_path, path):
    write(path, 3)
    data = bytearray((tmp_path / "events.log").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "events.log").write_bytes(data)
    assert EventIndex(path).count == 1


def test_two_writers_are_never_at_one_spool(path):
    writer = EventWriter(path, "run")
    with pytest.raises(SpoolBusy):
        EventWriter(path, "run")
    writer.close()
    EventWriter(path, "run").close()


def test_a_full_disk_leaves_no_half_event_and_loses_none(path, monkeypatch):
    writer = EventWriter(path, "run")
    writer.emit("started")
    writer.put("samples", ns=[1])
    whole_write = events.write_all

    def fill_up(fd, data):
        whole_write(fd, bytes(data)[:7])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(events, "write_all", fill_up)
    with pytest.raises(OSError, match="No space"):
        writer.flush()
    assert EventIndex(path).count == 1
    monkeypatch.undo()
    writer.emit("end")
    writer.close()
    assert [event["kind"] for event in EventIndex(path).read()] == ["started", "samples", "end"]


def test_a_read_stops_at_its_limit_but_never_before_one_event(path):
    write(path, 10)
    index = EventIndex(path)
    assert len(index.read(0, limit_bytes=1)) == 1
    assert 1 < len(index.read(0, limit_bytes=200)) < 10


@given(data=st.binary(max_size=300))
def test_any_bytes_are_a_spool_that_ends_somewhere(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("spool") / "events.log"
    path.write_bytes(data)
    assert EventIndex(str(path)).end <= len(data)
