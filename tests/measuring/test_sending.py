"""Which way a model goes to a board, and that the same file is there afterwards."""

import hashlib
from types import SimpleNamespace

import board_models
import numpy as np
import pytest

from edgeprune.errors import RemoteError
from edgeprune.exporting.packing import pack
from edgeprune.measuring import infer, sending
from edgeprune.measuring.sending import send


@pytest.fixture
def model(tmp_path):
    return board_models.artifact(board_models.linear(tmp_path / "linear.onnx", size=256))


class Board:
    """What `send` asks of a session, on a line of some speed; notes what it was given."""

    def __init__(self, rate, features=("unpack",), durable=0, state="absent"):
        codec = lambda file, size: (0, 0.5)  # noqa: E731
        self.client = SimpleNamespace(line_rate=rate, hello={"feat": list(features)}, codec=codec)
        self.found, self.given = {"state": state, "durable": durable}, []

    def request(self, op, deadline_s=0.0, **arguments):
        self.given.append(op)
        return self.found

    def push(self, path, sha256):
        self.given.append("plain")

    def push_bytes(self, data):
        self.given.append("packed")
        return hashlib.sha256(data).hexdigest()


def way(board, model):
    send(board, model)
    return [what for what in board.given if what != "store.stat"]


def test_a_slow_line_gets_the_packed_file(model):
    assert way(Board(9600), model) == ["packed", "store.unpack"]


@pytest.mark.parametrize(
    "board",
    [
        Board(0),
        Board(115_200, features=()),
        Board(12_000_000),
        Board(9600, state="complete"),
        Board(9600, durable=255 * 1024),
    ],
    ids=["no serial line", "an older agent", "a fast line", "it is there", "most of it is there"],
)
def test_elsewhere_the_file_goes_as_it_is(board, model):
    assert way(board, model) == ["plain"]


def test_a_file_that_does_not_shrink_goes_as_it_is(tmp_path):
    noise = np.random.default_rng(0).standard_normal((256, 256)).astype(np.float32)
    path = board_models.linear(tmp_path / "linear.onnx", size=256)
    content = path.read_bytes().replace(board_models.weights(256).tobytes(), noise.tobytes())
    path.write_bytes(content)
    assert way(Board(115_200), board_models.artifact(path)) == ["plain"]


def test_both_sizes_are_told(model):
    heard = []
    send(Board(9600), model, heard.append)
    (message,) = [event.message for event in heard]
    assert "sent packed" in message
    assert "on the board it has 25" in message


def test_the_true_agent_unpacks_it_to_the_same_file_which_runs(session, model, monkeypatch):
    monkeypatch.setattr(type(session.client), "line_rate", 9600)
    asked = []
    request = session.request
    monkeypatch.setattr(session, "request", lambda op, *a, **k: asked.append(op) or request(op, *a, **k))
    x = np.random.default_rng(1).standard_normal((3, 256), np.float32)
    (outputs,) = infer(session, model, [x])
    assert "store.unpack" in asked
    assert np.allclose(outputs, x @ board_models.weights(256), atol=1e-3)
    assert session.request("store.stat", sha=model.sha256, size=model.size_bytes)["state"] == "complete"


def test_the_true_agent_refuses_a_packed_file_of_another_model(session):
    sha = session.push_bytes(pack(b"some other model"))
    with pytest.raises(RemoteError, match="another model"):
        session.request("store.unpack", sha=sha, into="4" * 64)


def test_the_estimate_of_the_board_is_a_slow_one():
    assert sending.UNPACKED_BYTES_PER_S <= 2_000_000
