"""Which channel ids must go together: a union-find over numpy vectors, with the reasons why some may not go.

Ids start at 1; id 0 stands for "nothing here can be removed", so uniting an id with 0 freezes it. The root of a
class is its smallest id: the same model gives the same roots, and so the same recipe.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Ids: TypeAlias = NDArray[np.int64]

Reason: TypeAlias = str | Callable[[], str]
"""Why channels stay, as the report will say it, or what finds the words if they are needed."""


class Classes:
    """Channel ids, the classes they were united into, and the frozen ones among these."""

    def __init__(self) -> None:
        self._parent: Ids = np.zeros(1, dtype=np.int64)
        self._reason: Ids = np.zeros(1, dtype=np.int64)
        self._size = 1
        self._reasons = ["no channel"]

    def __len__(self) -> int:
        return self._size

    def fresh(self, count: int) -> Ids:
        """Return `count` new ids, each its own class.

        Args:
            count: How many.

        Returns:
            Ascending ids, shape (count,).
        """
        ids = np.arange(self._size, self._size + count, dtype=np.int64)
        self._size += count
        if self._size > len(self._parent):
            room = max(2 * len(self._parent), self._size)
            self._parent = np.concatenate([self._parent, np.arange(len(self._parent), room, dtype=np.int64)])
            self._reason = np.concatenate([self._reason, np.zeros(room - len(self._reason), dtype=np.int64)])
        return ids

    def roots(self, ids: Ids) -> Ids:
        """Return the class of each id, as the smallest id in it.

        Args:
            ids: Any shape.

        Returns:
            Roots, the same shape.
        """
        found = self._parent[ids]
        above = self._parent[found]
        if _same(above, found):
            return found
        while not _same(above, found):
            found, above = above, self._parent[above]
        self._parent[ids] = found
        return found

    def union(self, left: Ids, right: Ids, reason: Reason) -> None:
        """Unite the ids at equal positions; an id that meets 0 is frozen.

        Args:
            left: Any shape.
            right: Broadcasts with `left`.
            reason: Why, for those that meet 0.
        """
        if left is right:
            return
        if left.shape != right.shape:
            left, right = np.broadcast_arrays(left, right)
        left, right = self.roots(left.ravel()), self.roots(right.ravel())
        low, high = np.minimum(left, right), np.maximum(left, right)
        apart = low != high
        if np.count_nonzero(low) < len(low):
            self.freeze(high[low == 0], reason)
            apart &= low != 0
        count = np.count_nonzero(apart)
        if count == len(apart):
            self._join(low, high)
        elif count:
            self._join(low[apart], high[apart])

    def _join(self, low: Ids, high: Ids) -> None:
        """Unite roots with higher ones; what either was frozen for holds for both."""
        old = np.concatenate([low, high])
        reasons = self._reason[old]
        self._connect(low, high)
        if np.count_nonzero(reasons):
            frozen = reasons != 0
            self._note(self.roots(old[frozen]), reasons[frozen])

    def _connect(self, low: Ids, high: Ids) -> None:
        while len(low):
            self._parent[high] = low
            lost = self._parent[high] != low  # a root that met several was given one of them
            if not np.count_nonzero(lost):
                return
            left, right = self.roots(low[lost]), self.roots(high[lost])
            apart = left != right
            left, right = left[apart], right[apart]
            low, high = np.minimum(left, right), np.maximum(left, right)

    def _note(self, roots: Ids, reasons: Ids) -> None:
        """Keep the earliest reason of each root."""
        earlier = np.where(self._reason[roots] == 0, len(self._reasons), self._reason[roots])
        self._reason[roots] = earlier
        np.minimum.at(self._reason, roots, reasons)

    def freeze(self, ids: Ids, reason: Reason) -> None:
        """Keep the classes of `ids` whole.

        Args:
            ids: Any shape; zeros are passed over.
            reason: Why, as the report will say it.
        """
        ids = ids[ids != 0]
        if not len(ids):
            return
        text = reason if isinstance(reason, str) else reason()
        if self._reasons[-1] != text:
            self._reasons.append(text)
        roots = self.roots(ids)
        self._note(roots, np.full(len(roots), len(self._reasons) - 1, dtype=np.int64))

    def reason_numbers(self, roots: Ids) -> Ids:
        """Return a number for the reason why each root is frozen, 0 if it is not; the same shape."""
        found: Ids = self._reason[roots]
        return found

    def reason(self, identifier: int) -> str | None:
        """Return why the class of an id is frozen, or None if it is not."""
        if identifier == 0:
            return self._reasons[0]
        index = int(self._reason[self.roots(np.array([identifier]))[0]])
        return self._reasons[index] if index else None


def _same(left: Ids, right: Ids) -> bool:
    # Most vectors are short, and counting is the fastest of numpy's ways to say so.
    return not np.count_nonzero(left != right)
