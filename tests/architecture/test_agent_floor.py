"""docs/architecture.md: the agent runs on a bare Python 3.6 and packs to one file."""

import ast
import sys
from pathlib import Path

import edgeprune_agent
import pytest

import edgeprune

ROOT = Path(__file__).parents[2] / "device_agents" / "edgeprune_agent"
SOURCES = sorted(ROOT.rglob("*.py"))
LATER = {"dataclasses", "contextvars", "zoneinfo", "tomllib", "graphlib"}
"""Standard modules that Python 3.6 does not have."""
LATER_ARGUMENTS = {"capture_output", "missing_ok", "dirs_exist_ok"}


def test_the_agent_has_sources():
    assert len(SOURCES) >= 10


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_source_is_python_3_6(path):
    tree = ast.parse(path.read_text("utf-8"), feature_version=(3, 6))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.module != "__future__", "no annotations from the future in 3.6"
        if isinstance(node, ast.keyword):
            assert node.arg not in LATER_ARGUMENTS


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_level_imports_are_standard(path):
    for node in ast.parse(path.read_text("utf-8")).body:
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "no relative imports"
            names = [node.module]
        for name in names:
            top = name.partition(".")[0]
            assert top == "edgeprune_agent" or (top in sys.stdlib_module_names and top not in LATER), name


def test_no_file_shadows_a_standard_module_for_a_script():
    tops = {path.stem for path in ROOT.glob("*.py")} - {"__init__", "__main__"}
    assert not tops & {"platform", "select", "signal", "statistics", "serial", "selectors", "queue"}


def test_the_agent_has_the_version_of_the_project():
    assert edgeprune_agent.__version__ == edgeprune.__version__
