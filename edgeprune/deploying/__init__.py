"""Choice + Session -> Release on the board; rollback."""

from edgeprune.deploying.installation import install
from edgeprune.deploying.installed import releases, remove, rollback, status

__all__ = ["install", "releases", "remove", "rollback", "status"]
