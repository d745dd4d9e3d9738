"""Makes the agent's sources short for slow lines: what the board's Python does not need is cut out.

Cut out by position rather than written anew, so that the same source gives the same bytes under every Python here.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator

_Span = tuple[int, int, bytes]


def slim(source: bytes) -> bytes:
    """Return a module that does the same, without comments, docstrings, annotations of functions and blank lines.

    Args:
        source: UTF-8 text of a Python module.

    Returns:
        UTF-8 text.
    """
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    spans = [*_needless(ast.parse(source), source, starts), *_comments(source, starts)]
    out = source
    for start, end, instead in sorted(spans, reverse=True):
        out = out[:start] + instead + out[end:]
    return _without_blank_lines(out)


def _needless(tree: ast.AST, source: bytes, starts: list[int]) -> Iterator[_Span]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield from _texts(node, starts)
        if isinstance(node, ast.FunctionDef) and node.returns is not None:
            start, end = _place(node.returns, starts)
            yield source.rindex(b"->", 0, start), end, b""
        if isinstance(node, ast.arg) and node.annotation is not None:
            start, _ = _place(node, starts)
            yield start + len(node.arg.encode()), _place(node.annotation, starts)[1], b""


def _texts(node: ast.Module | ast.ClassDef | ast.FunctionDef, starts: list[int]) -> Iterator[_Span]:
    texts = [
        part
        for part in node.body
        if isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant) and isinstance(part.value.value, str)
    ]
    for text in texts:
        start, end = _place(text, starts)
        yield start, end, b"0" if len(texts) == len(node.body) and text is texts[0] else b""


def _place(node: ast.expr | ast.stmt | ast.arg, starts: list[int]) -> tuple[int, int]:
    assert node.end_lineno is not None  # the parser always says it
    assert node.end_col_offset is not None
    return starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset


def _comments(source: bytes, starts: list[int]) -> Iterator[_Span]:
    lines = source.decode().splitlines()
    for token in tokenize.tokenize(io.BytesIO(source).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            start = starts[row - 1] + len(lines[row - 1][:column].encode())
            yield start, start + len(token.string.encode()), b""


def _without_blank_lines(source: bytes) -> bytes:
    inside: set[int] = set()
    for token in tokenize.tokenize(io.BytesIO(source).readline):
        if token.type not in (tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT):
            inside.update(range(token.start[0], token.end[0] + 1))
    lines = source.splitlines(keepends=True)
    return b"".join(
        line.rstrip() + b"\n" if line.strip() else line for row, line in enumerate(lines, 1) if row in inside
    )
