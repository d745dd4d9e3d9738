"""store.unpack: a packed model becomes the model file of its digest, or nothing does."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from edgeprune_agent import unpacking
from edgeprune_agent.folders import Root
from edgeprune_agent.store import Store, object_path
from edgeprune_agent.wire import AgentError, packed_model

from edgeprune.exporting.packing import pack
from edgeprune.exporting.weight_bytes import WeightBytes

TENSOR = np.where(np.arange(90_000) % 37, 0, np.arange(90_000) % 5).astype(np.float32).tobytes()
MODEL = b"a skeleton" + TENSOR
PACKED = pack(MODEL, [WeightBytes(10, len(TENSOR), 4)])
INTO = hashlib.sha256(MODEL).hexdigest()


@pytest.fixture
def board(root):
    opened = Root(root)
    yield opened
    opened.close()


@pytest.fixture
def stored(board):
    return Store(board)


def finish(steps):
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def partial(board):
    return sorted(path.name for path in Path(board.path, "partial").iterdir())


def content(board, sha=INTO):
    return Path(object_path(board.path, sha)).read_bytes()


def refusal(code):
    return pytest.raises(AgentError, match=code)


def test_the_model_file_is_there_under_its_own_digest(board, stored, keep):
    assert finish(unpacking.unpack(board, stored, keep(PACKED), INTO)) == {}
    assert content(board) == MODEL
    assert partial(board) == []


def test_doing_it_again_finds_it_done_even_without_the_packed_file(board, stored, keep):
    finish(unpacking.unpack(board, stored, keep(PACKED), INTO))
    assert finish(unpacking.unpack(board, stored, "0" * 64, INTO)) == {}


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_one_that_was_interrupted_goes_on(board, stored, keep, steps):
    sha = keep(PACKED)
    begun = unpacking.unpack(board, stored, sha, INTO)
    for _ in range(steps):
        next(begun)
    begun.close()
    finish(unpacking.unpack(board, Store(board), sha, INTO))
    assert content(board) == MODEL


def test_it_goes_on_behind_what_came_of_the_plain_file(board, stored, keep):
    upload = finish(stored.open(INTO, len(MODEL)))
    upload.add(0, MODEL[:50_000])
    stored.abandon(INTO)
    finish(unpacking.unpack(board, stored, keep(PACKED), INTO))
    assert content(board) == MODEL


def test_the_plain_file_can_still_be_sent_after_an_interruption(board, stored, keep):
    begun = unpacking.unpack(board, stored, keep(PACKED), INTO)
    next(begun), next(begun)
    begun.close()
    upload = finish(stored.open(INTO, len(MODEL)))
    upload.add(upload.received, MODEL[upload.received :])
    stored.commit(INTO)
    assert content(board) == MODEL


def test_a_packed_file_that_is_not_there_is_named(board, stored):
    with refusal("E_NOTFOUND"):
        finish(unpacking.unpack(board, stored, "1" * 64, INTO))


def test_a_packed_file_of_another_model_is_refused(board, stored, keep):
    with refusal("E_ARG"):
        finish(unpacking.unpack(board, stored, keep(PACKED), "2" * 64))
    assert partial(board) == []


@pytest.mark.parametrize(
    "damage", [lambda p: p[: len(p) // 2], lambda p: b"EPK2" + p[4:], lambda p: b"", lambda p: p[:60]]
)
def test_what_is_no_whole_packed_file_leaves_nothing(board, stored, keep, damage):
    with refusal("E_ARG"):
        finish(unpacking.unpack(board, stored, keep(damage(PACKED)), INTO))
    assert partial(board) == []
    assert stored.stat(INTO, len(MODEL))["state"] == "absent"


def test_a_false_digest_leaves_nothing(board, stored, keep):
    lie = "3" * 64
    with refusal("E_HASH"):
        finish(unpacking.unpack(board, stored, keep(PACKED[:4] + bytes.fromhex(lie) + PACKED[36:]), lie))
    assert partial(board) == []
    assert stored.stat(lie, len(MODEL))["state"] == "absent"


@pytest.mark.parametrize(("size", "code"), [(1 << 40, "E_LIMIT"), (1 << 29, "E_QUOTA")])
def test_a_size_that_does_not_fit_is_refused_before_the_first_byte(board, keep, size, code):
    small = Store(board, quota_bytes=1 << 20)
    with refusal(code):
        finish(unpacking.unpack(board, small, keep(PACKED[:36] + size.to_bytes(8, "big") + PACKED[44:]), INTO))
    assert partial(board) == []


def test_an_overlong_packed_file_is_not_read(board, stored, keep, monkeypatch):
    monkeypatch.setattr(unpacking, "MAX_PACKED_BYTES", len(PACKED) - 1)
    with refusal("E_LIMIT"):
        finish(unpacking.unpack(board, stored, keep(PACKED), INTO))


def test_a_step_is_short():
    assert max(map(len, packed_model.pieces(PACKED))) < 1 << 20
