"""nn.Module -> ATen graph, by torch.export, with the names of the tensors that the module holds."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils._pytree import tree_leaves

from edgeprune.errors import ModelError, PruneError
from edgeprune.pruning.copying import copied_module

FORWARD_ERRORS = (
    RuntimeError, ValueError, TypeError, LookupError, AssertionError, AttributeError, ArithmeticError,
)  # fmt: skip
"""What a user's `forward` raises when something does not fit."""


@dataclass(frozen=True, slots=True)
class Captured:
    """A model as a graph.

    Attributes:
        program: What torch.export gave.
        state: Placeholder to the name of the parameter or buffer behind it; tied tensors share their first name.
    """

    program: ExportedProgram
    state: dict[str, str]


def copied(model: nn.Module, instead: Mapping[int, Tensor] | None = None) -> nn.Module:
    """Return a deep copy of a model.

    Args:
        model: Any module.
        instead: Tensors to stand in the copy, by the `id` of the model's own.

    Returns:
        The copy.

    Raises:
        ModelError: The model holds something that cannot be copied.
    """
    try:
        return copied_module(model, dict(instead or {}))
    except FORWARD_ERRORS as error:
        raise ModelError(
            f"The model cannot be copied ({first_line(error)}).",
            "Keep only parameters, buffers and plain values on its modules; no tensor computed from them.",
        ) from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, or the name of its type."""
    lines = str(error).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return every parameter and buffer of a model by name, tied ones under each of their names."""
    parameters: dict[str, Tensor] = {}
    buffers: dict[str, Tensor] = {}
    _collect(model, "", parameters, buffers)
    return {**parameters, **buffers}


