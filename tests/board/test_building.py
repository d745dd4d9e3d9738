"""What an image is made of, without making one."""

import gzip
import io
import shutil
import stat
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.board import host_tools
from edgeprune.board.building import cpio, kernel, wheels
from edgeprune.errors import EdgePruneError, UsageError

names = st.from_regex(r"[a-z]{1,12}(/[a-z0-9._-]{1,12}){0,3}", fullmatch=True).filter(lambda name: ".." not in name)


def read_cpio(data):
    """The entries of an archive, by the kernel's description of the format."""
    source, found = io.BytesIO(data), []
    while True:
        header = source.read(110)
        assert header[:6] == b"070701"
        fields = [int(header[at : at + 8], 16) for at in range(6, 110, 8)]
        name = source.read(fields[11])[:-1].decode()
        source.seek(-source.tell() % 4, io.SEEK_CUR)
        content = source.read(fields[6])
        source.seek(-source.tell() % 4, io.SEEK_CUR)
        if name == "TRAILER!!!":
            return found
        assert fields[2] == fields[3]
        found.append(cpio.Entry(name, content, fields[1], fields[2]))


@given(st.lists(st.builds(cpio.file, names, st.binary(max_size=50), st.just(0o600), st.integers(0, 70000))))
def test_an_archive_holds_what_was_put_into_it(entries):
    data = cpio.archive(entries)
    assert len(data) % 4 == 0
    assert read_cpio(data) == entries


@pytest.mark.skipif(shutil.which("cpio") is None, reason="no cpio here")
def test_cpio_unpacks_an_archive(tmp_path):
    data = cpio.archive([cpio.folder("a", 0o700), cpio.file("a/b", b"content", 0o640)])
    subprocess.run(["cpio", "-i", "--quiet"], input=data, cwd=tmp_path, check=True)
    assert (tmp_path / "a/b").read_bytes() == b"content"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700


def module(*needed):
    return b"\x7fELF\0license=GPL\0depends=" + ",".join(needed).encode() + b"\0retpoline=Y\0softdepends=none\0"


def test_modules_are_loaded_after_those_that_they_need():
    modules = {
        "virtio_net": module("net_failover", "virtio_ring"),
        "net_failover": module("failover"),
        "failover": module(),
        "virtio_blk": module("virtio_ring"),
        "virtio_ring": module(),
        "unwanted": module(),
    }
    order = kernel.loading_order(modules)
    assert sorted(order) == sorted(set(modules) - {"unwanted"})
    assert order.index("failover") < order.index("net_failover") < order.index("virtio_net")
    assert order.index("virtio_ring") < order.index("virtio_blk")


def test_the_initial_ramdisk_can_be_followed_by_a_boards_own_part():
    data = kernel.initial_ramdisk({"virtio_blk": module()}, b"busybox")
    own = cpio.archive([cpio.file("seed/name", b"mine")])
    assert len(data) % 4 == 0
    entries = {entry.name: entry for entry in read_cpio(gzip.decompress(data))}
    assert entries["init"].mode & 0o111
    assert entries["modules/order"].data == b"virtio_blk.ko\n"
    assert [entry.name for entry in read_cpio(own)] == ["seed/name"]


def test_the_python_among_the_packages_decides_the_wheels(tmp_path):
    packages = [tmp_path / name for name in ("bash_5.2_arm64.deb", "libpython3.11-minimal_3.11.2-6+deb12u9_arm64.deb")]
    target = wheels.python_of(packages)
    assert str(target) == "CPython 3.11 on aarch64"
    with pytest.raises(UsageError, match="no Python"):
        wheels.python_of(packages[:1])


def test_missing_programs_are_named_with_the_command_that_installs_them(monkeypatch):
    monkeypatch.setattr(host_tools.shutil, "which", lambda name, path: None)
    with pytest.raises(UsageError) as caught:
        host_tools.require(host_tools.TO_RUN)
    assert "qemu-system-aarch64" in caught.value.message
    packages = "device-tree-compiler openssh-client qemu-system-arm qemu-utils"
    assert caught.value.next_step == f"Run: sudo apt-get install --no-install-recommends {packages}"
    assert caught.value.exit_code == 2


def test_a_program_that_fails_is_quoted():
    with pytest.raises(EdgePruneError, match=r"sh failed: no luck\."):
        host_tools.run(["sh", "-c", "echo first; echo no luck. >&2; exit 3"])
