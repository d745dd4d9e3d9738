"""What a criterion may look at: the weights, and the gradients of a loss over the calibration data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from edgeprune.errors import DataError, ModelError, UsageError
from edgeprune.pruning.capture import FORWARD_ERRORS, first_line, modules_of, tensors
from edgeprune.values.batch import batches

FISHER_EXAMPLES = 256
"""How many examples the empirical Fisher matrix is estimated from; each takes a backward pass of its own."""


class Evidence:
    """Facts about one model, each computed when it is first asked for.

    Args:
        model: In eval mode; left as it is.
        calibration: Loader of (inputs, class indices), or None.
        seed: Of criteria that draw.
    """

    def __init__(self, model: nn.Module, calibration: Iterable[Any] | None, seed: int = 0) -> None:
        self._model, self._calibration, self.seed = model, calibration, seed
        self._saliency: Mapping[str, Tensor] | None = None
        self._curvature: Mapping[str, Tensor] | None = None
        self._modules: dict[str, nn.Module] = modules_of(model, again=True)
        held = tensors(model)
        self.tensors: Mapping[str, Tensor] = {name: tensor.detach() for name, tensor in held.items()}
        self.parameters = frozenset(name for name, tensor in held.items() if isinstance(tensor, nn.Parameter))

    def saliency(self) -> Mapping[str, Tensor]:
        """Return |w · dL/dw| of each parameter, summed over the calibration batches; L is the cross-entropy.

        Returns:
            Parameter name to a tensor of its shape, float32, >= 0.
        """
        if self._saliency is None:
            self._saliency = _saliency(self._model, self._data())
        return self._saliency

    def curvature(self) -> Mapping[str, Tensor]:
        """Return ½ · w² · E[(dL/dw)²] of each parameter; the mean is over single calibration examples.

        The mean square of the gradient is the diagonal of the empirical Fisher matrix, which stands for that of the
        Hessian.

        Returns:
            Parameter name to a tensor of its shape, float32, >= 0.
        """
        if self._curvature is None:
            self._curvature = fisher_curvature(self._model, self._data())
        return self._curvature

    def owner(self, tensor: str) -> nn.Module:
        """Return the module that holds a tensor."""
        return self._modules[tensor.rpartition(".")[0]]

    def _data(self) -> Iterable[Any]:
        if self._calibration is None:
            raise UsageError(
                "This criterion needs gradients, and there are no calibration data.",
                "Pass calibration=loader of (inputs, class indices), or use criterion 'l1'.",
            )
        return self._calibration


def _saliency(model: nn.Module, calibration: Iterable[Any]) -> dict[str, Tensor]:
    with _all_trained(model) as parameters:
        totals = {name: torch.zeros_like(p, dtype=torch.float32) for name, p in parameters.items()}
        for inputs, targets in batches(calibration):
            for name, gradient in _gradients(model, parameters, inputs, targets).items():
                totals[name] += (parameters[name].detach() * gradient).abs().float()
    return totals


def _gradients(model: nn.Module, parameters: Mapping[str, Tensor], inputs: Any, targets: Any) -> dict[str, Tensor]:
    loss = classification_loss(model, inputs, targets)
    found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    return {name: each for name, each in zip(parameters, found, strict=True) if each is not None}


@contextmanager
def _all_trained(model: nn.Module) -> Iterator[dict[str, nn.Parameter]]:
    """Let every float parameter have a gradient, for a while."""
    parameters = {name: p for name, p in model.named_parameters() if p.is_floating_point()}
    wanted = {name: parameter.requires_grad for name, parameter in parameters.items()}
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    try:
        yield parameters
    finally:
        for name, parameter in parameters.items():
            parameter.requires_grad_(wanted[name])


def fisher_curvature(model: nn.Module, calibration: Iterable[Any]) -> dict[str, Tensor]:
    """Return ½ · w² · E[(dL/dw)²] of each parameter, over the first `FISHER_EXAMPLES` examples one by one.

    Args:
        model: In eval mode; left as it is.
        calibration: Loader of (inputs, class indices).

    Returns:
        Parameter name to a tensor of its shape, float32.
    """
    with _all_trained(model) as parameters:
        squares = {name: torch.zeros_like(p, dtype=torch.float32) for name, p in parameters.items()}
        count = 0
        for inputs, targets in islice(_single_examples(calibration), FISHER_EXAMPLES):
            for name, gradient in _gradients(model, parameters, inputs, targets).items():
                squares[name] += gradient.float().square()
            count += 1
    return {name: 0.5 * p.detach().float().square() * squares[name] / count for name, p in parameters.items()}


def _single_examples(calibration: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    for inputs, targets in batches(calibration):
        for index in range(len(targets)):
            yield tree_map_only(Tensor, lambda x, i=index: x[i : i + 1], (inputs, targets))  # type: ignore[misc]


def logits_of(model: nn.Module, inputs: tuple[Any, ...]) -> Tensor:
    """Return the one output tensor of a model on a batch.

    Args:
        model: Any module.
        inputs: A batch's inputs.

    Returns:
        Its output.

    Raises:
        DataError: The model does not run on this batch.
        ModelError: The model returns something else than one tensor.
    """
    try:
        found = model(*inputs)
    except FORWARD_ERRORS as error:
        raise DataError(
            f"The model does not run on a batch of the loader: {first_line(error)}",
            "Check the batch's shapes; batch norm in training needs more than one example (drop_last=True).",
        ) from error
    if not isinstance(found, Tensor):
        raise ModelError(
            f"The model returns a {type(found).__name__}, and the built-in loss takes one tensor of logits.",
            "Give your own trainer, or a criterion that needs no loss, such as 'l1'.",
        )
    return found


def classification_loss(model: nn.Module, inputs: tuple[Any, ...], targets: Any) -> Tensor:
    """Return the mean cross-entropy of a batch.

    Args:
        model: Gives logits, shape (N, classes, ...).
        inputs: The batch's inputs.
        targets: Class indices, shape (N, ...).

    Returns:
        Scalar.
    """
    return checked_loss(cross_entropy(logits_of(model, inputs), targets))


def cross_entropy(logits: Tensor, targets: Any) -> Tensor:
    """Return the mean cross-entropy.

    Args:
        logits: Shape (N, classes, ...).
        targets: Class indices, shape (N, ...).

    Returns:
        Scalar.

    Raises:
        DataError: The targets are no class indices of these logits.
    """
    try:
        return F.cross_entropy(logits, targets)
    except FORWARD_ERRORS as error:
        raise DataError(
            f"The targets are no class indices for logits of shape {tuple(logits.shape)}: {first_line(error)}",
            "Let the loader yield (inputs, targets) with int64 class indices.",
        ) from error


def checked_loss(loss: Tensor) -> Tensor:
    """Return the loss.

    Args:
        loss: Scalar.

    Returns:
        The same.

    Raises:
        ModelError: It is not finite.
    """
    if not torch.isfinite(loss):
        raise ModelError(f"The loss is {loss.item()}.", "Check the model's weights, the data and the learning rate.")
    return loss
