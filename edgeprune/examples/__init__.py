"""Small real data sets and models that ship, and the projects that `edgeprune init` writes from them."""

from __future__ import annotations

from edgeprune.examples.projects import EXAMPLES, write_project

__all__ = ["EXAMPLES", "write_project"]
