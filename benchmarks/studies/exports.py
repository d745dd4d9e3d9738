"""Every precision and format on seven networks, and the files for older runtimes in those runtimes.

    python benchmarks/studies/exports.py DATA RESULTS [--only NAME ...] [--wheels FOLDER] [--study FILE]

Each network and format runs in a process of its own. Results are kept in RESULTS: a run that was killed goes on where
it stopped. FOLDER holds one folder a release of onnxruntime, such as 1.19.2, filled by `pip install --target`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from exports_cases import CASES
from exports_table import document

from edgeprune.exporting.runtimes import DEFAULT_OPSET, release_of

HERE = Path(__file__).parent
LIMIT_S = 3000
FORMATS = ("onnx", "tflite")
LOADS = """
import json, sys, numpy as np, onnxruntime as runtime
runtime.set_default_logger_severity(4)

def difference(file, expected):
    data = np.load(expected)
    session = runtime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: data["x"]})
    return float(np.abs(output - data["y"]).max() / np.abs(data["y"]).max())

for file, expected in json.load(sys.stdin):
    try:
        print(json.dumps(difference(file, expected)))
    except Exception as error:
        print(json.dumps(str(error).splitlines()[0]))
"""

Row = dict[str, Any]


def main() -> None:
    """Run what is missing, then write the document."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--only", nargs="*", default=list(CASES), metavar="NAME")
    parser.add_argument("--wheels", type=Path)
    parser.add_argument("--study", type=Path)
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    rows = [
        row
        for name in options.only
        for format_name in FORMATS
        for row in _rows(options.data.absolute(), options.results.absolute(), name, format_name)
    ]
    loads = _loads(options.wheels, options.results.absolute(), rows) if options.wheels else []
    text = document(rows, loads)
    print(text)
    if options.study:
        options.study.write_text(text, encoding="utf-8")


def _rows(data: Path, results: Path, name: str, format_name: str) -> list[Row]:
    kept = results / f"{name}.{format_name}.json"
    if not kept.exists():
        print(f"… {name} {format_name}", file=sys.stderr, flush=True)
        kept.write_text(json.dumps(_exported(data, results, name, format_name)), encoding="utf-8")
    found: list[Row] = json.loads(kept.read_text(encoding="utf-8"))
    return found


def _exported(data: Path, results: Path, name: str, format_name: str) -> list[Row]:
    command = [sys.executable, "exports_one.py", name, format_name, str(data), str(results / name / format_name)]
    try:
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return [_failure(name, format_name, f"no answer in {LIMIT_S} s")]
    rows = [json.loads(line.removeprefix("ROW ")) for line in done.stdout.splitlines() if line.startswith("ROW ")]
    return rows or [_failure(name, format_name, (done.stderr.strip().splitlines() or ["no output"])[-1])]


def _failure(name: str, format_name: str, error: str) -> Row:
    return {"name": name, "format": format_name, "precision": "all", "opset": None, "ok": False, "error": error}


def _loads(wheels: Path, results: Path, rows: Iterable[Row]) -> list[Row]:
    # Every ONNX file in every release that should load it.
    files = [row for row in rows if row["ok"] and row["format"] == "onnx"]
    found: list[Row] = []
    for release in sorted((folder.name for folder in wheels.iterdir() if folder.is_dir()), key=_numbers):
        newest = release_of(release).opset
        suited = [row for row in files if (row["opset"] or DEFAULT_OPSET) <= newest]
        differences = _run_in(wheels / release, results, suited)
        pairs = zip(suited, differences, strict=True)
        found += [{**row, "release": release, "relative": relative} for row, relative in pairs]
    return found


def _numbers(release: str) -> list[int]:
    return [int(part) for part in release.split(".")]


def _run_in(wheel: Path, results: Path, rows: Iterable[Row]) -> list[float | str]:
    pairs = []
    for row in rows:
        folder = results / row["name"] / "onnx"
        file = folder / f"{row['precision']}-{row['opset'] or 0}.onnx"
        pairs.append((str(file), str(folder / "expected.npz")))
    done = subprocess.run(
        [sys.executable, "-c", LOADS], env={**os.environ, "PYTHONPATH": str(wheel)}, input=json.dumps(pairs),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


if __name__ == "__main__":
    main()
