"""The story and its single parts; the only place where the stages meet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeprune.registry import lazy_names

if TYPE_CHECKING:
    from edgeprune.flow.bench import bench_file
    from edgeprune.flow.board_profile import Questions, profile_board
    from edgeprune.flow.doctor import Finding, examine
    from edgeprune.flow.explanation import Explanation, explain
    from edgeprune.flow.goal import Goal, candidates
    from edgeprune.flow.imported import export_file
    from edgeprune.flow.monitor import Reading, watch_board
    from edgeprune.flow.parts import PruneSummary, export_project, prune_project
    from edgeprune.flow.rechoosing import choose_again
    from edgeprune.flow.result import RunResult, measured_data, release_data, variant_data
    from edgeprune.flow.story import deploy, run, search
    from edgeprune.flow.targets import spec_for_target

_HOMES = {
    "Explanation": "explanation",
    "Finding": "doctor",
    "Goal": "goal",
    "PruneSummary": "parts",
    "Questions": "board_profile",
    "Reading": "monitor",
    "RunResult": "result",
    "bench_file": "bench",
    "candidates": "goal",
    "choose_again": "rechoosing",
    "deploy": "story",
    "examine": "doctor",
    "explain": "explanation",
    "export_file": "imported",
    "export_project": "parts",
    "measured_data": "result",
    "profile_board": "board_profile",
    "prune_project": "parts",
    "release_data": "result",
    "run": "story",
    "spec_for_target": "targets",
    "search": "story",
    "variant_data": "result",
    "watch_board": "monitor",
}
__all__ = [
    "Explanation",
    "Finding",
    "Goal",
    "PruneSummary",
    "Questions",
    "Reading",
    "RunResult",
    "bench_file",
    "candidates",
    "choose_again",
    "deploy",
    "examine",
    "explain",
    "export_file",
    "export_project",
    "measured_data",
    "profile_board",
    "prune_project",
    "release_data",
    "run",
    "search",
    "spec_for_target",
    "variant_data",
    "watch_board",
]

__getattr__ = lazy_names(__name__, _HOMES)
