"""NVIDIA Jetson: named by its device tree; its system is Ubuntu and the L4T release, which decides what runs on it.

Source:
    NVIDIA Jetson Linux: /etc/nv_tegra_release begins "# R36 (release), REVISION: 3.0, …".
"""

import re

from edgeprune_agent.boards import files, generic_linux

_RELEASE = re.compile(r"# R(\d+) \(release\), REVISION: ([\d.]+)")

model = generic_linux.model


def recognises(filesystem: str) -> bool:
    """Return whether the board carries L4T's release file."""
    return files.text(filesystem, "etc/nv_tegra_release") is not None


def system(filesystem: str) -> str:
    """Return such as "Ubuntu 22.04.4 LTS, L4T 36.3.0"."""
    name = generic_linux.system(filesystem)
    match = _RELEASE.match(files.text(filesystem, "etc/nv_tegra_release") or "")
    return "{}, L4T {}.{}".format(name, match.group(1), match.group(2)) if match else name
