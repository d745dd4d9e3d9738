"""Example name -> files in a user's folder: all of them, or none."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

from edgeprune.errors import StorageError, UnknownName, UsageError

EXAMPLES: dict[str, str] = {
    "fashion-mnist": "a convolutional network for 28x28 pictures of clothes, trained; the data ships with EdgePrune",
    "digits": "the ten-second variant: a tiny network for 8x8 digits; needs scikit-learn",
}
"""What `edgeprune init --example` knows: name to one line."""

_HERE = Path(__file__).parent


def write_project(directory: Path | str, example: str | None = None) -> list[Path]:
    """Write what `edgeprune deploy` needs into a folder, overwriting nothing.

    Args:
        directory: The folder; made if it does not exist.
        example: A name of `EXAMPLES`, or None for a commented `edgeprune.toml` to fill in for one's own model.

    Returns:
        The files written, sorted by name.

    Raises:
        UnknownName: There is no such example.
        UsageError: A file that would be written exists, or `directory` is a file.
        StorageError: The folder cannot be written; nothing of the project is left in it.
    """
    sources = _sources(example)
    directory = Path(directory)
    targets = [directory / source.name for source in sources]
    try:
        _refuse_to_overwrite(directory, targets)
        _place(sources, targets)
    except OSError as error:
        raise StorageError(
            f"Cannot write the project into {directory}: {error.strerror or error}.",
            "Give a folder that you may write to, on a disk with space left; nothing was written.",
        ) from error
    return targets


def _sources(example: str | None) -> list[Path]:
    if example is None:
        folder = "own_model"
    elif example in EXAMPLES:
        folder = example.replace("-", "_")
    else:
        raise UnknownName("example", example, EXAMPLES)
    # Only files: a template that was imported where it lies leaves a __pycache__ beside them.
    return sorted(path for path in (_HERE / folder / "template").iterdir() if path.is_file())


def _refuse_to_overwrite(directory: Path, targets: list[Path]) -> None:
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"{directory} is a file, not a folder.", "Give the name of a folder to `edgeprune init`.")
    for target in targets:
        if target.exists() or target.is_symlink():
            raise UsageError(
                f"{target} exists and is not overwritten.",
                "Move it away, or give another folder: edgeprune init OTHER_FOLDER.",
            )


def _place(sources: list[Path], targets: list[Path]) -> None:
    """Copy aside first, where a disk may fill up, then move into place, undoing it all if anything stops us."""
    directory = targets[0].parent
    with ExitStack() as undo:
        for missing in _missing_folders(directory):
            missing.mkdir()
            undo.callback(missing.rmdir)
        with tempfile.TemporaryDirectory(prefix=".edgeprune-init-", dir=directory) as aside:
            copies = [Path(shutil.copyfile(source, Path(aside) / source.name)) for source in sources]
            for copy, target in zip(copies, targets, strict=True):
                undo.callback(target.unlink, missing_ok=True)
                copy.rename(target)
        undo.pop_all()


def _missing_folders(directory: Path) -> list[Path]:
    """Return the folders to make, outermost first."""
    return [path for path in [*reversed(directory.parents), directory] if not path.exists()]
