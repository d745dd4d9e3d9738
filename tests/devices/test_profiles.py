"""profiles/: data only, and every fact has a source."""

import pytest
from edgeprune_agent import store

from edgeprune.devices import profiles
from edgeprune.errors import ConfigError, UnknownName


def test_every_shipped_profile_loads_and_every_fact_has_a_source():
    known = profiles.board_types()
    assert "generic-linux" in known
    for board in known.values():
        assert board.title
        assert board.architectures
        assert all(fact.source.strip() for fact in board.facts.values())


def test_the_generic_profile_tells_what_the_agent_does():
    facts = profiles.board_type("generic-linux").facts
    assert facts["disk_reserve_bytes"].value == store.RESERVE_BYTES
    assert facts["store_quota_bytes"].value == store.QUOTA_BYTES


def test_an_unknown_board_names_the_known_ones():
    with pytest.raises(UnknownName, match="generic-linux"):
        profiles.board_type("generic-linus")


@pytest.mark.parametrize(
    "text",
    [
        "title =",
        'title = "x"\narchitectures = []\n',
        'title = "x"\narchitectures = "arm"\n[facts]\n',
        'title = "x"\narchitectures = []\n[facts]\na = 1\n',
        'title = "x"\narchitectures = []\n[facts.a]\nvalue = 1\n',
        'title = "x"\narchitectures = []\n[facts.a]\nvalue = 1\nsource = " "\n',
        'title = "x"\narchitectures = []\n[facts.a]\nvalue = true\nsource = "me"\n',
    ],
)
def test_a_profile_without_form_or_source_is_refused_by_its_file(tmp_path, text):
    (tmp_path / "odd.toml").write_text(text)
    with pytest.raises(ConfigError, match=r"odd\.toml"):
        profiles.read_board_type(tmp_path / "odd.toml")


def test_a_profile_that_is_installed_comes_before_the_checkout(tmp_path, monkeypatch):
    package = tmp_path / "edgeprune"
    (package / "_profiles").mkdir(parents=True)
    monkeypatch.setattr(profiles.edgeprune, "__file__", str(package / "__init__.py"))
    assert profiles.profiles_folder() == package / "_profiles"
    (package / "_profiles").rmdir()
    assert profiles.profiles_folder() == tmp_path / "profiles"
