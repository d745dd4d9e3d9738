from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from pruning_architectures import conv
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from edgeprune.errors import DataError, ModelError, UsageError
from edgeprune.pruning import finetune, prune, recalibrate
from edgeprune.pruning.recovery import distillation
from edgeprune.values.spec import FinetuneSpec, PruneSpec


def problem(n_batches: int = 12) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Which quarter of the image is bright."""
    generator = torch.Generator().manual_seed(1)
    found = []
    for _ in range(n_batches):
        targets = torch.randint(0, 4, (32,), generator=generator)
        x = torch.randn(32, 1, 8, 8, generator=generator)
        for image, target in zip(x, targets.tolist(), strict=True):
            image[:, 4 * (target // 2) :, 4 * (target % 2) :][:, :4, :4] += 1.0
        found.append((x, targets))
    return found


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(conv(1, 16), nn.MaxPool2d(2), conv(16, 16), nn.Dropout(0.1), nn.Flatten(), nn.Linear(256, 4))


def accuracy(model: nn.Module, data) -> float:
    model.eval()
    with torch.no_grad():
        return sum(float((model(x).argmax(1) == y).float().mean()) for x, y in data) / len(data)


@pytest.fixture(scope="module")
def trained():
    model, data = network(), problem()
    finetune(model, model, data, FinetuneSpec(epochs=4, distillation_ratio=0.0, learning_rate=3e-3))
    return model, data


def test_fine_tuning_wins_back_what_a_cut_lost(trained):
    model, data = trained
    test = problem(16)[12:]
    dense = accuracy(model, test)
    pruned = prune(model, PruneSpec(ratio=0.75, scope="local"), example_inputs=(data[0][0],)).model
    cut = accuracy(pruned, test)

    finetune(pruned, model, data, FinetuneSpec(epochs=4, learning_rate=3e-3))

    assert dense > 0.9
    assert cut < dense - 0.1
    assert accuracy(pruned, test) > cut + 0.1


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_seed_alone(optimizer):
    data, states = problem(3), []
    for _ in range(2):
        torch.manual_seed(len(states))
        state = torch.random.get_rng_state()
        model, teacher = network(), network()
        torch.manual_seed(len(states))
        finetune(model, teacher, data, FinetuneSpec(epochs=1, optimizer=optimizer))
        assert torch.equal(torch.random.get_rng_state(), state)
        states.append(model.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(states[0].values(), states[1].values(), strict=True))


def test_the_teacher_is_only_read_and_both_keep_their_modes():
    model, teacher, data = network().eval(), network().train(), problem(2)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}

    finetune(model, teacher, data, FinetuneSpec(epochs=1))

    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
    assert not any(module.training for module in model.modules())
    assert all(module.training for module in teacher.modules())


def test_no_epochs_only_recalibrate():
    model, data = network(), problem(2)
    before = {name: value.clone() for name, value in model.named_parameters()}
    finetune(model, model, data, FinetuneSpec(epochs=0))

    assert all(torch.equal(before[name], value) for name, value in model.named_parameters())
    assert model[0][1].num_batches_tracked == 2


def test_distillation_is_the_divergence_at_a_temperature_times_its_square():
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0 * 1.0986122886681098, 0.0]])
    # softened by T = 2 the teacher says (3/4, 1/4), the student (1/2, 1/2)
    by_hand = 4 * (0.75 * torch.tensor(1.5).log() + 0.25 * torch.tensor(0.5).log())
    assert distillation(student, teacher, 2.0) == pytest.approx(float(by_hand), rel=1e-5)
    assert distillation(teacher, teacher, 2.0) == pytest.approx(0.0, abs=1e-7)


def test_recalibration_is_the_plain_average_over_batches():
    model, data = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(0.5)).eval(), problem(5)
    momentum = model[0].momentum
    model[0].running_mean.fill_(100.0)

    recalibrate(model, data, 3)

    expected = torch.stack([x.mean() for x, _ in data[:3]]).mean()
    assert model[0].running_mean.item() == pytest.approx(float(expected), abs=1e-6)
    variance = torch.stack([x.var() for x, _ in data[:3]]).mean()
    assert model[0].running_var.item() == pytest.approx(float(variance), rel=1e-5)
    assert model[0].momentum == momentum and not model[0].training


def test_recalibrating_over_no_batches_changes_nothing():
    model = nn.Sequential(nn.BatchNorm2d(1))
    model[0].running_mean.fill_(7.0)
    recalibrate(model, problem(1), 0)
    assert model[0].running_mean.item() == 7.0


def test_a_loss_that_is_not_a_number_is_refused():
    data = [(torch.full((2, 1, 8, 8), float("nan")), torch.tensor([0, 1]))]
    with pytest.raises(ModelError, match="loss is nan"):
        finetune(network(), network(), data, FinetuneSpec())


def test_a_batch_of_one_in_training_says_what_to_do():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    with pytest.raises(DataError, match=r"more than one example \(drop_last=True\)"):
        finetune(model, model, [(torch.randn(1, 4), torch.tensor([0]))], FinetuneSpec(distillation_ratio=0.0))


def test_an_empty_loader_is_refused():
    with pytest.raises(DataError, match="yielded nothing"):
        finetune(network(), network(), [], FinetuneSpec())


def test_a_model_with_several_outputs_is_refused():
    class Two(nn.Linear):
        def forward(self, x):
            y = F.linear(x, self.weight)
            return y, y

    with pytest.raises(ModelError, match="returns a tuple"):
        finetune(Two(4, 2), Two(4, 2), [(torch.randn(2, 4), torch.tensor([0, 1]))], FinetuneSpec())


def test_progress_is_told_by_epoch():
    events = []
    finetune(network(), network(), problem(1), FinetuneSpec(epochs=2), events.append)
    assert [(event.done, event.total, event.unit) for event in events] == [
        (0, 2, "epochs"), (1, 2, "epochs"), (2, 2, "epochs"),
    ]  # fmt: skip


def test_the_sparsity_term_pulls_the_scales_of_batch_norms_towards_zero():
    data, scales = problem(2), []
    for weight in (0.0, 0.05):
        torch.manual_seed(0)
        model = network()
        spec = FinetuneSpec(epochs=2, optimizer="sgd", learning_rate=0.1, sparsity_weight=weight)
        finetune(model, network(), data, spec)
        scales.append(float(model[0][1].weight.detach().abs().mean()))
    assert scales[1] < scales[0] - 0.01


def test_the_sparsity_term_without_batch_norm_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    with pytest.raises(UsageError, match="needs batch norms with a scale"):
        finetune(model, model, problem(1), FinetuneSpec(sparsity_weight=1e-4))
    with pytest.raises(UsageError, match="sparsity_weight -1"):
        FinetuneSpec(sparsity_weight=-1.0)


class Understated(list):
    """A loader that yields more than its length says."""

    def __len__(self) -> int:
        return 1


def weights_of_each_step(
    spec: FinetuneSpec, data: list | None = None
) -> tuple[nn.Module, list[torch.Tensor], list[float]]:
    """Return a trained network, and what an outsider saw after each step: its first weight, the learning rate."""
    model, seen, rates = network(), [], []

    def look(optimizer: torch.optim.Optimizer, *_: object) -> None:
        seen.append(model[0][0].weight.detach().clone())
        rates.append(optimizer.param_groups[0]["lr"])

    handle = register_optimizer_step_post_hook(look)
    try:
        finetune(model, network(), data or problem(4), spec)
    finally:
        handle.remove()
    return model, seen, rates


def test_what_is_left_is_the_mean_of_the_last_steps_weights_at_a_steady_rate():
    model, seen, rates = weights_of_each_step(FinetuneSpec(epochs=2, averaging_ratio=0.75))
    assert len(seen) == 8
    assert torch.allclose(model[0][0].weight, torch.stack(seen[2:]).mean(0), atol=1e-7)
    assert not torch.allclose(model[0][0].weight, seen[-1], atol=1e-4)
    assert set(rates) == {1e-3}


def test_without_averaging_the_last_step_is_what_is_left():
    model, seen, rates = weights_of_each_step(FinetuneSpec(epochs=2))
    assert torch.equal(model[0][0].weight, seen[-1])
    assert rates == sorted(rates, reverse=True) and rates[-1] < 1e-4


def test_nor_is_anything_averaged_where_a_loader_yields_more_than_it_said():
    model, seen, _ = weights_of_each_step(FinetuneSpec(epochs=1), Understated(problem(4)))
    assert len(seen) == 4
    assert torch.equal(model[0][0].weight, seen[-1])


@pytest.mark.parametrize("ratio", [-0.1, 1.5, float("nan")])
def test_an_averaged_share_beyond_the_steps_is_refused(ratio):
    with pytest.raises(UsageError, match="averaging_ratio"):
        FinetuneSpec(averaging_ratio=ratio)
