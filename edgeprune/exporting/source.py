"""What an artifact is made from and compared with: a torch model, or a float file that came from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from edgeprune.values.spec import ExportSpec


class Source(Protocol):
    """A network that can be run, and written as a float file."""

    @property
    def batch_size(self) -> int:
        """Examples along dim 0 of the example inputs."""

    @property
    def example_arrays(self) -> list[np.ndarray]:
        """One array per input, batch first."""

    def infer(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run the network.

        Args:
            inputs: One array per input.

        Returns:
            One array per output.
        """

    def check(self, spec: ExportSpec) -> None:
        """Refuse at once what cannot be made of this network.

        Args:
            spec: What is asked for.
        """

    def float_file(self, spec: ExportSpec) -> bytes:
        """Return the network as a float file of the spec's format.

        Args:
            spec: Format, opset, layout and names count here.

        Returns:
            The same object for equal specs.
        """
