"""What deploy, search and choose share: a goal, a run, and its table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeprune.cli._options import Board, Sink, Wanted
from edgeprune.cli._project import optional_config, project_folder, the_board

if TYPE_CHECKING:
    from edgeprune.cli._output import Output
    from edgeprune.config import Config
    from edgeprune.flow import Goal, RunResult


def run_command(
    command: str, board: Board, wanted: Wanted, sink: Sink, *, install: bool, dry_run: bool = False
) -> None:
    """Do the story and show it.

    Args:
        command: "deploy" or "search".
        board: Which one.
        wanted: What the flags said.
        sink: Where the result goes.
        install: Whether to install the winner.
        dry_run: Only show what would be tried.
    """
    from edgeprune.cli._output import output

    with output(command, as_json=sink.as_json, quiet=sink.quiet, folder=project_folder(sink.config)) as out:
        config = _config(sink)
        goal = _goal(config, wanted)
        if dry_run:
            _show_plan(out, config, goal)
            return
        from edgeprune import flow

        result = flow.run(
            config, the_board(board, config), goal, install=install, store_url=sink.store, listener=out.listener
        )
        _show_run(out, result)


def choose_command(run: str | None, wanted: Wanted, sink: Sink) -> None:
    """Choose again and show it.

    Args:
        run: A run's id or its beginning; None for the newest.
        wanted: What the flags said.
        sink: Where the result goes.
    """
    from edgeprune.cli._output import output

    with output("choose", as_json=sink.as_json, quiet=sink.quiet, folder=project_folder(sink.config)) as out:
        from edgeprune import flow
        from edgeprune.config import load

        config = load(sink.config)
        _show_run(out, flow.choose_again(config, _goal(config, wanted), run, sink.store))


def _config(sink: Sink) -> Config:
    from edgeprune.config import for_file, load

    if sink.file is None:
        return load(sink.config)
    return for_file(sink.file, optional_config(sink.config))


def _goal(config: Config, wanted: Wanted) -> Goal:
    from edgeprune.flow import Goal

    return Goal.of(
        config, minimize=wanted.minimize, constraints=wanted.constraints, trials=wanted.trials,
        device_time=wanted.device_time, plan=wanted.plan,
    )  # fmt: skip


def _show_run(out: Output, result: RunResult) -> None:
    from edgeprune.cli._tables import run_view

    line = result.release.path if result.release else result.choice.winner.label if result.choice else ""
    out.show(result.to_data(), lambda: run_view(result), line)


def _show_plan(out: Output, config: Config, goal: Goal) -> None:
    from edgeprune.cli._tables import plan_view
    from edgeprune.flow import candidates
    from edgeprune.searching import expected_s

    planned = candidates(config, goal)
    data = {"candidates": planned, "device_time_s": expected_s(planned)}
    out.show(data, lambda: plan_view(planned, expected_s(planned)), f"{len(planned)} variants")
