"""Win back accuracy after a cut: refitting, fine-tuning with distillation, and batch-norm recalibration."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from edgeprune.errors import UsageError
from edgeprune.pruning.averaging import AveragedWeights
from edgeprune.pruning.evidence import checked_loss, cross_entropy, logits_of
from edgeprune.pruning.keeping import zeros_kept
from edgeprune.pruning.quantization_aware import int8_felt
from edgeprune.pruning.refitting import refit
from edgeprune.values.batch import batches
from edgeprune.values.event import Event, Listener, ignore
from edgeprune.values.recipe import PruneRecipe
from edgeprune.values.spec import FinetuneSpec

MOMENTUM = 0.9
WEIGHT_DECAY = 1e-4


def finetune(
    model: nn.Module,
    teacher: nn.Module,
    train: Iterable[Any],
    spec: FinetuneSpec,
    listener: Listener = ignore,
    *,
    recipe: PruneRecipe | None = None,
) -> None:
    """Refit a pruned model in place, train it, then re-estimate its batch-norm statistics.

    The loss is (1 − d) · cross-entropy + d · T² · KL(teacher ‖ student) + s · Σ|γ| at temperature T, with d the spec's
    `distillation_ratio`, s its `sparsity_weight` and γ the scales of all batch norms. The same seed, data and model
    give the same weights.

    Args:
        model: Gives logits, shape (N, classes, ...); trained.
        teacher: The dense model, with logits of the same shape; only read.
        train: Loader of (inputs, class indices) that can be read more than once.
        spec: Epochs, optimizer, distillation, recalibration, seed.
        listener: Hears of each epoch.
        recipe: What led to the model: the zeros that it names stay zero, and the layers that read what it cut are
            refit to the teacher first, where the teacher is the network that it cuts. None lets every weight move,
            from where it is.

    Source:
        Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", section 2, arXiv:1503.02531, for the
        teacher; Liu et al. 2017, "Learning Efficient Convolutional Networks through Network Slimming", equation 1,
        arXiv:1708.06519, for the scales; Izmailov et al. 2018, section 3.2, arXiv:1803.05407, for the averaging.
    """
    train = list(train) if isinstance(train, Iterator) else train
    zeros = zeros_kept(model, recipe or PruneRecipe(()))
    with zeros, _modes_kept(model), _modes_kept(teacher), torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        teacher.eval()
        refit(model.eval(), teacher, recipe or PruneRecipe(()), train, spec.refit_batches)
        if spec.epochs:
            _train(model, teacher, train, spec, listener)
        recalibrate(model, train, spec.recalibration_batches)


def _train(model: nn.Module, teacher: nn.Module, train: Iterable[Any], spec: FinetuneSpec, listener: Listener) -> None:
    model.train()
    optimizer = _optimizer(model, spec)
    scales = [m.weight for m in model.modules() if isinstance(m, _BatchNorm) and m.weight is not None]
    if spec.sparsity_weight and not scales:
        raise UsageError("sparsity_weight needs batch norms with a scale, and the model has none.", "Leave it at 0.")
    total = max(1, spec.epochs * _length(train))
    done, averaged = 0, AveragedWeights(model)
    with ExitStack() as block:
        for epoch in range(spec.epochs):
            listener(Event("prune", "finetune", epoch, spec.epochs, "epochs"))
            if epoch == spec.epochs - spec.quantization_aware_epochs:
                block.enter_context(int8_felt(model))
            for inputs, targets in batches(train):
                _set_rate(optimizer, _rate(spec, done / total))
                loss = checked_loss(_loss(model, teacher, inputs, targets, spec))
                if spec.sparsity_weight:
                    loss = loss + spec.sparsity_weight * torch.stack([scale.abs().sum() for scale in scales]).sum()
                _step(optimizer, loss)
                done += 1
                if spec.averaging_ratio and done > total * (1 - spec.averaging_ratio):
                    averaged.add()
        averaged.take()
    listener(Event("prune", "finetune", spec.epochs, spec.epochs, "epochs"))


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def _optimizer(model: nn.Module, spec: FinetuneSpec) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if spec.optimizer == "sgd":
        return torch.optim.SGD(parameters, spec.learning_rate, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    return torch.optim.AdamW(parameters, spec.learning_rate, weight_decay=WEIGHT_DECAY)


def _rate(spec: FinetuneSpec, progress: float) -> float:
    # Averaged are weights that still move: a rate that falls to nothing would count those of its end many times over.
    return spec.learning_rate * (1.0 if spec.averaging_ratio else 0.5 * (1 + math.cos(math.pi * progress)))


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _length(loader: Any) -> int:
    """Return the number of batches, counted once where the loader does not say."""
    return len(loader) if hasattr(loader, "__len__") else sum(1 for _ in loader)


def _loss(model: nn.Module, teacher: nn.Module, inputs: Any, targets: Any, spec: FinetuneSpec) -> Tensor:
    logits = logits_of(model, inputs)
    share = spec.distillation_ratio
    loss = (1 - share) * cross_entropy(logits, targets) if share < 1 else logits.new_zeros(())
    if share > 0:
        with torch.no_grad():
            taught = logits_of(teacher, inputs)
        loss = loss + share * distillation(logits, taught, spec.temperature)
    return loss


def distillation(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return T² · KL(teacher ‖ student) of the softened outputs, per example.

    Args:
        student: Logits, shape (N, classes, ...).
        teacher: Logits, the same shape.
        temperature: T.

    Returns:
        Scalar, >= 0.
    """
    soft = F.log_softmax(student / temperature, dim=1)
    aim = F.log_softmax(teacher / temperature, dim=1)
    return temperature**2 * F.kl_div(soft, aim, reduction="batchmean", log_target=True)


def recalibrate(model: nn.Module, train: Iterable[Any], n_batches: int) -> None:
    """Re-estimate the running statistics of every batch norm from scratch, as plain averages over batches.

    Args:
        model: Changed in its running statistics only.
        train: Loader of (inputs, targets).
        n_batches: How many batches to average over; 0 leaves everything as it is.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not norms or n_batches == 0:
        return
    momenta = [norm.momentum for norm in norms]
    with _modes_kept(model), torch.no_grad():
        model.eval()
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # torch's sign for a cumulative average
            norm.train()
        try:
            for inputs, _ in islice(batches(train), n_batches):
                logits_of(model, inputs)
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum


@contextmanager
def _modes_kept(model: nn.Module) -> Iterator[None]:
    """Give every module its training flag back."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
