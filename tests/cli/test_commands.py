"""The command line as scripts use it: one JSON document, an exit code, one clear message."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgeprune.cli.app import app

sys.path.append(str(Path(__file__).parents[1] / "measuring"))
import board_models


def edgeprune(*arguments, cwd, **environment):
    """Run the command line as a whole process."""
    command = [sys.executable, "-m", "edgeprune", *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


@pytest.fixture
def here(monkeypatch, capfd):
    """Run the command line in this process, which has torch already."""

    def run(*arguments, cwd):
        monkeypatch.chdir(cwd)
        capfd.readouterr()
        done = CliRunner().invoke(app, [*map(str, arguments)])
        return subprocess.CompletedProcess(arguments, done.exit_code, *capfd.readouterr())

    return run


def failure(done, code):
    """Return the error document of a command that failed with `code`."""
    assert done.returncode == code, done.stdout + done.stderr
    error = json.loads(done.stdout)["error"]
    assert set(error) == {"type", "message", "next_step"}
    assert error["message"] and error["next_step"]
    assert "Traceback" not in done.stderr
    return error


def test_version_of_the_house_every_command_has_help():
    listed = CliRunner().invoke(app, ["--help"]).stdout
    for command in [
        "init",
        "deploy",
        "search",
        "prune",
        "export",
        "bench",
        "profile",
        "monitor",
        "choose",
        "explain",
        "releases",
        "devices",
        "doctor",
    ]:
        assert command in listed
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        (["deploy", "--device", "local"], "ConfigError", "edgeprune.toml"),
        (["bench", "no.onnx"], "ArtifactError", "no.onnx"),
        (["init", "--example", "fasion-mnist"], "UnknownName", "fasion-mnist"),
        (["devices", "info", "jetsno"], "UnknownName", "jetsno"),
    ],
)
def test_bad_input_is_exit_2_with_one_json_error(tmp_path, arguments, kind, words):
    error = failure(edgeprune(*arguments, "--json", cwd=tmp_path), 2)
    assert error["type"] == kind
    assert words in error["message"]


def test_human_error_is_two_lines_on_stderr_and_nothing_on_stdout(tmp_path):
    done = edgeprune("bench", "no.onnx", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    first, second = done.stderr.splitlines()
    assert first.startswith("error: ")
    assert second.startswith("  next: ")


def test_corrupt_model_file_is_exit_2(tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"\x08\x07garbage" * 100)
    assert failure(edgeprune("bench", "broken.onnx", "--json", cwd=tmp_path), 2)["type"] == "ArtifactError"


@pytest.mark.parametrize(("expected", "code", "kind"), [("0" * 16, 3, "WrongDevice"), ("", 2, "UsageError")])
def test_another_board_than_the_expected_one_is_not_measured_on(here, project, tmp_path, expected, code, kind):
    board_models.linear(tmp_path / "m.onnx")
    options = ["--device", f"local://?root={tmp_path}/board", "--expect-device-id", expected, "--json"]
    assert failure(here("bench", "m.onnx", *options, cwd=tmp_path), code)["type"] == kind
    assert failure(here("deploy", *options, cwd=project), code)["type"] == kind
    assert failure(here("releases", "rollback", *options, cwd=project), code)["type"] == kind
    assert not (tmp_path / "board" / "lease.json").exists()


def test_unknown_key_is_named_with_file_line_and_nearest(here, project):
    toml = project / "edgeprune.toml"
    toml.write_text(toml.read_text("utf-8").replace("factory", "factroy"), "utf-8")
    error = failure(here("deploy", "--device", "local", "--json", cwd=project), 2)
    assert "edgeprune.toml:3" in error["message"]
    assert "factory" in error["next_step"]


def test_bad_unit_on_the_command_line_is_exit_2(here, project):
    done = here("deploy", "--device", "local", "--max-latency", "5mss", "--json", cwd=project)
    assert "5mss" in failure(done, 2)["message"]


def test_devices_list_knows_this_machine(tmp_path):
    done = edgeprune("devices", "list", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "local" in [device["name"] for device in json.loads(done.stdout)["devices"]]


def test_devices_info_tells_the_runtimes_of_this_machine(tmp_path):
    done = edgeprune("devices", "info", "local", "--json", cwd=tmp_path, EDGEPRUNE_AGENT_ROOT=str(tmp_path / "board"))
    assert done.returncode == 0, done.stderr
    info = json.loads(done.stdout)["info"]
    assert info["cpu_count"] >= 1
    assert {"onnxruntime", "litert"} <= {runtime["name"] for runtime in info["runtimes"]}


def test_dry_run_lists_candidates_and_touches_no_board(here, project, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEPRUNE_AGENT_ROOT", str(tmp_path / "untouched"))
    done = here("deploy", "--device", "local", "--dry-run", "--json", cwd=project)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["candidates"]) == 2
    assert not (tmp_path / "untouched").exists()


def test_prune_then_export_writes_a_smaller_artifact(here, project):
    pruned = here("prune", "--ratio", "0.5", "-o", "half", "--json", cwd=project)
    assert pruned.returncode == 0, pruned.stdout + pruned.stderr
    proved = json.loads(pruned.stdout)["proof"]["max_relative"]
    assert proved <= 1e-5
    sizes, proofs = {}, {}
    for name, source in {"dense": [], "half": ["--from", "half"]}.items():
        done = here("export", *source, "-o", f"{name}.onnx", "--json", cwd=project)
        assert done.returncode == 0, done.stdout + done.stderr
        sizes[name] = json.loads(done.stdout)["size_bytes"]
        proofs[name] = json.loads(done.stdout)["parity"]["pruning_max_relative"]
        assert (project / f"{name}.onnx").stat().st_size == sizes[name]
    assert sizes["half"] < 0.7 * sizes["dense"]
    assert proofs == {"dense": None, "half": proved}


def test_prune_refuses_a_folder_with_other_files(here, project):
    (project / "mine").mkdir()
    (project / "mine" / "thesis.tex").write_text("precious", "utf-8")
    done = here("prune", "--ratio", "0.5", "-o", "mine", "--json", cwd=project)
    assert "mine" in failure(done, 2)["message"]
    assert (project / "mine" / "thesis.tex").exists()


def test_monitor_prints_a_line_for_each_reading(tmp_path):
    root = {"EDGEPRUNE_AGENT_ROOT": str(tmp_path / "board")}
    done = edgeprune("monitor", "--count", 2, "--interval", "0.05s", cwd=tmp_path, **root)
    assert done.returncode == 0, done.stderr
    header, *rows = done.stdout.splitlines()
    assert header.split()[:4] == ["time", "hottest", "clock", "busy"]
    assert len(rows) == 2
    assert all(f" of {os.cpu_count()}" in row for row in rows)
    assert done.stderr.splitlines() == ["power: no meter is read"]


def test_monitor_prints_one_document(tmp_path):
    root = {"EDGEPRUNE_AGENT_ROOT": str(tmp_path / "board")}
    done = edgeprune("monitor", "--json", "--interval", "0.05s", cwd=tmp_path, **root)
    (reading,) = json.loads(done.stdout)["readings"]
    assert reading["state"]["cpus"] == os.cpu_count()
    assert (reading["power_w"], reading["power_missing"]) == (None, "no meter is read")
