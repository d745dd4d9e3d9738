"""What tests of several areas share: a small real project, trained once."""

import dataclasses
import functools
import gc
import logging
import shutil
import signal
import textwrap

import hypothesis
import pytest

# Tests state claims, not times: the machine may be busy.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")
# torch.export tells its whole graph to this logger; pytest would keep all of it.
logging.getLogger("torch.__trace").propagate = False
# A shell starts what it puts in the background deaf to Ctrl-C, and our children would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module", autouse=True)
def light_heap():
    """What imports left stays to the end; unfrozen, every full collection would walk over torch and all the rest."""
    gc.collect()
    gc.freeze()


MODEL = """
    from torch import nn

    def build():
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4),
        )
"""
DATA = """
    import torch

    def batches(seed, count):
        generator = torch.Generator().manual_seed(seed)
        stripes = torch.stack([torch.sin(torch.arange(8.0) * (k + 1)).expand(8, 8) for k in range(4)])
        result = []
        for _ in range(count):
            targets = torch.randint(0, 4, (32,), generator=generator)
            noise = torch.randn(32, 1, 8, 8, generator=generator)
            result.append((stripes[targets].unsqueeze(1) + 0.5 * noise, targets))
        return result

    def train():
        return batches(0, 12)

    def test():
        return batches(1, 4)
"""
CONFIG = """
    [model]
    factory = "model:build"
    weights = "weights.safetensors"
    inputs = [{ name = "image", shape = [1, 1, 8, 8], dtype = "float32" }]

    [data]
    train = "data:train"
    test = "data:test"

    [finetune]
    epochs = 2
    learning_rate = 0.01

    [search]
    ratios = [0.5]
    formats = ["onnx"]
    precisions = ["fp32"]
    plan = "quick"

    [goal]
    minimize = ["latency", "size"]
    constraints = ["accuracy_drop <= 20pt"]
"""


def write_project(folder):
    """Write model.py, data.py, trained weights and edgeprune.toml."""
    import torch
    from safetensors.torch import save_model

    for name, text in {"model.py": MODEL, "data.py": DATA, "edgeprune.toml": CONFIG}.items():
        (folder / name).write_text(textwrap.dedent(text), "utf-8")
    scope = {}
    exec(textwrap.dedent(MODEL) + textwrap.dedent(DATA), scope)
    torch.manual_seed(0)
    model = scope["build"]()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(3):
        for inputs, targets in scope["train"]():
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
    save_model(model.eval(), str(folder / "weights.safetensors"))


@pytest.fixture(scope="session")
def torchlib_is_read_once():
    """torch.onnx compiles its five hundred operators anew for every export: half of the time of a small one."""
    from torch.onnx._internal.exporter import _registration

    library = _registration.onnxscript_apis
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "get_torchlib_ops", functools.cache(library.get_torchlib_ops))
        yield


@pytest.fixture(scope="session")
def trained_project(torchlib_is_read_once, tmp_path_factory):
    """A project that no test may change."""
    folder = tmp_path_factory.mktemp("trained") / "stripes"
    folder.mkdir()
    write_project(folder)
    return folder


@pytest.fixture(scope="session")
def tell_runtimes(tmp_path_factory):
    """Tells an agent's folder what another agent found out about the runtimes here, which takes a while."""
    from edgeprune.devices import connect

    known = tmp_path_factory.mktemp("known") / "agent"
    with connect(f"local://?root={known}") as opened:
        assert opened.info.runtimes
    found = (known / "runtimes.json").read_text("utf-8")

    def tell(root):
        root.mkdir(0o700)
        (root / "runtimes.json").write_text(found.replace(str(known), str(root)), "utf-8")

    return tell


@pytest.fixture(scope="session")
def brief():
    """The plan "quick", but of a moment: for claims about anything but the numbers."""
    from edgeprune.values.plan import PLANS

    return dataclasses.replace(PLANS["quick"], warmup_s=0.05, min_duration_s=0.3)


@pytest.fixture
def quick_is_brief(brief, monkeypatch):
    """Whatever measures in this process by the plan "quick" measures for a moment."""
    from edgeprune.values.plan import PLANS

    monkeypatch.setitem(PLANS, "quick", brief)


@pytest.fixture
def project(trained_project, tell_runtimes, tmp_path, monkeypatch):
    """A project of the test's own, and an agent root of its own."""
    tell_runtimes(tmp_path / "board")
    monkeypatch.setenv("EDGEPRUNE_AGENT_ROOT", str(tmp_path / "board"))
    return shutil.copytree(trained_project, tmp_path / "stripes")
