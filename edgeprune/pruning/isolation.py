"""Which groups cannot be cut in place, because the user's Python code holds their width as a number.

The graph has numbers either way: only running the sliced module tells `view(n, -1)` from `view(n, 72)`. Groups are
cut by halves of halves until those that break the module are found alone.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from edgeprune.pruning.capture import FORWARD_ERRORS, first_line, run
from edgeprune.pruning.carving import Selection, carve
from edgeprune.pruning.groups import ChannelGroup
from edgeprune.pruning.nodes import is_torch
from edgeprune.pruning.trace import Trace

_CAPTURE = run.__code__.co_filename


class Isolation:
    """Searches for the groups that break a module.

    Args:
        model: In eval mode, and known to run.
        trace: Its labels.
        inputs: Example inputs.
    """

    def __init__(self, model: nn.Module, trace: Trace, inputs: Sequence[Any]) -> None:
        self._model, self._trace, self._inputs = model, trace, inputs
        self._shapes = [tuple(output.shape) for output in run(model, inputs)]

    def stuck(self, groups: Sequence[ChannelGroup]) -> dict[str, str]:
        """Return the names of the groups that break the module, with what it says when they are cut.

        Args:
            groups: Groups with at least two channels, some of which may break it.

        Returns:
            Group name to reason.
        """
        if not groups:
            return {}
        error = self._error(groups)
        if error is None:
            return {}
        if len(groups) == 1:
            return {groups[0].name: f"the model does not run with fewer of them: {error}"}
        half = len(groups) // 2
        return {**self.stuck(groups[:half]), **self.stuck(groups[half:])}

    def _error(self, groups: Sequence[ChannelGroup]) -> str | None:
        """Return what the module says when each group loses its last channel."""
        kept = [np.arange(group.n_channels - 1) for group in groups]
        pruned, _ = carve(self._model, Selection(self._trace, groups, kept))
        try:
            shapes = [tuple(output.shape) for output in run(pruned, self._inputs)]
        except FORWARD_ERRORS as error:
            return f"{first_line(error)}{_raised_at(error)}"
        return None if shapes == self._shapes else "its outputs have other shapes"


def baked(trace: Trace, groups: Sequence[ChannelGroup]) -> dict[str, str]:
    """Return the groups that hold channels which the user's module cannot do without.

    Args:
        trace: Of the model.
        groups: Groups that may lose channels.

    Returns:
        Group name to reason.
    """
    return {
        group.name: reason
        for reason, ids in trace.baked.items()
        for group in groups
        if np.isin(group.roots, trace.classes.roots(ids)).any()
    }


def doubtful(trace: Trace, groups: Sequence[ChannelGroup]) -> dict[str, str]:
    """Return the groups whose channels a place may count by a number: with fewer, it would take others for them.

    Args:
        trace: Of the model.
        groups: Groups that may lose channels.

    Returns:
        Group name to reason.
    """
    return {
        group.name: f"is counted by a number in {place}"
        for place, ids in trace.doubts.items()
        for group in groups
        if np.isin(group.roots, trace.classes.roots(ids)).any()
    }


def _raised_at(error: BaseException) -> str:
    """Return " (file:line)" of the user's line that raised; "" if only torch's and our own code was involved."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not is_torch(frame.filename) and frame.filename not in (__file__, _CAPTURE)]
    return f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
