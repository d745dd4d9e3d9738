"""Other inputs and other weights for a network, so that nothing in it is zero, equal or silent by chance."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

_FILL = 0.1
"""What zeros become."""

_LARGE = 128
"""Images with sides of at least this length have a smaller form."""

_STEP = 32
"""Sides of smaller images are multiples of this, as most networks that halve an image five times ask."""


class Perturbed(Mapping[str, Tensor]):
    """Tensors with every row and column scaled by its own factor, no zeros, and tied ones still tied.

    `plain` are the tensors as they were.

    Vectors, of which there are many, are scaled all at once. Other tensors are computed when they are asked for, always
    with the same factors: they are used one after the other, and need not all be in memory a second time.

    Args:
        state: Parameters and buffers by name; what is no float stays as it is.
        generator: Draws the factors.
    """

    def __init__(self, state: Mapping[str, Tensor], generator: torch.Generator) -> None:
        self.plain = state
        floats = {id(tensor): tensor.detach() for tensor in state.values() if tensor.is_floating_point()}
        self._found = _vectors({key: tensor for key, tensor in floats.items() if tensor.dim() == 1}, generator)
        arrays = {key: tensor for key, tensor in floats.items() if tensor.dim() > 1}
        self._factors = _factors(arrays, generator)
        self._holed = {key for key, tensor in arrays.items() if not tensor.numpy().all()}  # torch counts more slowly

    def __getitem__(self, name: str) -> Tensor:
        tensor = self.plain[name]
        key = id(tensor)
        if key not in self._factors:
            return self._found.get(key, tensor)
        return self._scaled(key, tensor.detach(), self._factors[key])

    def cut(self, name: str, kept: Mapping[int, Tensor], part: Tensor | None = None) -> Tensor:
        """Return a part of a tensor: the same as cutting it afterwards, with less to multiply.

        Args:
            name: Of the tensor.
            kept: Dimension to the indices that stay.
            part: The part before it is scaled, where there is one already.

        Returns:
            The part.
        """
        key = id(self.plain[name])
        if key not in self._factors:
            return selected(self[name], kept)
        part = (selected(self.plain[name], kept) if part is None else part).detach()
        factors = self._factors[key]
        sides = {dim: factor.index_select(0, kept[dim]) if dim in kept else factor for dim, factor in factors.items()}
        return self._scaled(key, part, sides)

    def _scaled(self, key: int, tensor: Tensor, factors: Mapping[int, Tensor]) -> Tensor:
        scales = list(factors.values())
        if tensor.dim() > 3:  # of a kernel, the product of the factors is much smaller than the tensor
            scales = [math.prod(scales[1:], start=scales[0])]
        holed = key in self._holed
        scaled = tensor.masked_fill(tensor == 0, _FILL).mul_(scales[0]) if holed else tensor * scales[0]
        for scale in scales[1:]:
            scaled *= scale
        return scaled

    def __iter__(self) -> Iterator[str]:
        return iter(self.plain)

    def __len__(self) -> int:
        return len(self.plain)


def _vectors(found: Mapping[int, Tensor], generator: torch.Generator) -> dict[int, Tensor]:
    """Return vectors without zeros, scaled."""
    scaled: dict[int, Tensor] = {}
    for dtype in dict.fromkeys(vector.dtype for vector in found.values()):
        alike = {key: vector for key, vector in found.items() if vector.dtype == dtype}
        joined = torch.cat(list(alike.values()))
        joined = joined.masked_fill(joined == 0, _FILL) * (torch.rand(len(joined), generator=generator) + 0.5)
        scaled.update(zip(alike, torch.split(joined, [len(vector) for vector in alike.values()]), strict=True))
    return scaled


def _factors(arrays: Mapping[int, Tensor], generator: torch.Generator) -> dict[int, dict[int, Tensor]]:
    """Return for each tensor, and each dimension of it that is scaled, a vector that broadcasts along the others."""
    scaled = {key: _scaled_dims(tensor.shape) for key, tensor in arrays.items()}
    lengths = [arrays[key].shape[dim] for key, dims in scaled.items() for dim in dims]
    drawn = iter(torch.split(torch.rand(sum(lengths), generator=generator) + 0.5, lengths))
    return {
        key: {dim: next(drawn).view(-1, *[1] * (arrays[key].dim() - 1 - dim)) for dim in dims}
        for key, dims in scaled.items()
    }


def _scaled_dims(shape: Sequence[int]) -> list[int]:
    # Of a kernel the two that have channels.
    longer = [dim for dim, length in enumerate(shape) if length != 1]
    return longer[: 3 if len(shape) < 4 else 2] or [0]


def selected(tensor: Tensor, kept: Mapping[int, Tensor]) -> Tensor:
    """Return what is left of a tensor.

    Args:
        tensor: Left as it is.
        kept: Dimension to the indices that stay.

    Returns:
        A new tensor, contiguous; the tensor itself if nothing is cut.
    """
    for dim, indices in kept.items():
        tensor = tensor.index_select(dim, indices.to(tensor.device))
    return tensor.contiguous()


def random_like(inputs: Sequence[Any], generator: torch.Generator) -> tuple[Any, ...]:
    """Return normal noise with each float input's own mean and spread; other inputs with their examples shuffled.

    Args:
        inputs: Example inputs.
        generator: Draws.

    Returns:
        As many inputs, of the same shapes.
    """

    def draw(value: Tensor) -> Tensor:
        if value.is_floating_point() and value.numel():
            spread = value.std() if value.numel() > 1 else value.abs().mean()
            noise = torch.randn(value.shape, generator=generator, dtype=value.dtype)
            return noise * (spread if spread > 0 else 1.0) + value.mean()
        return value[torch.randperm(len(value), generator=generator)] if value.dim() else value

    drawn: tuple[Any, ...] = tree_map_only(Tensor, draw, tuple(inputs))
    return drawn


def smaller(inputs: Sequence[Any]) -> tuple[Any, ...] | None:
    """Return inputs with large images cut to about a quarter of their height and width.

    Args:
        inputs: Any inputs; images have the shape (N, C, H, W).

    Returns:
        The smaller inputs; None if there is no image among them, or one that is too small.
    """
    images = [leaf for leaf in tree_leaves(tuple(inputs)) if isinstance(leaf, Tensor) and leaf.dim() == 4]
    if not images or any(min(image.shape[2:]) < _LARGE for image in images):
        return None

    def cut(value: Tensor) -> Tensor:
        if value.dim() != 4:
            return value
        height, width = (_STEP * math.ceil(length / 4 / _STEP) for length in value.shape[2:])
        return value[..., :height, :width].contiguous()

    found: tuple[Any, ...] = tree_map_only(Tensor, cut, tuple(inputs))
    return found
