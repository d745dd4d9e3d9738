"""Figures of the packing study -> its document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ANCHORS = {"LeNet-300-100": "40", "LeNet-5": "39", "small VGG": "–"}
COLUMNS = (
    "network", "data", "parameters", "not zero", "packed", "ratio", "Deep Compression", "accuracy dense", "pruned",
    "shared", "ONNX file", "unpacking",
)  # fmt: skip
TITLE = "# Packing: pruned, shared and coded weights\n"
METHOD = """
`make packing-study` trains, prunes, shares, packs and measures. Each network is trained densely (AdamW, cosine),
pruned by magnitude over all
tensors together in steps by the cubic schedule with training between them (`PruneSpec(method="weight")`, the dense
network as teacher), then its
weights share values (`edgeprune.pruning.sharing`), it is exported to ONNX, packed, and unpacked by the agent. One
seed, one thread. Layout and method: [packing.md](../packing.md).

- *Ratio* compares the whole packed file, with the graph, names, biases and tables in it, with 4 bytes for each
  parameter of the dense network.
- *Accuracy* is that of the ONNX file (for the last column: of the very file that the agent unpacks), by onnxruntime
  over the 10 000 test images. One image is
  0.01 pt, and the standard error of such a figure is about 0.1 pt: differences below that say nothing.
- *Unpacking* is the wall time of `store.unpack` on the agent, median of five fresh stores, writing to disk and the
  check of the SHA-256 included.
- On the board and in memory the model is as large as before: the ONNX file has every zero.
"""


def study(found: Mapping[str, Mapping[str, Any]], notes: str = "") -> str:
    """Write the document.

    Args:
        found: Network to what `packing_measure.measure` found.
        notes: Appended: what a reader has to know of this very run.

    Returns:
        Markdown.
    """
    rows = "\n".join(_row(name, figures) for name, figures in found.items())
    head = "| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|\n"
    tensors = "\n".join(_tensors(name, figures) for name, figures in found.items())
    return f"{TITLE}{METHOD}\n{head}{rows}\n\n{_STAGES}\n{_stages(found)}\n\n{_BITS}\n{tensors}\n{notes}"


_STAGES = """The same packer on each stage, in bytes: zeros alone do little as long as each weight has a value of its own.

| network | dense | pruned | shared |
|---|---|---|---|"""
_BITS = """Bits of the values, and how many weights of each tensor are not zero:

| network | tensor | weights | not zero | bits | values | entropy of the values |
|---|---|---|---|---|---|---|"""
_DATA = {"mnist": "MNIST", "fashion": "Fashion-MNIST"}


def _row(name: str, figures: Mapping[str, Any]) -> str:
    stages = figures["stages"]
    accuracies = " | ".join(f"{stages[stage]['accuracy']:.2%}" for stage in ("dense", "pruned", "shared"))
    shared = stages["shared"]
    data = f"{_DATA[figures['data']]}, {figures['images']} images"
    packed = f"{shared['packed_bytes']} B | **{figures['ratio']:.1f}**"
    return (
        f"| {name} | {data} | {figures['params']} | {shared['nonzero']} | {packed} "
        f"| {ANCHORS[name]} | {accuracies} | {shared['file_bytes']} B | {figures['unpack_s']:.2f} s |"
    )


def _stages(found: Mapping[str, Mapping[str, Any]]) -> str:
    names = ("dense", "pruned", "shared")
    return "\n".join(
        f"| {name} | {' | '.join(str(figures['stages'][stage]['packed_bytes']) for stage in names)} |"
        for name, figures in found.items()
    )


def _tensors(name: str, figures: Mapping[str, Any]) -> str:
    keys = ("weights", "nonzero", "bits", "values")
    return "\n".join(
        f"| {name} | `{row['name']}` | {' | '.join(str(row[key]) for key in keys)} | {row['entropy_bits']:.2f} bits |"
        for row in figures["sharing"]["tensors"]
    )
