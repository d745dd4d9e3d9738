"""Rows of the exports study -> its document."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any

Row = dict[str, Any]

INTRO = """# Every precision and format

`make exports-study` exports seven networks in every precision to ONNX and TFLite, runs each file in its runtime, and
writes this file. The two examples are trained as they ship, the HAPT network for four epochs; the GRU, MobileNetV2,
EfficientNet-Lite0 and ResNet18 have random weights and see noise, so that their agreement says little: outputs of
random weights lie close together.

- *Conversion* is the largest difference between torch and the float file, relative to the largest output, on up to 256
  calibration inputs; *whole* is the same between torch and the file of the row.
- *Agreement* is the share of these inputs whose largest output is torch's; *on test* the same on test data that
  neither training nor calibration saw, followed by accuracy there (torch's in brackets).
- *Float* counts the layers that int8-mixed left in float to reach an agreement of 99 %.
- Opset 15 is what onnxruntime 1.10 loads, which JetPack 4.6 has.
"""
HEAD = "| network | format | precision | opset | KiB | conversion | whole | agreement | on test | accuracy | float |\n"
LINE = "|---|---|---|---|---|---|---|---|---|---|---|\n"


def document(rows: Sequence[Row], loads: Sequence[Row]) -> str:
    """Write the study.

    Args:
        rows: One per file.
        loads: One per file and older runtime.

    Returns:
        Markdown.
    """
    names = ("torch", "onnx", "onnxruntime", "litert-torch", "ai-edge-litert", "ai-edge-quantizer")
    made = f"Made on {datetime.datetime.now(datetime.UTC):%Y-%m-%d} with " + ", ".join(
        f"{name} {version(name)}" for name in names
    )
    parts = [INTRO, f"{made}, Python {platform.python_version()}, {platform.machine()}.\n", _summary(rows)]
    parts.append(HEAD + LINE + "".join(map(_line, rows)))
    if loads:
        parts.append(_older(loads))
    return "\n".join(parts)


def _summary(rows: Sequence[Row]) -> str:
    good = [row for row in rows if row["ok"]]
    worst = max(good, key=lambda row: float(row["parity"]["conversion_max_relative"]))
    static = [row for row in good if row["name"] == "fashion-mnist" and row["precision"] == "int8"]
    lines = [
        f"- {len(good)} of {len(rows)} exported and run.",
        f"- Largest conversion error: {worst['parity']['conversion_max_relative']:.1e}, of {worst['name']} "
        f"in {worst['format']}.",
    ]
    if static:
        least = min(float(row["agreement"]) for row in static)
        lines.append(
            f"- Fashion-MNIST, static int8: top-1 agreement on {static[0]['n']} test images at least {least:.2%}."
        )
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    start = f"| {row['name']} | {row['format']} | {row['precision']} | {row['opset'] or ''} |"
    if not row["ok"]:
        return f"{start} {row['error'].replace('|', '/')} ||||||||\n".replace("||||||||", "| | | | | | |")
    parity = row["parity"]
    top1 = parity["top1_agreement_ratio"]
    tested = f"{row['agreement']:.2%} | {row['accuracy']:.2%} ({row['torch_accuracy']:.2%})" if "n" in row else " | "
    return (
        f"{start} {row['size'] / 1024:.0f} | {parity['conversion_max_relative']:.1e} | "
        f"{parity['whole_max_relative']:.1e} | {'' if top1 is None else f'{top1:.2%}'} | {tested} | "
        f"{len(row['float_layers']) if row['precision'] == 'int8-mixed' else ''} |\n"
    )


def _older(loads: Sequence[Row]) -> str:
    releases = list(dict.fromkeys(row["release"] for row in loads))
    text = "## In older runtimes\n\nThe files that suit a release, loaded and run there: one input, the largest "
    text += "difference\nfrom torch relative to the largest output; the worst of the networks (their number).\n\n"
    text += "| precision | opset | " + " | ".join(releases) + " |\n|---|---|" + "---|" * len(releases) + "\n"
    for key in dict.fromkeys((row["precision"], row["opset"]) for row in loads):
        cells = [
            _cell(r for r in loads if r["release"] == release and (r["precision"], r["opset"]) == key)
            for release in releases
        ]
        text += f"| {key[0]} | {key[1] or 'default'} | " + " | ".join(cells) + " |\n"
    return text


def _cell(rows: Iterable[Row]) -> str:
    found = list(rows)
    failed = [row for row in found if isinstance(row["relative"], str)]
    if failed:
        return f"{len(failed)} of {len(found)} fail: {failed[0]['name']}: {failed[0]['relative'][:160]}".replace(
            "|", "/"
        )
    return f"{max(row['relative'] for row in found):.1e} ({len(found)})" if found else ""
