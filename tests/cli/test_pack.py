"""`edgeprune export --pack`: both files, both sizes, and what was done to the weights."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgeprune.cli._packed_rows import packed_rows
from edgeprune.cli.app import app
from edgeprune.exporting.packing import unpack
from edgeprune.flow.packing import shared
from edgeprune.values.packing import Packed, SharedTensor, SharingReport, SharingSpec
from edgeprune.values.spec import ExportSpec


@pytest.mark.slow
def test_the_packed_file_lies_beside_and_unpacks_to_the_model(project, capfd):
    arguments = ["export", "-C", str(project / "edgeprune.toml"), "-o", str(project / "m.onnx"), "--pack", "--json"]
    capfd.readouterr()
    assert CliRunner().invoke(app, arguments).exit_code == 0
    data = json.loads(capfd.readouterr().out)
    packed, model = data["packed"], Path(data["path"])
    content = Path(packed["path"]).read_bytes()
    assert unpack(content) == model.read_bytes()
    assert (packed["size_bytes"], packed["unpacked_bytes"]) == (len(content), data["size_bytes"])
    assert packed["unpacked_sha256"] == data["sha256"]
    assert packed["size_bytes"] < data["size_bytes"]
    sharing = packed["sharing"]
    assert sharing["loss_shared"] <= sharing["loss_before"] + 0.01
    assert all(row["values"] <= 2 ** row["bits"] for row in sharing["tensors"])


def test_the_view_says_which_size_is_which():
    report = SharingReport((SharedTensor("a", 100, 7, 3, 8, 2.5),), 0.1, 0.2, 0.15)
    rows = packed_rows(Packed(Path("m.onnx.packed"), "a" * 64, 1024, "b" * 64, 40960, report))
    assert "1 KiB, 40.0 times smaller, for the way to the board" in rows["packed"]
    assert rows["unpacked"] == "40 KiB on the board and in memory, as without packing"
    assert rows["weights"] == "7 of 100 are not zero; 3 bits in the tensors, in order"
    assert "0.1000 before, 0.2000 shared, 0.1500 trained" in rows["loss"]


def test_integers_are_left_as_they_are():
    model = object()
    assert shared(None, model, SharingSpec(), ExportSpec(precision="int8"), print) == (model, None)
