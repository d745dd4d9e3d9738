"""Masks of zero weights <-> the recipe's data, and their application to a model."""

from __future__ import annotations

import base64
import binascii
import math
import zlib
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from edgeprune.errors import ModelError, UsageError
from edgeprune.pruning.capture import tensors
from edgeprune.values.recipe import Zeros


def packed(masks: Mapping[str, Tensor]) -> tuple[Zeros, ...]:
    """Write masks as a recipe does.

    Args:
        masks: Tensor name to a boolean tensor, True where the weight is zero; those without a True are left out.

    Returns:
        One entry for each tensor that has zeros, in the same order.
    """
    return tuple(_packed(name, mask) for name, mask in masks.items() if bool(mask.any()))


def _packed(name: str, mask: Tensor) -> Zeros:
    bits = np.packbits(mask.numpy().ravel())
    text = base64.b64encode(zlib.compress(bits.tobytes(), 6)).decode()
    return Zeros(name, tuple(mask.shape), int(mask.sum()), text)


def unpacked(zeros: Zeros) -> Tensor:
    """Read a mask from a recipe.

    Args:
        zeros: Of one tensor.

    Returns:
        True where the weight is zero, of the tensor's shape in the dense model.

    Raises:
        UsageError: The data is damaged.
    """
    size = math.prod(zeros.shape)
    try:
        raw = zlib.decompress(base64.b64decode(zeros.mask, validate=True))
        bits = np.unpackbits(np.frombuffer(raw, dtype=np.uint8), count=size)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise UsageError(f"The recipe's zeros of {zeros.tensor!r} are damaged.", "Prune again.") from error
    mask = torch.from_numpy(bits.astype(np.bool_)).reshape(zeros.shape)
    if len(raw) != (size + 7) // 8 or int(mask.sum()) != zeros.count:
        raise UsageError(f"The recipe's zeros of {zeros.tensor!r} are damaged.", "Prune again.")
    return mask


def checked_masks(model: nn.Module, zeros: Iterable[Zeros]) -> dict[str, Tensor]:
    """Read masks that are meant for a model.

    Args:
        model: Dense; left as it is.
        zeros: Of a recipe.

    Returns:
        Tensor name to mask.

    Raises:
        ModelError: The model has no such tensor, or one of another shape.
    """
    zeros = tuple(zeros)
    held = tensors(model) if zeros else {}
    for each in zeros:
        found = tuple(held[each.tensor].shape) if each.tensor in held else None
        if found != each.shape:
            what = "has no such tensor" if found is None else f"its shape is {found}"
            raise ModelError(
                f"The recipe zeroes weights of {each.tensor!r} of shape {each.shape}, and in this model {what}.",
                "Build the model with the code and the sizes with which it was pruned.",
            )
    return {each.tensor: unpacked(each) for each in zeros}


def zero_entries(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Set weights to zero, in place.

    Args:
        model: Changed.
        masks: Tensor name to a boolean tensor of its shape, True where it becomes zero.
    """
    held = tensors(model)
    for name, mask in masks.items():
        # Past autograd's version counter: a forward that runs a module twice may come by here between its two uses.
        held[name].data.masked_fill_(mask, 0)


def merged(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return masks that are True wherever one of two sets of masks is."""
    return {name: _either(first.get(name), second.get(name)) for name in dict.fromkeys([*first, *second])}


def _either(left: Tensor | None, right: Tensor | None) -> Tensor:
    if left is None or right is None:
        found = left if right is None else right
        assert found is not None
        return found
    return left | right
