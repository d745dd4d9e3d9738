"""Text with a unit and numbers in base units are two spellings of the same thing."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.errors import EXIT_USAGE, UsageError
from edgeprune.units import (
    FACTORS,
    QUANTITIES,
    format_duration,
    format_quantity,
    parse_comparison,
    parse_quantity,
    quantity_unit,
)


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("20ms", "s", 0.02), ("10m", "s", 600.0), ("1.5 h", "s", 5400.0), ("250µs", "s", 250e-6), ("1e3ns", "s", 1e-6),
        ("50mJ", "j", 0.05), ("0.001Wh", "j", 3.6), ("2MiB", "bytes", 2 * 1024**2), ("2MB", "bytes", 2e6),
        ("0.5pt", "ratio", 0.005), ("0.5%", "ratio", 0.005), ("0.5", "ratio", 0.5), (".5 %", "ratio", 0.005),
        (" -3 ms ", "s", -0.003),
    ],
)  # fmt: skip
def test_text_is_read_in_the_base_unit(text, unit, value):
    assert parse_quantity(text, unit) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "unit", "step"),
    [
        ("20", "s", "Known units here: ns"),
        ("20mS", "s", "Did you mean '20ms'"),
        ("20mib", "bytes", "Did you mean '20MiB'"),
        ("fast", "s", "20ms"),
        ("", "bytes", "2MiB"),
        ("1..2ms", "s", "20ms"),
        ("nan", "ratio", "0.5pt"),
        ("inf", "s", "20ms"),
        ("5 ms extra", "s", "20ms"),
        ("20ms", "j", "uJ"),
    ],
)
def test_text_without_a_fitting_unit_is_refused_with_a_hint(text, unit, step):
    with pytest.raises(UsageError) as caught:
        parse_quantity(text, unit)
    assert step in caught.value.next_step and caught.value.exit_code == EXIT_USAGE


def test_comparison_is_read_into_quantity_operator_and_bound():
    assert parse_comparison("p95_latency<=20ms") == ("p95_latency", "<=", pytest.approx(0.02))
    assert parse_comparison(" accuracy >= 90 % ") == ("accuracy", ">=", pytest.approx(0.9))
    assert parse_comparison("accuracy_drop <= 0.5pt") == ("accuracy_drop", "<=", pytest.approx(0.005))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("latency < 20ms", "Write it like"),
        ("latency <=", "Write it like"),
        ("<= 20ms", "Write it like"),
        ("latncy <= 20ms", "Did you mean 'latency'"),
        ("latency <= 20MiB", "Known units here: ns"),
        ("size <= 2 Mib", "Did you mean '2MiB'"),
    ],
)
def test_malformed_comparison_is_refused_with_a_hint(text, said):
    with pytest.raises(UsageError, match=said):
        parse_comparison(text)


def test_every_quantity_has_a_unit_with_factors():
    assert {quantity_unit(quantity) for quantity in QUANTITIES} == set(FACTORS)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.00124, "s", "1.24 ms"), (0.0, "s", "0 ns"), (2.5e-7, "s", "250 ns"), (75.0, "s", "75 s"),
        (-0.002, "s", "-2 ms"), (0.05, "j", "50 mJ"), (1992294, "bytes", "1.9 MiB"), (512, "bytes", "512 B"),
        (0.912, "ratio", "91.20 %"),
    ],
)  # fmt: skip
def test_number_is_written_as_a_person_would(value, unit, text):
    assert format_quantity(value, unit) == text


@given(st.floats(1e-9, 1e4), st.sampled_from(["s", "j", "bytes"]))
def test_written_number_reads_back_to_three_digits(value, unit):
    value = max(value, {"s": 1e-9, "j": 1e-6, "bytes": 1.0}[unit])
    assert math.isclose(parse_quantity(format_quantity(value, unit), unit), value, rel_tol=0.006)


@given(st.floats(-1e6, 1e6), st.sampled_from([(unit, suffix) for unit, known in FACTORS.items() for suffix in known]))
def test_factor_of_every_spelling_is_applied(number, spelling):
    unit, suffix = spelling
    assert parse_quantity(f"{number:.12f}{suffix}", unit) == float(f"{number:.12f}") * FACTORS[unit][suffix]


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (42.4, "42 s"), (60, "1 min 00 s"), (185, "3 min 05 s")])
def test_waiting_time_is_written_in_minutes_and_seconds(seconds, text):
    assert format_duration(seconds) == text
