"""Copies of modules are what `copy.deepcopy` gives."""

from __future__ import annotations

import gc
from copy import deepcopy

import pytest
import torch
from pruning_architectures import Classifier, Dense, VisionTransformer
from torch import nn

from edgeprune.pruning.capture import copied, copied_inputs, modules_of
from edgeprune.pruning.copying import copied_module
from edgeprune.pruning.pausing import collector_paused


class Knotted(nn.Module):
    """Ties weights, leads back to itself, keeps a list of its own layers and a table."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.also = self.first
        self.parts = [self.first, self.second]
        self.table = {"rates": [1, 2], "whole": self.parts}
        object.__setattr__(self.first, "owner", self)

    def forward(self, x):
        return self.second(self.first(x))


class Stubborn(nn.Linear):
    """Says itself how it is copied."""

    def __deepcopy__(self, memo):
        made = Stubborn(self.in_features, self.out_features)
        made.load_state_dict(self.state_dict())
        made.copies = getattr(self, "copies", 0) + 1
        return made


MODELS = [
    Classifier(Dense(16, 8, 2), out=32), VisionTransformer(16, 4), nn.LSTM(4, 8, bidirectional=True), Knotted(),
    nn.Sequential(Stubborn(3, 3), nn.Sequential()),
]  # fmt: skip


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_a_copy_has_the_same_parts_and_shares_no_tensor(model):
    made, expected = copied(model), deepcopy(model)

    assert str(made) == str(expected)
    assert {name: type(module) for name, module in made.named_modules()} == {
        name: type(module) for name, module in expected.named_modules()
    }
    for left, right in zip(made.modules(), expected.modules(), strict=True):
        assert list(vars(left)) == list(vars(right))
    own = {tensor.data_ptr() for tensor in model.state_dict().values() if tensor.numel()}
    for name, tensor in made.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name])
        assert not tensor.numel() or tensor.data_ptr() not in own


def test_what_is_shared_within_a_model_is_shared_within_its_copy():
    made = copied(Knotted())

    assert made.second.weight is made.first.weight and made.also is made.first
    assert made.first.owner is made
    assert made.parts == [made.first, made.second] and made.table["whole"] is made.parts


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_modules_are_found_as_torch_names_them(model):
    assert list(modules_of(model).items()) == list(model.named_modules())
    assert list(modules_of(model, again=True).items()) == list(model.named_modules(remove_duplicate=False))


def test_hooks_of_a_copy_are_its_own():
    model = nn.Sequential(nn.Linear(2, 2))
    made = copied(model)
    made[0].register_forward_hook(lambda *given: None)
    made.add_module("more", nn.ReLU())

    assert not model[0]._forward_hooks and len(model) == 1


def test_a_module_that_copies_itself_is_asked_and_known_copies_are_taken():
    model = nn.Sequential(Stubborn(3, 3))
    other = nn.Parameter(torch.zeros(2, 3))

    assert copied(model)[0].copies == 1
    assert copied_module(nn.Sequential(model[0]), {id(model[0]): model[0]})[0] is model[0]
    linear = nn.Linear(3, 2)
    assert copied(linear, {id(linear.weight): other}).weight is other


def test_inputs_are_copied_with_what_holds_them():
    given = (torch.randn(2, 3), {"mask": torch.ones(3), "names": ["a"]})
    mine, rest = copied_inputs(given)
    mine.zero_()
    rest["mask"].zero_()
    rest["names"].append("b")

    assert bool(given[0].any()) and bool(given[1]["mask"].all()) and given[1]["names"] == ["a"]


@pytest.mark.parametrize("running", [True, False])
def test_the_collector_pauses_and_is_then_as_it_was(running):
    was = gc.isenabled()
    try:
        (gc.enable if running else gc.disable)()
        with pytest.raises(ValueError, match="inside"), collector_paused():
            assert not gc.isenabled()
            raise ValueError("inside")
        assert gc.isenabled() is running
    finally:
        (gc.enable if was else gc.disable)()
