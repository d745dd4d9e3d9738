"""The store: what was committed is there, whatever happens; what cannot be stored is said."""

from __future__ import annotations

import math
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from array import array
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from edgeprune.errors import EXIT_USAGE, DataError, StorageError, UnknownName, UsageError
from edgeprune.store import RunStore, tables
from edgeprune.store.samples import pack, unpack
from edgeprune.values.artifact import Artifact, ParityReport, TensorSpec
from edgeprune.values.measurement import Repeat
from edgeprune.values.plan import BenchPlan
from edgeprune.values.spec import ExportSpec, PruneSpec
from edgeprune.values.variant import Variant

URL = "sqlite:///.edgeprune/runs.db"
PLAN = BenchPlan()


def variant(ratio: float | None = 0.5, sha256: str = "ab" * 32) -> Variant:
    parity = ParityReport(8, 1e-6, 1e-6, None, None, 1.0)
    tensors = (TensorSpec("image", (1, 1, 28, 28), "float32"),)
    artifact = Artifact(Path("m.onnx"), "onnx", "fp32", sha256, 1234, tensors, tensors, 18, parity)
    prune = None if ratio is None else PruneSpec(criterion="taylor", ratio=ratio, exclude=("head",))
    return Variant(prune, ExportSpec(), artifact, 100, 200, 0.91)


def repeat(index: int, samples: list[int] | None = None) -> Repeat:
    values = array("q", [10**6, 2**40] if samples is None else samples)
    return Repeat(index, values, 5, 6, 7, True, None, 8, "1.20", ("CPUExecutionProvider",), "boot-1", "2026-01-01")


@pytest.fixture
def store(tmp_path):
    with RunStore.open(URL, tmp_path) as opened:
        yield opened


# --- what goes in comes out


def test_relative_path_starts_at_the_folder_and_its_parent_is_made(tmp_path):
    with RunStore.open(URL, tmp_path):
        assert (tmp_path / ".edgeprune" / "runs.db").is_file()


def test_everything_is_there_after_reopening(tmp_path):
    with RunStore.open(URL, tmp_path) as store:
        store.begin_run("run-1", "jetson", "d1", {"seed": 3})
        store.put_entry("run-1", variant(), PLAN)
        store.add_repeat("ab" * 32, "dev", PLAN, repeat(0))
        store.put_accuracy("ab" * 32, "host", "test", 0.9)
        store.finish_run("run-1", {"winner": "x"})
    with RunStore.open(URL, tmp_path) as store:
        record = store.run()
        assert (record.run_id, record.device, record.config_digest) == ("run-1", "jetson", "d1")
        assert (record.info, record.summary) == ({"seed": 3}, {"winner": "x"})
        assert store.entries("run-1") == [(variant(), PLAN)]
        assert store.repeats("ab" * 32, "dev", PLAN) == [repeat(0)]
        assert store.accuracy("ab" * 32, "host", "test") == 0.9


def test_runs_are_listed_newest_first_and_none_is_the_newest(store):
    for name in ("a-run", "b-run", "c-run"):
        store.begin_run(name, "dev", "d", {})
    assert [record.run_id for record in store.runs()] == ["c-run", "b-run", "a-run"]
    assert store.run().run_id == "c-run"


def test_unfinished_run_has_no_summary(store):
    store.begin_run("run-1", "dev", "d", {})
    record = store.run("run-1")
    assert record.summary is None and record.finished_utc is None and record.started_utc


def test_beginning_a_run_again_changes_nothing(store):
    store.begin_run("run-1", "dev", "d", {"first": True})
    before = store.run("run-1")
    store.begin_run("run-1", "dev", "d", {"first": False})
    assert store.runs() == [before]


def test_run_id_of_another_configuration_is_refused(store):
    store.begin_run("run-1", "dev", "d", {})
    with pytest.raises(UsageError, match="another device or configuration"):
        store.begin_run("run-1", "dev", "other", {})


