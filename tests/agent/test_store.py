"""The store: an object under its final name always hashes to it, whatever is cut, killed or full."""

import errno
import hashlib
import os
import stat
import tempfile
import time
from pathlib import Path

import pytest
from edgeprune_agent import folders, store, upload
from edgeprune_agent.folders import Root
from edgeprune_agent.store import Store, object_path
from edgeprune_agent.wire import AgentError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

BLOCK = upload.BLOCK_BYTES


def digest(data):
    return hashlib.sha256(data).hexdigest()


def finish(steps):
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def put(some_store, data, sha=None, piece=5000):
    sha = sha or digest(data)
    incoming = finish(some_store.open(sha, len(data)))
    for start in range(incoming.received, len(data), piece):
        incoming.add(start, data[start : start + piece])
    some_store.commit(sha)
    return sha


def partial(root):
    return sorted(path.name for path in Path(root.path, "partial").iterdir())


def raises_refusal(code):
    return pytest.raises(AgentError, match=code)


@pytest.fixture
def root(tmp_path):
    opened = Root(str(tmp_path / "root"))
    yield opened
    opened.close()


@pytest.fixture
def kept(root):
    opened = Store(root, reserve_bytes=0)
    yield opened
    opened.close()


def test_what_was_put_is_there_under_its_hash_and_for_us_alone(root, kept):
    data = os.urandom(3 * BLOCK + 17)
    sha = put(kept, data)
    path = Path(object_path(root.path, sha))
    assert kept.stat(sha, len(data)) == {"state": "complete", "durable": len(data)}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(root.path).stat().st_mode) == 0o700
    assert kept.fetch(sha, 5, 10) == data[5:15]
    assert kept.fetch(sha, len(data) - 3, 100) == data[-3:]
    assert partial(root) == []


def test_an_empty_file_is_a_file(kept):
    assert kept.stat(put(kept, b""), 0)["state"] == "complete"


def test_wrong_bytes_get_no_name_and_are_deleted(root, kept):
    sha = digest(b"right")
    with raises_refusal("E_HASH"):
        put(kept, b"wrong", sha)
    assert kept.stat(sha, 5) == {"state": "absent", "durable": 0}
    assert partial(root) == []
    assert put(kept, b"right") == sha


def test_an_upload_goes_on_behind_the_last_whole_block(root, kept):
    data = os.urandom(4 * BLOCK)
    sha = digest(data)
    first = finish(kept.open(sha, len(data)))
    first.add(0, data[: 2 * BLOCK + 100])
    kept.abandon(sha)
    assert kept.stat(sha, len(data)) == {"state": "partial", "durable": 2 * BLOCK}
    again = finish(Store(root, reserve_bytes=0).open(sha, len(data)))
    assert again.received == again.durable == 2 * BLOCK
    again.close()
    put(kept, data)


@pytest.mark.parametrize("damage", ["flip", "shorten", "torn sums", "no sums", "longer"])
def test_what_a_power_cut_tore_is_sent_again(root, kept, damage):
    data = os.urandom(4 * BLOCK)
    sha = digest(data)
    finish(kept.open(sha, len(data))).add(0, data[: 3 * BLOCK])
    kept.abandon(sha)
    part, sums = (Path(root.path, "partial", sha + suffix) for suffix in (".part", ".crc"))
    if damage == "flip":
        with part.open("r+b") as file:
            file.seek(BLOCK + 5)
            file.write(bytes([data[BLOCK + 5] ^ 1]))
        expected = BLOCK
    elif damage == "shorten":
        os.truncate(part, 2 * BLOCK + 1)
        expected = 2 * BLOCK
    elif damage == "torn sums":
        os.truncate(sums, 4 * 2 + 3)
        expected = 2 * BLOCK
    elif damage == "no sums":
        os.truncate(sums, 0)
        expected = 0
    else:
        with part.open("ab") as file:
            file.write(b"junk" * BLOCK)
        expected = 3 * BLOCK
    assert finish(kept.open(sha, len(data))).received == expected
    kept.abandon(sha)
    assert kept.fetch(put(kept, data), 0, len(data)) == data


