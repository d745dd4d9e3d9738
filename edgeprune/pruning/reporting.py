"""Groups and what they kept -> rows of the report."""

from __future__ import annotations

import math

from edgeprune.pruning.criteria import Scores
from edgeprune.pruning.groups import ChannelGroup
from edgeprune.pruning.result import GroupReport
from edgeprune.pruning.trace import Trace


def group_report(group: ChannelGroup, n_kept: int, scores: Scores | None, trace: Trace, batch: int) -> GroupReport:
    """Describe one group.

    Args:
        group: The group.
        n_kept: Channels that it keeps.
        scores: Of its channels; None if it was not ranked.
        trace: Of the model.
        batch: Examples in one forward pass of the trace.

    Returns:
        Its row.
    """
    params, macs = _saved(group, group.n_channels - n_kept, trace)
    return GroupReport(
        name=group.name,
        width_before=group.width,
        width_after=n_kept * group.span,
        layers=group.layers,
        score_min=None if scores is None else float(scores.min()),
        score_max=None if scores is None else float(scores.max()),
        params_saved=params,
        macs_saved=macs // batch,
        frozen=group.frozen,
    )


def _saved(group: ChannelGroup, n_removed: int, trace: Trace) -> tuple[int, int]:
    """Return the parameters, and the multiply-accumulates of a whole batch, that go with some of the channels."""
    removed: dict[str, dict[int, int]] = {}
    for place in group.places:
        removed.setdefault(place.tensor, {})[place.dim] = n_removed * place.indices.shape[1]
    params, macs = 0, 0
    for tensor, dims in removed.items():
        if tensor in group.evidence.parameters:
            shape = trace.state[tensor].shape
            left = math.prod(length - dims.get(dim, 0) for dim, length in enumerate(shape))
            params += math.prod(shape) - left
            macs += (math.prod(shape) - left) * trace.positions.get(tensor, 0)
    return params, macs
