"""The story and its single parts; the only place where the stages meet."""

from edgeprune.flow.goal import Goal, candidates
from edgeprune.flow.parts import PruneSummary, bench_file, choose_again, export_project, prune_project
from edgeprune.flow.project import model_name
from edgeprune.flow.result import RunResult, measured_data, release_data, variant_data
from edgeprune.flow.story import deploy, run, search
from edgeprune.searching import expected_s

__all__ = [
    "Goal",
    "PruneSummary",
    "RunResult",
    "bench_file",
    "candidates",
    "choose_again",
    "deploy",
    "expected_s",
    "export_project",
    "measured_data",
    "model_name",
    "prune_project",
    "release_data",
    "run",
    "search",
    "variant_data",
]
