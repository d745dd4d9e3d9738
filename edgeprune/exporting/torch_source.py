"""nn.Module -> a source of artifacts: converted once per format, opset and layout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from edgeprune.exporting.converter import CONVERTERS, Converter, named_inputs
from edgeprune.exporting.flat_model import FlatModel
from edgeprune.values.spec import ExportSpec


class TorchSource:
    """A torch model, copied at once: what happens to the user's afterwards does not matter to either side.

    Args:
        model: Any module.
        example_inputs: What its forward takes, batch first.
    """

    def __init__(self, model: nn.Module, example_inputs: tuple[Tensor, ...]) -> None:
        self._model = FlatModel(model, example_inputs)
        self._converted: dict[tuple[Any, ...], bytes] = {}

    @property
    def batch_size(self) -> int:
        """Examples along dim 0 of the example inputs; it becomes the artifacts'."""
        return self._model.batch_size

    @property
    def example_arrays(self) -> list[np.ndarray]:
        """The example inputs as arrays."""
        return self._model.example_arrays

    def infer(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run the model.

        Args:
            inputs: One array per input.

        Returns:
            One array per output; see `FlatModel.infer` for what can be wrong.
        """
        return self._model.infer(inputs)

    def check(self, spec: ExportSpec) -> None:
        """Refuse what the spec's format cannot have; see `Converter.check`."""
        self._converter(spec).check(spec, self._names(spec))

    def float_file(self, spec: ExportSpec) -> bytes:
        """Convert the model, or find what an earlier call converted.

        Args:
            spec: Format, opset, layout and names count here.

        Returns:
            The file; see `Converter.convert` for what can be wrong.
        """
        names = self._names(spec)
        key = (spec.format, spec.opset, spec.dynamic_batch, spec.channels_last, names)
        if key not in self._converted:
            self._converted[key] = self._converter(spec).convert(self._model, spec, names)
        return self._converted[key]

    def _names(self, spec: ExportSpec) -> tuple[str, ...]:
        return named_inputs(spec, len(self._model.example_inputs))

    def _converter(self, spec: ExportSpec) -> Converter:
        converter: Converter = CONVERTERS.load(spec.format)()
        return converter
