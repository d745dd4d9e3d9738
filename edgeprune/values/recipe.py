"""What a prune kept, as data that replays on a fresh model: no pickle, no code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from edgeprune.errors import UsageError
from edgeprune.values.json import canonical, from_data, to_data


@dataclass(frozen=True, slots=True)
class Slice:
    """One dimension of one parameter or buffer that loses indices.

    Attributes:
        tensor: Its name in the model's state dict.
        dim: The dimension that is cut.
        size: Its length before.
        kept: Indices that stay, ascending.
    """

    tensor: str
    dim: int
    size: int
    kept: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class GroupCut:
    """The channels that one group of coupled layers kept.

    Attributes:
        name: The group's name: its first producing parameter.
        width: Channels before.
        kept: Channels that stay, ascending, numbered within the group.
        slices: Where they stand in the model's tensors.
    """

    name: str
    width: int
    kept: tuple[int, ...]
    slices: tuple[Slice, ...]


@dataclass(frozen=True, slots=True)
class Zeros:
    """The entries of one tensor that are zero.

    Attributes:
        tensor: Its name in the model's state dict.
        shape: Of the tensor in the dense model.
        count: How many entries are zero.
        mask: One bit for each entry in C order, 1 where it is zero; packed, compressed by zlib, in base64.
    """

    tensor: str
    shape: tuple[int, ...]
    count: int
    mask: str


@dataclass(frozen=True, slots=True)
class Removal:
    """A module that is no longer run.

    Attributes:
        module: Its name.
        bypass: "identity" where its output becomes its input, "zero" where it was added to something and adds nothing.
    """

    module: str
    bypass: str


@dataclass(frozen=True, slots=True)
class InputShape:
    """What one example input was.

    Attributes:
        shape: Its shape.
        dtype: Its type, such as "float32".
    """

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True)
class Rewriting:
    """How a model's graph was captured before it was written again.

    Attributes:
        inputs: The example inputs.
        heads: What went from attention, "width" or "whole".
    """

    inputs: tuple[InputShape, ...]
    heads: str = "width"


@dataclass(frozen=True, slots=True)
class PruneRecipe:
    """Everything needed to cut a fresh model in the same way: first weights, then modules, then channels.

    Attributes:
        cuts: One per group that lost channels, in the order of the forward pass.
        attributes: Module attributes that follow the new shapes: module name, attribute, value.
        zeros: Weights that are zero, one per tensor, numbered as in the dense model.
        removals: Modules that are bypassed.
        rewriting: How its graph was written again; None where the model's own class runs.
    """

    cuts: tuple[GroupCut, ...]
    attributes: tuple[tuple[str, str, int | tuple[int, ...]], ...] = ()
    zeros: tuple[Zeros, ...] = ()
    removals: tuple[Removal, ...] = ()
    rewriting: Rewriting | None = None

    def to_json(self) -> str:
        """Return the recipe as canonical JSON text."""
        return canonical({"edgeprune_recipe": 1, **to_data(self)})

    @classmethod
    def from_json(cls, text: str) -> PruneRecipe:
        """Read a recipe.

        Args:
            text: What `to_json` wrote.

        Returns:
            An equal recipe.

        Raises:
            UsageError: The text is no recipe of version 1.
        """
        try:
            data = json.loads(text)
            _version(data)
            return cls(
                tuple(_cut(cut) for cut in data["cuts"]),
                tuple(_attribute(a) for a in data["attributes"]),
                tuple(from_data(Zeros, zeros) for zeros in data.get("zeros", ())),
                tuple(from_data(Removal, removal) for removal in data.get("removals", ())),
                from_data(Rewriting, data["rewriting"]) if data.get("rewriting") else None,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise UsageError(f"This is no prune recipe of version 1 ({error}).", "Prune again to write one.") from error


def _version(data: dict[str, Any]) -> None:
    if data["edgeprune_recipe"] != 1:
        raise ValueError(f"version {data['edgeprune_recipe']}")


def _cut(data: dict[str, Any]) -> GroupCut:
    slices = tuple(Slice(s["tensor"], s["dim"], s["size"], tuple(s["kept"])) for s in data["slices"])
    return GroupCut(data["name"], data["width"], tuple(data["kept"]), slices)


def _attribute(data: list[Any]) -> tuple[str, str, int | tuple[int, ...]]:
    module, name, value = data
    return module, name, tuple(value) if isinstance(value, list) else value