def test_bytes_at_the_wrong_offset_are_refused_and_say_where(kept):
    data = bytes(100)
    incoming = finish(kept.open(digest(data), 100))
    incoming.add(0, data[:40])
    with raises_refusal("E_OFFSET") as caught:
        incoming.add(41, data[41:])
    assert caught.value.detail == {"expected": 40}
    with raises_refusal("E_OFFSET") as caught:
        kept.commit(digest(data))
    assert caught.value.detail == {"expected": 40}
    with raises_refusal("E_LIMIT"):
        incoming.add(40, data)


def test_a_commit_is_repeated_without_harm_and_needs_an_upload(kept):
    sha = put(kept, b"data")
    kept.commit(sha)
    with raises_refusal("E_NOTFOUND"):
        kept.commit(digest(b"never sent"))
    with raises_refusal("E_NOTFOUND"):
        kept.fetch(digest(b"never sent"), 0, 1)


def test_a_file_is_sent_by_one_connection_at_a_time(root, kept):
    other = Store(root, reserve_bytes=0)
    finish(kept.open(digest(b"x"), 1))
    with raises_refusal("E_BUSY"):
        finish(other.open(digest(b"x"), 1))
    kept.abandon(digest(b"x"))
    assert put(other, b"x") == digest(b"x")


def test_what_cannot_fit_is_refused_before_the_first_byte(root):
    data = os.urandom(1000)
    with raises_refusal("E_QUOTA"):
        finish(Store(root, quota_bytes=999, reserve_bytes=0).open(digest(data), 1000))
    with raises_refusal("E_NOSPC") as caught:
        finish(Store(root, reserve_bytes=1 << 60).open(digest(data), 1000))
    assert caught.value.detail["needed"] == 1000
    with raises_refusal("E_LIMIT"):
        finish(Store(root, reserve_bytes=0).open(digest(data), store.MAX_OBJECT_BYTES + 1))
    assert partial(root) == []


def test_room_is_made_by_what_was_unwanted_longest_but_never_by_a_release(root, tmp_path):
    small = Store(root, quota_bytes=2500, reserve_bytes=0)
    shas = [put(small, os.urandom(1000)) for _ in range(2)]
    linked = put(Store(root, reserve_bytes=0), os.urandom(1000))
    os.link(object_path(root.path, linked), tmp_path / "model.onnx")
    for age, sha in enumerate(shas):
        os.utime(object_path(root.path, sha), (time.time() - 100 + age,) * 2)
    os.utime(object_path(root.path, linked), (1, 1))
    small.stat(shas[0], 1000)  # wanted just now
    new = put(small, os.urandom(1000))
    states = [small.stat(sha, 1000)["state"] for sha in (*shas, linked, new)]
    assert states == ["complete", "absent", "complete", "complete"]


def test_nothing_is_evicted_when_that_would_not_help(root):
    small = Store(root, quota_bytes=2000, reserve_bytes=0)
    sha = put(small, os.urandom(1000))
    with raises_refusal("E_QUOTA"):
        finish(small.open(digest(b"big"), 3000))
    assert small.stat(sha, 1000)["state"] == "complete"


def test_a_disk_that_fills_up_in_the_middle_is_named_and_the_upload_goes_on_later(kept, monkeypatch):
    data = os.urandom(4 * BLOCK)
    incoming = finish(kept.open(digest(data), len(data)))
    incoming.add(0, data[: 2 * BLOCK])

    def full(fd, some):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, raises_refusal("E_NOSPC"):
        patch.setattr(upload, "write_all", full)
        incoming.add(2 * BLOCK, data[2 * BLOCK :])
    kept.abandon(digest(data))
    assert kept.stat(digest(data), len(data))["durable"] == 2 * BLOCK
    put(kept, data)


def test_only_uploads_that_are_a_week_old_are_swept(root, kept):
    for data, age_s in ((b"old", store.STALE_S + 60), (b"new", store.STALE_S - 3600)):
        finish(kept.open(digest(data), 3))
        kept.abandon(digest(data))
        for suffix in (".part", ".crc"):
            os.utime(Path(root.path, "partial", digest(data) + suffix), (time.time() - age_s,) * 2)
    for name, age_s in (("lease.beat.1.new", store.STALE_S + 60), ("lease.beat.2.new", 60), ("lease.json", 1e9)):
        Path(root.path, name).write_bytes(b"")
        os.utime(Path(root.path, name), (time.time() - age_s,) * 2)
    kept.sweep()
    assert {path.name for path in Path(root.path).glob("lease.*")} == {"lease.beat.2.new", "lease.json"}
    assert partial(root) == [digest(b"new") + ".crc", digest(b"new") + ".part"]


