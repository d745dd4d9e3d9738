"""`edgeprune.toml` -> `Config`: every default filled in, every mistake named with its line."""

from edgeprune.config.reading import FILE_NAME, load
from edgeprune.config.sections import (
    Config,
    DataConfig,
    DeviceConfig,
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
    "FinetuneConfig",
    "GoalConfig",
    "InputConfig",
    "ModelConfig",
    "SearchConfig",
    "StoreConfig",
    "load",
]
