"""How large a model's weights are in a file, as they are and compressed."""

from __future__ import annotations

import zlib

import numpy as np
from torch import nn

from edgeprune.pruning.capture import canonical_names, tensors
from edgeprune.pruning.result import SizeReport

LEVEL = 6
"""Of zlib; what zip and gzip use when nobody asks."""


def size_report(before: nn.Module, after: nn.Module) -> SizeReport:
    """Compare the weights of two models.

    Args:
        before: The dense model.
        after: The pruned one.

    Returns:
        Bytes of both, raw and compressed.
    """
    (disk_before, small_before), (disk_after, small_after) = _sizes(before), _sizes(after)
    return SizeReport(disk_before, disk_after, small_before, small_after)


def _sizes(model: nn.Module) -> tuple[int, int]:
    # Parameters and buffers, tied ones once, as raw numbers one after the other.
    held = tensors(model)
    compressor = zlib.compressobj(LEVEL)
    raw, small = 0, 0
    for name in dict.fromkeys(canonical_names(held).values()):
        data = np.ascontiguousarray(held[name].detach().numpy()).tobytes()
        raw += len(data)
        small += len(compressor.compress(data))
    return raw, small + len(compressor.flush())
