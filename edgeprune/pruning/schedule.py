"""An amount and a number of steps -> how much is gone after each step."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgeprune.errors import UnknownName

SCHEDULES: Mapping[str, Callable[[float, float], float]] = {
    "linear": lambda amount, progress: amount * progress,
    "cubic": lambda amount, progress: amount * (1 - (1 - progress) ** 3),
    "exponential": lambda amount, progress: 1 - (1 - amount) ** progress,
}
"""Name to (final amount, progress in [0, 1]) -> amount by then.

- linear: each step takes the same share of the whole.
- cubic: much at first, little at the end, when what is left matters most. Zhu and Gupta 2017, "To prune, or not to
  prune", equation 1 with initial sparsity 0, arXiv:1710.01878.
- exponential: each step takes the same share of what is left, so that the rest shrinks geometrically.
"""


def amounts(amount: float, steps: int, schedule: str) -> list[float]:
    """Return what is to be gone after each step.

    Args:
        amount: In the end; a share in [0, 1), or any size for schedules that only scale it.
        steps: How many.
        schedule: A name of `SCHEDULES`.

    Returns:
        Ascending; the last one is `amount` itself.

    Raises:
        UnknownName: There is no such schedule.
    """
    if schedule not in SCHEDULES:
        raise UnknownName("schedule", schedule, SCHEDULES)
    return [*(SCHEDULES[schedule](amount, step / steps) for step in range(1, steps)), amount]
