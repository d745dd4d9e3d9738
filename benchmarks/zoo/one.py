"""One network, pruned by one side, in a process of its own: prints one line of JSON.

    python benchmarks/zoo/one.py ours|theirs NAME [width|whole]

Ratio 0.5 of the channels of every group (scope local), L1 norm, one thread. Both sides first prune a tiny network,
untimed, so that imports and torch's first calls count for neither. Then each prunes `REPEATS` fresh copies of the
network; the median counts. Times are CPU seconds of the process, which other work on the machine disturbs least.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
import warnings
from typing import Any

import networks
import torch

from edgeprune.errors import EdgePruneError
from edgeprune.pruning import channels, count_params, prune
from edgeprune.values.spec import PruneSpec

REPEATS = 3
ENOUGH_S = 20.0
"""A prune that takes longer is not repeated."""


def main() -> None:
    """Prune, and print what came out."""
    side, name, *rest = sys.argv[1:]
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    _pruned(side, *_tiny(), *rest)
    model, x = networks.build(name)
    before = count_params(model)
    runs = [_pruned(side, model, x, *rest)]
    while runs[-1]["ok"] and len(runs) < REPEATS and runs[-1]["s"] < ENOUGH_S:
        runs.append(_pruned(side, *networks.build(name), *rest))
    typical = statistics.median_low(runs_s := [_beyond_export(run) for run in runs])
    found = runs[runs_s.index(typical)]
    print(json.dumps({"model": name, "side": side, "params_before": before, "runs_s": runs_s, **found}))


def _tiny() -> tuple[torch.nn.Module, torch.Tensor]:
    layers = torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 3)
    return torch.nn.Sequential(*layers).eval(), torch.randn(1, 3, 8, 8)


def _pruned(side: str, model: torch.nn.Module, x: torch.Tensor, *rest: str) -> dict[str, Any]:
    return _ours(model, x, *rest) if side == "ours" else _theirs(model, x)


def _beyond_export(run: dict[str, Any]) -> float:
    return float(run["s"]) - float(run.get("export_s", 0.0))


def _ours(model: torch.nn.Module, x: torch.Tensor, heads: str = "width") -> dict[str, Any]:
    spent = [0.0]
    export = channels.capture

    def timed(*arguments: Any) -> Any:
        start = time.process_time()
        try:
            return export(*arguments)
        finally:
            spent[0] += time.process_time() - start

    channels.capture = timed
    start = time.process_time()
    try:
        result = prune(model, PruneSpec(ratio=0.5, scope="local", heads=heads), example_inputs=(x,))
    except EdgePruneError as error:
        return {"ok": False, "error": str(error)[:2000], "export_s": spent[0], "s": time.process_time() - start}
    taken = time.process_time() - start
    return {
        "ok": True,
        "mode": result.proof.mode,
        "dtype": result.proof.dtype,
        "max_relative": result.proof.max_relative,
        "masked_norms": len(result.proof.masked_norms),
        "unknown_ops": result.proof.unknown_ops,
        "frozen": {row.name: row.frozen for row in result.report if row.frozen},
        "partition": sorted(sorted(row.layers) for row in result.report),
        "params": count_params(result.model),
        "export_s": spent[0],
        "s": taken,
    }


def _theirs(model: torch.nn.Module, x: torch.Tensor) -> dict[str, Any]:
    import torch_pruning as tp

    last = networks.last_layers(model, x)
    shapes = _shapes(model(x))
    start = time.process_time()
    try:
        pruner = tp.pruner.BasePruner(
            model, (x,), importance=tp.importance.GroupMagnitudeImportance(p=1), pruning_ratio=0.5,
            ignored_layers=last, in_channel_groups={}, out_channel_groups={}, num_heads={}, customized_pruners={},
        )  # fmt: skip
        prepared = time.process_time()
        partition = _partition(model, pruner)
        aside = time.process_time() - prepared
        pruner.step()
        taken = time.process_time() - start - aside
        found = _shapes(model(x))
    except Exception as error:  # noqa: BLE001 - whatever it raises is its result
        return {"ok": False, "error": f"{type(error).__name__}: {error}"[:500], "s": time.process_time() - start}
    if found != shapes:
        return {"ok": False, "error": "outputs have other shapes", "s": taken}
    return {"ok": True, "params": count_params(model), "partition": partition, "s": taken}


def _partition(model: torch.nn.Module, pruner: Any) -> list[list[str]]:
    names = {module: name for name, module in model.named_modules()}
    groups = pruner.DG.get_all_groups(ignored_layers=pruner.ignored_layers, root_module_types=pruner.root_module_types)
    kinds = (torch.nn.Conv2d, torch.nn.Linear)
    return sorted(
        sorted({names[dep.target.module] for dep, _ in group if isinstance(dep.target.module, kinds)})
        for group in groups
    )


def _shapes(value: Any) -> list[tuple[int, ...]]:
    leaves = torch.utils._pytree.tree_leaves(value)
    return [tuple(leaf.shape) for leaf in leaves if isinstance(leaf, torch.Tensor)]


if __name__ == "__main__":
    main()