def test_run_is_found_by_four_characters_if_only_one_begins_so(store):
    for name in ("20260101-aa", "20260102-bb", "x"):
        store.begin_run(name, "dev", "d", {})
    assert store.run("20260102").run_id == "20260102-bb"
    assert store.run("x").run_id == "x"
    with pytest.raises(UnknownName, match="more of its id"):
        store.run("2026")
    for unknown in ("202", "2027", "20260102-bb-and-more", "%", ""):
        with pytest.raises(UnknownName):
            store.run(unknown)


def test_empty_store_says_how_to_fill_it(store):
    with pytest.raises(UnknownName, match="edgeprune deploy"):
        store.run()


def test_unknown_run_takes_no_entries(store):
    for use in (lambda: store.put_entry("none", variant(), PLAN), lambda: store.entries("none"),
                lambda: store.finish_run("none", {})):  # fmt: skip
        with pytest.raises(UnknownName, match="none"):
            use()


def test_entries_keep_the_order_in_which_they_were_first_put(store):
    store.begin_run("run-1", "dev", "d", {})
    plans = [PLAN, replace(PLAN, threads=2)]
    given_entries = [(variant(ratio), plan) for ratio in (0.7, None, 0.25) for plan in plans]
    for entry in [*given_entries, given_entries[2]]:
        store.put_entry("run-1", *entry)
    assert store.entries("run-1") == given_entries


def test_entry_put_again_takes_the_accuracy_that_is_now_known(store):
    store.begin_run("run-1", "dev", "d", {})
    store.put_entry("run-1", replace(variant(), accuracy=None), PLAN)
    store.put_entry("run-1", variant(), PLAN)
    assert store.entries("run-1") == [(variant(), PLAN)]


def test_runs_do_not_share_entries(store):
    store.begin_run("run-1", "dev", "d", {})
    store.begin_run("run-2", "dev", "d", {})
    store.put_entry("run-1", variant(), PLAN)
    assert store.entries("run-2") == []


def test_repeats_come_in_the_order_of_their_index(store):
    for index in (2, 0, 1):
        store.add_repeat("aa", "dev", PLAN, repeat(index))
    assert [r.index for r in store.repeats("aa", "dev", PLAN)] == [0, 1, 2]


def test_measured_samples_are_never_overwritten(store):
    store.add_repeat("aa", "dev", PLAN, repeat(0, [1, 2, 3]))
    store.add_repeat("aa", "dev", PLAN, repeat(0, [9]))
    assert store.repeats("aa", "dev", PLAN) == [repeat(0, [1, 2, 3])]


@pytest.mark.parametrize("other", [replace(PLAN, threads=2), replace(PLAN, seed=1), replace(PLAN, runtime="litert")])
def test_plan_is_part_of_what_a_repeat_is_known_by(store, other):
    store.add_repeat("aa", "dev", PLAN, repeat(0))
    assert store.repeats("aa", "dev", other) == []


def test_accuracy_is_kept_apart_by_artifact_place_and_data(store):
    store.put_accuracy("aa", "host", "test", 0.9)
    store.put_accuracy("aa", "host", "test", 0.8)
    store.put_accuracy("aa", "dev", "test", 0.0)
    assert store.accuracy("aa", "host", "test") == 0.8
    assert store.accuracy("aa", "dev", "test") == 0.0
    assert store.accuracy("aa", "host", "other") is None
    assert store.accuracy("bb", "host", "test") is None


def test_number_that_is_not_finite_is_refused(store):
    store.begin_run("run-1", "dev", "d", {})
    with pytest.raises(DataError, match="nan"):
        store.put_accuracy("aa", "host", "test", math.nan)
    with pytest.raises(DataError, match="stored"):
        store.put_entry("run-1", replace(variant(), accuracy=math.inf), PLAN)
    assert store.entries("run-1") == []


