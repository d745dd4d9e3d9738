"""Modules that are no longer run: replaced in a copy, or bypassed by hooks in the network as it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from edgeprune.errors import ModelError
from edgeprune.values.recipe import Removal


class Silent(nn.Module):
    """Stands where a residual branch was: what it is added to stays as it is."""

    def forward(self, x: Tensor) -> Tensor:
        """Return zeros.

        Args:
            x: Any tensor.

        Returns:
            Zeros of its shape.
        """
        return torch.zeros_like(x)


_REPLACEMENTS: Mapping[str, Callable[[], nn.Module]] = {"identity": nn.Identity, "zero": Silent}


def remove(model: nn.Module, removals: Sequence[Removal]) -> None:
    """Replace modules by what bypasses them.

    Args:
        model: Changed; whole if it lacks one of the modules.
        removals: Which, and how.

    Raises:
        ModelError: The model has no such module, or the way to bypass it is unknown.
    """
    names = {name for name, _ in model.named_modules(remove_duplicate=False)}
    for removal in removals:
        if removal.module not in names or not removal.module or removal.bypass not in _REPLACEMENTS:
            raise ModelError(
                f"The recipe removes module {removal.module!r} ({removal.bypass}), and the model has none.",
                "Build the model with the code with which it was pruned.",
            )
    for removal in removals:
        new = _REPLACEMENTS[removal.bypass]()
        new.training = model.get_submodule(removal.module).training
        model.set_submodule(removal.module, new)


@contextmanager
def bypassed(model: nn.Module, removals: Iterable[Removal]) -> Iterator[None]:
    """Run a model with some modules bypassed: they are run, and what they give is thrown away.

    Args:
        model: Has hooks inside the block; left as it is after it.
        removals: Which, and how.

    Yields:
        Nothing.
    """
    handles = [
        model.get_submodule(removal.module).register_forward_hook(_HOOKS[removal.bypass]) for removal in removals
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _identity(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    return args[0]


def _zero(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    return torch.zeros_like(output)


_HOOKS: Mapping[str, Callable[[nn.Module, tuple[Any, ...], Any], Any]] = {"identity": _identity, "zero": _zero}
