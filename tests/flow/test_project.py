"""The user's project: what is wrong with it is said in one message that names the place."""

import pytest
import torch

from edgeprune import config
from edgeprune.errors import ConfigError, DataError, ModelError, UsageError
from edgeprune.flow.project import Project


def opened(folder, **replaced):
    """Open the project after replacing text in its files: opened(folder, model=("a", "b"))."""
    files = {"model": "model.py", "data": "data.py", "toml": "edgeprune.toml"}
    for key, (old, new) in replaced.items():
        path = folder / files[key]
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new), "utf-8")
    return Project(config.load(folder / "edgeprune.toml"))


def test_model_is_built_weighted_and_in_eval_mode(project):
    model = opened(project).model
    assert not model.training
    with torch.no_grad():
        assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 4)


def test_example_inputs_are_real_test_data_of_the_configured_shape(project):
    (inputs,) = opened(project).example_inputs
    (first, _), *_ = Project(config.load(project / "edgeprune.toml")).test
    assert torch.equal(inputs, first[:1])


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"toml": ("model:build", "nowhere:build")}, ConfigError, "no module 'nowhere'"),
        ({"toml": ("model:build", "model:biuld")}, ConfigError, "has no 'biuld'"),
        ({"model": ("return nn.Sequential(", "return str(")}, UsageError, "TypeError"),
        ({"model": ("    return", "    return 3\n    return")}, ModelError, "returned a int"),
        ({"model": ("from torch", "import nothing_here\nfrom torch")}, ConfigError, "no module 'nothing_here'"),
        ({"model": ("def build", "1 / 0\ndef build")}, ConfigError, r"ZeroDivisionError.*model.py:"),
        ({"model": ("nn.Linear(16, 4)", "nn.Linear(16, 5)")}, ModelError, "do not fit.*size mismatch"),
        ({"toml": ("weights.safetensors", "other.safetensors")}, ModelError, "no weights at"),
        ({"toml": ("[1, 1, 8, 8]", "[1, 3, 8, 8]")}, ModelError, r"does not run on \(1, 3, 8, 8\)"),
        ({"model": ("nn.Flatten(),", "nn.Flatten(), Nan(),")}, UsageError, "Nan"),
        ({"data": ("return batches(1, 4)", "return 3")}, DataError, "returned a int"),
        ({"data": ("return batches(1, 4)", "return []")}, DataError, "yielded nothing"),
        ({"data": ("return batches(1, 4)", "return [1, 2]")}, DataError, "a pair was due"),
        ({"data": ("return batches(1, 4)", "raise OSError('gone')")}, UsageError, "OSError: gone"),
    ],
)
def test_bad_project_is_one_message_with_a_next_step(project, change, error, words):
    loaded = opened(project, **change)
    with pytest.raises(error, match=words) as caught:
        loaded.example_inputs  # noqa: B018  the property does the work
    assert caught.value.next_step
    assert "\n" not in str(caught.value)


def test_nan_outputs_are_refused(project):
    from safetensors.torch import load_file, save_file

    weights = load_file(project / "weights.safetensors")
    weights["8.bias"][0] = float("nan")
    save_file(weights, project / "weights.safetensors")
    with pytest.raises(ModelError, match="NaN"):
        opened(project).example_inputs  # noqa: B018


def test_corrupt_weights_are_refused(project):
    (project / "weights.safetensors").write_bytes(b"not a file of tensors")
    with pytest.raises(ModelError, match="no readable weights"):
        opened(project).model  # noqa: B018


def test_weights_with_code_in_them_are_refused(project):
    torch.save({"8.bias": Sneaky()}, project / "weights.pt")
    with pytest.raises(ModelError, match="more than tensors"):
        opened(project, toml=("weights.safetensors", "weights.pt")).model  # noqa: B018


class Sneaky:
    """An object that would run code when it is unpickled."""

    def __reduce__(self):
        return print, ("boo",)


def test_fingerprint_follows_weights_code_and_training_but_not_the_goal(project):
    before = opened(project).fingerprint
    assert opened(project, toml=("20pt", "10pt")).fingerprint == before
    assert opened(project, toml=("epochs = 2", "epochs = 3")).fingerprint != before
    assert opened(project, toml=("epochs = 3", "epochs = 2")).fingerprint == before
    assert opened(project, model=("padding=1", "padding = 1")).fingerprint != before


def test_two_projects_with_modules_of_one_name_do_not_mix(project, tmp_path):
    import shutil

    other = shutil.copytree(project, tmp_path / "other")
    first = opened(project).model
    second = opened(other, model=("nn.ReLU()", "nn.Tanh()"))
    second.config = config.load(other / "edgeprune.toml")
    assert isinstance(first[2], torch.nn.ReLU)
    assert isinstance(second.model[2], torch.nn.Tanh)


@pytest.mark.parametrize(("folder", "name"), [("My Net", "my-net"), ("..", "model"), ("a_b.c", "a_b.c")])
def test_model_name_is_what_the_wire_allows(project, folder, name):
    target = project.parent / "names" / folder if folder != ".." else project.parent / "--"
    target.mkdir(parents=True)
    (target / "edgeprune.toml").write_text((project / "edgeprune.toml").read_text("utf-8"), "utf-8")
    assert config.load(target / "edgeprune.toml").model_name == name
