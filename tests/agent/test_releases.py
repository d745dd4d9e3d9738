import hashlib
import json
import os
from pathlib import Path

import pytest
from edgeprune_agent import release_files
from edgeprune_agent.releases import Releases
from edgeprune_agent.wire import AgentError
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

A, B, C = "20260101T000000Z-aaaaaaaa", "20260102T000000Z-bbbbbbbb", "20260103T000000Z-cccccccc"
MANIFEST = {"label": "dense", "tolerance": 0.001}


@pytest.fixture
def releases(root):
    return Releases(root)


@pytest.fixture
def stage(releases, keep):
    def build(release, content=None, **changes):
        arguments = {
            "model": "net", "release": release, "format": "onnx", "sha": keep(content or release.encode()),
            "golden": keep(b"golden"), "manifest": MANIFEST,
        }  # fmt: skip
        return releases.stage(**dict(arguments, **changes))["path"]

    return build


def assert_refused(call, code):
    with pytest.raises(AgentError) as caught:
        call()
    assert caught.value.code == code


def journal(root):
    return [json.loads(line) for line in Path(root, "models/net/journal.jsonl").read_text().splitlines()]


def test_a_staged_release_holds_model_golden_manifest_and_sums(stage, releases):
    folder = Path(stage(A))
    assert {path.name for path in folder.iterdir()} == {
        "model.onnx", "golden.safetensors", "manifest.json", "SHA256SUMS",
    }  # fmt: skip
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest == dict(
        MANIFEST, format="onnx", sha256=hashlib.sha256(A.encode()).hexdigest(),
        golden=hashlib.sha256(b"golden").hexdigest(),
    )  # fmt: skip
    assert releases.current("net") is None


def test_staging_again_gives_the_same_and_other_files_are_refused(stage):
    folder = stage(A)
    before = {path: path.stat().st_ino for path in Path(folder).iterdir()}
    assert stage(A) == folder
    assert {path: path.stat().st_ino for path in Path(folder).iterdir()} == before
    assert_refused(lambda: stage(A, content=b"other"), "E_ARG")


def test_a_disk_without_hard_links_gets_copies(stage, monkeypatch):
    def fail(*arguments):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", fail)
    assert Path(stage(A), "model.onnx").read_bytes() == A.encode()


def test_a_damaged_stored_file_is_not_installed_and_is_thrown_out(root, stage, keep):
    sha = keep(b"model")
    path = Path(root, "objects", sha[:2], sha)
    path.write_bytes(b"rotten")
    assert_refused(lambda: stage(A, sha=sha), "E_HASH")
    assert not path.exists()
    assert not Path(root, "models/net/releases", A).exists()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"model": "../net"}, "E_ARG"), ({"model": None}, "E_ARG"), ({"model": ".hidden"}, "E_ARG"),
        ({"release": "../../x"}, "E_ARG"), ({"release": "newest"}, "E_ARG"), ({"release": None}, "E_ARG"),
        ({"format": "pkl"}, "E_ARG"), ({"format": None}, "E_ARG"), ({"sha": "../x"}, "E_ARG"),
        ({"sha": "f" * 64}, "E_NOTFOUND"), ({"golden": "f" * 64}, "E_NOTFOUND"), ({"manifest": None}, "E_ARG"),
        ({"manifest": {}}, "E_ARG"), ({"manifest": {"tolerance": -1}}, "E_ARG"),
        ({"manifest": {"tolerance": float("inf")}}, "E_ARG"), ({"manifest": {"tolerance": True}}, "E_ARG"),
        ({"manifest": dict(MANIFEST, long="x" * 9000)}, "E_LIMIT"),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_argument_is_refused_and_nothing_is_installed(root, releases, keep, change, code):
    arguments = {
        "model": "net", "release": A, "format": "onnx", "sha": keep(b"m"), "golden": keep(b"g"), "manifest": MANIFEST,
    }  # fmt: skip
    assert_refused(lambda: releases.stage(**dict(arguments, **change)), code)
    assert releases.list(None) == {"releases": []}


