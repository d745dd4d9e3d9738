"""The README's Python runs as it stands, on a small model."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def scope(tmp_path, monkeypatch, brief):
    """The names that a reader has at hand: a trained model, an input, loaders."""
    import edgeprune as ep

    monkeypatch.setenv("EDGEPRUNE_AGENT_ROOT", str(tmp_path / "board"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ep, "BenchPlan", lambda: brief, raising=False)
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 3)
    ).eval()
    inputs = torch.randn(64, 1, 8, 8)
    with torch.no_grad():
        loader = [(part, model(part).argmax(1)) for part in inputs.split(16)]
    return {"model": model, "x": inputs[:1], "train": loader, "test": loader}


def test_python_of_the_readme_prunes_measures_and_installs(scope, capsys):
    (code,) = blocks("python")
    exec(code.replace("<= 0.5pt", "<= 100pt"), scope)
    assert scope["choice"].reason in capsys.readouterr().out
    assert Path(scope["release"].path).is_dir()
    assert scope["release"].model == "my-model"


def test_commands_of_the_readme_exist():
    from typer.testing import CliRunner

    from edgeprune.cli.app import app

    lines = [line.split("#")[0].split() for block in blocks("sh") for line in block.splitlines()]
    commands = [words[1:] for words in lines if words and words[0] == "edgeprune"]
    assert len(commands) >= 5
    for words in commands:
        names = [word for word in words[:2] if re.fullmatch(r"[a-z]+", word)]
        flags = [word for word in words if word.startswith("--")]
        shown = CliRunner().invoke(app, [*names, "--help"])
        assert shown.exit_code == 0, names
        assert all(flag in shown.stdout for flag in flags), words
