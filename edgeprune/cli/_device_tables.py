"""What is found out about boards -> what a person reads in a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from edgeprune import units
from edgeprune.cli._tables import device_view
from edgeprune.devices.board_check import BoardCheck, Lack
from edgeprune.devices.leases import Holder
from edgeprune.devices.provisioning import Prepared
from edgeprune.devices.ssh_trust import Trust
from edgeprune.values.device import DeviceInfo, DeviceProfile


def line_view(text: str) -> RenderableType:
    """Return a view of one sentence."""
    return Text(text)


def check_view(profile: DeviceProfile, info: DeviceInfo, check: BoardCheck) -> RenderableType:
    """Return a view of a board, the profile that fits, and what is missing."""
    lines = [
        Text.assemble(("profile  ", "bold green" if check.agrees else "bold red"), f"{check.board}, {check.title}")
    ]
    if not check.agrees:
        lines.append(Text(f"         your list says {check.listed}; correct its `profile`"))
    lines += _lacks_lines(check)
    if any(lack.package for lack in check.lacks):
        lines.append(Text(f"from here: edgeprune devices prepare {profile.name}", no_wrap=True, overflow="fold"))
    return Group(device_view(profile, info), Text(), *lines)


def prepared_view(device: str, prepared: Prepared) -> RenderableType:
    """Return a view of what was installed on a board, what it has now, and what is missing still."""
    size = units.format_quantity(prepared.wheel_bytes, "bytes")
    wheels = [Text(f"{device}: {len(prepared.wheels)} wheels installed, {size}")] if prepared.wheels else []
    runtimes = [Text(f"{r.name} {r.version}", style="green") for r in prepared.info.runtimes if r.version is not None]
    return Group(*wheels, *runtimes, *_lacks_lines(prepared.check))


def _lacks_lines(check: BoardCheck) -> list[Text]:
    lines = [line for lack in check.lacks for line in _lack_lines(lack)]
    return lines or [Text("nothing is missing", style="green")]


def _lack_lines(lack: Lack) -> list[Text]:
    lines = [Text.assemble(("missing  ", "bold red"), f"{lack.runtime}: {lack.reason}")]
    lines += [Text(f"         on the board: {lack.command}", no_wrap=True, overflow="fold")] if lack.command else []
    lines += [Text(f"         {lack.note}")] if lack.note else []
    return lines


def trust_view(trust: Trust) -> RenderableType:
    """Return a view of a host key that is trusted now."""
    before = f", in place of {', '.join(trust.replaced)}" if trust.replaced else ""
    return Text(f"{trust.host} is trusted by {trust.kind} {trust.fingerprint}{before}")


def holder_view(device: str, holder: Holder) -> RenderableType:
    """Return a view of who has a board."""
    if holder.name is None:
        run = f"; the run {holder.run} goes on there" if holder.run else ""
        return Text(f"{device} is free{run}")
    run = f", and runs {holder.run}" if holder.run else ""
    return Text(f"{device} is held by {holder.name} since {holder.since_utc}{run}")
