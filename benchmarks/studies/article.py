"""The experiment that EdgePrune starts from, made anew: a CNN on MNIST, VGG16 on Fashion-MNIST, four tables each.

    python benchmarks/studies/article.py mnist|vgg16 DATA RESULTS [--study FILE]

The dense network is kept in the folder RESULTS and not trained again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import data
import networks
import torch
from article_tables import document
from measured import Variant, measured
from safetensors.torch import load_file, save_file
from torch import nn

import edgeprune as ep

CALIBRATION = 16


@dataclass(frozen=True)
class Method:
    """One row of the tables.

    Attributes:
        name: In the tables.
        spec: How to prune.
        between: Fine-tuning between two steps,
        after: and after the last one.
    """

    name: str
    spec: ep.PruneSpec
    after: ep.FinetuneSpec
    between: ep.FinetuneSpec | None = None


@dataclass(frozen=True)
class Experiment:
    """A network, its data and what is done to it.

    Attributes:
        read: Takes the folder of all data.
        build: The network.
        epochs: Of the dense network.
        batch: Examples in a batch.
        methods: In the order of the tables.
    """

    read: Callable[[Path], data.Data]
    build: Callable[[], nn.Module]
    epochs: int
    batch: int
    methods: tuple[Method, ...] = field(default=())


EXPERIMENTS = {
    "mnist": Experiment(
        lambda folder: data.images(folder / data.MNIST, 60_000), networks.article, epochs=6, batch=128,
        methods=(
            Method("absolute threshold", ep.PruneSpec(method="weight", threshold=0.02), ep.FinetuneSpec(epochs=2)),
            Method(
                "structure", ep.PruneSpec(criterion="taylor", scope="local", target="params <= 0.039x"),
                ep.FinetuneSpec(epochs=8, learning_rate=2e-3, distillation_ratio=0.7),
            ),
            Method(
                "hybrid", ep.PruneSpec(method="hybrid", criterion="taylor", ratio=0.6), ep.FinetuneSpec(epochs=4),
            ),
        ),
    ),
    "vgg16": Experiment(
        lambda folder: data.images(folder / data.FASHION, 6_000), networks.vgg16, epochs=3, batch=64,
        methods=(
            Method("absolute threshold", ep.PruneSpec(method="weight", threshold=0.01), ep.FinetuneSpec(epochs=1)),
            Method("layers", ep.PruneSpec(method="layer", ratio=0.4), ep.FinetuneSpec(epochs=1)),
            Method(
                "structure", ep.PruneSpec(criterion="taylor", target="params <= 0.1x"), ep.FinetuneSpec(epochs=2),
            ),
            Method("hybrid", ep.PruneSpec(method="hybrid", criterion="taylor", ratio=0.6), ep.FinetuneSpec(epochs=1)),
        ),
    ),
}  # fmt: skip


def main() -> None:
    """Train, prune, measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=list(EXPERIMENTS))
    parser.add_argument("data", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--study", type=Path, help="write the document there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    experiment = EXPERIMENTS[options.name]
    examples = experiment.read(options.data)
    train = data.Shuffled(examples, experiment.batch)
    dense = _dense(experiment, train, options.results / f"{options.name}.safetensors")
    variants = [Variant("dense", dense, examples.accuracy(dense))]
    for method in experiment.methods:
        model = _pruned(dense, method, train)
        variants.append(Variant(method.name, model, examples.accuracy(model)))
        print(f"{method.name}: {variants[-1].accuracy:.4f}", flush=True)
    text = document(options.name, measured(variants, examples.x[:1]), _recipes(experiment.methods))
    print(text)
    if options.study:
        options.study.write_text(text, encoding="utf-8")


def _dense(experiment: Experiment, train: data.Shuffled, kept: Path) -> nn.Module:
    torch.manual_seed(0)
    model = experiment.build()
    if kept.exists():
        model.load_state_dict(load_file(kept))
        return model.eval()
    ep.finetune(model, model, train, ep.FinetuneSpec(epochs=experiment.epochs, distillation_ratio=0.0))
    kept.parent.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), kept)
    return model.eval()


def _pruned(dense: nn.Module, method: Method, train: data.Shuffled) -> nn.Module:
    seen = train.examples.batches(train.size, 0)[:CALIBRATION]
    between = method.between
    found = ep.prune(
        dense, method.spec, example_inputs=(train.examples.x[:2],), calibration=seen,
        recover=between and (lambda model, recipe: ep.finetune(model, dense, train, between, recipe=recipe)),
    )  # fmt: skip
    ep.finetune(found.model, dense, train, method.after, recipe=found.recipe)
    return found.model


def _recipes(methods: Sequence[Method]) -> list[str]:
    return [
        f"{method.name}: `{method.spec.label}`, scope {method.spec.scope}, {method.after.epochs} epochs after"
        for method in methods
    ]


if __name__ == "__main__":
    main()
