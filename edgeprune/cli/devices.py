"""`edgeprune devices`: the device list, the boards behind it, and who has them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeprune.cli import _options as o
from edgeprune.cli._project import project_devices, project_folder
from edgeprune.errors import EXIT_MISSED, EXIT_OK

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from edgeprune.cli._output import Output
    from edgeprune.values.device import DeviceProfile

app = typer.Typer(help="The known devices, their facts, host keys and holders.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="A device's name, tag or address.")]
NewName = Annotated[str, typer.Argument(help="What to call it.")]
Address = Annotated[str, typer.Argument(help="ssh://user@host, ssh+exec://host, serial:///dev/ttyUSB0?baud=921600.")]
Profile = Annotated[str, typer.Option(help="Board type: a file of profiles/, such as raspberry-pi-5.")]
Meter = Annotated[str, typer.Option(help="Power source: onboard, none or a URI.")]
Wheels = Annotated[Path | None, typer.Option(help="Folder of wheels to install, all of them; fetches none.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="Such as bench=lab-2; may be repeated.")]


@app.command("list")
def list_(as_json: o.Json = False, quiet: o.Quiet = False, config: o.ConfigPath = None) -> None:
    """List the devices of this project and of the user."""
    with _output("list", o.Sink(as_json, quiet, config)) as out:
        from edgeprune.cli._tables import devices_view
        from edgeprune.devices import known_devices

        known = list(known_devices(project_devices(config)).values())
        out.show({"devices": known}, lambda: devices_view(known), "\n".join(p.name for p in known))


@app.command()
def add(
    name: NewName, address: Address, profile: Profile = "", meter: Meter = "none", tag: Tags = None,
    as_json: o.Json = False, quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Put a board into your device list."""
    with _output("add", o.Sink(as_json, quiet)) as out:
        from edgeprune.cli._device_tables import line_view
        from edgeprune.devices import device_list

        device = device_list.make_profile(name, address, profile, meter, tag or [])
        device_list.add_device(device)
        out.show({"device": device}, lambda: line_view(f"{name} is {device.address}"), name)


@app.command()
def remove(name: NewName, as_json: o.Json = False, quiet: o.Quiet = False) -> None:
    """Take a board out of your device list."""
    with _output("remove", o.Sink(as_json, quiet)) as out:
        from edgeprune.cli._device_tables import line_view
        from edgeprune.devices import device_list

        device_list.remove_device(name)
        out.show({"removed": name}, lambda: line_view(f"{name} is no longer listed"), name)


@app.command()
def info(device: Name = "local", as_json: o.Json = False, quiet: o.Quiet = False, config: o.ConfigPath = None) -> None:
    """Ask a board for its facts: system, runtimes, sensors, disk."""
    with _output("info", o.Sink(as_json, quiet, config)) as out:
        from edgeprune.cli._tables import device_view
        from edgeprune.devices import connect

        profile = _profile(device, config)
        with connect(profile, exclusive=False) as session:
            facts = session.info
        data = {"device": profile, "info": facts}
        out.show(data, lambda: device_view(profile, facts), facts.model)


@app.command()
def check(device: Name = "local", as_json: o.Json = False, quiet: o.Quiet = False, config: o.ConfigPath = None) -> None:
    """See which profile fits a board, what it lacks, and the command that installs it there."""
    with _output("check", o.Sink(as_json, quiet, config)) as out:
        from edgeprune.cli._device_tables import check_view
        from edgeprune.devices import connect
        from edgeprune.devices.board_check import check_board

        profile = _profile(device, config)
        with connect(profile, exclusive=False) as session:
            facts = session.info
        found = check_board(profile, facts)
        data = {"device": profile, "info": facts, "check": found}
        out.show(data, lambda: check_view(profile, facts, found), found.board)
        out.exit_code = EXIT_MISSED if found.lacks or not found.agrees else EXIT_OK


@app.command()
def prepare(
    device: Name, wheels: Wheels = None, as_json: o.Json = False, quiet: o.Quiet = False, config: o.ConfigPath = None
) -> None:
    """Install the runtimes that a board lacks: wheels from here, into a venv of the agent's."""
    with _output("prepare", o.Sink(as_json, quiet, config)) as out:
        from edgeprune.cli._device_tables import prepared_view
        from edgeprune.devices.provisioning import prepare as prepare_board

        done = prepare_board(_profile(device, config), wheels, out.listener)
        out.show(done, lambda: prepared_view(device, done), str(len(done.wheels)))
        out.exit_code = EXIT_MISSED if done.check.lacks else EXIT_OK


@app.command()
def trust(
    device: Name,
    fingerprint: Annotated[str | None, typer.Option(help="SHA256:…, as `ssh-keygen -lf` says on the board.")] = None,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    config: o.ConfigPath = None,
) -> None:
    """Accept a board's SSH host key, after a look at its fingerprint."""
    with _output("trust", o.Sink(as_json, quiet, config)) as out:
        from edgeprune.cli._device_tables import trust_view
        from edgeprune.devices import ssh_trust
        from edgeprune.devices.address import parse_address

        done = ssh_trust.trust(parse_address(_profile(device, config).address), fingerprint, out.confirm)
        out.show(done, lambda: trust_view(done), done.fingerprint)


@app.command()
def lock(
    device: Name,
    for_: Annotated[str | None, typer.Option("--for", help="Such as 30m; until Ctrl-C by default.")] = None,
    config: o.ConfigPath = None,
) -> None:
    """Hold a board, so that nobody else measures there while you work on it."""
    with _output("lock", o.Sink(as_json=False, quiet=False, config=config)) as out:
        from edgeprune import units
        from edgeprune.devices import connect, leases

        seconds = None if for_ is None else units.parse_quantity(for_, "s")
        with connect(_profile(device, config)) as session, suppress(KeyboardInterrupt):
            out.note(f"{device} is yours {f'for {for_}' if for_ else 'until Ctrl-C'}.")
            leases.wait_while_held(session, seconds)


@app.command()
def unlock(
    device: Name,
    end_run: Annotated[bool, typer.Option("--end-run", help="End the run that goes on there, too.")] = False,
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    config: o.ConfigPath = None,
) -> None:
    """Set a board free, whoever holds it."""
    with _output("unlock", o.Sink(as_json, quiet, config)) as out:
        from edgeprune.cli._device_tables import line_view
        from edgeprune.devices import leases

        before = leases.unlock(_profile(device, config), end_run=end_run)
        text = f"{device} is free; it was held by {before.name}" if before.name else f"{device} was free"
        out.show({"was": before}, lambda: line_view(text), before.name or "")


@app.command()
def who(device: Name, as_json: o.Json = False, quiet: o.Quiet = False, config: o.ConfigPath = None) -> None:
    """Say who holds a board, since when, and what runs there."""
    with _output("who", o.Sink(as_json, quiet, config)) as out:
        from edgeprune.cli._device_tables import holder_view
        from edgeprune.devices import leases

        holder = leases.who(_profile(device, config))
        out.show(holder, lambda: holder_view(device, holder), holder.name or "")


def _output(command: str, sink: o.Sink) -> AbstractContextManager[Output]:
    from edgeprune.cli._output import output

    folder = project_folder(sink.config)
    return output(f"devices-{command}", as_json=sink.as_json, quiet=sink.quiet, folder=folder)


def _profile(device: str, config: o.ConfigPath) -> DeviceProfile:
    from edgeprune.devices import resolve

    return resolve(device, project_devices(config))
