"""A packed file -> what a person reads of it: both sizes, always together."""

from __future__ import annotations

from edgeprune import units
from edgeprune.values.packing import Packed, SharingReport


def packed_rows(packed: Packed) -> dict[str, str]:
    """Return rows for the view of an artifact.

    Args:
        packed: The packed file.

    Returns:
        Name of the fact to text.
    """
    size, whole = (units.format_quantity(count, "bytes") for count in (packed.size_bytes, packed.unpacked_bytes))
    rows = {"packed": f"{packed.path}  ({size}, {packed.ratio:.1f} times smaller, for the way to the board)"}
    rows["unpacked"] = f"{whole} on the board and in memory, as without packing"
    return rows | (_sharing_rows(packed.sharing) if packed.sharing else {"weights": "as they are: none are shared"})


def _sharing_rows(report: SharingReport) -> dict[str, str]:
    nonzero = sum(tensor.nonzero for tensor in report.tensors)
    weights = sum(tensor.weights for tensor in report.tensors)
    bits = ", ".join(str(tensor.bits) for tensor in report.tensors)
    losses = f"{report.loss_before:.4f} before, {report.loss_shared:.4f} shared, {report.loss_trained:.4f} trained"
    return {
        "weights": f"{nonzero} of {weights} are not zero; {bits} bits in the tensors, in order",
        "loss": f"{losses}, on calibration batches",
    }
