"""docs/devices/ssh.md: a board that restarts in the middle of an upload gets the rest of it."""

import hashlib
import itertools
import os
import threading

import pytest

from edgeprune.board import boards
from edgeprune.devices import connect, reconnection

SIZE = 40_000_000


@pytest.mark.slow
def test_a_board_that_restarts_in_the_middle_of_an_upload_gets_the_rest(start_board, tmp_path, monkeypatch):
    # An emulated board of a busy host is back later than a real one.
    monkeypatch.setattr(reconnection, "DELAYS_S", (1.0,) * 200)
    monkeypatch.setattr(reconnection, "_PATIENCE_S", 200.0)
    board, heard, back = start_board(), [], []
    file = tmp_path / "blob"
    file.write_bytes(os.urandom(SIZE))
    restart = threading.Thread(target=lambda: back.append(boards.start(boards.pull_plug(board).name)))

    def hear(event):
        heard.append(event)
        if event.done > 0.3 * SIZE and not restart.ident:
            restart.start()

    with connect(board.name, listener=hear) as session:
        sha = hashlib.sha256(file.read_bytes()).hexdigest()
        session.push(file, sha)
        assert session.request("store.stat", sha=sha, size=SIZE)["state"] == "complete"
    restart.join()
    assert back[0].port == board.port
    sent = [event.done for event in heard if event.stage == "push" and event.total]
    assert max(before - after for before, after in itertools.pairwise(sent)) <= 8 << 20, "sent again"