def _collect(module: nn.Module, prefix: str, parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> None:
    # As named_parameters() and named_buffers() do, which walk over all modules once each, and slowly.
    for found, held in ((parameters, module._parameters), (buffers, module._buffers)):
        if held:
            for name, tensor in held.items():
                if tensor is not None:
                    found[prefix + name] = tensor
    for name, child in module._modules.items():
        if child is not None and (child._parameters or child._buffers or child._modules):
            _collect(child, f"{prefix}{name}.", parameters, buffers)


def modules_of(model: nn.Module, *, again: bool = False) -> dict[str, nn.Module]:
    """Return what `dict(model.named_modules(remove_duplicate=not again))` does, without its nested generators.

    Args:
        model: Any module; its own name is "".
        again: Whether a module is also listed under its second name.

    Returns:
        Modules by name, in order.
    """
    found: dict[str, nn.Module] = {"": model}
    _descend(model, "", found, None if again else {id(model)})
    return found


def _descend(module: nn.Module, prefix: str, found: dict[str, nn.Module], seen: set[int] | None) -> None:
    for name, child in module._modules.items():
        if child is None or (seen is not None and id(child) in seen):
            continue
        if seen is not None:
            seen.add(id(child))
        found[prefix + name] = child
        if child._modules:
            _descend(child, f"{prefix}{name}.", found, seen)


def canonical_names(held: Mapping[str, Tensor]) -> dict[str, str]:
    """Return for each of a model's tensors the first name under which the same tensor is known."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(tensor), name) for name, tensor in held.items()}


def capture(model: nn.Module, example_inputs: Sequence[Any]) -> Captured:
    """Export a model that is in eval mode and known to run.

    Args:
        model: Left as it was.
        example_inputs: Positional arguments of its forward.

    Returns:
        The graph and its names.

    Raises:
        PruneError: torch.export cannot follow the model's Python code.
    """
    exportable = copied(model)
    for parameter in exportable.parameters():
        # With gradients off, torch replaces attention by one fused call that hides its channels.
        parameter.requires_grad_(parameter.is_floating_point())
    try:
        with warnings.catch_warnings(), torch.enable_grad():
            warnings.filterwarnings("ignore", message="The tensor attributes? .* assigned during export")
            warnings.filterwarnings("ignore", module=r"torch\.")
            program = torch.export.export(exportable, tuple(example_inputs), strict=False)
    except FORWARD_ERRORS as error:
        raise PruneError(
            f"torch.export cannot capture the model: {first_line(error)}",
            "Make `forward` independent of tensor values (no `if` on a tensor, no `.item()`), then try again.",
        ) from error
    names = canonical_names(tensors(exportable))
    signature = program.graph_signature
    held = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    return Captured(program, {key: names[name] for key, name in held.items()})


def run(model: nn.Module, inputs: Sequence[Any]) -> list[Tensor]:
    """Run a model without gradients.

    Args:
        model: In eval mode.
        inputs: Positional arguments of its forward; not modified.

    Returns:
        Its output tensors, in order.
    """
    with torch.no_grad():
        found = model(*copied_inputs(inputs))
    return [leaf for leaf in tree_leaves(found) if isinstance(leaf, Tensor)]


def copied_inputs(inputs: Sequence[Any]) -> tuple[Any, ...]:
    """Return a deep copy of a model's inputs.

    Args:
        inputs: Positional arguments of its forward.

    Returns:
        The copy; no tensor in it has a history.
    """
    # Tensors are cloned beforehand: `deepcopy` copies their storage by way of Python.
    plain = [leaf for leaf in tree_leaves(tuple(inputs)) if type(leaf) is Tensor]
    return deepcopy(tuple(inputs), {id(leaf): leaf.detach().clone() for leaf in plain})


def run_with(model: nn.Module, state: Mapping[str, Tensor], inputs: Sequence[Any]) -> list[Tensor]:
    """Run a model with other tensors than its own.

    Args:
        model: In eval mode; left as it is.
        state: Tensors by name; what the model does not have is passed over.
        inputs: Positional arguments of its forward; not modified.

    Returns:
        Its output tensors, in order.
    """
    modules = modules_of(model)
    if any(isinstance(module, nn.RNNBase) for module in modules.values()):
        return run(_filled(copied(model), state), inputs)  # it holds its weights twice
    with _holding(modules, state):
        return run(model, inputs)


@contextmanager
def _holding(modules: Mapping[str, nn.Module], state: Mapping[str, Tensor]) -> Iterator[None]:
    """Let modules hold other tensors inside the block; torch's functional_call looks each of them up by its name."""
    own = []
    for owner, module in modules.items():
        prefix = f"{owner}." if owner else ""
        tables: tuple[dict[str, Any], ...] = (module._parameters, module._buffers)
        for held in tables:
            if held:
                own.append((held, dict(held)))
                held.update((name, state[prefix + name]) for name in held if prefix + name in state)
    try:
        yield
    finally:
        for held, before in own:
            held.update(before)


def _filled(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    with torch.no_grad():
        for name, tensor in tensors(model).items():
            if name in state:
                tensor.copy_(state[name])
    return model


def checked_run(model: nn.Module, inputs: Sequence[Any]) -> list[Tensor]:
    """Run a model that is not known to run.

    Args:
        model: In eval mode.
        inputs: Positional arguments of its forward; not modified.

    Returns:
        Its output tensors, in order.

    Raises:
        ModelError: It does not run on these inputs, or its outputs are not finite.
    """
    try:
        outputs = run(model, inputs)
    except FORWARD_ERRORS as error:
        shapes = ", ".join(str(tuple(leaf.shape)) for leaf in tree_leaves(tuple(inputs)) if isinstance(leaf, Tensor))
        raise ModelError(
            f"The model does not run on example inputs of shape {shapes}: {first_line(error)}",
            "Give one tensor for each argument of `forward`, batch first.",
        ) from error
    if any(not torch.isfinite(output).all() for output in outputs):
        raise ModelError("The model's outputs hold NaN or infinity.", "Check its weights and the example inputs.")
    return outputs
