"""What the command line sets for its own process, and what it leaves to the user."""

import subprocess
import sys

import pytest

ASK = "import os; from edgeprune.cli import _process; _process.prepare(); print(os.environ['GOMP_SPINCOUNT'])"


@pytest.mark.parametrize(("given", "used"), [({}, "2000"), ({"GOMP_SPINCOUNT": "7"}, "7")])
def test_spinning_is_cut_short_unless_the_user_says_otherwise(monkeypatch, given, used):
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    done = subprocess.run([sys.executable, "-c", ASK], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == used


def test_torch_comes_in_only_after_that():
    code = "import sys; import edgeprune.cli.app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_nothing_is_searched_for_garbage_while_the_command_ends_but_what_waits_for_its_end_still_runs():
    code = (
        "import atexit, gc, sys; from edgeprune.cli import app; sys.argv = ['edgeprune', '--help'];"
        "atexit.register(lambda: print(gc.isenabled(), gc.get_freeze_count() > 0)); app.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False True"
