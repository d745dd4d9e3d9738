"""A model over a slow line: fewer bytes cross it, and the board has the same file."""

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
from serial_board import SerialBoard

from edgeprune.devices import connect
from edgeprune.measuring.sending import send

sys.path.append(str(Path(__file__).parents[1] / "measuring"))  # for board_models, which several folders share
import board_models


@pytest.fixture
def model(tmp_path):
    """Pruned to 8 %, and 16 values."""
    path = board_models.linear(tmp_path / "linear.onnx", size=512)
    generator = np.random.default_rng(0)
    values = generator.choice(np.linspace(-0.3, 0.3, 16, dtype=np.float32), (512, 512))
    values[generator.random(values.shape) > 0.08] = 0
    path.write_bytes(path.read_bytes().replace(board_models.weights(512).tobytes(), values.tobytes()))
    return board_models.artifact(path)


@pytest.mark.slow
def test_a_pruned_model_crosses_a_slow_line_packed(tmp_path, model):
    (tmp_path / "board").mkdir()
    board = SerialBoard(tmp_path / "board", baud=57_600)
    heard = []
    try:
        with connect(board.address()) as session:
            assert session.info  # by then the agent's second part is there, too
            before = board.stats()[0]["carried"]
            send(session, model, heard.append)
            carried = board.stats()[0]["carried"] - before
    finally:
        board.close()
    assert "sent packed" in heard[0].message
    stored = next((board.root / "objects").glob(f"*/{model.sha256}")).read_bytes()
    assert hashlib.sha256(stored).hexdigest() == model.sha256
    assert carried < model.size_bytes / 35
