"""A venv is made beside the one in use, of wheels that are what they say, and takes its place whole or not at all."""

import errno
import json
import os
import stat
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest
from edgeprune_agent import identity, runtimes, venvs, wheels
from edgeprune_agent.folders import Root
from edgeprune_agent.lease import take_run_lock
from edgeprune_agent.venvs import Venvs
from edgeprune_agent.wire import AgentError
from wheel_maker import digest, make_wheel


@pytest.fixture(autouse=True)
def probes(monkeypatch):
    """The Pythons in which runtimes were tried."""
    asked = []
    monkeypatch.setattr(runtimes, "probe", lambda name, python: asked.append(python) or {"name": name})
    return asked


@pytest.fixture
def made(root):
    opened = Root(root)
    yield Venvs(opened, 0)
    opened.close()


@pytest.fixture
def keep_wheel(tmp_path_factory, keep):
    """Puts a wheel into the store of `root`; takes what `make_wheel` takes."""
    folder = tmp_path_factory.mktemp("wheels")
    return lambda *arguments, **named: keep(make_wheel(folder, *arguments, **named))


def switch(made, *shas):
    name = made.stage(list(shas))["venv"]
    made.switch(name)
    return name


def imported(root, *names):
    """What a worker of `root` finds of some packages, as JSON: version, or null."""
    code = f"import json\nfound = []\nfor name in {names}:\n try: found.append(__import__(name).__version__)\n"
    code += " except ImportError: found.append(None)\nprint(json.dumps(found))"
    command = [identity.worker_python(root), "-I", "-c", code]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


def entries(root):
    return sorted(path.name for path in Path(root, "venvs").iterdir())


def test_a_worker_finds_what_was_installed_and_runs_in_the_venv(made, root, keep_wheel):
    assert made.show()["state"] == "none"
    assert identity.worker_python(root) == sys.executable
    name = switch(made, keep_wheel("one", "1.5"), keep_wheel("two"))
    assert imported(root, "one", "two", "three") == ["1.5", "1.0", None]
    assert made.show()["state"] == "ours"
    command = [identity.worker_python(root), "-c", "import sys; print(sys.prefix, sys.base_prefix)"]
    prefixes = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()
    assert prefixes == [f"{root}/venv", sys.base_prefix]
    assert Path(root, "venv").readlink() == Path("venvs", name)


def test_what_the_agent_sees_stays_visible_behind_what_is_installed(made, root, keep_wheel):
    switch(made, keep_wheel("onnx", "99.0"))
    assert imported(root, "onnx")[0] == "99.0"
    import numpy

    assert imported(root, "numpy") == [numpy.__version__]


