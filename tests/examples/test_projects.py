"""What `edgeprune init` writes, and what it refuses to write over."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from edgeprune.errors import StorageError, UnknownName, UsageError
from edgeprune.examples import EXAMPLES, projects, write_project

EXAMPLE_FILES = ["data.py", "edgeprune.toml", "model.py", "train.py", "weights.safetensors"]
KEYS = {
    "model": {"factory", "weights", "inputs"},
    "data": {"train", "test", "metric", "calibration_batches"},
    "finetune": {"epochs", "learning_rate"},
    "search": {"methods", "formats", "precisions", "threads", "ratios", "plan"},
    "goal": {"minimize", "constraints"},
    "store": {"url"},
}


ROUNDED = {None, "fashion-mnist"}
"""What sets round_to, too: the digits' network is too narrow for it."""


def keys_of(example: str | None) -> dict[str, set[str]]:
    return KEYS | {"search": KEYS["search"] | ({"round_to"} if example in ROUNDED else set())}


def config(directory: Path) -> dict:
    return tomllib.loads((directory / "edgeprune.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_brings_code_weights_data_and_configuration(tmp_path, example):
    written = write_project(tmp_path / "new" / "folder", example)
    assert [path.name for path in written] == EXAMPLE_FILES
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == EXAMPLE_FILES


def test_without_an_example_only_the_configuration_is_written(tmp_path):
    assert write_project(tmp_path) == [tmp_path / "edgeprune.toml"]
    assert [path.name for path in tmp_path.iterdir()] == ["edgeprune.toml"]


@pytest.mark.parametrize("example", [None, *EXAMPLES])
def test_the_configuration_has_every_table_and_key_and_no_other(tmp_path, example):
    write_project(tmp_path, example)
    assert {table: set(keys) for table, keys in config(tmp_path).items()} == keys_of(example)


@pytest.mark.parametrize("example", [None, *EXAMPLES])
def test_every_key_of_the_configuration_is_explained_on_its_line(tmp_path, example):
    write_project(tmp_path, example)
    lines = (tmp_path / "edgeprune.toml").read_text(encoding="utf-8").splitlines()
    settings = [line for line in lines if "=" in line and not line.startswith("#")]
    assert len(settings) == sum(map(len, keys_of(example).values()))
    assert [line for line in settings if "  # " not in line] == []


def test_the_fashion_example_aims_at_latency_within_half_a_point(tmp_path):
    write_project(tmp_path, "fashion-mnist")
    written = config(tmp_path)
    assert written["search"] == {
        "methods": ["channel"],
        "formats": ["onnx", "tflite"],
        "precisions": ["fp32", "int8"],
        "threads": [1],
        "ratios": [0.4, 0.5, 0.6],
        "round_to": 16,
        "plan": "quick",
    }
    assert written["goal"] == {"minimize": ["latency", "size"], "constraints": ["accuracy_drop <= 0.5pt"]}
    assert written["store"] == {"url": "sqlite:///.edgeprune/runs.db"}


@pytest.mark.parametrize("example", [None, *EXAMPLES])
def test_the_commented_board_is_valid_once_uncommented(tmp_path, example):
    write_project(tmp_path, example)
    lines = (tmp_path / "edgeprune.toml").read_text(encoding="utf-8").splitlines()
    start = lines.index("# [devices.jetson]")
    board = tomllib.loads("\n".join(line.removeprefix("# ") for line in lines[start : start + 5]))
    assert set(board["devices"]["jetson"]) == {"address", "profile", "meter", "tags"}


def test_an_unknown_example_is_refused_and_the_nearest_is_named(tmp_path):
    with pytest.raises(UnknownName, match="fashion-mnist"):
        write_project(tmp_path / "p", "fashion_mnist")
    assert not (tmp_path / "p").exists()


def test_an_existing_file_is_never_overwritten_and_nothing_else_is_written(tmp_path):
    (tmp_path / "model.py").write_text("mine")
    with pytest.raises(UsageError, match=r"model\.py exists") as caught:
        write_project(tmp_path, "digits")
    assert "edgeprune init" in caught.value.next_step
    assert [path.name for path in tmp_path.iterdir()] == ["model.py"]
    assert (tmp_path / "model.py").read_text() == "mine"


def test_other_files_in_the_folder_are_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    write_project(tmp_path, "digits")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(UsageError, match="taken is a file"):
        write_project(tmp_path / "taken")


def test_a_folder_below_a_file_cannot_be_made(tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(StorageError, match="Cannot write"):
        write_project(tmp_path / "taken" / "project")


@pytest.mark.parametrize("failing_copy", [1, 3])
def test_a_disk_that_fills_up_leaves_no_half_written_project(tmp_path, monkeypatch, failing_copy):
    copies = []

    def copyfile(source, target):
        copies.append(source)
        if len(copies) == failing_copy:
            raise OSError(28, "No space left on device")
        return Path(target).write_bytes(Path(source).read_bytes()) and target

    monkeypatch.setattr(projects.shutil, "copyfile", copyfile)
    with pytest.raises(StorageError, match="No space left") as caught:
        write_project(tmp_path / "a" / "b", "digits")
    assert "nothing was written" in caught.value.next_step
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_between_two_files_takes_back_those_already_placed(tmp_path, monkeypatch):
    rename, renamed = Path.rename, []

    def interrupted(self, target):
        renamed.append(target)
        if len(renamed) == 3:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_project(tmp_path, "digits")
    assert list(tmp_path.iterdir()) == []


def test_naming_the_examples_imports_neither_torch_nor_numpy():
    code = "import sys, edgeprune.examples; print(sorted({'torch', 'numpy'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
