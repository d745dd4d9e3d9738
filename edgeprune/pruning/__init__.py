"""nn.Module + PruneSpec -> smaller nn.Module, with its proof and recipe."""

from edgeprune.pruning.cost import count_macs, count_params
from edgeprune.pruning.criteria import CRITERIA, Criterion
from edgeprune.pruning.groups import ChannelGroup
from edgeprune.pruning.keeping import Recover, zeros_kept
from edgeprune.pruning.pruner import METHODS, prune
from edgeprune.pruning.recovery import finetune, recalibrate
from edgeprune.pruning.replaying import replay
from edgeprune.pruning.result import GroupReport, ProofReport, PruneResult, SizeReport

__all__ = [
    "CRITERIA",
    "METHODS",
    "ChannelGroup",
    "Criterion",
    "GroupReport",
    "ProofReport",
    "PruneResult",
    "Recover",
    "SizeReport",
    "count_macs",
    "count_params",
    "finetune",
    "prune",
    "recalibrate",
    "replay",
    "zeros_kept",
]