def test_samples_are_little_endian_whatever_the_machine():
    assert unpack(pack([1, -2, 2**62])) == array("q", [1, -2, 2**62])
    assert len(pack([1_000_000 + i % 50 for i in range(10_000)])) < 10_000


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_any_samples_survive_packing(samples):
    assert unpack(pack(samples)).tolist() == samples


def test_memory_store_works_without_a_file(tmp_path):
    with RunStore.open("sqlite://", tmp_path) as store:
        store.put_accuracy("aa", "host", "t", 0.5)
        assert store.accuracy("aa", "host", "t") == 0.5
    assert list(tmp_path.iterdir()) == []


def test_tables_are_valid_for_postgresql_too():
    for table in tables.metadata.sorted_tables:
        assert table.name.startswith("edgeprune_")
        assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=postgresql.dialect()))


def test_commits_are_synced_to_the_disk(store):
    with store._engine.connect() as connection:
        pragmas = [connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                   for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")]  # fmt: skip
    assert pragmas == ["wal", 2, 1, 30000]


# --- what cannot be stored is said


def assert_refused(url: str, folder: Path, *, names: str) -> StorageError:
    with pytest.raises(StorageError, match=names) as caught:
        RunStore.open(url, folder)
    assert caught.value.exit_code == EXIT_USAGE and caught.value.next_step
    return caught.value


def test_file_that_is_no_database_is_left_as_it_is(tmp_path):
    text = "name,value\n" * 500
    (tmp_path / "runs.db").write_text(text)
    assert_refused("sqlite:///runs.db", tmp_path, names="is no store")
    assert (tmp_path / "runs.db").read_text() == text


def test_folder_in_place_of_the_file_is_named(tmp_path):
    assert_refused(f"sqlite:///{tmp_path}", tmp_path, names="cannot be opened")


def test_parent_that_is_a_file_is_named(tmp_path):
    (tmp_path / ".edgeprune").write_text("")
    assert_refused(URL, tmp_path, names="cannot be opened")


@pytest.mark.parametrize(
    ("url", "names", "step"),
    [
        ("sqlit:///x.db", "unknown scheme 'sqlit'", "'sqlite'"),
        ("redis://host/0", "unknown scheme 'redis'", "sqlite:///"),
        ("runs.db", "cannot be read", "sqlite:///"),
        ("postgresql+asyncpg://u@h/d", "needs the package 'asyncpg'", "pip install asyncpg"),
    ],
)
def test_url_that_leads_nowhere_is_named(tmp_path, url, names, step):
    assert step in assert_refused(url, tmp_path, names=names).next_step


def test_password_is_not_repeated_in_a_message(tmp_path):
    error = assert_refused("nosuch://me:secret@host/db", tmp_path, names="nosuch")
    assert "secret" not in str(error)


@pytest.mark.parametrize(("version", "step"), [(2, "pip install --upgrade edgeprune"), (0, "another store")])
def test_store_of_another_schema_is_refused(tmp_path, version, step):
    RunStore.open("sqlite:///runs.db", tmp_path).close()
    with sqlite3.connect(tmp_path / "runs.db") as connection:
        connection.execute("UPDATE edgeprune_schema SET version = ?", [version])
    connection.close()
    assert step in assert_refused("sqlite:///runs.db", tmp_path, names=f"schema {version}").next_step


def test_damaged_row_is_named(tmp_path, store):
    store.add_repeat("aa", "dev", PLAN, repeat(0))
    with sqlite3.connect(tmp_path / ".edgeprune" / "runs.db") as connection:
        connection.execute("UPDATE edgeprune_repeats SET samples = x'00'")
    connection.close()
    with pytest.raises(StorageError, match="cannot be read"):
        store.repeats("aa", "dev", PLAN)


def test_full_disk_loses_nothing_that_was_stored(store):
    with store._engine.connect() as connection:  # the pool hands this same connection to the next writer
        connection.exec_driver_sql("PRAGMA max_page_count = 40")
    kept = 0
    with pytest.raises(StorageError, match="the disk is full"):
        for kept in range(200):
            store.add_repeat("aa", "dev", PLAN, repeat(kept, [hash((kept, i)) % 10**9 for i in range(1000)]))
    assert len(store.repeats("aa", "dev", PLAN)) == kept > 0


def test_refused_write_of_the_disk_is_one_message(tmp_path):
    script = f"""
import resource, signal
from pathlib import Path
from edgeprune.errors import StorageError
from edgeprune.store import RunStore
store = RunStore.open({URL!r}, Path({str(tmp_path)!r}))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
try:
    for i in range(1000):
        store.begin_run(str(i), "dev", "d", {{"text": str(i) * 1000}})
except StorageError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert "error of the disk" in done.stdout or "disk is full" in done.stdout, done


@pytest.fixture
def unprivileged():
    """Root may write anywhere, so a read-only folder only exists for another user."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def readonly_folder():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        RunStore.open("sqlite:///runs.db", folder).close()
        (folder / "runs.db").chmod(0o444)
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)


