"""Groups of a prune as bars: how wide each was, how wide it is, and why."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgeprune import units

if TYPE_CHECKING:
    from edgeprune.flow import Explanation
    from edgeprune.flow.explanation import PruneReport
    from edgeprune.pruning import GroupReport, SizeReport

BAR = 24
"""Columns of the widest bar."""


def groups_view(groups: Sequence[GroupReport]) -> RenderableType:
    """Return one table for each kind of group, with a bar for what each kept of what it had."""
    return Group(*(_kind_table(kind, list(rows)) for kind, rows in groupby(groups, key=lambda row: row.kind)))


def explanation_view(found: Explanation) -> RenderableType:
    """Return a view of why a run chose what it chose and a prune left what it left."""
    parts: list[RenderableType] = []
    if found.run:
        parts.append(Text(f"run {found.run}", style="bold"))
        parts.append(_fates(found))
    if found.prune:
        parts += _prune_parts(found.prune)
    elif found.run:
        parts.append(Text("The winner is the dense network, or its pruned model is no longer on this disk."))
    if found.folder:
        parts.append(Text(str(found.folder), style="dim"))
    return Group(*parts)


def _fates(found: Explanation) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for fate in found.fates:
        won = fate.outcome == "won"
        table.add_row(Text(fate.outcome, style="bold green" if won else "dim"), fate.label, Text(fate.why))
    return table


def _prune_parts(prune: PruneReport) -> list[RenderableType]:
    proof = prune.proof
    norms = f"; statistics over the channels left in {', '.join(proof.masked_norms)}" if proof.masked_norms else ""
    unknown = [f"no rule for {op}: what passes through it is kept whole" for op in proof.unknown_ops]
    return [
        Text(f"{prune.spec.label}, scope {prune.spec.scope}, {prune.spec.steps} step(s)", style="bold"),
        groups_view(prune.groups),
        *size_lines(prune.size),
        Text(f"proof      {proof.max_relative:.1e} of the outputs over {proof.n_inputs} batches, {proof.mode}{norms}"),
        *(Text(f"note       {note}", style="dim") for note in [*prune.notes, *unknown]),
    ]


def size_lines(size: SizeReport | None) -> list[Text]:
    """Return the sizes on disk and compressed, where they are known."""
    if size is None:
        return []
    pairs = {
        "on disk": (size.disk_before, size.disk_after),
        "compressed": (size.compressed_before, size.compressed_after),
    }
    return [
        Text(f"{name:<10} {units.format_quantity(before, 'bytes')} → {units.format_quantity(after, 'bytes')}")
        for name, (before, after) in pairs.items()
    ]


def _kind_table(kind: str, rows: Sequence[GroupReport]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(kind, overflow="fold")
    table.add_column("kept", no_wrap=True)
    for column in ("before", "after", "scores", "params saved", "MACs saved"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    widest = max(row.width_before for row in rows)
    for row in rows:
        known = row.score_min is not None and row.score_max is not None
        scores = f"{row.score_min:.3g} – {row.score_max:.3g}" if known else ""
        macs = "–" if row.macs_saved is None else f"{_saved(row, row.macs_saved):,}"
        table.add_row(
            row.name, _bar(row, widest), f"{row.width_before:,}", f"{row.width_after:,}", scores,
            f"{_saved(row, row.params_saved):,}", macs, f"kept whole: {row.frozen}" if row.frozen else "",
        )  # fmt: skip
    return table


def _saved(row: GroupReport, amount: int) -> int:
    # A layer's row says what it costs; that is saved only if it went.
    return amount if row.width_after < row.width_before else 0


def _bar(row: GroupReport, widest: int) -> Text:
    full = max(1, round(BAR * row.width_before / max(1, widest)))
    kept = round(full * row.width_after / max(1, row.width_before))
    return Text.assemble(("█" * kept, "cyan"), ("░" * (full - kept), "dim"))
