"""What is cut out of the agent's sources for slow lines is what Python does not need."""

import ast
import zlib

import pytest

from edgeprune.devices import agent_file
from edgeprune.devices.agent_source import slim

SOURCES = agent_file._all_sources()


def essence(source):
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [part for part in node.body if not is_text(part)] or [ast.Pass()]
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
    return ast.dump(tree)


def is_text(part):
    return isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_means_the_same_afterwards(name):
    assert essence(slim(SOURCES[name])) == essence(SOURCES[name])


def test_nothing_that_is_left_could_go():
    short = b"".join(slim(source) for source in SOURCES.values())
    assert b'"""' not in short.replace(b'= b"""', b"")
    assert b"\n\n" not in short
    assert len(zlib.compress(short, 9)) < 0.75 * len(zlib.compress(b"".join(SOURCES.values()), 9))


TRICKY = '''
"""Doc."""
import typing  # why not

def f(a: "Dict[str, int]", *b: int, c: str = "#no comment") -> typing.Tuple[
    int,
]:
    """Only a text."""

def g(größe: int = 3) -> "ä":  # ü
    text = """
    a line

    # and no comment
    """
    return text, größe

class C(typing.NamedTuple):
    """Doc."""

    kept: int = 1
    """A field's."""
'''


def test_texts_that_look_like_comments_stay():
    source = TRICKY.encode()
    short = slim(source)
    assert essence(short) == essence(source)
    names = {}
    exec(compile(short, "short", "exec"), names)
    assert names["g"]() == ("\n    a line\n\n    # and no comment\n    ", 3)
    assert names["C"]().kept == 1


def test_the_slim_agent_is_the_same_whenever_it_is_packed():
    first = agent_file.pack_slim_agent()
    agent_file.pack_slim_agent.cache_clear()
    assert agent_file.pack_slim_agent() == first
    assert len(first) < len(agent_file.pack_agent()) * 0.5
