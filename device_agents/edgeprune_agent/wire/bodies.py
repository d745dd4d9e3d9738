"""JSON bodies, within limits on size, depth and numbers."""

import json
import re
from typing import Any, Dict

from edgeprune_agent.wire.protocol import MAX_JSON_BYTES, MAX_JSON_DEPTH, WireError

_JSON_STRINGS = re.compile(rb'"(?:[^"\\]+|\\.)*"?', re.DOTALL)
"""Also matches a string that never ends, so that it never has to go back."""


def encode_json(data: Dict[str, Any]) -> bytes:
    """Return the JSON of a message body.

    Args:
        data: JSON data without NaN or infinities.

    Returns:
        ASCII bytes.

    Raises:
        WireError: It is no JSON data, or longer than a message may be.
    """
    try:
        body = json.dumps(data, allow_nan=False, separators=(",", ":")).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise WireError(f"not JSON data: {error}") from error
    if len(body) > MAX_JSON_BYTES:
        raise WireError(f"a JSON body of {len(body)} bytes is over the limit")
    return body


def decode_json(body: bytes) -> Dict[str, Any]:
    """Read a JSON object within the limits on size, depth and numbers.

    Args:
        body: Bytes from the other side.

    Returns:
        The object.

    Raises:
        WireError: It is anything else.
    """
    if len(body) > MAX_JSON_BYTES:
        raise WireError(f"a JSON body of {len(body)} bytes is over the limit")
    _check_depth(body)
    try:
        data = json.loads(body.decode("utf-8"), parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise WireError(f"not JSON: {error}") from error
    if not isinstance(data, dict):
        raise WireError("a JSON body that is no object")
    return data


def _check_depth(body: bytes) -> None:
    # Before the parser runs, since it would recurse once a level.
    depth = 0
    for byte in _JSON_STRINGS.sub(b"", body):
        if byte in b"[{":
            depth += 1
            if depth > MAX_JSON_DEPTH:
                raise WireError(f"JSON nested deeper than {MAX_JSON_DEPTH} levels")
        elif byte in b"]}":
            depth -= 1


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:20]} is too large")
    return value
