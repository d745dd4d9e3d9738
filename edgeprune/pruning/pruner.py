"""nn.Module + PruneSpec -> a smaller nn.Module, by one of the methods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from edgeprune.errors import EdgePruneError, ModelError, UsageError
from edgeprune.pruning.capture import checked_run, copied, modules_of, tensors
from edgeprune.pruning.exclusion import check_patterns
from edgeprune.pruning.keeping import Recover, between_steps
from edgeprune.pruning.result import PruneResult
from edgeprune.registry import Registry
from edgeprune.values.event import Listener, ignore
from edgeprune.values.spec import PruneSpec, parse_target

METHODS = Registry(
    "pruning method",
    {
        "channel": "edgeprune.pruning.channels:prune_channels",
        "weight": "edgeprune.pruning.weight:prune_weights",
        "layer": "edgeprune.pruning.layer:prune_layers",
        "connection": "edgeprune.pruning.connection:prune_connections",
        "hybrid": "edgeprune.pruning.hybrid:prune_hybrid",
    },
)


def prune(
    model: nn.Module,
    spec: PruneSpec,
    *,
    example_inputs: tuple[Tensor, ...],
    calibration: Iterable[Any] | None = None,
    recover: Recover | None = None,
    listener: Listener = ignore,
) -> PruneResult:
    """Prune a model, and prove that what is left computes what it should.

    Args:
        model: Any module that torch.export can capture; never touched.
        spec: How to prune.
        example_inputs: Positional arguments of the model's forward, batch first.
        calibration: Loader of (inputs, targets) for criteria that need data.
        recover: Called as recover(model, recipe) between two steps, to train the model in place; the recipe says what
            led to it. What is zero stays zero. None goes on to the next step at once.
        listener: Hears of progress.

    Returns:
        The pruned copy, its recipe, a report of every group, and the proof.

    Raises:
        UsageError: This version has no such method, or it cannot aim at the spec's target.
        ModelError: Model and example inputs do not fit together, or give NaN.
        PruneError: The model cannot be captured, nothing can be pruned, or the result was not proved.
    """
    if spec.method not in METHODS:
        raise UsageError(
            f"This version cannot prune by the method {spec.method!r}.", f"Available: {', '.join(METHODS)}."
        )
    _check_target(spec)
    inputs = tuple(example_inputs) if isinstance(example_inputs, (tuple, list)) else (example_inputs,)
    _check_tensors(model, inputs)
    check_patterns(model, spec.exclude)
    if isinstance(calibration, Iterator):
        calibration = list(calibration)  # every step reads it again
    training = any(module.training for module in modules_of(model).values())
    working = copied(model).eval() if training else model  # which no method changes
    with _model_at_fault(working, inputs):
        result: PruneResult = METHODS.load(spec.method)(
            working, spec, inputs, calibration, listener, between_steps(recover)
        )
    if result.model is model:  # nothing was removed
        result = replace(result, model=copied(model))
    modes = {name: module.training for name, module in modules_of(model).items()} if training else {}
    for name, module in modules_of(result.model).items():
        if module.training != (wanted := modes.get(name, model.training)):
            module.training = wanted
    return result


def _check_target(spec: PruneSpec) -> None:
    if spec.target is None:
        return
    step = "Give an amount such as ratio=0.5, or run `edgeprune search` with several ratios."
    if parse_target(spec.target)[0] != "params":
        raise UsageError(f"A prune by itself cannot aim at {spec.target!r}: that is measured on a board.", step)
    if spec.method != "channel":
        raise UsageError(f"The method {spec.method!r} cannot aim at {spec.target!r}.", step)


@contextmanager
def _model_at_fault(model: nn.Module, inputs: tuple[Any, ...]) -> Iterator[None]:
    # When something fails inside the block, say so if the cause is that the model does not run.
    try:
        yield
    except EdgePruneError:
        checked_run(model, inputs)
        raise


def _check_tensors(model: nn.Module, inputs: tuple[Any, ...]) -> None:
    # Refuse what the proof could not hold for: other devices, half precision, a mixture.
    held = {name: tensor for name, tensor in tensors(model).items() if tensor.is_floating_point()}
    given = {f"input {n}": leaf for n, leaf in enumerate(tree_leaves(inputs)) if isinstance(leaf, Tensor)}
    for name, tensor in {**held, **given}.items():
        if tensor.device.type != "cpu":
            raise ModelError(f"{name} is on {tensor.device}.", "Move the model and its inputs to the CPU: model.cpu().")
        if tensor.is_floating_point() and tensor.element_size() < 4:
            raise ModelError(f"{name} is {tensor.dtype}.", "Prune in float32: model.float().")
