"""What our process is set to before heavy libraries come in: too much for a library, but this is a program."""

from __future__ import annotations

import gc
import os

_SPINS = "2000"
_OBJECTS = 50_000


def prepare() -> None:
    """Let threads of a busy machine sleep instead of spin, and look for garbage less often.

    Torch's threads wait for each other after every operator, by spinning. Where another program has one of the
    processors, each wait lasts as long as that one's turn: of a small network on two processors, one busy, an export
    took 40 s with GNU OpenMP's own count of spins and 10 s with ours (one run each); on an idle machine 7.8 s and 7.5 s
    (medians of three, all of 2026-11-24). Torch and an export make millions of objects, of which hardly any is garbage:
    of an export's 4.8 s, collections take 0.83 s by Python's own thresholds, 0.26 s every 10,000 objects and 0.15 s by
    ours (measured by gc.callbacks, 2026-11-25).
    """
    os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
    gc.set_threshold(_OBJECTS, 20, 20)


def finish() -> None:
    """Leave what is alive to the system instead of looking through it for garbage once more.

    Python collects garbage a last time while it ends, among all of torch's objects: of an export's 5.9 s that took
    1.0 s (medians of three, in turns, 2026-11-25). What must be closed is closed by then: every resource here is a
    context manager, and functions registered with atexit still run.
    """
    gc.disable()
    gc.freeze()
