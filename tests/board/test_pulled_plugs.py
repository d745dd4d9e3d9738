"""docs/architecture.md: a board survives that its plug is pulled, whatever it was doing.

EDGEPRUNE_PLUGS says how often it is pulled (20; `make plugs`: 100), EDGEPRUNE_PLUG_SEED at which instants.
"""

import logging
import os
import random
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
from pulled_plugs import Bench, Tally

from edgeprune.devices import reconnection

PLUGS = int(os.environ.get("EDGEPRUNE_PLUGS", "20"))
SEED = int(os.environ.get("EDGEPRUNE_PLUG_SEED") or random.SystemRandom().randrange(10**6))


@pytest.mark.slow
def test_no_pulled_plug_breaks_a_release_or_loses_a_measurement(start_board, tmp_path, monkeypatch):
    monkeypatch.setattr(reconnection, "DELAYS_S", (0.0,))  # nobody is there to be waited for
    logging.getLogger(__name__).warning("EDGEPRUNE_PLUG_SEED=%d", SEED)
    bench = Bench(start_board(), tmp_path, SEED)
    bench.prepare()
    for number in range(PLUGS):
        bench.pull(number)
    assert bench.tally == Tally(pulled=PLUGS, notes=bench.tally.notes), f"EDGEPRUNE_PLUG_SEED={SEED}"
