"""A board of one's own, a small model for it, and a link that can be cut."""

import os
import signal
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
import pytest

from edgeprune.devices import connect, reconnection, session
from edgeprune.devices.local import LocalTransport
from edgeprune.errors import LinkClosed

sys.path.append(str(Path(__file__).parent))  # for ssh_server, which the contracts share

SPEC = {
    "kind": "latency", "format": "onnx", "runtime": "onnxruntime", "threads": 1, "warmup_s": 0.01, "warmup_runs": 1,
    "min_duration_s": 0.3, "min_runs": 10, "max_duration_s": 2.0, "period_s": 0, "provider": "auto", "strict": False,
    "state_period_s": 1.0,
    "seed": 0, "inputs": None, "idle_s": 0.0, "power": None, "marker": None,
}  # fmt: skip


@pytest.fixture(scope="session")
def model_bytes():
    weight = onnx.numpy_helper.from_array(np.ones((8, 8), np.float32), "w")
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 8]) for name in "xy"]
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = onnx.helper.make_graph([node], "g", ends[:1], ends[1:], [weight])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model.SerializeToString()


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


@pytest.fixture
def address(root):
    return f"local://?root={root}"


@pytest.fixture
def board(address):
    with connect(address) as opened:
        yield opened


@pytest.fixture
def plan():
    return dict(SPEC)


@pytest.fixture
def spec(board, model_bytes):
    return {**SPEC, "sha": board.push_bytes(model_bytes)}


class Link(LocalTransport):
    """A local transport that counts, and is cut when its budget is spent."""

    made: ClassVar = []
    cut_after_sent = cut_after_received = None

    def __init__(self, address):
        super().__init__(address)
        self.sent = self.received = 0
        Link.made.append(self)

    def send(self, data, deadline):
        budget = Link.cut_after_sent
        if budget is not None and len(Link.made) == 1 and self.sent + len(data) > budget:
            super().send(data[: budget - self.sent], deadline)
            self.sent = budget
            self.pull()
        super().send(data, deadline)
        self.sent += len(data)

    def receive(self, deadline):
        data = super().receive(deadline)
        budget = Link.cut_after_received
        if budget is not None and len(Link.made) == 1 and self.received + len(data) > budget:
            self.pull()
        self.received += len(data)
        return data

    def pull(self):
        self._process.stdin.close()
        raise LinkClosed("The cable was pulled.", "Plug it in.")

    def kill(self):
        os.kill(self.process_id, signal.SIGKILL)


@pytest.fixture
def links(monkeypatch):
    """The links that sessions of this test make, the newest last."""
    monkeypatch.setattr(Link, "made", [])
    monkeypatch.setattr(session, "make_transport", Link)
    monkeypatch.setattr(reconnection, "DELAYS_S", (0.0, 0.05, 0.1, 0.2, 0.4))
    return Link.made