def test_switching_moves_current_and_remembers_the_previous_one(stage, releases, root):
    stage(A), stage(B)
    assert releases.switch("net", A) == {"previous": None}
    assert releases.switch("net", B) == {"previous": A}
    assert releases.switch("net", B) == {"previous": A}
    assert Path(root, "models/net/current/model.onnx").read_bytes() == B.encode()
    assert str(Path(root, "models/net/current").readlink()) == f"releases/{B}"
    assert [(e["op"], e["from"], e["to"]) for e in journal(root)] == [("switch", None, A), ("switch", A, B)]


def test_a_release_that_is_not_there_or_not_whole_is_never_put_in_use(stage, releases):
    stage(A), stage(B)
    releases.switch("net", A)
    assert_refused(lambda: releases.switch("net", C), "E_NOTFOUND")
    Path(releases.folder("net", B), "golden.safetensors").unlink()
    assert_refused(lambda: releases.switch("net", B), "E_HASH")
    assert_refused(lambda: releases.rollback("net", B), "E_HASH")
    assert releases.current("net") == A


def test_current_can_be_taken_away(stage, releases, root):
    stage(A)
    releases.switch("net", A)
    assert releases.switch("net", None) == {"previous": None}
    assert releases.switch("net", None) == {"previous": None}
    assert releases.current("net") is None
    assert len(journal(root)) == 2


def test_rolling_back_goes_to_the_previous_one_and_further(stage, releases):
    for release in (A, B, C):
        stage(release)
        releases.switch("net", release)
    assert releases.rollback("net", None) == {"current": B, "previous": A}
    assert releases.rollback("net", None) == {"current": A, "previous": None}
    assert_refused(lambda: releases.rollback("net", None), "E_NOTFOUND")
    assert releases.rollback("net", C) == {"current": C, "previous": B}


def test_rolling_back_twice_to_one_release_is_once(stage, releases, root):
    for release in (A, B):
        stage(release)
        releases.switch("net", release)
    answer = releases.rollback("net", A)
    assert releases.rollback("net", A) == answer
    assert [entry["op"] for entry in journal(root)] == ["switch", "switch", "rollback"]


def test_the_current_release_cannot_be_removed_and_others_can(stage, releases, root):
    for release in (A, B, C):
        stage(release)
        releases.switch("net", release)
    assert_refused(lambda: releases.remove("net", C), "E_ARG")
    assert releases.remove("net", B) == {}
    assert releases.previous("net") == A
    assert releases.remove("net", B) == {}
    assert releases.remove("net", A) == {}
    assert releases.previous("net") is None
    assert [row["release"] for row in releases.list("net")["releases"]] == [C]
    assert [path.name for path in Path(root, "models/net/releases").iterdir()] == [C]


def test_the_list_says_which_is_current_and_which_previous(stage, releases):
    for release in (A, B):
        stage(release)
        releases.switch("net", release)
    rows = releases.list("net")["releases"]
    assert [(row["release"], row["current"], row["previous"]) for row in rows] == [(A, False, True), (B, True, False)]
    assert rows[0]["manifest"]["label"] == "dense"
    assert rows[0]["path"] == releases.folder("net", A)
    assert ["manifest" in row for row in releases.list(None)["releases"]] == [False, False]
    assert releases.list("other") == {"releases": []}


def test_a_note_in_the_journal_follows_one_that_a_power_cut_tore(releases, root):
    releases.record("net", {"op": "install"})
    with Path(root, "models/net/journal.jsonl").open("a") as file:
        file.write('{"op": "torn')
    releases.record("net", {"op": "install"})
    lines = Path(root, "models/net/journal.jsonl").read_text().splitlines()
    assert [json.loads(line)["op"] for line in (lines[0], lines[2])] == ["install", "install"]
    assert_refused(lambda: releases.record("net", None), "E_ARG")
    assert_refused(lambda: releases.record("net", {"x": "y" * 9000}), "E_LIMIT")


def test_a_link_that_leads_elsewhere_is_no_release(stage, releases, root):
    stage(A)
    Path(root, "models/net/current").symlink_to("/etc")
    assert releases.current("net") is None
    releases.switch("net", A)
    assert releases.current("net") == A


class PowerCut(BaseException):
    """The plug was pulled: nothing after this happens."""


CALLS = ("mkdir", "link", "fsync", "rename", "replace", "symlink", "unlink")


