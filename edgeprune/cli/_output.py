"""The only writer to the user: results to stdout, progress and errors to stderr, exit codes at the end."""

from __future__ import annotations

import json
import logging
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import typer
from rich.console import Console, RenderableType

from edgeprune.cli._progress import Progress
from edgeprune.cli._streams import Streams, log_path
from edgeprune.errors import EXIT_INTERNAL, EXIT_INTERRUPTED, EXIT_OK, EdgePruneError
from edgeprune.values.event import Listener
from edgeprune.values.json import to_data

PLAIN_WIDTH = 140
"""Columns of a table that goes to a file or a pipe, where no terminal says its own."""


class Output:
    """Where a command puts its result.

    Args:
        streams: Claimed.
        as_json: Print one JSON document on stdout and nothing else there.
        quiet: Print one line, no progress.

    Attributes:
        exit_code: Of a command that ends without an error.
    """

    def __init__(self, streams: Streams, *, as_json: bool, quiet: bool) -> None:
        self._json, self._quiet = as_json, quiet
        self._out, self._err = _console(streams.out), _console(streams.err)
        self._progress = Progress(self._err, silent=quiet)
        self.exit_code = EXIT_OK

    @property
    def listener(self) -> Listener:
        """What a stage tells its progress to."""
        return self._progress.tell

    def show(self, data: Any, human: Callable[[], RenderableType], line: str) -> None:
        """Print a result.

        Args:
            data: For --json: anything that `to_data` takes.
            human: Makes what a person reads.
            line: For --quiet.
        """
        self._progress.stop()
        if self._json:
            self._out.file.write(json.dumps(to_data(data), indent=1, allow_nan=False) + "\n")
        elif self._quiet:
            self._out.print(line, soft_wrap=True, markup=False, highlight=False)
        else:
            self._out.print(human())
        self._out.file.flush()

    def lines(self, header: str, rows: Iterable[str]) -> None:
        """Print a result that goes on: a line for each row as it comes, under a header for people.

        Args:
            header: Names the columns.
            rows: May have no end.
        """
        self._progress.stop()
        if not self._quiet:
            self._out.print(header, soft_wrap=True, markup=False, highlight=False)
        for row in rows:
            self._out.print(row, soft_wrap=True, markup=False, highlight=False)
            self._out.file.flush()

    def note(self, text: str) -> None:
        """Print a line for a person on stderr."""
        if not self._quiet:
            self._err.print(text, soft_wrap=True, markup=False, highlight=False)

    def confirm(self, question: str) -> bool:
        """Ask a person a question.

        Args:
            question: Answered by y or n.

        Returns:
            Whether the answer is yes; where nobody can answer, it is no.
        """
        self._progress.stop()
        if not sys.stdin.isatty():
            return False
        self._err.print(question, end="[y/N] ", soft_wrap=True, markup=False, highlight=False)
        self._err.file.flush()
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    def fail(self, kind: str, message: str, next_step: str) -> None:
        """Print an error: JSON on stdout where JSON was asked for, else two lines on stderr."""
        self._progress.stop()
        if self._json:
            error = {"error": {"type": kind, "message": message, "next_step": next_step}}
            self._out.file.write(json.dumps(error, indent=1) + "\n")
            self._out.file.flush()
            return
        self._err.print("error:", style="bold red", end=" ")
        self._err.print(message, soft_wrap=True, markup=False, highlight=False)
        if next_step:
            self._err.print(f"  next: {next_step}", soft_wrap=True, markup=False, highlight=False)

    def close(self) -> None:
        """Leave the terminal as it was found."""
        self._progress.stop()


@contextmanager
def output(command: str, *, as_json: bool, quiet: bool, folder: Path | None = None) -> Iterator[Output]:
    """Run a command's body with claimed streams, and turn what it raises into a message and an exit code.

    Args:
        command: Its name, for the log's.
        as_json: See `Output`.
        quiet: See `Output`.
        folder: The project's; the log goes there.

    Yields:
        The sink.

    Raises:
        typer.Exit: The exit code is not 0.
    """
    with Streams(log_path(command, folder)) as streams:
        logging.basicConfig(level=logging.INFO, force=True)  # to descriptor 2: the log
        sink = Output(streams, as_json=as_json, quiet=quiet)
        before = signal.signal(signal.SIGTERM, _interrupt)
        try:
            yield sink
            if sink.exit_code != EXIT_OK:
                raise typer.Exit(sink.exit_code)
        except EdgePruneError as error:
            traceback.print_exc()
            sink.fail(type(error).__name__, error.message, error.next_step)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            sink.fail("Interrupted", "Interrupted; nothing measured is lost.", "Run the same command to go on.")
            raise typer.Exit(EXIT_INTERRUPTED) from error
        except typer.Exit:
            raise
        except Exception as error:
            traceback.print_exc()
            sink.fail(type(error).__name__, f"Internal error: {error}", f"Please report it with {streams.log}.")
            raise typer.Exit(EXIT_INTERNAL) from error
        finally:
            sink.close()
            signal.signal(signal.SIGTERM, before)


def _console(file: Any) -> Console:
    width = None if file.isatty() else PLAIN_WIDTH
    return Console(file=file, width=width, highlight=False)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Treat a polite kill as Ctrl-C, so that lease and board are given back.

    Raises:
        KeyboardInterrupt: Always.
    """
    del number, frame
    raise KeyboardInterrupt