def test_readonly_folder_is_named(readonly_folder, unprivileged):
    assert_refused("sqlite:///new.db", readonly_folder, names="cannot be opened")
    assert_refused("sqlite:///sub/new.db", readonly_folder, names="cannot be opened")


def test_readonly_file_refuses_to_be_written(readonly_folder, unprivileged):
    with (
        pytest.raises(StorageError, match="cannot be opened for writing"),
        RunStore.open("sqlite:///runs.db", readonly_folder) as store,
    ):
        store.put_accuracy("aa", "host", "t", 0.5)


# --- several at once, and killed

WRITER = """
import sys
from array import array
from pathlib import Path
from edgeprune.store import RunStore
from edgeprune.values.measurement import Repeat
from edgeprune.values.plan import BenchPlan
folder, artifact, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
with RunStore.open("sqlite:///.edgeprune/runs.db", folder) as store:
    store.begin_run("shared", "dev", "d", {})
    first = len(store.repeats(artifact, "dev", BenchPlan()))
    for index in range(first, first + count):
        samples = array("q", range(index, index + 500))
        store.add_repeat(artifact, "dev", BenchPlan(),
            Repeat(index, samples, 0, 0, 0, True, None, None, "1", (), "b", "t"))
        print(index, flush=True)
"""


def writer(folder: Path, artifact: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(folder), artifact, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_processes_that_open_and_write_at_once_all_succeed(tmp_path):
    writers = [writer(tmp_path, f"artifact-{number}", 60) for number in range(4)]
    for process in writers:
        _, trouble = process.communicate(timeout=120)
        assert process.returncode == 0, trouble
    with RunStore.open(URL, tmp_path) as store:
        assert [len(store.repeats(f"artifact-{number}", "dev", PLAN)) for number in range(4)] == [60] * 4
        assert len(store.runs()) == 1


def test_first_opens_at_the_same_instant_all_succeed(tmp_path):
    def open_one(number: int, folder: Path, barrier: threading.Barrier) -> None:
        barrier.wait()
        with RunStore.open(URL, folder) as store:
            store.put_accuracy(str(number), "host", "t", 0.5)

    for round_number in range(25):
        folder = tmp_path / str(round_number)
        barrier = threading.Barrier(4)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(open_one, range(4), [folder] * 4, [barrier] * 4))
        with RunStore.open(URL, folder) as store:
            assert [store.accuracy(str(number), "host", "t") for number in range(4)] == [0.5] * 4


