"""A 1-D CNN on motion and a GRU on spoken commands, pruned to a half, a quarter and a tenth: docs/studies/sensors.md.

    python benchmarks/studies/sensors.py DATA [--study FILE]

Needs espeak-ng for the spoken commands. About five minutes.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import data
import networks
import speech
import torch
from measured import Row, Variant, energy, latency, made, measured
from torch import nn

import edgeprune as ep

SHARES = (0.5, 0.25, 0.1)
CALIBRATION = 16

INTRO = """# Sensors and speech: a 1-D CNN and a GRU

`make sensors-study` trains both networks, prunes each to a half, a quarter and a tenth of its parameters
(`criterion="taylor"`, `target="params <= 0.25x"`), trains what is left, measures all on this machine, and writes this
file. onnxruntime, fp32, one thread, batch 1.
"""


@dataclass(frozen=True)
class Task:
    """One network and its data.

    Attributes:
        title: In the document.
        read: Takes the folder of all data.
        build: The network.
        epochs: Of the dense network,
        after: and after a prune.
        refit_batches: Batches from which layers are refit to the dense network.
    """

    title: str
    read: Callable[[Path], data.Data]
    build: Callable[[], nn.Module]
    epochs: int
    after: int
    refit_batches: int


TASKS = (
    # The dense network knows its twenty-four users too well: refit to it, the small ones would as well.
    Task(
        "HAPT: four 1-D convolutions, windows of 2.56 s, six activities, six users that no training saw",
        lambda folder: data.motion(folder / data.HAPT), networks.motion, 10, 5, 0,
    ),
    Task(
        "Spoken commands: a GRU on log-mel features, ten words, twelve voices of espeak-ng that no training heard",
        lambda folder: speech.commands(folder / "commands.npz"), networks.speech, 20, 10, CALIBRATION,
    ),
)  # fmt: skip


def main() -> None:
    """Train, prune, measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--study", type=Path, help="write the document there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    parts = [f"\n## {task.title}\n\n{_table(_rows(task, options.data))}" for task in TASKS]
    document = "".join([INTRO, "\n", made(), *parts])
    print(document)
    if options.study:
        options.study.write_text(document, encoding="utf-8")


def _rows(task: Task, folder: Path) -> list[Row]:
    examples = task.read(folder)
    torch.manual_seed(0)
    dense, train = task.build(), data.Shuffled(examples, 64)
    ep.finetune(dense, dense, train, ep.FinetuneSpec(epochs=task.epochs, distillation_ratio=0.0))
    variants = [Variant("dense", dense.eval(), examples.accuracy(dense))]
    for share in SHARES:
        small = _pruned(dense, task, train, examples.x[:2], share)
        variants.append(Variant(f"params <= {share}x", small, examples.accuracy(small)))
    return measured(variants, examples.x[:1])


def _pruned(dense: nn.Module, task: Task, train: data.Shuffled, example: torch.Tensor, share: float) -> nn.Module:
    spec = ep.PruneSpec(criterion="taylor", target=f"params <= {share}x")
    seen = train.examples.batches(64, 0)[:CALIBRATION]
    found = ep.prune(copy.deepcopy(dense), spec, example_inputs=(example,), calibration=seen)
    after = ep.FinetuneSpec(epochs=task.after, refit_batches=task.refit_batches)
    ep.finetune(found.model, dense, train, after, recipe=found.recipe)
    return found.model


def _table(rows: Sequence[Row]) -> str:
    head = (
        "| variant | accuracy | parameters | MACs | ONNX, KiB | p50 | energy |\n"
        "|---|---:|---:|---:|---:|---:|---|\n"
    )  # fmt: skip
    return head + "".join(_line(row) for row in rows)


def _line(row: Row) -> str:
    return (
        f"| {row.variant.name} | {100 * row.variant.accuracy:.2f} % | {row.params:,} | {row.macs:,} "
        f"| {row.size_bytes / 1024:.1f} | {latency(row)} | {energy(row)} |\n"
    )


if __name__ == "__main__":
    main()
