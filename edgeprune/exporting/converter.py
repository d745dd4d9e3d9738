"""FlatModel -> float file. One subclass a format; what comes after, `reducer` does to any file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from edgeprune.errors import UsageError
from edgeprune.exporting.flat_model import FlatModel
from edgeprune.registry import Registry
from edgeprune.values.spec import ExportSpec

CONVERTERS = Registry(
    "export format",
    {
        "onnx": "edgeprune.exporting.to_onnx:OnnxConverter",
        "tflite": "edgeprune.exporting.to_tflite:TfliteConverter",
    },
    extra="tflite",
)


class Converter(ABC):
    """The road into one format.

    One conversion serves every precision.
    """

    @abstractmethod
    def check(self, spec: ExportSpec, input_names: Sequence[str]) -> None:
        """Refuse at once what this format cannot have.

        Args:
            spec: What is asked for.
            input_names: One per input.

        Raises:
            UsageError: The format cannot have it.
            MissingExtra: The converter is not installed.
        """

    @abstractmethod
    def convert(self, model: FlatModel, spec: ExportSpec, input_names: Sequence[str]) -> bytes:
        """Convert a model to a float file.

        Args:
            model: What to convert.
            spec: Opset and dynamic batch; its precision does not matter here.
            input_names: One per input; the outputs are called output_0, output_1, …

        Returns:
            The file.

        Raises:
            ExportError: The converter failed; says which operator.
        """


def named_inputs(spec: ExportSpec, n_inputs: int) -> tuple[str, ...]:
    """Return the names of the inputs: the spec's own, or input_0, input_1 and so on.

    Args:
        spec: Whose names to take.
        n_inputs: How many inputs the model has.

    Returns:
        One name per input.

    Raises:
        UsageError: There are too many or too few names, one twice, an empty one, or one that an output has.
    """
    if not spec.input_names:
        return tuple(f"input_{index}" for index in range(n_inputs))
    names = spec.input_names
    taken = [name for name in names if not name or name.startswith("output_") or names.count(name) > 1]
    if len(names) != n_inputs or taken:
        raise UsageError(
            f"The input names {list(names)} do not fit {n_inputs} input{'s' * (n_inputs != 1)}.",
            "Give each input one name of its own; names that start with output_ are the outputs'.",
        )
    return names


def output_names(model: FlatModel) -> list[str]:
    """Return output_0, output_1, … for each output of a model."""
    return [f"output_{index}" for index in range(model.n_outputs)]
