"""Every benchmark of `make bench` still runs, at its smallest size; what it prints is not judged here."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SMALLEST = {
    "agent_overhead.py": ["1"],
    "command_line.py": [],
    "comparisons.py": ["1"],
    "energy_truth.py": ["2"],
    "power_sampling.py": ["1"],
    "serial_goodput.py": ["--rows", "115200 clean", "--no-anchor"],
    "ssh_goodput.py": ["--megabytes", "1", "--runs", "1", "--round-trips-ms", "0"],
}
NEEDS_MORE = {"virtual_board.py"}  # tests/board runs what it runs


def test_none_is_forgotten():
    assert {path.name for path in BENCHMARKS.glob("*.py")} == {*SMALLEST, *NEEDS_MORE}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_a_benchmark_runs(name, tmp_path):
    if name == "ssh_goodput.py" and not (shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")):
        pytest.skip("no sshd here")
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "EDGEPRUNE_AGENT_ROOT": str(tmp_path / "root")}
    command = [sys.executable, BENCHMARKS / name, *SMALLEST[name]]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()
