"""What our process is set to before heavy libraries come in: too much for a library, but this is a program."""

from __future__ import annotations

import gc
import os

_SPINS = "2000"
_OBJECTS = 10_000


def prepare() -> None:
    """Let threads of a busy machine sleep instead of spin, and look for garbage less often.

    Torch's threads wait for each other after every operator, by spinning. Where another program has one of the
    processors, each wait lasts as long as that one's turn: of a small network on two processors, one busy, an export
    took 40 s with GNU OpenMP's own count of spins and 10 s with ours (one run each); on an idle machine 7.8 s and 7.5 s
    (medians of three, all of 2026-11-24). Torch and an export make millions of objects, of which hardly any is garbage:
    6.8 s instead of 7.2 s (medians of five, in turns).
    """
    os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)
    gc.set_threshold(_OBJECTS, 20, 20)
