"""A user's module -> a frozen copy that takes a flat row of tensors and gives a flat tuple of tensors."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgeprune.errors import ModelError
from edgeprune.exporting.arrays import is_finite
from edgeprune.exporting.thirdparty import failing_as


class FlatModel(nn.Module):
    """A copy of a model as converters want it: in eval mode, on the CPU, outputs as one flat tuple.

    The copy is what keeps the user's own model as it was, whatever a converter does.

    Args:
        model: Any module; it is copied, not touched.
        example_inputs: What its forward takes, batch first, all of one batch size.
    """

    def __init__(self, model: nn.Module, example_inputs: Sequence[Tensor]) -> None:
        super().__init__()
        if not isinstance(model, nn.Module):
            raise ModelError(f"A {type(model).__name__} is no torch.nn.Module.", "Give the module itself.")
        self.example_inputs = _checked(example_inputs)
        with failing_as(ModelError, "The model cannot be copied", "Let copy.deepcopy(model) work, then export."):
            self.model = copy.deepcopy(model).eval().requires_grad_(False).cpu()
        self.eval()
        self.n_outputs = len(self.infer(self.example_arrays))

    @property
    def batch_size(self) -> int:
        """Examples along dim 0 of the example inputs."""
        return self.example_inputs[0].shape[0]

    @property
    def example_arrays(self) -> list[np.ndarray]:
        """The example inputs as arrays."""
        return [tensor.numpy() for tensor in self.example_inputs]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the model.

        Args:
            *inputs: As the model's own forward takes them.

        Returns:
            Its output tensors, in the order in which its tuples, lists and dicts hold them.
        """
        return tuple(_leaves(self.model(*inputs)))

    def infer(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run the model on arrays.

        Args:
            inputs: One per input.

        Returns:
            One array per output.

        Raises:
            ModelError: The model does not run on them, or gives NaN or infinity.
        """
        shapes = ", ".join(str(array.shape) for array in inputs)
        step = "Check the shapes and types of the example inputs."
        with torch.no_grad(), failing_as(ModelError, f"The model does not run on inputs of shape {shapes}", step):
            outputs = [_array(output) for output in self(*(torch.from_numpy(array) for array in inputs))]
        for index, output in enumerate(outputs):
            if not is_finite(output):
                raise ModelError(
                    f"Output {index} of the model holds NaN or infinity in eval mode.",
                    "Check the weights and batch norm's running statistics before exporting.",
                )
        return outputs


def _checked(example_inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    if not isinstance(example_inputs, (tuple, list)) or not example_inputs:
        raise ModelError("There are no example inputs.", "Give a tuple with one tensor per input of the model.")
    for tensor in example_inputs:
        if not isinstance(tensor, Tensor) or tensor.ndim == 0:
            raise ModelError("An example input is no tensor with a batch dimension.", "Give tensors, batch first.")
    sizes = [tensor.shape[0] for tensor in example_inputs]
    if len(set(sizes)) != 1 or sizes[0] == 0:
        raise ModelError(
            f"The example inputs have the batch sizes {sizes}.", "Give all of them one batch size, from 1."
        )
    return tuple(tensor.detach().cpu().contiguous() for tensor in example_inputs)


def _leaves(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, Mapping):
        return [leaf for value in output.values() for leaf in _leaves(value)]
    if isinstance(output, (tuple, list)):
        return [leaf for value in output for leaf in _leaves(value)]
    raise TypeError(f"its forward returned a {type(output).__name__} where a tensor was due")


def _array(tensor: Tensor) -> np.ndarray:
    """Return the tensor as an array; numpy has no bfloat16."""
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