class Plug:
    """Pulls itself before the n-th call that changes the disk."""

    def __init__(self, monkeypatch):
        self.left, self.pulled = None, False
        for name in CALLS:
            monkeypatch.setattr(os, name, self.wired(getattr(os, name)))
        monkeypatch.setattr(release_files, "write", self.wired(release_files.write))

    def wired(self, action):
        def call(*arguments, **options):
            if self.left is not None:
                self.left -= 1
                self.pulled = self.pulled or self.left < 0
            if self.pulled:
                raise PowerCut
            return action(*arguments, **options)

        return call

    def pull_before(self, calls):
        self.left, self.pulled = calls, False

    def put_back(self):
        self.left, self.pulled = None, False


@pytest.fixture
def plug(monkeypatch):
    return Plug(monkeypatch)


@pytest.mark.parametrize("operation", ["stage", "switch", "rollback", "remove"])
def test_a_power_cut_before_any_step_leaves_a_whole_current_release_and_repeating_completes(
    stage, releases, plug, root, operation
):
    operations = {
        "stage": lambda: stage(C),
        "switch": lambda: releases.switch("net", C),
        "rollback": lambda: releases.rollback("net", A),
        "remove": lambda: releases.remove("net", A),
    }
    cuts = 0
    while True:
        prepare(stage, releases, root, with_third=operation == "switch")
        plug.pull_before(cuts)
        try:
            operations[operation]()
        except PowerCut:
            plug.put_back()
            current = Releases(root).current("net")
            assert current in {"switch": {B, C}, "rollback": {A, B}}.get(operation, {B})
            assert releases.damaged("net", current) is None
            assert all(releases.damaged("net", row["release"]) is None for row in releases.list("net")["releases"])
            operations[operation]()
            check_done(operation, releases, root)
            cuts += 1
            continue
        plug.put_back()
        check_done(operation, releases, root)
        break
    assert cuts >= 3


def prepare(stage, releases, root, with_third):
    for release in (A, B):
        stage(release)
    releases.rollback("net", A)
    releases.switch("net", B)
    if with_third:
        stage(C)
    elif Path(releases.folder("net", C)).exists():
        releases.remove("net", C)
    assert (releases.current("net"), releases.previous("net")) == (B, A)


def check_done(operation, releases, root):
    expected = {"stage": (B, A), "switch": (C, B), "rollback": (A, None), "remove": (B, None)}[operation]
    assert (releases.current("net"), releases.previous("net")) == expected
    ids = [row["release"] for row in releases.list("net")["releases"]]
    assert (C in ids) == (operation in ("stage", "switch"))
    assert (A in ids) == (operation != "remove")


class AnyOrder(RuleBasedStateMachine):
    """Whatever is asked in whatever order, `current` is a whole release that was put in use."""

    @initialize()
    def start(self):
        import tempfile

        self.holder = tempfile.TemporaryDirectory()
        self.root = self.holder.name
        self.releases = Releases(self.root)

    def teardown(self):
        self.holder.cleanup()

    def keep(self, data):
        sha = hashlib.sha256(data).hexdigest()
        path = Path(self.root, "objects", sha[:2], sha)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_bytes(data)
        return sha

    @rule(release=st.sampled_from([A, B, C]))
    def stage(self, release):
        self.releases.stage("net", release, "onnx", self.keep(release.encode()), self.keep(b"golden"), MANIFEST)

    @rule(release=st.sampled_from([A, B, C, None]))
    def switch(self, release):
        self.attempt(lambda: self.releases.switch("net", release))

    @rule(release=st.sampled_from([A, B, C, None]))
    def rollback(self, release):
        self.attempt(lambda: self.releases.rollback("net", release))

    @rule(release=st.sampled_from([A, B, C]))
    def remove(self, release):
        in_use = self.releases.current("net") == release
        assert self.attempt(lambda: self.releases.remove("net", release)) != in_use

    def attempt(self, call):
        before = self.releases.current("net")
        try:
            call()
        except AgentError:
            assert self.releases.current("net") == before
            return False
        return True

    @invariant()
    def current_and_previous_are_whole_and_differ(self):
        current, previous = self.releases.current("net"), self.releases.previous("net")
        assert current is None or self.releases.damaged("net", current) is None
        assert previous is None or self.releases.damaged("net", previous) is None
        assert current is None or current != previous


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
