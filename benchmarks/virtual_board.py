"""Fashion-MNIST on a counted virtual board -> docs/studies/virtual-board.md: instructions per inference, per variant.

    python benchmarks/virtual_board.py FOLDER [--study docs/studies/virtual-board.md]

FOLDER keeps the example's project, the exported files and what was measured; a second call measures what is missing.
"""

import argparse
import datetime
import importlib
import itertools
import json
import os
import sys
from pathlib import Path
from typing import Any

import edgeprune as ep
from edgeprune.board import boards, listing
from edgeprune.board.building.image import Image
from edgeprune.board.folders import cache
from edgeprune.examples.projects import write_project
from edgeprune.exporting import load_artifact
from edgeprune.measuring import measure_repeat

Files = dict[tuple[str, str, str], Path]
"""Network, format and precision -> file."""
Medians = dict[str, list[int]]
BOARD = "study"
FORMATS, PRECISIONS = ("onnx", "tflite"), ("fp32", "int8")
RATIO, REPEATS = 0.5, 2
PLAN = ep.BenchPlan(
    "custom", warmup_s=0.02, min_duration_s=0.05, min_runs=65 * REPEATS, max_duration_s=5.0, repeats=REPEATS
)


def exported(folder: Path) -> Files:
    """Return the files of all variants, made if they are not there; the dense network is the example's."""
    kinds = itertools.product(("dense", "pruned"), FORMATS, PRECISIONS)
    wanted = {(net, f, p): folder / f"{net}-{p}.{f}" for net, f, p in kinds}
    if not all(path.is_file() for path in wanted.values()):
        networks, inputs, train = trained(folder)
        for (net, format_, precision), path in wanted.items():
            spec = ep.ExportSpec(format=format_, precision=precision)
            ep.export(networks[net], spec, example_inputs=inputs, calibration=train[:8], path=path)
    return wanted


def trained(folder: Path) -> tuple[dict[str, Any], Any, Any]:
    """Return both networks, example inputs, and training data."""
    import torch
    from safetensors.torch import load_file

    sys.path.insert(0, str(folder / "project"))
    dense, data = importlib.import_module("model").build(), importlib.import_module("data")
    dense.load_state_dict(load_file(folder / "project" / "weights.safetensors"))
    inputs, train = (torch.zeros(1, 1, 28, 28),), list(data.train())
    spec = ep.PruneSpec(method="channel", criterion="taylor", ratio=RATIO, round_to=16)
    pruned = ep.prune(dense.eval(), spec, example_inputs=inputs, calibration=train[:8]).model
    ep.finetune(pruned, dense, train, ep.FinetuneSpec(epochs=2))
    return {"dense": dense, "pruned": pruned.eval()}, inputs, train


def measured(files: Files, results: Path) -> tuple[Medians, boards.Board]:
    """Return medians of each repeat in ns by the files' hashes, kept in `results` as they come, and the board."""
    known = json.loads(results.read_text("utf-8")) if results.is_file() else {}
    board = boards.start(BOARD, "counted")
    listing.enlist(board, serial=False)
    with ep.connect(BOARD) as session:
        for path in files.values():
            artifact = load_artifact(path)
            if artifact.sha256 in known:
                continue
            repeats = [measure_repeat(session, artifact, PLAN, index) for index in range(REPEATS)]
            known[artifact.sha256] = [sorted(r.samples_ns)[len(r.samples_ns) // 2] for r in repeats]
            results.write_text(json.dumps(known, indent=1), "utf-8")
            print(path.name, known[artifact.sha256], flush=True)
    boards.power_off(board)
    return known, board


def table(files: Files, known: Medians) -> str:
    """Return the table."""
    rows = ["| network | format | precision | size | instructions | repeats apart | speed-up over dense |"]
    rows += ["|---|---|---|---|---|---|---|"]
    for (net, format_, precision), path in files.items():
        medians = known[load_artifact(path).sha256]
        dense = min(known[load_artifact(files["dense", format_, "fp32"]).sha256])
        apart = (max(medians) - min(medians)) / min(medians)
        rows.append(
            f"| {net} | {format_} | {precision} | {path.stat().st_size / 1024:.0f} KiB | {min(medians) / 1e6:.3f} M "
            f"| {apart:.2%} | {dense / min(medians):.2f}x |"
        )
    return "\n".join(rows)


def page(files: Files, known: Medians, board: boards.Board) -> str:
    """Return the study."""
    contents = json.loads(Image(cache() / board.image).contents.read_text("utf-8"))
    versions = ", ".join("-".join(w.split("-")[:2]) for w in contents["wheels"] if w.startswith(("onnxr", "ai_edge")))
    return f"""# Fashion-MNIST, counted

`make virtual-board-study` writes this file: the example's network as it is, and with {RATIO:.0%} of its channels cut
and two passes of fine-tuning; both formats, both precisions; on a counted virtual board, one thread.

An instruction count tells whether a change made the program longer. It is no time of a Cortex-A: there, caches, several
instructions at once and wide int8 units decide, none of which is counted ([virtual-board.md](../virtual-board.md)).
The count is the smaller one of {REPEATS} processes' medians; *repeats apart* is how far they lie from each other.
Python's call into the runtime is part of it, as it is of every latency here.

{table(files, known)}

Made on {datetime.datetime.now(datetime.UTC):%Y-%m-%d}; {versions}; image {board.image}.
"""


def main() -> None:
    """Make the study."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--study", type=Path)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    options.folder.mkdir(parents=True, exist_ok=True)
    if not (options.folder / "project").exists():
        write_project(options.folder / "project", "fashion-mnist")
    files = exported(options.folder)
    text = page(files, *measured(files, options.folder / "counted.json"))
    print(text)
    if options.study:
        options.study.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
