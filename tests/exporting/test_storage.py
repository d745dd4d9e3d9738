"""A file is there whole or not at all, and a disk that refuses is said to."""

import errno
import os
import tempfile
from pathlib import Path

import pytest

from edgeprune.errors import StorageError
from edgeprune.exporting.storage import check_target, make_folder, scratch_folder, write_atomically


def refusing(monkeypatch, code, owner=os, name="fsync"):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(owner, name, refuse)


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "read-only"), (errno.EIO, "Input/output error")],
)
def test_refused_write_keeps_the_old_file_and_leaves_no_draft(tmp_path, monkeypatch, code, words):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"old")
    refusing(monkeypatch, code)
    with pytest.raises(StorageError, match=words):
        write_atomically(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
    assert path.read_bytes() == b"old"


def test_refused_rename_leaves_nothing(tmp_path, monkeypatch):
    refusing(monkeypatch, errno.EACCES, Path, "replace")
    with pytest.raises(StorageError, match="permission is denied"):
        write_atomically(tmp_path / "m.onnx", b"new")
    assert list(tmp_path.iterdir()) == []


def test_written_file_is_whole_and_replaces_the_old(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"old")
    write_atomically(path, b"new" * 1000)
    assert path.read_bytes() == b"new" * 1000
    assert list(tmp_path.iterdir()) == [path]


def test_full_temporary_folder_is_said_to_be(monkeypatch):
    refusing(monkeypatch, errno.ENOSPC, tempfile, "mkdtemp")
    with pytest.raises(StorageError, match="the disk is full"), scratch_folder():
        pass


def test_folder_that_is_missing_or_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="its folder does not exist"):
        check_target(tmp_path / "nowhere" / "m.onnx")
    with pytest.raises(StorageError, match="its folder is a file"):
        check_target(tmp_path / "file" / "m.onnx")
    with pytest.raises(StorageError, match="it is a folder"):
        check_target(tmp_path)
    with pytest.raises(StorageError, match="cannot be written"):
        make_folder(tmp_path / "file" / "sub")


def test_folder_without_write_permission_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(StorageError, match="permission is denied"):
        check_target(tmp_path / "m.onnx")