def test_the_metadata_of_a_distribution_is_there(made, root, keep_wheel):
    switch(made, keep_wheel("one", "1.5"))
    code = "from importlib.metadata import version; print(version('one'))"
    done = subprocess.run([identity.worker_python(root), "-I", "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "1.5"


def test_runtimes_are_tried_in_the_new_venv_before_it_is_in_use(made, root, keep_wheel, probes):
    answer = made.stage([keep_wheel()])
    assert [about["name"] for about in answer["runtimes"]] == list(runtimes.OF_WHEELS)
    assert set(probes) == {f"{root}/venvs/{answer['venv']}/bin/python3"}
    assert not os.path.lexists(f"{root}/venv")


def test_what_was_installed_before_comes_along_and_a_new_version_replaces_the_old(made, root, keep_wheel):
    old_files = {"two/__init__.py": "__version__ = '1.0'\n", "two/gone.py": ""}
    first = switch(made, keep_wheel("one", "1.5"), keep_wheel("two", "1.0", old_files))
    second = switch(made, keep_wheel("two", "2.0"), keep_wheel("three"))
    assert imported(root, "one", "two", "three") == ["1.5", "2.0", "1.0"]
    (site,) = Path(root, "venv", "lib").glob("*/site-packages")
    assert not (site / "two" / "gone.py").exists()
    assert not list(site.glob("two-1.0*"))
    assert first != second
    assert entries(root) == [second]


def test_what_is_carried_over_is_not_copied(made, root, keep_wheel):
    switch(made, keep_wheel("one"))
    (before,) = Path(root, "venv", "lib").glob("*/site-packages/one/__init__.py")
    number = before.stat().st_ino
    switch(made, keep_wheel("two"))
    assert before.stat().st_ino == number


def test_to_stage_again_makes_nothing_again(made, keep_wheel, monkeypatch):
    sha = keep_wheel()
    first = made.stage([sha])
    monkeypatch.setattr(venvs, "Wheel", None)
    assert made.stage([sha]) == first


def test_a_half_made_venv_is_removed_and_never_used(made, root, keep_wheel):
    Path(root, "venvs", "0" * 64 + ".new", "lib").mkdir(parents=True)
    name = made.stage([keep_wheel()])["venv"]
    assert entries(root) == [name]
    with pytest.raises(AgentError) as refused:
        made.switch("0" * 64)
    assert refused.value.code == "E_NOTFOUND"


def test_a_kill_at_any_file_leaves_the_venv_in_use_as_it_was(made, root, keep_wheel, monkeypatch):
    switch(made, keep_wheel("one"))
    write, written = wheels.Wheel._write, []

    def killed(self, archive, entry, path):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        write(self, archive, entry, path)

    two = keep_wheel("two")
    monkeypatch.setattr(wheels.Wheel, "_write", killed)
    with pytest.raises(KeyboardInterrupt):
        made.stage([two])
    assert imported(root, "one", "two") == ["1.0", None]
    monkeypatch.undo()
    monkeypatch.setattr(runtimes, "probe", lambda name, python: {"name": name})
    switch(made, two)
    assert imported(root, "one", "two") == ["1.0", "1.0"]


def test_two_agents_do_not_make_one_at_a_time(made, root, keep_wheel, monkeypatch):
    going, go_on = threading.Event(), threading.Event()
    unpack = wheels.Wheel.unpack

    def slow(self, site):
        going.set()
        assert go_on.wait(10)
        unpack(self, site)

    monkeypatch.setattr(wheels.Wheel, "unpack", slow)
    sha = keep_wheel()
    other = threading.Thread(target=made.stage, args=([sha],))
    other.start()
    assert going.wait(10)
    with pytest.raises(AgentError) as refused:
        made.stage([sha])
    go_on.set()
    other.join()
    assert (refused.value.code, refused.value.retry) == ("E_BUSY", True)
    assert len(entries(root)) == 1


@pytest.mark.parametrize("kind", ["folder", "link elsewhere", "link to no id"])
def test_a_venv_of_somebody_elses_is_not_replaced(made, root, keep_wheel, kind, tmp_path):
    link = Path(root, "venv")
    if kind == "folder":
        link.mkdir()
    else:
        link.symlink_to(tmp_path if kind == "link elsewhere" else "venvs/../objects")
    assert made.show()["state"] == "foreign"
    name = made.stage([keep_wheel()])["venv"]
    with pytest.raises(AgentError, match="somebody else"):
        made.switch(name)
    assert made.show()["state"] == "foreign"


def test_no_venv_is_taken_from_under_a_run(made, root, keep_wheel):
    name = made.stage([keep_wheel()])["venv"]
    lock = take_run_lock(root)
    try:
        with pytest.raises(AgentError) as refused:
            made.switch(name)
    finally:
        os.close(lock)
    assert refused.value.code == "E_BUSY"
    assert made.show()["state"] == "none"


def test_wheels_that_do_not_fit_are_refused_before_anything_is_written(made, root, keep_wheel):
    made._reserve = 1 << 60
    with pytest.raises(AgentError) as refused:
        made.stage([keep_wheel()])
    assert refused.value.code == "E_NOSPC"
    assert entries(root) == []


def test_a_disk_that_fills_up_leaves_nothing_behind(made, root, keep_wheel, monkeypatch):
    def full(self, archive, entry, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(wheels.Wheel, "_write", full)
    with pytest.raises(AgentError) as refused:
        made.stage([keep_wheel()])
    assert refused.value.code == "E_NOSPC"
    assert entries(root) == []


def test_a_wheel_that_is_not_in_the_store_is_named(made):
    with pytest.raises(AgentError) as refused:
        made.stage(["a" * 64])
    assert (refused.value.code, "a" * 64 in refused.value.message) == ("E_NOTFOUND", True)


def link_entry(name):
    entry = zipfile.ZipInfo(name)
    entry.create_system, entry.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return entry


EVIL_NAMES = [
    "../evil.py",
    "/evil.py",
    "tiny/../../evil.py",
    "tiny//evil.py",
    "tiny\\evil.py",
    "tiny/\n.py",
    "./evil.py",
]


@pytest.mark.parametrize(
    "name",
    ["../evil.py", "/evil.py", "tiny/../../evil.py", "tiny//evil.py", "tiny\\evil.py", "tiny/\nevil.py", "./evil.py"],
)
def test_no_name_leads_out_of_the_venv(made, root, keep_wheel, name):
    before = sorted(Path(root).parent.rglob("evil*"))
    sha = keep_wheel(more=[(zipfile.ZipInfo(name), b"")])
    with pytest.raises(AgentError) as refused:
        made.stage([sha])
    assert refused.value.code == "E_ARG"
    assert sorted(Path(root).parent.rglob("evil*")) == before
    assert entries(root) == []


def test_a_name_in_a_carried_record_leads_nowhere_either(root, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    (old / "one-1.0.dist-info").mkdir(parents=True)
    (old / "one-1.0.dist-info" / "RECORD").write_text("../secret,,\none.py,,\n")
    (old / "one.py").touch()
    (tmp_path / "secret").touch()
    wheels.carry(str(old), str(new / "deep"), [])
    assert [path.name for path in new.rglob("*") if path.is_file()] == ["one.py"]


@pytest.mark.parametrize(
    ("flaw", "words"),
    [
        ({"more": [(link_entry("tiny/link"), b"/etc/passwd")]}, "link"),
        ({"more": [(zipfile.ZipInfo("other-1.0.dist-info/X"), b"")]}, "dist-info"),
        ({"record": ["tiny/__init__.py,sha256=AAAA,3"]}, "does not list"),
        ({"record": [""]}, "does not list"),
    ],
)
def test_what_no_wheel_may_hold_is_refused(made, root, keep_wheel, flaw, words):
    with pytest.raises(AgentError, match=words) as refused:
        made.stage([keep_wheel(**flaw)])
    assert refused.value.code == "E_ARG"
    assert entries(root) == []


@pytest.mark.parametrize("said", ["sha256=" + "A" * 43, "", "md5=XrY7u+Ae7tCTyyK7j1rNww"])
def test_a_file_that_is_not_what_record_says_is_refused(made, root, keep_wheel, said):
    info = "tiny-1.0.dist-info"
    lines = [f"{info}/{name},{digest(text)},1" for name, text in (("METADATA", b""), ("WHEEL", b""))]
    with pytest.raises(AgentError) as refused:
        made.stage([keep_wheel(record=[f"tiny/__init__.py,{said},1", *lines])])
    assert refused.value.code == "E_HASH"
    assert "tiny/__init__.py" in refused.value.message
    assert entries(root) == []


@pytest.mark.parametrize("damage", ["no zip", "cut", "flipped"])
def test_a_damaged_wheel_is_refused_and_not_a_crash(made, root, keep, tmp_path_factory, damage):
    path = make_wheel(tmp_path_factory.mktemp("w"), files={"tiny/__init__.py": "x = 1\n" * 500})
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[60] ^= 0xFF
    damaged = {"no zip": b"no wheel", "cut": bytes(data[: len(data) // 2]), "flipped": bytes(data)}[damage]
    with pytest.raises(AgentError) as refused:
        made.stage([keep(damaged)])
    assert refused.value.code in ("E_ARG", "E_HASH")
    assert entries(root) == []


def test_a_bomb_is_refused_before_it_is_unpacked(made, keep_wheel, monkeypatch):
    monkeypatch.setattr(wheels, "MAX_UNPACKED_BYTES", 1000)
    with pytest.raises(AgentError) as refused:
        made.stage([keep_wheel(files={"tiny/zeros": "0" * 2000})])
    assert refused.value.code == "E_LIMIT"


def test_modules_of_the_data_folder_are_installed_and_scripts_are_not(made, root, keep_wheel):
    data = "tiny-1.0.data"
    files = {f"{data}/purelib/tiny.py": "__version__ = 'p'\n", f"{data}/platlib/more.py": "__version__ = 'q'\n"}
    switch(made, keep_wheel(files={**files, f"{data}/scripts/run": "#!python\n"}))
    assert imported(root, "tiny", "more") == ["p", "q"]
    assert not list(Path(root, "venv").rglob("run"))


def test_a_venv_made_from_within_a_venv_rests_on_the_systems_python(made, root, keep_wheel, monkeypatch):
    switch(made, keep_wheel("one"))
    monkeypatch.setattr(sys, "executable", identity.worker_python(root))
    switch(made, keep_wheel("two"))
    assert imported(root, "one", "two") == ["1.0", "1.0"]
    assert not os.path.realpath(f"{root}/venv/bin/python3").startswith(root)


def test_a_python_that_is_gone_leaves_the_worker_with_the_agents_own(made, root, keep_wheel):
    switch(made, keep_wheel())
    python = Path(root, "venv", "bin", "python3")
    python.unlink()
    python.symlink_to("/nowhere/python3.6")
    assert identity.worker_python(root) == sys.executable
