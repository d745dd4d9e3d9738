"""Accuracy at equal budget: EdgePrune and Torch-Pruning on three data sets, at three sizes, over five seeds.

    python benchmarks/studies/equal_budget.py DATA RESULTS [--processes N] [--study FILE]

With seed 0 both sides run every configuration. For each cell Torch-Pruning's three that are best on the test go on to
the other seeds, and our six that are best on validation. Results are kept in the folder RESULTS: a run that was killed
goes on where it stopped. About two and a half hours on two cores. Needs torch-pruning.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from equal_budget_table import Result, cell, mean, study

HERE = Path(__file__).parent
NAMES = ("motion", "fashion", "mnist")
SHARES = (0.5, 0.25, 0.1)
SEEDS = range(5)
FINALISTS = {"theirs": (3, "accuracy"), "ours": (6, "validation")}
"""By side: how many of a cell go on to the other seeds, and by which figure."""
OURS = tuple(
    f"ours {criterion} {scope} {how}"
    for criterion in ("taylor", "hessian", "lamp")
    for scope in ("global", "local")
    for how in ("refit", "as cut", "refit averaged", "as cut averaged")
)
CRITERIA = ("l1", "l2", "taylor", "hessian", "bn_scale", "lamp", "fpgm")
THEIRS = tuple(f"theirs {criterion} {scope}" for criterion in CRITERIA for scope in ("global", "local"))


def main() -> None:
    """Run what is missing, then print what it comes to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--study", type=Path, help="write the document there")
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(options.processes) as pool:
        every = [f"{share} {configuration}" for share in SHARES for configuration in (*OURS, *THEIRS)]
        list(pool.map(lambda name: _run(options, name, 0, every), NAMES))
        screened = _kept(options.results)
        rest = [(name, seed) for seed in SEEDS if seed for name in NAMES]
        list(pool.map(lambda job: _run(options, *job, _finalists(screened, job[0])), rest))
    document = study(_kept(options.results), NAMES, SHARES)
    print(document)
    if options.study:
        options.study.write_text(document, encoding="utf-8")


def _run(options: argparse.Namespace, name: str, seed: int, wanted: Sequence[str]) -> None:
    command = [sys.executable, HERE / "equal_budget_one.py", name, options.data, str(seed)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    print(f"{name}, seed {seed}: {len(wanted)} results", file=sys.stderr, flush=True)
    subprocess.run([*command, options.results / f"{name}.{seed}.jsonl", *wanted], check=True, env=environment)


def _finalists(screened: Iterable[Result], name: str) -> list[str]:
    jobs = []
    for share in SHARES:
        first = [result for result in cell(screened, name, share) if result["seed"] == 0]
        for side, (count, figure) in FINALISTS.items():
            of_side = [result for result in first if result["configuration"].startswith(side)]
            best = sorted(of_side, key=lambda result: -mean([result], figure))[:count]
            jobs += [f"{share} {result['configuration']}" for result in best]
    return jobs


def _kept(folder: Path) -> list[Result]:
    return [json.loads(line) for file in sorted(folder.glob("*.jsonl")) for line in file.read_text().splitlines()]


if __name__ == "__main__":
    main()
