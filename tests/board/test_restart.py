"""docs/devices/ssh.md: a board that restarts in the middle of an upload gets the rest of it, and the user is told."""

import hashlib
import os
import threading

import pytest

from edgeprune.board import boards
from edgeprune.devices import connect

SIZE = 40_000_000


@pytest.mark.slow
def test_a_board_that_restarts_in_the_middle_of_an_upload_gets_the_rest(start_board, tmp_path):
    board, heard = start_board(), []
    file = tmp_path / "blob"
    file.write_bytes(os.urandom(SIZE))
    restart = threading.Thread(target=lambda: boards.start(boards.pull_plug(board).name))

    def hear(event):
        heard.append(event)
        if event.done > 0.3 * SIZE and not restart.ident:
            restart.start()

    with connect(board.name, listener=hear) as session:
        sha = hashlib.sha256(file.read_bytes()).hexdigest()
        session.push(file, sha)
        assert session.request("store.stat", sha=sha, size=SIZE)["state"] == "complete"
    restart.join()
    lost = next(index for index, event in enumerate(heard) if event.stage == "connect")
    kept = next(event.done for event in heard[lost:] if event.stage == "push" and event.total)
    assert kept > 0.3 * SIZE - (8 << 20), "more than 8 MiB went over the line again"
