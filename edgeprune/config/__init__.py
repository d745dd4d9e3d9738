"""`edgeprune.toml` -> `Config`: every default filled in, every mistake named with its line."""

from edgeprune.config.reading import FILE_NAME, for_file, load
from edgeprune.config.sections import (
    Config,
    DataConfig,
    DeviceConfig,
    ExportConfig,
    FinetuneConfig,
    GoalConfig,
    InputConfig,
    ModelConfig,
    SearchConfig,
    StoreConfig,
)

__all__ = [
    "FILE_NAME",
    "Config",
    "DataConfig",
    "DeviceConfig",
    "ExportConfig",
    "FinetuneConfig",
    "GoalConfig",
    "InputConfig",
    "ModelConfig",
    "SearchConfig",
    "StoreConfig",
    "for_file",
    "load",
]
