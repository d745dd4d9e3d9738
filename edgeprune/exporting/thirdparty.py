"""The edge to converters and runtimes: their warnings stay inside, their failures become ours.

Converters fail with whatever exception their innermost layer happened to raise, so the list below names the
ordinary kinds; it leaves out what is never theirs: Ctrl-C, memory, and EdgePrune's own errors.
"""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from edgeprune.errors import EdgePruneError, MissingExtra

FAILURES: tuple[type[Exception], ...] = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
MAX_REASON_CHARACTERS = 240

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep a third party's Python warnings from the user, and from turning into errors under -W error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def failing_as(error: type[EdgePruneError], what: str, next_step: str, *also: type[Exception]) -> Iterator[None]:
    """Run a third party's code quietly and turn its failure into one line of ours.

    Args:
        error: What to raise instead.
        what: Begins the message: "The ONNX converter failed".
        next_step: Ends it.
        *also: Exceptions beyond `FAILURES` that this third party raises.

    Yields:
        Nothing.

    Raises:
        EdgePruneError: Of the type `error`, when the code failed.
    """
    try:
        with quiet():
            yield
    except (*FAILURES, *also) as failure:
        raise error(f"{what}: {root_reason(failure)}", next_step) from failure


def root_reason(failure: BaseException) -> str:
    """Return in one line why a chain of exceptions began.

    Converters wrap the failure of one operator in pages of advice; the innermost cause names the operator.

    Args:
        failure: The outermost exception.

    Returns:
        The first line of the innermost cause, without colours, at most 240 characters.
    """
    while failure.__cause__ is not None:
        failure = failure.__cause__
    lines = [line.strip() for line in _COLOUR.sub("", str(failure)).splitlines() if line.strip()]
    line = lines[0] if lines else type(failure).__name__
    return line if len(line) <= MAX_REASON_CHARACTERS else line[: MAX_REASON_CHARACTERS - 1] + "…"


def require(module: str, package: str, extra: str) -> Any:
    """Import a module of an optional package.

    Args:
        module: Such as "ai_edge_litert.interpreter".
        package: Its name for pip.
        extra: The extra of EdgePrune that brings it.

    Returns:
        The module.

    Raises:
        MissingExtra: It is not installed.
    """
    try:
        with quiet():
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtra(package, extra) from error
