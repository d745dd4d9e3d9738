"""The arguments of a request, each checked before it is used."""

from typing import Any, Dict, Optional

from edgeprune_agent.wire import AgentError, check_name

MAX_NUMBER = 1 << 53
"""The largest integer that every JSON reader keeps exact."""


class Arguments:
    """What came with a request.

    Args:
        data: The JSON object of the request.
    """

    def __init__(self, data: Dict[str, Any]) -> None:
        self.data = data

    def name(self, key: str, kind: str) -> str:
        """Return a name.

        Args:
            key: Of the argument.
            kind: A key of `wire.NAMES`.

        Returns:
            The checked name.
        """
        return check_name(kind, self.data.get(key))

    def optional_name(self, key: str, kind: str) -> Optional[str]:
        """Return a name, or None for null or a missing argument."""
        return None if self.data.get(key) is None else self.name(key, kind)

    def integer(self, key: str, highest: int = MAX_NUMBER) -> int:
        """Return a whole number from 0 to `highest`.

        Args:
            key: Of the argument.
            highest: Its bound.

        Returns:
            The number.

        Raises:
            AgentError: E_ARG: it is none, or out of range.
        """
        value = self.data.get(key)
        if type(value) is not int or not 0 <= value <= highest:
            raise AgentError("E_ARG", f"{key} must be a whole number from 0 to {highest}.")
        return value

    def text(self, key: str, longest: int) -> str:
        """Return a text of printable characters.

        Args:
            key: Of the argument.
            longest: Its bound.

        Returns:
            The text.

        Raises:
            AgentError: E_ARG: it is none, empty, too long, or holds control characters.
        """
        value = self.data.get(key)
        if not isinstance(value, str) or not 0 < len(value) <= longest or not value.isprintable():
            raise AgentError("E_ARG", f"{key} must be a text of 1 to {longest} printable characters.")
        return value

    def flag(self, key: str) -> bool:
        """Return a truth value; False when it is missing.

        Args:
            key: Of the argument.

        Returns:
            The value.

        Raises:
            AgentError: E_ARG: it is something else.
        """
        value = self.data.get(key, False)
        if not isinstance(value, bool):
            raise AgentError("E_ARG", f"{key} must be true or false.")
        return value

    def mapping(self, key: str) -> Dict[str, Any]:
        """Return an object.

        Args:
            key: Of the argument.

        Returns:
            The object.

        Raises:
            AgentError: E_ARG: it is something else.
        """
        value = self.data.get(key)
        if not isinstance(value, dict):
            raise AgentError("E_ARG", f"{key} must be an object.")
        return value
