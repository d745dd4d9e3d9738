"""TOML text -> the line on which each of its keys and items stands, which `tomllib` does not tell.

The text is one that `tomllib` has accepted, so the scanner only has to find its way through it, not to check it.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter

Place = tuple[str | int, ...]
"""The way to a value: ("model", "inputs", 0, "shape")."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\n]+")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})'
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)


def line_numbers(text: str) -> dict[Place, int]:
    """Find where everything stands.

    Args:
        text: Valid TOML.

    Returns:
        For each table, key and list item, the line on which it first appears, counted from 1.
    """
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


class _Scanner:
    """A cursor over the text that notes the line of what it passes."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.lines: dict[Place, int] = {}
        self.tables: Counter[Place] = Counter()  # how many [[tables]] each place holds so far

    def document(self) -> None:
        table: Place = ()
        while self.skip_blank() < len(self.text):
            if self.text.startswith("[", self.at):
                table = self.header()
            else:
                self.pair(table)

    def skip_blank(self) -> int:
        self.at = self._match(_BLANK).end()
        return self.at

    def header(self) -> Place:
        brackets = 2 if self.text.startswith("[[", self.at) else 1
        self.at += brackets
        table: Place = ()
        keys = self.dotted()
        for depth, key in enumerate(keys, start=1):
            table = (*table, key)
            self.note(table)
            opens_item = brackets == 2 and depth == len(keys)
            if opens_item or self.tables[table]:
                self.tables[table] += opens_item
                table = (*table, self.tables[table] - 1)
                self.note(table)
        self.at += brackets
        return table

    def pair(self, table: Place) -> None:
        for key in self.dotted():
            table = (*table, key)
            self.note(table)
        self.skip_blank()
        self.at += 1  # "="
        self.value(table)

    def dotted(self) -> list[str]:
        keys = [self.key()]
        while self.text.startswith(".", self.skip_blank()):
            self.at += 1
            keys.append(self.key())
        return keys

    def key(self) -> str:
        self.skip_blank()
        if self.text[self.at] in "\"'":
            return str(tomllib.loads(f"key = {self.take(_STRING)}")["key"])
        return self.take(_BARE_KEY)

    def value(self, place: Place) -> None:
        self.skip_blank()
        first = self.text[self.at]
        if first == "[":
            self.items(place)
        elif first == "{":
            self.inline_table(place)
        else:
            self.take(_STRING if first in "\"'" else _SCALAR)

    def items(self, place: Place) -> None:
        self.at += 1
        index = 0
        while self.text[self.skip_blank()] != "]":
            self.note((*place, index))
            self.value((*place, index))
            index += 1
            self.comma()
        self.at += 1

    def inline_table(self, place: Place) -> None:
        self.at += 1
        while self.text[self.skip_blank()] != "}":
            self.pair(place)
            self.comma()
        self.at += 1

    def comma(self) -> None:
        if self.text.startswith(",", self.skip_blank()):
            self.at += 1

    def note(self, place: Place) -> None:
        self.lines.setdefault(place, self.text.count("\n", 0, self.at) + 1)

    def take(self, pattern: re.Pattern[str]) -> str:
        found = self._match(pattern)
        self.at = found.end()
        return found.group()

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str]:
        found = pattern.match(self.text, self.at)
        if found is None:
            raise ValueError(f"no valid TOML at character {self.at}")
        return found
