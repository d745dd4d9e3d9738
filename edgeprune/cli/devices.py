"""`edgeprune devices`: the device list and its facts."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeprune.cli import _options as o
from edgeprune.cli._project import project_devices, project_folder

app = typer.Typer(help="The known devices and their facts.", no_args_is_help=True)


@app.command("list")
def list_(as_json: o.Json = False, quiet: o.Quiet = False, config: o.ConfigPath = None) -> None:
    """List the devices of this project and of the user."""
    from edgeprune.cli._output import output

    with output("devices-list", as_json=as_json, quiet=quiet, folder=project_folder(config)) as out:
        from edgeprune.cli._tables import devices_view
        from edgeprune.devices import known_devices

        known = list(known_devices(project_devices(config)).values())
        out.show({"devices": known}, lambda: devices_view(known), "\n".join(p.name for p in known))


@app.command()
def info(
    device: Annotated[str, typer.Argument(help="A device's name, tag or address.")] = "local",
    as_json: o.Json = False,
    quiet: o.Quiet = False,
    config: o.ConfigPath = None,
) -> None:
    """Ask a board for its facts: system, runtimes, sensors, disk."""
    from edgeprune.cli._output import output

    with output("devices-info", as_json=as_json, quiet=quiet, folder=project_folder(config)) as out:
        from edgeprune.cli._tables import device_view
        from edgeprune.devices import connect, resolve

        profile = resolve(device, project_devices(config))
        with connect(profile, exclusive=False) as session:
            facts = session.info
        data = {"device": profile, "info": facts}
        out.show(data, lambda: device_view(profile, facts), facts.model)
