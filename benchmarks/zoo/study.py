"""Results of the zoo -> docs/studies/zoo.md: tables, a comparison of channel groups, versions and date."""

from __future__ import annotations

import datetime
import platform
import statistics
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

Result = Mapping[str, Any]
Sides = Mapping[str, Result]

COLUMNS = (
    "model", "ours", "max relative", "Torch-Pruning", "left, ours", "left, theirs", "frozen ops", "export s", "ours s",
    "theirs s",
)  # fmt: skip
PACKAGES = ("torch", "torchvision", "timm", "torch-pruning")

INTRO = """# The zoo: 50 networks and four blocks, each pruned and proved

`make zoo` makes an environment of its own, prunes every network below by EdgePrune and by Torch-Pruning, each in a
process of its own with a time limit, and writes this file. Random weights, randomised batch-norm statistics, heads
randomised where they are zero; half of the channels of every group by L1 norm, one thread.

Both sides first prune a tiny network, untimed, so that imports and torch's first calls count for neither. Then each
prunes three fresh copies of the network, one after the other, and the median counts; a prune of more than 20 s is not
repeated. Seconds are CPU seconds of the process, which other work on the machine disturbs least; where a side gave no
answer in its time limit, they are that limit.

- *In place* means that the user's own class runs with its tensors cut, *rewritten* that its exported graph was written
  again.
- *Max relative* is the largest difference between the pruned network and the dense one with the removed channels
  masked, relative to its largest output; norms across channels are taken over the channels that are left.
- *Left* is the share of parameters.
- *Ours s* leaves out `torch.export`, which stands beside it (twice where a graph was written again), and contains the
  proof; Torch-Pruning proves nothing, and has to be told which layers make the outputs.
- SSD-Lite is pruned up to its raw boxes and scores: what follows has no weights.
"""

WHOLE = """
## Whole heads

Our side of the networks with attention once more, with whole heads taken
(`PruneSpec(heads="whole")`) instead of the same channels of every head.

"""


def line(name: str, sides: Sides) -> str:
    """Return a network's row of the table."""
    return "| " + " | ".join(_cells(name, sides)) + " |"


def _cells(name: str, sides: Sides) -> list[str]:
    ours, theirs = sides.get("ours", {}), sides.get("theirs", {})
    return [
        name,
        _verdict(ours, ours.get("mode", "").replace("_", " ")),
        f"{ours['max_relative']:.0e}" if ours.get("ok") else "",
        _verdict(theirs, "runs"),
        _left(ours),
        _left(theirs),
        ", ".join(dict.fromkeys(op.split(" ")[0] for op in ours.get("unknown_ops", []))) or "none",
        f"{ours['export_s']:.2f}" if "export_s" in ours else "",
        f"{beyond_export(ours):.2f}" if ours else "",
        f"{theirs['s']:.2f}" if theirs else "",
    ]


def _verdict(side: Result, good: str) -> str:
    if not side:
        return ""
    return good if side["ok"] else f"error: {side['error'].splitlines()[-1][:80]}"


def _left(side: Result) -> str:
    return f"{side['params'] / side['params_before']:.2f}" if side.get("ok") else ""


def beyond_export(ours: Result) -> float:
    """Return the seconds that a prune took without its exports."""
    return float(ours["s"]) - float(ours.get("export_s", 0.0))


def table(found: Mapping[str, Sides]) -> str:
    """Return the table of all networks."""
    head = "| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS)
    return "\n".join([head, *(line(name, sides) for name, sides in found.items())]) + "\n"


def summary(found: Mapping[str, Sides]) -> str:
    """Return what the table comes to."""
    ours = {name: sides["ours"] for name, sides in found.items() if sides.get("ours", {}).get("ok")}
    theirs = {name: sides["theirs"] for name, sides in found.items() if sides.get("theirs", {}).get("ok")}
    kept = {name: side["params"] / side["params_before"] for name, side in ours.items()}
    few = ", ".join(f"{name} ({1 - share:.2f})" for name, share in kept.items() if share > 0.6)
    placed = sum(side["mode"] == "in_place" for side in ours.values())
    slowest = max(ours, key=lambda name: beyond_export(ours[name]), default="")
    lines = [
        f"{len(ours)} of {len(found)} pruned, run and proved by EdgePrune, {placed} of them in place.",
        *([f"{len(theirs)} run after Torch-Pruning."] if any("theirs" in sides for sides in found.values()) else []),
        f"Less than 0.40 of the parameters gone in: {few or 'none'}.",
        f"Largest relative difference: {max((s['max_relative'] for s in ours.values()), default=0):.0e}.",
    ]
    if slowest:
        lines.append(f"Slowest beyond its export: {slowest}, {beyond_export(ours[slowest]):.1f} s.")
    ratios = [beyond_export(ours[name]) / theirs[name]["s"] for name in ours if name in theirs]
    if ratios:
        lines.append(
            f"Our time, export apart, over Torch-Pruning's: median {statistics.median(ratios):.2f} over the "
            f"{len(ratios)} that both prune (from {min(ratios):.2f} to {max(ratios):.1f})."
        )
    return "".join(f"- {each}\n" for each in lines)


def groups(found: Mapping[str, Sides]) -> str:
    """Return how far the channel groups of both sides agree."""
    lines, equal, count = [], 0, 0
    for name, sides in found.items():
        ours, theirs = sides.get("ours", {}), sides.get("theirs", {})
        if not (ours.get("ok") and theirs.get("ok")):
            continue
        layers = {layer for group in theirs["partition"] for layer in group}
        own = _coupled([[layer for layer in group if layer in layers] for group in ours["partition"]])
        other = _coupled(theirs["partition"])
        count += 1
        equal += own == other
        if own != other:
            lines.append(
                f"- {name}: {len(own & other)} groups in common; ours only: {_few(own - other)}; "
                f"theirs only: {_few(other - own)}."
            )
    head = f"The same convolutions and linear layers are coupled in {equal} of the {count} that both prune."
    return "\n".join([head, "", *lines]) + "\n"


def _coupled(partition: Sequence[Sequence[str]]) -> set[frozenset[str]]:
    return {frozenset(group) for group in partition if len(set(group)) > 1}


def _few(found: set[frozenset[str]]) -> str:
    shown = sorted(found, key=lambda group: (len(group), sorted(group)))[:2]
    text = "; ".join("{" + ", ".join(sorted(group)[:4]) + ("…" if len(group) > 4 else "") + "}" for group in shown)
    return f"{len(found)}, such as {text}" if found else "none"


def study(width: Mapping[str, Sides], whole: Mapping[str, Sides], notes: str) -> str:
    """Return the whole document.

    Args:
        width: Results of all networks.
        whole: Results of those with attention, whole heads taken.
        notes: What a reader should know about where both sides differ.

    Returns:
        Markdown.
    """
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    made = f"\nMade on {today} with {packages}, Python {platform.python_version()}, {platform.machine()}.\n"
    return "".join(
        [
            INTRO, made, "\n", summary(width), "\n", table(width), WHOLE, summary(whole), "\n", table(whole),
            "\n## Channel groups\n\n", groups(width), "\n", notes,
        ]
    )  # fmt: skip
