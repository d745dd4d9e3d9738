"""What a criterion may look at: the weights, and the gradients of a loss over the calibration data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeprune.errors import DataError, ModelError, UsageError
from edgeprune.pruning.capture import FORWARD_ERRORS, first_line, tensors
from edgeprune.values.batch import batches


class Evidence:
    """Facts about one model, each computed when it is first asked for.

    Args:
        model: In eval mode; left as it is.
        calibration: Loader of (inputs, class indices), or None.
    """

    def __init__(self, model: nn.Module, calibration: Iterable[Any] | None) -> None:
        self._model, self._calibration = model, calibration
        self._saliency: Mapping[str, Tensor] | None = None
        self.tensors: Mapping[str, Tensor] = {name: tensor.detach() for name, tensor in tensors(model).items()}
        self.parameters = frozenset(name for name, _ in model.named_parameters())

    def saliency(self) -> Mapping[str, Tensor]:
        """Return |w · dL/dw| of each parameter, summed over the calibration batches; L is the cross-entropy.

        Returns:
            Parameter name to a tensor of its shape, float32, >= 0.

        Raises:
            UsageError: There are no calibration data.
        """
        if self._calibration is None:
            raise UsageError(
                "This criterion needs gradients, and there are no calibration data.",
                "Pass calibration=loader of (inputs, class indices), or use criterion 'l1'.",
            )
        if self._saliency is None:
            self._saliency = _saliency(self._model, self._calibration)
        return self._saliency


def _saliency(model: nn.Module, calibration: Iterable[Any]) -> dict[str, Tensor]:
    parameters = {name: p for name, p in model.named_parameters() if p.is_floating_point()}
    wanted = {parameter: parameter.requires_grad for parameter in parameters.values()}
    for parameter in wanted:
        parameter.requires_grad_(True)
    totals = {name: torch.zeros_like(p, dtype=torch.float32) for name, p in parameters.items()}
    for inputs, targets in batches(calibration):
        loss = classification_loss(model, inputs, targets)
        found = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
        for (name, parameter), gradient in zip(parameters.items(), found, strict=True):
            if gradient is not None:
                totals[name] += (parameter.detach() * gradient).abs().float()
    for parameter, required in wanted.items():
        parameter.requires_grad_(required)
    return totals


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
