"""One network in one format, in every precision; a line of JSON for each.

    python benchmarks/studies/exports_one.py NAME onnx|tflite DATA FOLDER

What is left in FOLDER: the files, and expected.npz with inputs and what the network gives.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from exports_cases import Case, case

from edgeprune import exporting
from edgeprune.errors import EdgePruneError
from edgeprune.exporting.runtimes import suited
from edgeprune.values.artifact import Artifact
from edgeprune.values.json import to_data
from edgeprune.values.spec import PRECISIONS, ExportSpec

OLDEST = "onnxruntime==1.10.0"


def main() -> None:
    """Export, run, compare."""
    name, format_name, data, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
    folder.mkdir(parents=True, exist_ok=True)
    made = case(name, data)
    exporter = exporting.Exporter(made.model, example_inputs=(made.example,), calibration=made.calibration)
    for spec in _specs(name, format_name):
        start = time.process_time()
        row: dict[str, Any] = {"name": name, "format": format_name, "precision": spec.precision, "opset": spec.opset}
        try:
            artifact = exporter.export(spec, folder / f"{spec.precision}-{spec.opset or 0}.{format_name}")
            row |= {"ok": True, **_figures(artifact, made)}
        except EdgePruneError as error:
            row |= {"ok": False, "error": str(error)}
        print("ROW " + json.dumps({**row, "s": time.process_time() - start}), flush=True)
    _expected(made, folder / "expected.npz")


def _specs(name: str, format_name: str) -> list[ExportSpec]:
    plain = [ExportSpec(format_name, precision) for precision in PRECISIONS]
    # The oldest runtime decides the lowest operator set; small networks are enough to see it hold.
    small = name in ("fashion-mnist", "digits", "hapt-cnn") and format_name == "onnx"
    return [*plain, *(suited(spec, OLDEST) for spec in plain if small)]


def _figures(artifact: Artifact, made: Case) -> dict[str, Any]:
    figures = {"size": artifact.size_bytes, "parity": to_data(artifact.parity), "float_layers": artifact.float_layers}
    if made.test is None:
        return figures
    inputs, targets = made.test
    (outputs,) = exporting.predict(artifact, [inputs])
    with torch.no_grad():
        wanted = made.model(torch.from_numpy(inputs)).numpy().argmax(1)
    found = outputs.argmax(1)
    return {
        **figures, "n": len(targets), "agreement": float((found == wanted).mean()),
        "accuracy": float((found == targets).mean()), "torch_accuracy": float((wanted == targets).mean()),
    }  # fmt: skip


def _expected(made: Case, path: Path) -> None:
    inputs = made.calibration[0][0][:1]
    with torch.no_grad():
        np.savez(path, x=inputs.numpy(), y=made.model(inputs).numpy())


if __name__ == "__main__":
    main()
