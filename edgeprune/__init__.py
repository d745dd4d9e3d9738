"""Take a trained PyTorch network to the best variant for one board, measured there.

Importing this package imports neither torch nor a runtime; each name below is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeprune.registry import lazy_names

if TYPE_CHECKING:
    from edgeprune.choosing import ParetoFront as ParetoFront
    from edgeprune.choosing import pareto as pareto
    from edgeprune.deploying import install as install
    from edgeprune.deploying import releases as releases
    from edgeprune.deploying import rollback as rollback
    from edgeprune.devices import Session as Session
    from edgeprune.devices import connect as connect
    from edgeprune.errors import EdgePruneError as EdgePruneError
    from edgeprune.exporting import export as export
    from edgeprune.exporting import load_artifact as load_artifact
    from edgeprune.flow import RunResult as RunResult
    from edgeprune.flow import deploy as deploy
    from edgeprune.flow import search as search
    from edgeprune.measuring import compare as compare
    from edgeprune.measuring import evaluate as evaluate
    from edgeprune.measuring import measure as measure
    from edgeprune.pruning import finetune as finetune
    from edgeprune.pruning import prune as prune
    from edgeprune.pruning import replay as replay
    from edgeprune.values.plan import BenchPlan as BenchPlan
    from edgeprune.values.spec import ExportSpec as ExportSpec
    from edgeprune.values.spec import FinetuneSpec as FinetuneSpec
    from edgeprune.values.spec import PruneSpec as PruneSpec

__version__ = "0.1.0"

_HOMES = {
    "BenchPlan": "values.plan",
    "EdgePruneError": "errors",
    "ExportSpec": "values.spec",
    "FinetuneSpec": "values.spec",
    "ParetoFront": "choosing",
    "PruneSpec": "values.spec",
    "RunResult": "flow",
    "Session": "devices",
    "compare": "measuring",
    "connect": "devices",
    "deploy": "flow",
    "evaluate": "measuring",
    "export": "exporting",
    "finetune": "pruning",
    "install": "deploying",
    "load_artifact": "exporting",
    "measure": "measuring",
    "pareto": "choosing",
    "prune": "pruning",
    "releases": "deploying",
    "replay": "pruning",
    "rollback": "deploying",
    "search": "flow",
}

__all__ = [*_HOMES, "__version__"]


__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
