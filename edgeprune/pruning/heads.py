"""Which reshapes split channels into attention heads, and which of their dimensions counts the heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch.fx import Graph, Node

from edgeprune.pruning.nodes import op_name, shape_of

_ATTENDING = {"scaled_dot_product_attention", "matmul", "bmm", "baddbmm", "einsum"}
_PRODUCING = _ATTENDING | {
    "linear", "addmm", "mm", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "convolution", "embedding", "lstm", "gru", "softmax", "_softmax",
}  # fmt: skip


def attended(graph: Graph) -> frozenset[Node]:
    """Return the nodes whose values go into attention: into a product of two activations, without a layer between.

    Args:
        graph: Of a model.

    Returns:
        Queries, keys and values, and all that is only moved about until it is one of them.
    """
    found: set[Node] = set()
    made = _made(graph)
    for node in reversed(list(graph.nodes)):
        if node.op != "call_function":
            continue
        name = op_name(node)
        sides = node.all_input_nodes
        attends = name in _ATTENDING and sum(side in made for side in sides) > 1
        if attends or (node in found and name not in _PRODUCING):
            found.update(sides)
    return frozenset(found)


def _made(graph: Graph) -> set[Node]:
    """Return the nodes that depend on more than parameters: those behind any layer."""
    found: set[Node] = set()
    for node in graph.nodes:
        if node.op == "call_function" and (
            op_name(node) in _PRODUCING or any(side in found for side in node.all_input_nodes)
        ):
            found.add(node)
    return found


def head_dimension(node: Node, dims: Sequence[int]) -> int | None:
    """Return which of the dimensions that a reshape splits channels into counts the heads.

    Args:
        node: The reshape.
        dims: Dimensions of its result along which channels vary, ascending; the last one is the width of a head.

    Returns:
        The last one but the width that is not taken apart later, as query, key and value are; None if there is none.
    """
    return next((dim for dim in reversed(dims[:-1]) if not _taken_apart(node, dim)), None)


def _taken_apart(node: Node, dim: int) -> bool:
    return any(_parts(user, dim) for user in node.users)


def _parts(user: Node, dim: int) -> bool:
    """Return whether a node, or one behind it, cuts a dimension of its argument into parts."""
    name = op_name(user)
    arguments: Sequence[Any] = user.args
    rank = len(shape_of(arguments[0])) if arguments and isinstance(arguments[0], Node) else 0
    if name in _CUTS:
        return _CUTS[name](arguments) % rank == dim
    if name not in _MOVES:
        return False
    place = _MOVES[name](arguments, rank, dim)
    return place is not None and _taken_apart(user, place)


def _second(arguments: Sequence[Any], default: int = 0) -> int:
    return int(arguments[1]) if len(arguments) > 1 else default


def _third(arguments: Sequence[Any]) -> int:
    return int(arguments[2]) if len(arguments) > 2 else 0


_CUTS: dict[str, Callable[[Sequence[Any]], int]] = {
    "unbind": _second,
    "select": _second,
    "slice": _second,
    "split": _third,
    "split_with_sizes": _third,
    "chunk": _third,
}


def _permuted(arguments: Sequence[Any], rank: int, dim: int) -> int | None:
    return [each % rank for each in arguments[1]].index(dim)


def _swapped(arguments: Sequence[Any], rank: int, dim: int) -> int | None:
    first, second = (each % rank for each in arguments[1:3])
    return int({first: second, second: first}.get(dim, dim))


def _widened(arguments: Sequence[Any], rank: int, dim: int) -> int | None:
    return dim + int(dim >= arguments[1] % (rank + 1))


def _narrowed(arguments: Sequence[Any], rank: int, dim: int) -> int | None:
    gone = arguments[1] % rank if len(arguments) > 1 and isinstance(arguments[1], int) else rank
    return None if dim == gone else dim - (dim > gone)


def _same(arguments: Sequence[Any], rank: int, dim: int) -> int | None:
    return dim


_MOVES: dict[str, Callable[[Sequence[Any], int, int], int | None]] = {
    "permute": _permuted,
    "transpose": _swapped,
    "unsqueeze": _widened,
    "squeeze": _narrowed,
    **dict.fromkeys(("contiguous", "clone", "mul", "div", "to", "layer_norm", "rms_norm", "dropout"), _same),
}
