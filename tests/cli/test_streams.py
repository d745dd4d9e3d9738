"""Nothing but the result reaches stdout, nothing but progress and errors reaches stderr; the rest is in the log."""

import os
import subprocess
import sys
import textwrap

NOISY = """
    import ctypes, os, sys, warnings
    from pathlib import Path
    from edgeprune.cli._streams import Streams

    with Streams(Path(sys.argv[1])) as streams:
        print("python out")
        print("python err", file=sys.stderr)
        os.write(1, b"raw out\\n")
        ctypes.CDLL(None).puts(b"C out")
        ctypes.CDLL(None).fflush(None)
        warnings.warn("a warning")
        streams.out.write("the result\\n")
        streams.err.write("the progress\\n")
    print("afterwards")
"""


def run(script, *arguments):
    command = [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def test_what_others_print_goes_to_the_log_and_ours_to_the_user(tmp_path):
    log = tmp_path / "logs" / "run.log"
    done = run(NOISY, log)
    assert done.stdout == "the result\nafterwards\n"
    assert done.stderr == "the progress\n"
    written = log.read_text("utf-8")
    for words in ("python out", "python err", "raw out", "C out", "a warning"):
        assert words in written


def test_a_log_that_cannot_be_written_does_not_stop_the_command(tmp_path):
    (tmp_path / "file").write_text("in the way", "utf-8")
    assert run(NOISY, tmp_path / "file" / "run.log").stdout == "the result\nafterwards\n"


def test_no_descriptor_is_left_open(tmp_path):
    script = """
        import os, sys
        from pathlib import Path
        from edgeprune.cli._streams import Streams
        count = lambda: len(os.listdir("/proc/self/fd"))
        before = count()
        for _ in range(3):
            with Streams(Path(sys.argv[1])):
                pass
        assert count() == before
    """
    run(script, tmp_path / "log")


def test_a_closed_pipe_is_no_traceback(tmp_path):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "edgeprune", "devices", "list"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, cwd=tmp_path, check=False)
    os.close(write)
    assert "Traceback" not in done.stderr
