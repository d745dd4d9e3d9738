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


def study(found: Mapping[str, Mapping[str, Any]], notes: str) -> str:
    """Write the document.

    Args:
        found: Network to what `packing_measure.measure` found.
        notes: How it was done, in Markdown.

    Returns:
        Markdown.
    """
    rows = "\n".join(_row(name, figures) for name, figures in found.items())
    head = "| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|\n"
    tensors = "\n".join(_tensors(name, figures) for name, figures in found.items())
    curves = "\n".join(_curve(name, figures) for name, figures in found.items())
    return (
        f"{TITLE}\n{head}{rows}\n\n{_STAGES}\n{_stages(found)}\n\n{_BITS}\n{tensors}\n\n{_CURVE}\n{curves}\n\n{notes}"
    )


_STAGES = """Bytes of the packed file after each stage: zeros alone do little while each weight has a value of its own.

| network | dense | pruned | shared |
|---|---|---|---|"""
_BITS = """Bits of the values, and how many weights of each tensor are not zero:

| network | tensor | weights | not zero | bits | values | entropy of the values |
|---|---|---|---|---|---|---|"""
_CURVE = """The pruned network with as many bits in every tensor, the values as k-means gives them, not trained:

| network | bits | packed | ratio | accuracy |
|---|---|---|---|---|"""
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


def _curve(name: str, figures: Mapping[str, Any]) -> str:
    dense = figures["fp32_bytes"]
    return "\n".join(
        f"| {name} | {row['bits']} | {row['bytes']} B | {dense / row['bytes']:.1f} | {row['accuracy']:.2%} |"
        for row in figures["curve"]
    )
