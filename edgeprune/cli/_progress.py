"""Events -> what a person sees while waiting: bars on a terminal, one line a step elsewhere."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from edgeprune import units
from edgeprune.values.event import Event

SUBJECT_WIDTH = 34
"""Columns for a variant's label."""

LANDMARKS = {"variants", "repeats"}
"""Units of the steps that are worth a line where there are no bars: the rest is their inside."""


class Progress:
    """Shows events as they come.

    Args:
        console: On stderr.
        silent: Show nothing.
    """

    def __init__(self, console: Console, *, silent: bool) -> None:
        self._console, self._silent = console, silent
        self._bars: Bars | None = None
        self._tasks: dict[tuple[str, str], TaskID] = {}
        self._last: tuple[str, str] | None = None

    def tell(self, event: Event) -> None:
        """Show one event."""
        if self._silent:
            return
        if self._console.is_terminal:
            self._draw(event)
        else:
            self._write(event)

    def stop(self) -> None:
        """Take the bars away; the lines stay."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
            self._tasks.clear()

    def _draw(self, event: Event) -> None:
        bars = self._started()
        if not event.total:
            if event.message:
                bars.console.print(f"{event.stage:>8}  {event.message}", markup=False, highlight=False)
            return
        key = (event.stage, event.unit)
        if key not in self._tasks:
            self._tasks[key] = bars.add_task(event.stage, total=event.total, subject="", amount="")
        subject = event.subject[:SUBJECT_WIDTH].ljust(SUBJECT_WIDTH)
        bars.update(self._tasks[key], completed=event.done, total=event.total, subject=subject, amount=_amount(event))
        if event.done >= event.total:
            bars.remove_task(self._tasks.pop(key))

    def _started(self) -> Bars:
        if self._bars is None:
            columns = (
                TextColumn("{task.description:>8}"), TextColumn("{task.fields[subject]}"), BarColumn(bar_width=24),
                TextColumn("{task.fields[amount]}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
            )  # fmt: skip
            self._bars = Bars(*columns, console=self._console, transient=True)
            self._bars.start()
        return self._bars

    def _write(self, event: Event) -> None:
        if event.unit not in LANDMARKS and not (event.message and not event.total):
            return
        step = (event.stage, event.message or event.subject)
        if step == self._last or not step[1]:
            return
        self._last = step
        count = f" {event.done + 1:g}/{event.total:g}" if event.total else ""
        self._console.print(f"{event.stage:>8}{count}  {step[1]}", soft_wrap=True, markup=False, highlight=False)
        self._console.file.flush()


def _amount(event: Event) -> str:
    if event.unit == "bytes":
        return f"{units.format_quantity(event.done, 'bytes')} of {units.format_quantity(event.total, 'bytes')}"
    return f"{event.done:g}/{event.total:g} {event.unit}"
