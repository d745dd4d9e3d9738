import dataclasses

import pytest
from test_verdict import QUIET

from edgeprune.measuring.cooling import CoolingGate


class Board:
    """Cools by a degree a second down to its surroundings; its clock moves when somebody sleeps."""

    def __init__(self, start_c=40.0, room_c=40.0):
        self.now_c, self.room_c, self.now_s = start_c, room_c, 0.0

    def read(self):
        zones = {} if self.now_c is None else {"cpu": self.now_c}
        return dataclasses.replace(QUIET, temperatures_c=zones)

    def sleep(self, seconds):
        self.now_s += seconds
        self.now_c = max(self.room_c, self.now_c - seconds)

    def gate(self):
        return CoolingGate(self.read, lambda: self.now_s, self.sleep)


@pytest.fixture
def board():
    return Board()


def test_the_first_repeat_does_not_wait_and_the_next_one_does_until_the_board_is_as_cool(board):
    gate = board.gate()
    gate.wait(60.0)
    assert board.now_s == 0.0
    board.now_c = 60.0
    gate.wait(60.0)
    assert board.now_c == 42.0
    assert board.now_s == 18.0


def test_patience_ends(board):
    gate = board.gate()
    gate.wait(60.0)
    board.now_c, board.room_c = 60.0, 55.0
    gate.wait(10.0)
    assert board.now_s == 10.0


def test_a_plan_without_patience_and_a_board_without_sensors_do_not_wait(board):
    gate = board.gate()
    gate.wait(0.0)
    board.now_c = None
    gate.wait(60.0)
    assert board.now_s == 0.0
