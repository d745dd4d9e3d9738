"""Short kernel files as text."""

import os
from typing import Optional

_LIMIT_BYTES = 1 << 16


def text(filesystem: str, path: str) -> Optional[str]:
    """Return what a file says, without surrounding space and NUL bytes.

    Args:
        filesystem: Where the tree begins.
        path: Relative to it.

    Returns:
        The text; None if the file is not there, cannot be read, or is empty.
    """
    try:
        with open(os.path.join(filesystem, path), "rb") as file:
            return file.read(_LIMIT_BYTES).decode("utf-8", "replace").strip("\0 \n\t") or None
    except OSError:
        return None
