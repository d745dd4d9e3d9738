from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.pruning.classes import Classes
from edgeprune.pruning.rules.reshape import blocks

PAIRS = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), max_size=40)


def by_hand(pairs: list[tuple[int, int]]) -> dict[int, int]:
    members = {identifier: {identifier} for identifier in range(1, 31)}
    for left, right in pairs:
        joined = members[left] | members[right]
        for identifier in joined:
            members[identifier] = joined
    return {identifier: min(found) for identifier, found in members.items()}


@given(PAIRS)
def test_roots_are_the_smallest_ids_of_the_connected_components(pairs):
    classes = Classes()
    ids = classes.fresh(30)
    sides = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    classes.union(sides[:, 0], sides[:, 1], "")

    assert dict(zip(ids.tolist(), classes.roots(ids).tolist(), strict=True)) == by_hand(pairs)


@given(PAIRS, st.sets(st.integers(1, 30)))
def test_a_class_is_frozen_if_any_of_its_ids_was_whether_before_or_after_it_was_united(pairs, frozen):
    sides = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    roots = by_hand(pairs)
    expected = {roots[identifier] for identifier in frozen}
    for freeze_first in (True, False):
        classes = Classes()
        ids = classes.fresh(30)
        steps = [
            lambda classes=classes: classes.freeze(np.array(sorted(frozen), dtype=np.int64), "held"),
            lambda classes=classes: classes.union(sides[:, 0], sides[:, 1], ""),
        ]
        for step in steps if freeze_first else steps[::-1]:
            step()
        assert {roots[i] for i in ids.tolist() if classes.reason(i) == "held"} == expected


def test_an_id_that_meets_nothing_stays_and_the_first_reason_counts():
    classes = Classes()
    ids = classes.fresh(3)
    classes.union(ids, np.array([0, ids[2], 0]), "meets padding")
    classes.freeze(ids[1:], "later")

    assert [classes.reason(i) for i in ids] == ["meets padding", "later", "meets padding"][:1] + ["meets padding"] * 2


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6), st.randoms())
def test_blocks_of_a_reshape_hold_equal_numbers_of_elements_and_cover_every_dimension_once(shape, random):
    flat = [length for length in shape if length > 1]
    new: list[int] = []
    for length in flat:
        if new and random.random() < 0.5:
            new[-1] *= length
        else:
            new.append(length)
        if random.random() < 0.3:
            new.append(1)
    new = new or [1]

    found = list(blocks(shape, new))

    assert [dim for old, _ in found for dim in old] == list(range(len(shape)))
    assert [dim for _, later in found for dim in later] == list(range(len(new)))
    for old, later in found:
        assert np.prod([shape[dim] for dim in old]) == np.prod([new[dim] for dim in later])
