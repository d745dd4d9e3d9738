"""What has been measured -> which specs to try next.

Today's search is a grid: every method, criterion and ratio in every format and precision. It is ordered so that any
prefix of it is a sensible smaller search.
"""

from edgeprune.searching.grid import Candidate, expected_s, grid, within_budget

__all__ = ["Candidate", "expected_s", "grid", "within_budget"]
