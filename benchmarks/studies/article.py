"""The experiment that EdgePrune starts from, made anew: a CNN on MNIST, VGG16 on Fashion-MNIST, four tables each.

    python benchmarks/studies/article.py mnist|vgg16 DATA RESULTS [--study FILE]

The dense network is kept in the folder RESULTS and not trained again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
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
        cuts: How to prune; one after the other, each followed by a refit without training.
        after: Fine-tuning after the last one.
    """

    name: str
    cuts: tuple[ep.PruneSpec, ...]
    after: ep.FinetuneSpec

    def __str__(self) -> str:
        cuts = ", then ".join(
            f"`{cut.label}`" + (f" without {', '.join(cut.exclude)}" * bool(cut.exclude)) for cut in self.cuts
        )
        return f"{self.name}: {cuts}; {self.after.epochs} epochs"


@dataclass(frozen=True)
class Experiment:
    """A network, its data and what is done to it.

    Attributes:
        read: Takes the folder of all data.
        build: The network.
        epochs: Of the dense network.
        batch: Examples in a batch.
        shift: Pixels by which images move in fine-tuning.
        methods: In the order of the tables.
    """

    read: Callable[[Path], data.Data]
    build: Callable[[], nn.Module]
    epochs: int
    batch: int
    shift: int
    methods: tuple[Method, ...]


def _plain(epochs: int, rate: float = 1e-3) -> ep.FinetuneSpec:
    # Without the teacher, which knows nothing of images that moved.
    return ep.FinetuneSpec(epochs=epochs, learning_rate=rate, distillation_ratio=0.0)


def _local(ratio: float, *exclude: str) -> ep.PruneSpec:
    return ep.PruneSpec(criterion="taylor", scope="local", ratio=ratio, exclude=exclude)


EXPERIMENTS = {
    "mnist": Experiment(
        lambda folder: data.images(folder / data.MNIST, 60_000), networks.article, epochs=6, batch=128, shift=2,
        methods=(
            Method("absolute threshold", (ep.PruneSpec(method="weight", threshold=0.02),), _plain(3)),
            # The hidden layer (8) has nine tenths of the parameters, the second convolution (3) of the run time.
            Method(
                "structure", (_local(0.625, "3", "8"), _local(0.75, "0", "8"), _local(0.855, "0", "3")),
                _plain(15, 2e-3),
            ),
            Method("hybrid", (ep.PruneSpec(method="hybrid", criterion="taylor", ratio=0.7),), _plain(8, 2e-3)),
        ),
    ),
    "vgg16": Experiment(
        lambda folder: data.images(folder / data.FASHION, 6_000), networks.vgg16, epochs=3, batch=64, shift=0,
        methods=(
            Method("absolute threshold", (ep.PruneSpec(method="weight", threshold=0.01),), ep.FinetuneSpec()),
            Method("layers", (ep.PruneSpec(method="layer", ratio=0.4),), ep.FinetuneSpec()),
            Method(
                "structure", (ep.PruneSpec(criterion="taylor", target="params <= 0.1x"),), ep.FinetuneSpec(epochs=2),
            ),
            Method("hybrid", (ep.PruneSpec(method="hybrid", criterion="taylor", ratio=0.6),), ep.FinetuneSpec()),
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
    train = data.Shuffled(examples, experiment.batch, experiment.shift)
    dense = _dense(
        experiment, data.Shuffled(examples, experiment.batch), options.results / f"{options.name}.safetensors"
    )
    variants = [Variant("dense", dense, examples.accuracy(dense))]
    for method in experiment.methods:
        model = _pruned(dense, method, train)
        variants.append(Variant(method.name, model, examples.accuracy(model)))
        print(f"{method.name}: {variants[-1].accuracy:.4f}", flush=True)
    text = document(options.name, measured(variants, examples.x[:1]), list(map(str, experiment.methods)))
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
    seen, model = train.examples.batches(train.size, 0)[:CALIBRATION], dense
    for cut in method.cuts:
        found = ep.prune(model, cut, example_inputs=(train.examples.x[:2],), calibration=seen)
        ep.finetune(found.model, model, seen, ep.FinetuneSpec(epochs=0), recipe=found.recipe)
        model = found.model
    ep.finetune(model, dense, train, replace(method.after, refit_batches=0), recipe=found.recipe)
    return model


if __name__ == "__main__":
    main()
