"""Compiled code is kept beside the agent, and used only when it is whole, ours, and of this Python."""

import subprocess
import sys

import pytest

from edgeprune.devices.agent_file import pack_agent

NAME = "a" * 64


@pytest.fixture
def agent(tmp_path):
    (tmp_path / "agent").mkdir()
    path = tmp_path / "agent" / f"{NAME}.pyz"
    path.write_bytes(pack_agent())
    return path


def start(agent):
    """Start the agent, whose input is at its end."""
    command = [sys.executable, "-I", agent, "--root", agent.parents[1] / "root"]
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True)


def kept(agent):
    (path,) = (agent.parents[1] / "compiled").iterdir()
    return path


def test_code_is_kept_for_us_alone_and_under_the_name_of_the_agent_and_the_python(agent):
    start(agent)
    assert kept(agent).name == f"{NAME}.{sys.implementation.cache_tag}"
    assert kept(agent).stat().st_mode & 0o777 == 0o600
    assert kept(agent).parent.stat().st_mode & 0o777 == 0o700


def test_code_that_is_there_is_not_written_again(agent):
    start(agent)
    before = kept(agent).stat()
    start(agent)
    assert kept(agent).stat().st_mtime_ns == before.st_mtime_ns


def test_code_that_is_there_is_run(agent):
    start(agent)
    agent.write_bytes(agent.read_bytes().replace(b"agent.pyz", b"other.pyz"))
    said = subprocess.run([sys.executable, "-I", agent, "--help"], capture_output=True, check=True).stdout
    assert b"agent.pyz" in said


@pytest.mark.parametrize("cut", [0, 31, 10_000])
def test_code_that_was_torn_is_made_anew(agent, cut):
    start(agent)
    whole = kept(agent).read_bytes()
    kept(agent).write_bytes(whole[:cut])
    start(agent)
    assert len(kept(agent).read_bytes()) == len(whole)


def test_code_of_which_a_bit_has_changed_is_not_run(agent):
    start(agent)
    whole = bytearray(kept(agent).read_bytes())
    whole[len(whole) // 2] ^= 1
    kept(agent).write_bytes(whole)
    start(agent)
    assert kept(agent).read_bytes() != whole


def test_code_that_others_could_exchange_is_not_run_nor_written_over(agent):
    start(agent)
    kept(agent).chmod(0o622)
    kept(agent).write_bytes(b"from elsewhere")
    start(agent)
    assert kept(agent).stat().st_mode & 0o022 == 0


def test_a_link_planted_as_code_is_not_followed(agent, tmp_path):
    start(agent)
    real = kept(agent).rename(tmp_path / "elsewhere")
    before = real.read_bytes()
    (tmp_path / "compiled" / f"{NAME}.{sys.implementation.cache_tag}").symlink_to(real)
    start(agent)
    assert not kept(agent).is_symlink()
    assert real.read_bytes() == before


def test_code_of_an_agent_that_is_gone_goes_as_well(agent):
    start(agent)
    other = agent.with_name("b" * 64 + ".pyz")
    agent.rename(other)
    start(other)
    assert kept(other).name.startswith("b" * 64)


def test_where_nothing_can_be_written_the_agent_works_all_the_same(agent, tmp_path):
    (tmp_path / "compiled").write_bytes(b"a file in the way")
    start(agent)


def test_an_agent_that_lies_anywhere_leaves_nothing_there(tmp_path):
    path = tmp_path / "anywhere" / "agent.pyz"
    path.parent.mkdir()
    path.write_bytes(pack_agent())
    start(path)
    assert [left.name for left in path.parent.iterdir()] == ["agent.pyz"]
    assert {left.name for left in tmp_path.iterdir()} <= {"anywhere", "root"}