@pytest.mark.parametrize("name", [".part", ".crc"])
def test_a_link_planted_as_an_upload_is_not_followed(root, kept, tmp_path, name):
    target = tmp_path / "precious"
    target.write_text("precious")
    sha = digest(b"x")
    Path(root.path, "partial", sha + name).symlink_to(target)
    with pytest.raises(OSError, match="symbolic links"):
        finish(kept.open(sha, 1))
    assert target.read_text() == "precious"


def test_a_link_planted_as_an_object_is_no_object(root, kept, tmp_path):
    (tmp_path / "secret").write_text("secret")
    sha = digest(b"x")
    Path(root.path, "objects", sha[:2]).mkdir()
    Path(object_path(root.path, sha)).symlink_to(tmp_path / "secret")
    assert kept.stat(sha, 6)["state"] == "absent"
    with raises_refusal("E_NOTFOUND"):
        kept.fetch(sha, 0, 6)


def test_a_root_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "real")
    with raises_refusal("symbolic link"):
        Root(str(tmp_path / "root"))


@pytest.mark.parametrize("mode", [0o770, 0o702])
def test_a_root_in_which_others_may_write_is_refused(tmp_path, mode):
    (tmp_path / "root").mkdir()
    (tmp_path / "root").chmod(mode)
    with raises_refusal("others may write"):
        Root(str(tmp_path / "root"))


def test_a_root_of_another_user_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(folders.os, "geteuid", lambda: os.getuid() + 1)
    with raises_refusal("another user"):
        Root(str(tmp_path / "root"))


def test_a_root_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "root").write_text("")
    with raises_refusal("cannot be used"):
        Root(str(tmp_path / "root"))


FILES = [bytes([n]) * size for n, size in enumerate((0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 7))]


class StoreMachine(RuleBasedStateMachine):
    """Uploads of a few files, cut, killed, torn and repeated in any order."""

    @initialize()
    def start(self):
        self.path = tempfile.mkdtemp(dir=self.base)
        self.root = Root(self.path)
        self.store = Store(self.root, reserve_bytes=0)
        self.incoming, self.complete = {}, set()

    @rule(data=st.sampled_from(FILES))
    def open(self, data):
        sha = digest(data)
        self.incoming[data] = finish(self.store.open(sha, len(data)))
        self.store.stat(sha, len(data))

    @rule(data=st.sampled_from(FILES), size=st.integers(1, 3 * BLOCK))
    def send(self, data, size):
        incoming = self.incoming.get(data)
        if incoming is not None:
            incoming.add(incoming.received, data[incoming.received : incoming.received + size])

    @rule(data=st.sampled_from(FILES))
    def commit(self, data):
        try:
            self.store.commit(digest(data))
        except AgentError as error:
            assert error.code in ("E_OFFSET", "E_NOTFOUND")
        else:
            self.complete.add(data)
            self.incoming.pop(data, None)

    @rule()
    def kill(self):
        self.store.close()
        self.root.close()
        self.root = Root(self.path)
        self.store = Store(self.root, reserve_bytes=0)
        self.incoming = {}

    @precondition(lambda self: partial(self.root))
    @rule(place=st.integers(0, 10**6), choice=st.integers(0, 100))
    def tear(self, place, choice):
        self.kill()
        names = partial(self.root)
        target = Path(self.path, "partial", names[choice % len(names)])
        os.truncate(target, place % (target.stat().st_size + 1))

    @invariant()
    def every_name_tells_the_truth(self):
        found = set()
        for path in Path(self.path, "objects").glob("*/*"):
            assert digest(path.read_bytes()) == path.name
            found.add(path.name)
        assert found == {digest(data) for data in self.complete}

    def teardown(self):
        self.store.close()
        self.root.close()


def test_no_order_of_cuts_and_repeats_gives_a_name_to_wrong_bytes(tmp_path_factory, monkeypatch):
    monkeypatch.setattr(StoreMachine, "base", str(tmp_path_factory.mktemp("store")), raising=False)
    monkeypatch.setattr(folders.os, "fsync", lambda fd: None)
    run_state_machine_as_test(StoreMachine, settings=settings(max_examples=40, stateful_step_count=30, deadline=None))
