"""Every network of the zoo, pruned by EdgePrune and by Torch-Pruning: a table, and a line of JSON for each.

    python benchmarks/zoo/run.py RESULTS [--only NAME ...] [--again] [--side ours|theirs] [--heads width|whole]

Each network and side runs in a process of its own with a time limit. Results are kept in the folder RESULTS: a run
that was killed goes on where it stopped, `--again` starts afresh. Needs torchvision, timm and torch-pruning.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from networks import NAMES

LIMIT_S = {"ours": 300, "theirs": 120}
HERE = Path(__file__).parent
COLUMNS = (
    "model", "ours", "max relative", "Torch-Pruning", "parameters left, ours", "theirs", "frozen ops", "export s",
    "ours s", "theirs s",
)  # fmt: skip


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("results", type=Path)
    parser.add_argument("--only", nargs="*", default=list(NAMES), metavar="NAME")
    parser.add_argument("--side", nargs="*", default=["ours", "theirs"], choices=["ours", "theirs"])
    parser.add_argument("--heads", default="width", choices=["width", "whole"])
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for name in options.only:
        found[name] = {}
        for side in options.side:
            found[name][side] = _result(options.results, name, side, options)
        print(_line(name, found[name]), flush=True)
    print(_summary(found))
    (options.results / "table.md").write_text(_table(found) + "\n" + _summary(found), encoding="utf-8")


def _result(folder: Path, name: str, side: str, options: argparse.Namespace) -> dict[str, Any]:
    kept = folder / f"{name}.{side}{'.whole' if options.heads == 'whole' and side == 'ours' else ''}.json"
    if kept.exists() and not options.again:
        return json.loads(kept.read_text(encoding="utf-8"))
    result = _run([sys.executable, str(HERE / "one.py"), side, name, options.heads], LIMIT_S[side])
    kept.write_text(json.dumps(result), encoding="utf-8")
    return result


def _run(command: Sequence[str], limit: float) -> dict[str, Any]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    start = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, env=environment, check=False)
    except subprocess.TimeoutExpired:
        return {"ok": False, "error": f"no answer in {limit:g} s", "s": limit}
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return {"ok": False, "error": done.stderr.strip()[-1500:], "s": time.perf_counter() - start}
    return json.loads(lines[-1])


def _line(name: str, sides: dict[str, dict[str, Any]]) -> str:
    return "| " + " | ".join(_cells(name, sides)) + " |"


def _cells(name: str, sides: dict[str, dict[str, Any]]) -> list[str]:
    ours, theirs = sides.get("ours", {}), sides.get("theirs", {})
    return [
        name,
        _verdict(ours, ours.get("mode", "")),
        f"{ours['max_relative']:.0e}" if ours.get("ok") else "",
        _verdict(theirs, "runs"),
        _left(ours),
        _left(theirs),
        ", ".join(dict.fromkeys(op.split(" ")[0] for op in ours.get("unknown_ops", []))),
        f"{ours['export_s']:.1f}" if "export_s" in ours else "",
        f"{_beyond_export(ours):.1f}" if ours else "",
        f"{theirs['s']:.1f}" if theirs else "",
    ]


def _verdict(side: dict[str, Any], good: str) -> str:
    if not side:
        return ""
    return good if side["ok"] else f"error: {side['error'].splitlines()[-1][:120]}"


def _left(side: dict[str, Any]) -> str:
    return f"{side['params'] / side['params_before']:.2f}" if side.get("ok") else ""


def _beyond_export(ours: dict[str, Any]) -> float:
    return float(ours["s"]) - float(ours.get("export_s", 0.0))


def _table(found: dict[str, dict[str, dict[str, Any]]]) -> str:
    head = "| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS)
    return "\n".join([head, *(_line(name, sides) for name, sides in found.items())]) + "\n"


def _summary(found: dict[str, dict[str, dict[str, Any]]]) -> str:
    ours = {name: sides["ours"] for name, sides in found.items() if sides.get("ours", {}).get("ok")}
    theirs = {name: sides["theirs"] for name, sides in found.items() if sides.get("theirs", {}).get("ok")}
    gone = {name: 1 - side["params"] / side["params_before"] for name, side in ours.items()}
    both = [name for name in ours if name in theirs]
    ratios = [_beyond_export(ours[name]) / theirs[name]["s"] for name in both]
    lines = [
        f"{len(ours)} of {len(found)} pruned and proved by EdgePrune, {len(theirs)} pruned by Torch-Pruning.",
        f"Less than 0.40 of the parameters gone: {', '.join(n for n, g in gone.items() if g < 0.4) or 'in none'}.",
        f"Slowest beyond its export: {max((_beyond_export(s) for s in ours.values()), default=0):.1f} s.",
    ]
    if ratios:
        median = statistics.median(ratios)
        lines.append(
            f"Median over the {len(both)} that both prune of our time, export apart, over theirs: {median:.2f}."
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
