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
    """Tensors of which every row and column differs from the others, without rows of zeros, and tied ones still tied.

    `plain` are the tensors as they were.

    Vectors, of which there are many, are scaled all at once, each entry by its own factor. Other tensors count as
    matrices of their first dimension by all others; of random or trained ones each row and column is its own already,
    and they stay as they are: to scale them, too, takes a tenth of a prune, and shows 181 instead of 180 of 240 cuts
    with one wrong index (of MobileNetV2, V3-Small, ResNet-18 and RegNet, on 2026-11-25). The rest are computed when
    they are asked for, always with the same factors: they are used one after the other, and need not all be in memory
    a second time.

    Args:
        state: Parameters and buffers by name; what is no float stays as it is.
        generator: Draws the factors.
    """

    def __init__(self, state: Mapping[str, Tensor], generator: torch.Generator) -> None:
        self.plain = state
        floats = {id(tensor): tensor.detach() for tensor in state.values() if tensor.is_floating_point()}
        self._found = _vectors({key: tensor for key, tensor in floats.items() if tensor.dim() == 1}, generator)
        arrays = {key: each for key, each in floats.items() if each.dim() > 1 and not _tells_slices_apart(each)}
        self._factors = _factors(arrays, generator)
        self._holed = {key for key, tensor in arrays.items() if _may_lack_a_slice(tensor)}

    def __getitem__(self, name: str) -> Tensor:
        tensor = self.plain[name]
        key = id(tensor)
        if key not in self._factors:
            return self._found.get(key, tensor)
        return self._scaled(key, tensor.detach(), *self._factors[key])

    def cut(self, name: str, kept: Mapping[int, Tensor], part: Tensor | None = None) -> Tensor:
        """Return a part of a tensor: the same as cutting it afterwards, with less to multiply.

        Args:
            name: Of the tensor.
            kept: Dimension to the indices that stay.
            part: The part before it is scaled, where there is one already.

        Returns:
            The part.
        """
        tensor = self.plain[name]
        key = id(tensor)
        if key in self._found:
            return selected(self._found[key], kept)
        part = (selected(tensor, kept) if part is None else part).detach()
        if key not in self._factors:
            return part
        rows, columns = self._factors[key]
        if 0 in kept:
            rows = rows.index_select(0, kept[0])
        columns = selected(columns, {dim - 1: indices for dim, indices in kept.items() if dim})
        return self._scaled(key, part, rows, columns)

    def _scaled(self, key: int, tensor: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        matrix = tensor.flatten(1)  # which torch multiplies much faster than kernels of a few entries
        if key in self._holed:
            matrix = matrix.masked_fill(matrix == 0, _FILL)
        return (matrix * columns.flatten()).mul_(rows).view(tensor.shape)

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


def _factors(arrays: Mapping[int, Tensor], generator: torch.Generator) -> dict[int, tuple[Tensor, Tensor]]:
    """Return for each tensor a factor for each of its rows, shape (rows, 1), and for each entry of a row."""
    shapes = [tensor.shape for tensor in arrays.values()]
    lengths = [length for shape in shapes for length in (shape[0], math.prod(shape[1:]))]
    drawn = iter(torch.split(torch.rand(sum(lengths), generator=generator) + 0.5, lengths))
    return {
        key: (next(drawn).unsqueeze(1), next(drawn).view(shape[1:])) for key, shape in zip(arrays, shapes, strict=True)
    }


def _tells_slices_apart(tensor: Tensor) -> bool:
    """Return whether the first row and the first column, which each slice has an entry in, say that all are different.

    They are taken to be where neither holds a zero, or the same number twice in a row.
    """
    array = tensor.numpy()
    edges = array[:1].ravel(), array[(slice(None), *[slice(1)] * (array.ndim - 1))].ravel()
    return all(bool(edge.all()) and bool((edge[1:] != edge[:-1]).all()) for edge in edges)


def _may_lack_a_slice(tensor: Tensor) -> bool:
    """Return whether some slice of a tensor, along any dimension, may be all zero, and so hide that it is cut wrong.

    Each has an entry in the first row or in the first column; single zeros elsewhere hide nothing.
    """
    array = tensor.numpy()
    first_of_each = (slice(None), *[slice(1)] * (array.ndim - 1))
    return not (array[:1].all() and array[first_of_each].all())


def selected(tensor: Tensor, kept: Mapping[int, Tensor]) -> Tensor:
    """Return what is left of a tensor.

    Args:
        tensor: Left as it is.
        kept: Dimension to the indices that stay.

    Returns:
        A new tensor, contiguous; the tensor itself if nothing is cut.
    """
    for dim in sorted(kept):  # whole rows first: they are copied as they lie, and leave less to pick from
        tensor = tensor.index_select(dim, kept[dim].to(tensor.device))
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

    An eighth takes a twentieth off a prune, but leaves one position at the end of most networks, where half of the
    channels are silent: single wrong indices that a quarter shows then go unseen.

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
