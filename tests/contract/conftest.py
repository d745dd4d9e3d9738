"""The contracts are inherited across files, and the boards behind them are those of tests/devices."""

import sys
from pathlib import Path

sys.path += [str(Path(__file__).parent), str(Path(__file__).parents[1] / "devices")]
