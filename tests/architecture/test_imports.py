"""docs/architecture.md: imports point one way, and the lean paths stay lean."""

import subprocess
import sys
from pathlib import Path

import edgeprune

ROOT = Path(__file__).parents[2]


def modules_after(statement):
    script = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_importing_edgeprune_imports_neither_torch_nor_a_runtime():
    heavy = {"torch", "onnx", "onnxruntime", "numpy", "sqlalchemy", "typer", "rich"}
    assert not heavy & modules_after("import edgeprune")


def test_help_imports_neither_torch_nor_a_runtime():
    heavy = {"torch", "onnx", "onnxruntime", "ai_edge_litert", "litert_torch", "numpy", "sqlalchemy"}
    loaded = modules_after(
        "from typer.testing import CliRunner; from edgeprune.cli.app import app; "
        "assert 'deploy' in CliRunner().invoke(app, ['--help']).stdout"
    )
    assert not heavy & loaded


def test_import_contracts_hold():
    lint = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_public_name_is_importable_and_documented():
    for name in edgeprune.__all__:
        value = getattr(edgeprune, name)
        assert name == "__version__" or value.__doc__, name


def test_an_unknown_public_name_is_an_attribute_error():
    assert not hasattr(edgeprune, "prnue")
