"""Every network of the zoo, pruned by EdgePrune and by Torch-Pruning: a table, and a line of JSON for each.

    python benchmarks/zoo/run.py RESULTS [--only NAME ...] [--again] [--side ours|theirs] [--study FILE]

Each network and side runs in a process of its own with a time limit. Results are kept in the folder RESULTS: a run
that was killed goes on where it stopped, `--again` starts afresh. Needs torchvision, timm and torch-pruning.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from networks import NAMES, WITH_ATTENTION
from study import line, study, summary

LIMIT_S = {"ours": 300, "theirs": 120}
HERE = Path(__file__).parent

Found = dict[str, dict[str, dict[str, Any]]]


def main() -> None:
    """Run what is missing, then print what it comes to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("results", type=Path)
    parser.add_argument("--only", nargs="*", default=list(NAMES), metavar="NAME")
    parser.add_argument("--side", nargs="*", default=["ours", "theirs"], choices=["ours", "theirs"])
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--study", type=Path, help="write the document there")
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    width = _all(options, options.only, options.side, "width")
    attending = [name for name in options.only if name in WITH_ATTENTION]
    whole = _all(options, attending, [side for side in options.side if side == "ours"], "whole")
    print(summary(width))
    if options.study:
        options.study.parent.mkdir(parents=True, exist_ok=True)
        notes = (HERE / "notes.md").read_text(encoding="utf-8")
        options.study.write_text(study(width, whole, notes), encoding="utf-8")


def _all(options: argparse.Namespace, names: Iterable[str], sides: Sequence[str], heads: str) -> Found:
    found: Found = {}
    for name in names:
        found[name] = {side: _result(options.results, name, side, heads, again=options.again) for side in sides}
        print(line(name, found[name]), flush=True)
    return found


def _result(folder: Path, name: str, side: str, heads: str, *, again: bool) -> dict[str, Any]:
    kept = folder / f"{name}.{side}{'.whole' if heads == 'whole' else ''}.json"
    if kept.exists() and not again:
        return _loaded(kept.read_text(encoding="utf-8"))
    result = _run([sys.executable, str(HERE / "one.py"), side, name, heads], LIMIT_S[side])
    kept.write_text(json.dumps(result), encoding="utf-8")
    return result


def _loaded(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


def _run(command: Sequence[str], limit: float) -> dict[str, Any]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    start = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, env=environment, check=False)
    except subprocess.TimeoutExpired:
        return {"ok": False, "error": f"no answer in {limit:g} s", "s": limit}
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return {"ok": False, "error": done.stderr.strip()[-1500:] or "died", "s": time.perf_counter() - start}
    return _loaded(lines[-1])


if __name__ == "__main__":
    main()
