"""One data set and one seed: train a network, prune it by both sides to three sizes, train what is left alike.

    python benchmarks/studies/equal_budget_one.py NAME DATA SEED RESULTS ["SHARE CONFIGURATION" ...]

A configuration is "ours CRITERION SCOPE refit", "ours CRITERION SCOPE as cut", one of these with " averaged" behind it,
or "theirs CRITERION SCOPE". Adds one line of JSON per result to RESULTS, and goes on where an earlier run stopped.
Needs torch-pruning.
"""

from __future__ import annotations

import copy
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import data
import networks
import torch
import torch_pruning as tp
from torch import nn

from edgeprune.pruning import count_params, finetune, prune
from edgeprune.values.recipe import PruneRecipe
from edgeprune.values.spec import FinetuneSpec, PruneSpec

CALIBRATION = 16
VALIDATION = 0.15
AVERAGING = 0.75
CRITERIA = {
    "l1": lambda: tp.importance.GroupMagnitudeImportance(p=1),
    "l2": lambda: tp.importance.GroupMagnitudeImportance(p=2),
    "taylor": tp.importance.GroupTaylorImportance,
    "hessian": tp.importance.GroupHessianImportance,
    "bn_scale": tp.importance.BNScaleImportance,
    "lamp": tp.importance.LAMPImportance,
    "fpgm": tp.importance.FPGMImportance,
}
Pruned = tuple[nn.Module, PruneRecipe | None]


@dataclass(frozen=True)
class Task:
    """What is trained on what, and for how long.

    Attributes:
        read: Takes the folder of all data.
        build: The network.
        epochs: Of the dense network,
        after: and after a prune.
    """

    read: Callable[[Path], data.Data]
    build: Callable[[], nn.Module]
    epochs: int
    after: int


TASKS = {
    "mnist": Task(lambda folder: data.images(folder / data.MNIST, 20000), networks.mnist, 3, 2),
    "fashion": Task(lambda folder: data.images(folder / data.FASHION, 6000), networks.fashion, 6, 3),
    "motion": Task(lambda folder: data.motion(folder / data.HAPT), networks.motion, 10, 5),
}


@dataclass
class Cell:
    """A trained network and all that both sides are given.

    Attributes:
        dense: In eval mode.
        batches: Of the training data.
        seed: Of every training.
        after: Epochs after a prune.
    """

    dense: nn.Module
    batches: list[Any]
    seed: int
    after: int
    example: torch.Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.example = self.batches[0][0][:2]

    def trained(self, pruned: Pruned, refit: bool, averaged: bool) -> nn.Module:
        """Train a pruned network: the same loop, teacher, batches and seed for both sides.

        Args:
            pruned: With the recipe of the cut, where there is one.
            refit: Whether its layers are refit to the dense network's outputs first.
            averaged: Whether the weights of most steps are averaged in the end.

        Returns:
            The network that was given.
        """
        model, recipe = pruned
        spec = FinetuneSpec(
            epochs=self.after, seed=self.seed, refit_batches=CALIBRATION if refit else 0,
            averaging_ratio=AVERAGING if averaged else 0.0,
        )  # fmt: skip
        finetune(model, self.dense, self.batches, spec, recipe=recipe)
        return model

    def ours(self, configuration: str, share: float) -> nn.Module:
        """Prune by EdgePrune, and train.

        Args:
            configuration: Criterion, scope, "refit" or "as cut", and perhaps "averaged".
            share: Of the parameters, that may be left.

        Returns:
            The small network.
        """
        criterion, scope, how = configuration.split(" ", 2)
        spec = PruneSpec(criterion=criterion, scope=scope, target=f"params <= {share}x", seed=self.seed)
        found = prune(self.dense, spec, example_inputs=(self.example,), calibration=self.batches[:CALIBRATION])
        return self.trained((found.model, found.recipe), "refit" in how, "averaged" in how)

    def theirs(self, configuration: str, share: float) -> nn.Module:
        """Prune by Torch-Pruning to the largest size in the budget that bisection finds, and train.

        Args:
            configuration: Criterion and scope.
            share: Of the parameters, that may be left.

        Returns:
            The small network.
        """
        criterion, scope = configuration.split(" ")
        most, low, high, best = share * count_params(self.dense), 0.0, 0.99, None
        for _ in range(14):
            middle = (low + high) / 2
            model = self._torch_pruning(criterion, scope == "global", middle)
            low, high = (low, middle) if count_params(model) <= most else (middle, high)
            best = model if count_params(model) <= most else best
        return self.trained((best, None), refit=False, averaged=False)

    def _torch_pruning(self, criterion: str, together: bool, ratio: float) -> nn.Module:
        model, importance = copy.deepcopy(self.dense), CRITERIA[criterion]()
        last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
        pruner = tp.pruner.BasePruner(
            model, (self.example,), importance=importance, pruning_ratio=ratio, global_pruning=together,
            ignored_layers=[last], in_channel_groups={}, out_channel_groups={}, num_heads={}, customized_pruners={},
        )  # fmt: skip
        if criterion == "taylor":
            for x, y in self.batches[:CALIBRATION]:
                nn.functional.cross_entropy(model(x), y).backward()
        if criterion == "hessian":
            importance.zero_grad()
            for loss in nn.functional.cross_entropy(model(self.batches[0][0]), self.batches[0][1], reduction="none"):
                model.zero_grad()
                loss.backward(retain_graph=True)
                importance.accumulate_grad(model)
        pruner.step()
        model.zero_grad(set_to_none=True)
        return model


def results(name: str, folder: Path, seed: int, wanted: list[str], done: set[str]) -> Iterator[dict[str, Any]]:
    """Compute what is not there yet.

    Args:
        name: Of the data set.
        folder: Of all data.
        seed: Of the network and of all training.
        wanted: Shares and configurations, "0.5 ours …".
        done: Keys of results that are there.

    Yields:
        Results.
    """
    task = TASKS[name]
    train, validation = task.read(folder).split(VALIDATION)
    torch.manual_seed(seed)
    cell = Cell(task.build(), train.batches(64, seed), seed, task.after)
    finetune(cell.dense, cell.dense, cell.batches, FinetuneSpec(epochs=task.epochs, distillation_ratio=0.0, seed=seed))
    cell.dense.eval()
    total = count_params(cell.dense)
    for job in ["1.0 dense", *wanted]:
        key = f"{name} {seed} {job}"
        if key in done:
            continue
        size, _, configuration = job.partition(" ")
        side, _, how = configuration.partition(" ")
        share = float(size)
        model = cell.dense if side == "dense" else getattr(cell, side)(how, share)
        yield {
            "key": key, "data": name, "seed": seed, "share": share, "configuration": configuration,
            "left": count_params(model) / total, "params": count_params(model),
            "accuracy": train.accuracy(model), "validation": validation.accuracy(model),
        }  # fmt: skip


def main() -> None:
    """Run what the command line asks for."""
    name, folder, seed, file, *wanted = sys.argv[1:]
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    kept = Path(file)
    done = {json.loads(line)["key"] for line in kept.read_text().splitlines()} if kept.exists() else set()
    with kept.open("a") as out:
        for result in results(name, Path(folder), int(seed), wanted, done):
            print(json.dumps(result), file=out, flush=True)


if __name__ == "__main__":
    main()
