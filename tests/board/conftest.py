"""Virtual boards for a file's tests: of the user's cached image, with state and settings of their own.

Where a board cannot be had, its tests are left out and say why; where CI is set they fail: .ci/run installs it all.
"""

import os
import secrets

import pytest

from edgeprune.board import boards, host_tools, listing
from edgeprune.board.building import image
from edgeprune.errors import UsageError


@pytest.fixture(scope="session")
def board_image():
    try:
        host_tools.require((*host_tools.TO_BUILD, *host_tools.TO_RUN))
        return image.build()
    except UsageError as error:
        assert "CI" not in os.environ, str(error)
        pytest.skip(f"no virtual board here: {error}")


@pytest.fixture(scope="module")
def start_board(board_image, tmp_path_factory):
    """Makes and starts a board, and puts it into a device list of this file's own."""
    folder = tmp_path_factory.mktemp("boards")
    started = set()

    def start(mode="realtime", name=None, *, serial=False):
        board = boards.start(name or f"test-{secrets.token_hex(3)}", mode)
        started.add(board.name)
        listing.enlist(board, serial=serial)
        return board

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        yield start
        for name in started:
            boards.pull_plug(boards.find_board(name))
