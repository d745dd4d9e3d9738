"""docs/architecture.md: a file has at most 300 lines of code, a function at most 60."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for folder in ("edgeprune", "device_agents")
    for path in (ROOT / folder).rglob("*.py")
    if "template" not in path.parts
)
MAX_FILE, MAX_FUNCTION = 300, 60


def code_lines(text):
    return sum(1 for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))


def functions(text):
    return [n for n in ast.walk(ast.parse(text)) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]


def test_there_are_sources_to_look_at():
    assert len(SOURCES) > 80


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_and_its_functions_are_short(path):
    text = path.read_text("utf-8")
    assert code_lines(text) <= MAX_FILE
    long = {f.name: f.end_lineno - f.lineno + 1 for f in functions(text) if f.end_lineno - f.lineno >= MAX_FUNCTION}
    assert not long


def test_median_function_is_under_ten_lines():
    lengths = sorted(
        f.end_lineno - f.lineno + 1 - docstring_lines(f) for p in SOURCES for f in functions(p.read_text("utf-8"))
    )
    assert lengths[len(lengths) // 2] < 10


def docstring_lines(function):
    first = function.body[0]
    is_doc = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    return first.end_lineno - first.lineno + 1 if is_doc else 0
