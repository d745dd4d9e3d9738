"""Answers that were given, kept on disk, so that a repeated request is answered and not done again."""

import hashlib
import json
import os
from typing import Any, Dict, List, Optional

from edgeprune_agent.folders import Root, read_small, write_all, write_whole
from edgeprune_agent.wire import AgentError

KEPT = 256
FILE = "idem.jsonl"
_LIMIT = 64 << 20


class Answers:
    """The last `KEPT` answers of one root, shared by its agents.

    One line of JSON an answer; a line that a power cut tore is ignored.

    Args:
        root: Where.
    """

    def __init__(self, root: Root) -> None:
        self._root = root

    def recall(self, key: str, request: Dict[str, Any]) -> Optional[Dict[str, Any]]:
        """Return the answer that was given to the request with this key, or None.

        Args:
            key: The request's key.
            request: The request; the epoch in it does not count.

        Returns:
            The answer, or None for a new key.

        Raises:
            AgentError: E_ARG: the key came with another request before.
        """
        for line in self._lines():
            if line["idem"] == key:
                if line["request"] != _digest(request):
                    raise AgentError("E_ARG", "This key was used for another request.")
                answer: Dict[str, Any] = line["answer"]
                return answer
        return None

    def keep(self, key: str, request: Dict[str, Any], answer: Dict[str, Any]) -> None:
        """Keep an answer, durably.

        Args:
            key: The request's key.
            request: The request.
            answer: What it was answered.
        """
        line = {"idem": key, "request": _digest(request), "answer": answer}
        lines = self._lines()
        if len(lines) >= 2 * KEPT:
            self._rewrite([*lines[1 - KEPT :], line])
        else:
            self._append(line)

    def _append(self, line: Dict[str, Any]) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(FILE, flags, 0o600, dir_fd=self._root.fd)
        try:
            # The leading line break ends a line that a power cut may have torn.
            write_all(fd, b"\n" + _encode(line))
            os.fsync(fd)
        finally:
            os.close(fd)

    def _rewrite(self, lines: List[Dict[str, Any]]) -> None:
        write_whole(self._root.fd, FILE, b"".join(b"\n" + _encode(line) for line in lines))

    def _lines(self) -> List[Dict[str, Any]]:
        found = []
        for text in (read_small(self._root.fd, FILE, _LIMIT) or b"").split(b"\n"):
            try:
                line = json.loads(text.decode())
            except ValueError:
                continue
            if isinstance(line, dict) and line.keys() >= {"idem", "request", "answer"}:
                found.append(line)
        return found


def _encode(line: Dict[str, Any]) -> bytes:
    return json.dumps(line, separators=(",", ":")).encode("ascii")


def _digest(request: Dict[str, Any]) -> str:
    meant = {key: value for key, value in request.items() if key not in ("epoch", "idem")}
    return hashlib.sha256(json.dumps(meant, sort_keys=True).encode("ascii")).hexdigest()[:32]