def test_killed_writer_loses_nothing_it_had_committed(tmp_path):
    acknowledged = -1
    for round_number in range(6):
        process = writer(tmp_path, "aa", 100_000)
        try:
            for _ in range(1 + 13 * round_number):
                acknowledged = int(process.stdout.readline())
        finally:
            process.send_signal(signal.SIGKILL)
            rest, _ = process.communicate(timeout=30)
        acknowledged = max([acknowledged, *map(int, rest.split("\n")[:-1])])
        with RunStore.open(URL, tmp_path) as store:
            kept = store.repeats("aa", "dev", PLAN)
        assert [r.index for r in kept] == list(range(len(kept)))
        assert acknowledged + 1 <= len(kept) <= acknowledged + 2  # one may be committed and not yet acknowledged
        assert all(r.samples_ns == array("q", range(r.index, r.index + 500)) for r in kept)
        acknowledged = len(kept) - 1
    assert acknowledged > 100


# --- against a model of plain dicts

SHAS = st.sampled_from(["aa", "bb"])
DEVICES = st.sampled_from(["host", "dev"])
RUN_IDS = st.sampled_from(["run-one", "run-two", "other"])
PLANS = st.builds(BenchPlan, threads=st.integers(1, 2), seed=st.integers(0, 1))
VARIANTS = st.builds(variant, st.sampled_from([None, 0.25, 0.5]), st.sampled_from(["ab" * 32, "cd" * 32]))


class StoreAgainstDicts(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = None

    @initialize()
    def begin(self):
        self.store = RunStore.open(URL, Path(self.folder.name))
        self.runs, self.entries, self.repeats, self.accuracies = {}, {}, {}, {}

    @rule()
    def reopen(self):
        self.store.close()
        self.store = RunStore.open(URL, Path(self.folder.name))

    @rule(run_id=RUN_IDS, info=st.dictionaries(st.text(max_size=3), st.integers() | st.none(), max_size=2))
    def begin_run(self, run_id, info):
        self.store.begin_run(run_id, "dev", "digest", info)
        self.runs.setdefault(run_id, [info, None])
        self.entries.setdefault(run_id, {})

    @rule(run_id=RUN_IDS, summary=st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2))
    def finish_run(self, run_id, summary):
        if run_id in self.runs:
            self.store.finish_run(run_id, summary)
            self.runs[run_id][1] = summary
        else:
            with pytest.raises(UnknownName):
                self.store.finish_run(run_id, summary)

    @rule(run_id=RUN_IDS, entry=VARIANTS, plan=PLANS)
    def put_entry(self, run_id, entry, plan):
        if run_id in self.runs:
            self.store.put_entry(run_id, entry, plan)
            self.entries[run_id][entry.id, plan.id] = (entry, plan)

    @rule(sha=SHAS, device=DEVICES, plan=PLANS, index=st.integers(0, 3), samples=st.lists(st.integers(0, 2**62)))
    def add_repeat(self, sha, device, plan, index, samples):
        self.store.add_repeat(sha, device, plan, repeat(index, samples))
        self.repeats.setdefault((sha, device, plan), {}).setdefault(index, repeat(index, samples))

    @rule(sha=SHAS, device=DEVICES, data=st.sampled_from(["t", "u"]), value=st.floats(0, 1))
    def put_accuracy(self, sha, device, data, value):
        self.store.put_accuracy(sha, device, data, value)
        self.accuracies[sha, device, data] = value

    @invariant()
    def agrees(self):
        if self.store is None:
            return
        assert [(r.run_id, r.info, r.summary) for r in self.store.runs()] == [
            (run_id, info, summary) for run_id, (info, summary) in reversed(self.runs.items())
        ]
        for run_id, entries in self.entries.items():
            assert self.store.entries(run_id) == list(entries.values())
        for key, repeats in self.repeats.items():
            assert self.store.repeats(*key) == [repeats[index] for index in sorted(repeats)]
        for key, value in self.accuracies.items():
            assert self.store.accuracy(*key) == value

    def teardown(self):
        if self.store:
            self.store.close()
        self.folder.cleanup()


TestStoreAgainstDicts = StoreAgainstDicts.TestCase
TestStoreAgainstDicts.settings = settings(max_examples=12, stateful_step_count=12, deadline=None)
