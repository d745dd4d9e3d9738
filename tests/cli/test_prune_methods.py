"""`edgeprune prune` by every method, and `edgeprune explain` of what came out."""

import json

import pytest
from typer.testing import CliRunner

from edgeprune.cli.app import app
from edgeprune.config import load
from edgeprune.flow import Goal, candidates


@pytest.fixture
def run(project, capfd):
    """Run a command in this process; the command line writes to the descriptors themselves."""

    def invoke(*arguments):
        capfd.readouterr()
        done = CliRunner().invoke(app, [*map(str, arguments), "-C", str(project / "edgeprune.toml")])
        return done.exit_code, capfd.readouterr().out

    return invoke


def data(done):
    code, out = done
    assert code == 0, out
    return json.loads(out)


def error(done):
    code, out = done
    assert code == 2, out
    return json.loads(out)["error"]


@pytest.mark.parametrize(
    ("flags", "kinds"),
    [
        (["--method", "weight", "--relative-threshold", "0.2"], {"weights"}),
        (["--method", "weight", "--nm", "2:4"], {"weights"}),
        (["--method", "layer", "--ratio", "0.5"], {"layers"}),
        (["--method", "connection", "--ratio", "0.4"], {"connections", "channels"}),
        (["--method", "hybrid", "--sparsity", "0.4", "--steps", "2", "--schedule", "cubic"],
         {"weights", "layers", "channels"}),
        (["--criterion", "bn_scale", "--ratio", "0.5", "--steps", "2"], {"channels"}),
    ],
)  # fmt: skip
def test_every_method_writes_what_explain_reads(project, run, flags, kinds):
    folder = project / "out"
    summary = data(run("prune", *flags, "-o", folder, "--json"))
    assert {row["kind"] for row in summary["groups"]} == kinds
    assert summary["proof"]["max_relative"] <= 1e-5

    found = data(run("explain", folder, "--json"))
    assert found["prune"]["groups"] == summary["groups"]
    assert found["prune"]["size"] == summary["size"]
    code, picture = run("explain", folder)
    assert code == 0 and "█" in picture
    for row in summary["groups"]:
        if row["frozen"]:
            assert "kept whole" in picture


def test_weights_stay_zero_through_fine_tuning_on_disk(project, run):
    from safetensors.numpy import load_file

    folder = project / "out"
    summary = data(run("prune", "--method", "weight", "--sparsity", "0.5", "-o", folder, "--json"))
    state = load_file(folder / "weights.safetensors")
    for row in summary["groups"]:
        assert int((state[row["name"]] != 0).sum()) <= row["width_after"]
    assert summary["size"]["compressed_after"] < summary["size"]["compressed_before"]
    assert "no speed" in summary["notes"][0]
    data(run("export", "--from", folder, "-o", project / "m.onnx", "--json"))


def test_slimming_trains_with_the_l1_term_before_the_cut(project, run):
    toml = project / "edgeprune.toml"
    plain = data(run("prune", "--criterion", "bn_scale", "--ratio", "0.5", "-o", project / "a", "--json"))
    toml.write_text(toml.read_text("utf-8").replace("epochs = 2", "epochs = 2\nsparsity_weight = 0.01"), "utf-8")
    slim = data(run("prune", "--criterion", "bn_scale", "--ratio", "0.5", "-o", project / "b", "--json"))
    assert slim["groups"][0]["score_min"] < plain["groups"][0]["score_min"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--target", "latency <= 0.5x"], "cannot aim at"),
        (["--ratio", "0.5", "--schedule", "cubik"], "cubik"),
        (["--method", "weight", "--nm", "4:2"], "N:M"),
        (["--method", "weight", "--threshold", "0"], "magnitude"),
        (["--ratio", "0.5", "--exclude", "nothing.*"], "matches no module"),
        ([], "exactly one amount"),
    ],
)
def test_bad_flags_are_exit_2_and_write_nothing(project, run, flags, words):
    assert words in error(run("prune", *flags, "-o", project / "out", "--json"))["message"]
    assert not (project / "out").exists()


def test_explaining_what_is_not_there_says_what_to_give(project, run):
    (project / "empty").mkdir()
    assert "report.json" in error(run("explain", project / "empty", "--json"))["message"]
    (project / "empty" / "report.json").write_text("{}", "utf-8")
    assert "cannot be read" in error(run("explain", project / "empty", "--json"))["message"]


def test_a_search_tries_every_method_with_amounts_that_suit_it(project):
    toml = project / "edgeprune.toml"
    methods = 'methods = ["weight", "channel", "layer", "connection", "hybrid"]\ncriteria = ["taylor", "fpgm"]\nratios'
    toml.write_text(toml.read_text("utf-8").replace("ratios", methods), "utf-8")
    config = load(toml)
    labels = [c.prune.label for c in candidates(config, Goal.of(config)) if c.prune]
    assert labels == [
        "weight-taylor 50 %", "channel-taylor 50 %", "channel-fpgm 50 %", "layer-layer_loss 50 %",
        "connection-connection 50 %", "hybrid-taylor 50 %", "hybrid-fpgm 50 %",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_run_is_explained_with_the_reason_for_each_variant(project, run):
    toml = project / "edgeprune.toml"
    toml.write_text(toml.read_text("utf-8").replace("ratios", 'methods = ["channel", "weight"]\nratios'), "utf-8")
    searched = data(run("search", "--device", "local", "--json"))

    found = data(run("explain", "--json"))

    assert found["run"] == searched["run"]
    assert [fate["outcome"] for fate in found["fates"]] == ["won", "lost", "lost"]
    assert {fate["id"] for fate in found["fates"]} == {variant["id"] for variant in searched["variants"]}
    assert all(fate["why"] for fate in found["fates"])
    assert found["fates"][0]["id"] == searched["winner"]["id"]
    if searched["winner"]["method"] != "dense":
        assert found["prune"]["groups"]
    code, picture = run("explain", searched["run"][:6])
    assert code == 0 and "won" in picture
