"""Every error that EdgePrune raises on purpose, in one tree.

    EdgePruneError
    ├── UsageError              exit 2   what the user gave is wrong
    │   ├── ConfigError                  edgeprune.toml: file, line, key
    │   ├── UnknownName                  names the known ones
    │   ├── ModelError                   factory, weights, shapes, NaN
    │   ├── DataError                    a loader or a metric
    │   ├── ArtifactError                a file that is no model, or was changed
    │   ├── MissingExtra                 a package that is not installed, with the pip line
    │   └── StorageError                 a full disk, a read-only folder, a store that cannot be opened
    ├── PruneError              exit 5   a cut that could not be made or was not proved
    ├── ExportError             exit 5   a converter that failed, or an artifact that left its model
    ├── DeviceError             exit 3   the board
    │   ├── ConnectFailed                no agent answered
    │   ├── WrongDevice                  another board answered than the one that was meant
    │   ├── DeviceTimeout                an answer did not come within its deadline
    │   ├── LinkClosed                   the connection went away
    │   ├── DeviceBusy                   another holder has the lease
    │   ├── ProtocolError                bytes that are no frame or no message
    │   ├── RemoteError                  the agent refused; carries its code
    │   ├── RunFailed                    the worker process failed or crashed
    │   └── MeterFailed                  a power meter is not there, or answers with something else
    ├── Inconclusive            exit 4   the numbers do not carry a decision
    │   └── NotCredible                  power readings that carry no energy; names the gate
    ├── ChoiceError             exit 1   no variant fits the constraints
    └── ReleaseError            exit 1   a release that failed its health check, or nothing to roll back to

Each message says what was wrong and where; `next_step` says what to do about it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

EXIT_OK, EXIT_MISSED, EXIT_USAGE, EXIT_DEVICE, EXIT_INCONCLUSIVE, EXIT_INTERNAL = range(6)
EXIT_INTERRUPTED = 130
"""The shell's own code for Ctrl-C: 128 + SIGINT."""


class EdgePruneError(Exception):
    """The root of the tree.

    Attributes:
        next_step: One sentence that tells the user what to do.
        exit_code: The code with which the command line ends.
    """

    exit_code = EXIT_INTERNAL

    def __init__(self, message: str, next_step: str) -> None:
        super().__init__(message)
        self.next_step = next_step

    @property
    def message(self) -> str:
        """What was wrong, without the next step."""
        return str(self.args[0])

    def __str__(self) -> str:
        return f"{self.message} {self.next_step}"


class UsageError(EdgePruneError):
    """A flag, value or file of the user's is wrong."""

    exit_code = EXIT_USAGE


class ConfigError(UsageError):
    """`edgeprune.toml` holds something that it may not hold."""

    def __init__(self, message: str, next_step: str, *, path: str = "", line: int = 0) -> None:
        where = f"{path}:{line}: " if path and line else f"{path}: " if path else ""
        super().__init__(where + message, next_step)
        self.path, self.line = path, line


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` was probably meant to be, or None."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return matches[0] if matches else None


class UnknownName(UsageError):
    """A name that is not registered."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        known = sorted(known)
        guess = nearest(name, known)
        step = f"Did you mean {guess!r}? " if guess else ""
        super().__init__(f"Unknown {kind} {name!r}.", f"{step}Known: {', '.join(known) or 'none'}.{hint}")
        self.name, self.known = name, known


class ModelError(UsageError):
    """The model, its weights or its inputs do not fit together."""


class DataError(UsageError):
    """A loader or a metric does not give what it should."""


class ArtifactError(UsageError):
    """A file is not the model that it claims to be."""


class MissingExtra(UsageError):
    """A package that this step needs is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"The package {package!r} is not installed.", f"Run: pip install 'edgeprune[{extra}]'")


class StorageError(UsageError):
    """The host's disk refused: full, read-only, or not a store."""


class PruneError(EdgePruneError):
    """A prune could not be made, or was not proved; the model is unchanged."""


class ExportError(EdgePruneError):
    """A model could not be converted, or the artifact does not agree with it."""


class DeviceError(EdgePruneError):
    """The board or the way to it."""

    exit_code = EXIT_DEVICE


class ConnectFailed(DeviceError):
    """No agent answered at the address."""


class WrongDevice(DeviceError):
    """Another board answers at the address than the one that was meant."""


class DeviceTimeout(DeviceError):
    """The board did not answer within the deadline."""


class LinkClosed(DeviceError):
    """The connection ended before the work did."""


class DeviceBusy(DeviceError):
    """Another holder has the board."""


class ProtocolError(DeviceError):
    """The other side sent what the protocol does not allow."""


class RemoteError(DeviceError):
    """The agent refused a request.

    Attributes:
        code: The agent's error code, such as "E_NOSPC" (docs/wire.md).
    """

    def __init__(self, code: str, message: str, next_step: str) -> None:
        super().__init__(f"{message} ({code})", next_step)
        self.code = code


class RunFailed(DeviceError):
    """A worker on the board failed; the agent itself is well."""


class MeterFailed(DeviceError):
    """A power meter is not there, was lost, or is another instrument than was said."""


class Inconclusive(EdgePruneError):
    """The measurements do not carry a decision."""

    exit_code = EXIT_INCONCLUSIVE


class NotCredible(Inconclusive):
    """Power readings do not carry an energy.

    Attributes:
        gate: What they failed, such as "too_short" (docs/measuring.md lists all).
    """

    def __init__(self, gate: str, message: str, next_step: str) -> None:
        super().__init__(message, next_step)
        self.gate = gate


class ChoiceError(EdgePruneError):
    """No measured variant satisfies the constraints."""

    exit_code = EXIT_MISSED


class ReleaseError(EdgePruneError):
    """A release failed its health check, or there is none to go back to."""

    exit_code = EXIT_MISSED
