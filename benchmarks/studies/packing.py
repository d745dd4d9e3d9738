"""Pruned, shared, packed: how small LeNet-300-100, LeNet-5 and a network of VGG's form travel, and at which accuracy.

    python benchmarks/studies/packing.py DATA RESULTS [--only NAME ...] [--study FILE]

DATA is what `make study-data` fills. Weights and figures are kept in the folder RESULTS: a study that was killed goes
on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import data
import torch
from data import Data, Shuffled
from packing_measure import measure
from packing_networks import lenet_5, lenet_300_100, small_vgg
from packing_table import study
from torch import nn
from torch.nn import functional as F

import edgeprune as ep
from edgeprune import pruning
from edgeprune.pruning.sharing import Sharing, share
from edgeprune.values.json import to_data
from edgeprune.values.packing import SharingSpec
from edgeprune.values.recipe import PruneRecipe
from edgeprune.values.spec import FinetuneSpec, PruneSpec

SEED = 0
BATCH = 128
FOLDERS = {"mnist": data.MNIST, "fashion": data.FASHION}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done to one network.

    Attributes:
        build: Makes it.
        data: "mnist" or "fashion".
        dense_epochs: Passes over the data before it counts as trained.
        sparsity: Share of weights that become zero, per tensor alike or over all of them by `scope`.
        steps: In which the sparsity is reached, with an epoch or more between them.
        step_epochs: Between two steps.
        last_epochs: After the last step.
        loss_budget: Of the sharing, in nats.
        share_epochs: In which the shared values are trained.
        images: Training images that are used.
    """

    build: Callable[[], nn.Module]
    data: str
    dense_epochs: int
    sparsity: float
    steps: int
    step_epochs: int
    last_epochs: int
    loss_budget: float
    share_epochs: int = 2
    images: int = 60000


PLANS = {
    "LeNet-300-100": Plan(lenet_300_100, "mnist", 12, 0.92, 4, 2, 12, 0.001, 4),
    "LeNet-5": Plan(lenet_5, "mnist", 6, 0.92, 4, 2, 12, 0.0005),
    "small VGG": Plan(small_vgg, "fashion", 4, 0.9, 2, 1, 2, 0.01, 1, images=10000),
}


def main() -> None:
    """Do what is missing, then write what it comes to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--only", nargs="*", default=list(PLANS), choices=list(PLANS), metavar="NAME")
    parser.add_argument("--study", type=Path, help="write the document there")
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    found = {}
    for name in options.only:
        plan = PLANS[name]
        images = data.images(options.data / FOLDERS[plan.data], plan.images)
        found[name] = _result(options.results, name, images)
        print(name, json.dumps(found[name]), flush=True)
    if options.study:
        options.study.parent.mkdir(parents=True, exist_ok=True)
        notes = (Path(__file__).parent / "packing_notes.md").read_text("utf-8")
        options.study.write_text(study(found, notes), "utf-8")


def _result(folder: Path, name: str, images: Data) -> dict[str, Any]:
    plan = PLANS[name]
    stem = folder / name.replace(" ", "-").lower()
    figures = stem.with_suffix(".figures.json")
    if figures.exists():
        return dict(json.loads(figures.read_text("utf-8")))
    started = time.monotonic()
    dense = _kept(stem.with_suffix(".dense.pt"), plan.build(), lambda: _dense(plan, images))
    print(f"{name}: dense {images.accuracy(dense):.4f}, {time.monotonic() - started:.0f} s", flush=True)
    pruned = _kept(stem.with_suffix(".pruned.pt"), plan.build(), lambda: _pruned(plan, dense, images))
    print(f"{name}: pruned {images.accuracy(pruned):.4f}, {time.monotonic() - started:.0f} s", flush=True)
    kept = stem.with_suffix(".sharing.json")
    shared = _kept(stem.with_suffix(".shared.pt"), plan.build(), lambda: _shared(plan, pruned, dense, images, kept))
    print(f"{name}: shared {images.accuracy(shared):.4f}, {time.monotonic() - started:.0f} s", flush=True)
    found = measure(dense, pruned, shared, images, stem)
    found |= {"sharing": json.loads(kept.read_text("utf-8")), "images": plan.images, "data": plan.data}
    figures.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    return found


def _kept(path: Path, empty: nn.Module, make: Callable[[], nn.Module]) -> nn.Module:
    if not path.exists():
        torch.save(make().state_dict(), path)
    empty.load_state_dict(torch.load(path, weights_only=True))
    return empty.eval()


def _dense(plan: Plan, images: Data) -> nn.Module:
    torch.manual_seed(SEED)
    model, train = plan.build(), Shuffled(images, BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=1e-2)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, plan.dense_epochs * len(train))
    for _ in range(plan.dense_epochs):
        for inputs, targets in train:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
            rate.step()
    return model


def _pruned(plan: Plan, dense: nn.Module, images: Data) -> nn.Module:
    train = Shuffled(images, BATCH)

    def recover(model: nn.Module, recipe: PruneRecipe, epochs: int = plan.step_epochs) -> None:
        pruning.finetune(model, dense, train, FinetuneSpec(epochs=epochs, refit_batches=0), recipe=recipe)

    spec = PruneSpec(method="weight", criterion="l1", sparsity=plan.sparsity, steps=plan.steps, schedule="cubic")
    result = ep.prune(dense, spec, example_inputs=(images.x[:1],), recover=recover)
    recover(result.model, result.recipe, plan.last_epochs)
    return result.model


def _shared(plan: Plan, pruned: nn.Module, dense: nn.Module, images: Data, kept: Path) -> nn.Module:
    train = Shuffled(images, BATCH)
    spec = SharingSpec(plan.loss_budget, training=FinetuneSpec(plan.share_epochs, learning_rate=1e-4))
    found: Sharing = share(pruned, spec, example_inputs=(images.x[:1],), train=train, teacher=dense)
    kept.write_text(json.dumps(to_data(found.report)), "utf-8")
    return found.model


if __name__ == "__main__":
    main()
