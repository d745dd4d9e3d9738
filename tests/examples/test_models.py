"""The networks that ship: they reach what they state, and their code runs as it lies in a user's folder."""

import importlib
import importlib.util
import re
import runpy
import sys

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from edgeprune.errors import DataError, UnknownName
from edgeprune.examples import digits, write_project

SHAPES = {"fashion-mnist": (1, 28, 28), "digits": (1, 8, 8)}
TEST_PICTURES = {"fashion-mnist": 3_000, "digits": 497}


@pytest.fixture(scope="module", params=SHAPES)
def example(request):
    return request.param


@pytest.fixture(scope="module")
def project(example, tmp_path_factory):
    folder = tmp_path_factory.mktemp(example)
    write_project(folder, example)
    return folder


def imported(project, name):
    specification = importlib.util.spec_from_file_location(f"{project.name}_{name}", project / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data(project):
    return imported(project, "data")


def stated_accuracy(project):
    return (
        float(re.search(r"([\d.]+) % of the test", (project / "train.py").read_text(encoding="utf-8")).group(1)) / 100
    )


def test_the_weights_reach_the_stated_accuracy_on_all_test_data(project, data, example):
    model = imported(project, "model").build()
    model.load_state_dict(load_file(project / "weights.safetensors"))
    model.eval()
    with torch.no_grad():
        hits = torch.cat([model(inputs).argmax(1) == targets for inputs, targets in data.test()])
    assert len(hits) == TEST_PICTURES[example]
    assert hits.float().mean().item() == pytest.approx(stated_accuracy(project), abs=0.001)


def test_the_stated_accuracy_is_worth_pruning_for(project):
    assert stated_accuracy(project) >= 0.88


def test_the_model_knows_nothing_of_edgeprune(project):
    assert not re.search(
        r"^\s*(from|import) edgeprune", (project / "model.py").read_text(encoding="utf-8"), re.MULTILINE
    )


def test_loaders_give_normalised_batches(data, example):
    for loader in (data.train(), data.test()):
        inputs, targets = next(iter(loader))
        assert inputs.shape == (64, *SHAPES[example])
        assert (inputs.dtype, targets.dtype, targets.shape) == (torch.float32, torch.int64, (64,))
        everything = torch.cat([inputs for inputs, _ in loader])
        assert abs(everything.mean().item()) < 0.5
        assert 0.5 < everything.std().item() < 1.5


def test_a_loader_can_be_walked_over_again_with_the_same_batches(data):
    loader = data.train()
    assert same_batches(loader, loader)
    assert len(list(loader)) == len(list(loader)) > 0


def test_the_same_seed_gives_the_same_order_and_another_seed_another(data):
    assert same_batches(data.train(), data.train(seed=0))
    assert same_batches(data.train(seed=3), data.train(seed=3))
    assert not same_batches(data.train(seed=0), data.train(seed=1))
    assert same_batches(data.test(), data.test())


def test_every_order_holds_the_same_pictures(data):
    first, second = (torch.cat([targets for _, targets in data.train(seed)]) for seed in (0, 1))
    assert not torch.equal(first, second)
    assert torch.equal(first.bincount(minlength=10), second.bincount(minlength=10))


def same_batches(first, second):
    return all(
        torch.equal(one, other) for pair in zip(first, second, strict=True) for one, other in zip(*pair, strict=True)
    )


@pytest.fixture
def train(project, monkeypatch, capsys):
    """Run `python train.py` for a few steps, in this process; gives the loss of each epoch."""
    others = {name: sys.modules.pop(name) for name in ("model", "data") if name in sys.modules}
    monkeypatch.syspath_prepend(project)
    data = importlib.import_module("data")
    monkeypatch.setattr(data, "test", lambda batches=data.test: batches()[:1])  # the accuracy has a test of its own

    def run(output):
        monkeypatch.setattr(sys, "argv", ["train.py", "--epochs", "2", "--limit", "6", "-o", str(output)])
        runpy.run_path(str(project / "train.py"), run_name="__main__")
        return [float(loss) for loss in re.findall(r"mean loss ([\d.]+)", capsys.readouterr().out)]

    yield run
    for name in ("model", "data"):
        del sys.modules[name]
    sys.modules.update(others)


def test_training_improves_and_is_reproducible(train, project, tmp_path):
    shipped = (project / "weights.safetensors").read_bytes()
    losses = train(tmp_path / "a.safetensors")
    assert len(losses) == 2
    assert losses[-1] < 0.9 * losses[0]
    assert train(tmp_path / "b.safetensors") == losses
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert (project / "weights.safetensors").read_bytes() == shipped, "--output keeps the script off the weights"


def test_the_fashion_network_has_what_makes_pruning_hard(tmp_path):
    write_project(tmp_path, "fashion-mnist")
    convolutions = [m for m in imported(tmp_path, "model").build().modules() if isinstance(m, nn.Conv2d)]
    assert any(c.groups == c.in_channels > 1 for c in convolutions), "a depthwise convolution"
    assert any(c.kernel_size == (1, 1) for c in convolutions), "a pointwise convolution"


def test_the_digits_splits_cover_the_set_once():
    counts = {split: len(digits.load(split)[1]) for split in digits.SPLITS}
    assert counts == {"train": 1_300, "test": 497}


def test_an_unknown_split_of_the_digits_names_the_known_ones():
    with pytest.raises(UnknownName, match="Known: test, train"):
        digits.load("validation")


def test_without_scikit_learn_the_digits_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DataError) as caught:
        digits.load("train")
    assert caught.value.next_step == "Run: pip install scikit-learn"
