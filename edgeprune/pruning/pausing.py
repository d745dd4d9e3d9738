"""A pause of Python's cyclic garbage collector, for work that makes many small objects and keeps them."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collector_paused() -> Iterator[None]:
    """Run the block without the cyclic garbage collector, which then goes on as before.

    A copy of a network, its labels and its groups are tens of thousands of tables, tuples and vectors, none of them
    garbage. They make the collector run a dozen times in a cut, over the captured graph as well: a tenth of the time.
    Nothing that trains or exports a network, or reads the user's data, belongs into such a block.

    Yields:
        Nothing.
    """
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()
