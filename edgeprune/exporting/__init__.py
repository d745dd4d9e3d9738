"""nn.Module + ExportSpec -> Artifact, with its parity report.

Reading and running artifacts needs no torch, and no converter is imported before it converts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeprune.registry import lazy_names

if TYPE_CHECKING:
    from edgeprune.exporting.exporter import Exporter, export, export_all
    from edgeprune.exporting.imported import FileExporter, export_file
    from edgeprune.exporting.loading import copied, load_artifact, verify_artifact
    from edgeprune.exporting.pipeline import Pipeline
    from edgeprune.exporting.running import HostRunner, predict

_HOME = {
    "Exporter": "exporter",
    "copied": "loading",
    "export": "exporter",
    "export_all": "exporter",
    "FileExporter": "imported",
    "export_file": "imported",
    "load_artifact": "loading",
    "verify_artifact": "loading",
    "HostRunner": "running",
    "Pipeline": "pipeline",
    "predict": "running",
}
__all__ = [
    "Exporter",
    "FileExporter",
    "HostRunner",
    "Pipeline",
    "copied",
    "export",
    "export_all",
    "export_file",
    "load_artifact",
    "predict",
    "verify_artifact",
]

__getattr__ = lazy_names(__name__, _HOME)


def __dir__() -> list[str]:
    return __all__
