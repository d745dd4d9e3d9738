"""Values survive the way through JSON, and data that does not fit is refused by name."""

from __future__ import annotations

import json
from array import array
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeprune.values.artifact import Artifact, ParityReport, TensorSpec
from edgeprune.values.device import DeviceInfo, DeviceProfile, RuntimeInfo
from edgeprune.values.json import canonical, content_id, from_data, to_data
from edgeprune.values.measurement import EnergyStats, LatencyStats, Measurement, Repeat
from edgeprune.values.plan import PLANS, BenchPlan
from edgeprune.values.power import LoadWindow, MeterFacts, PowerTrace
from edgeprune.values.recipe import GroupCut, PruneRecipe, Slice
from edgeprune.values.release import Release
from edgeprune.values.spec import ExportSpec, PruneSpec
from edgeprune.values.variant import Variant

PARITY = ParityReport(64, 1e-6, 2e-6, 0.02, 0.004, 0.98)
ARTIFACT = Artifact(
    Path("out/m.onnx"), "onnx", "int8", "ab" * 32, 4321,
    (TensorSpec("image", (-1, 1, 28, 28), "float32"),), (TensorSpec("logits", (-1, 10), "float32"),), 17, PARITY,
)  # fmt: skip
VARIANT = Variant(PruneSpec(criterion="taylor", ratio=0.5, exclude=("head.*",)), ExportSpec(), ARTIFACT, 10, 99, 0.91)
REPEAT = Repeat(
    1, array("q", [5, 2**40]), 7, 8, 9, True, None, 3, "1.20", ("CPUExecutionProvider",), "boot", "2026-01-01"
)
METERED = replace(
    REPEAT, load=LoadWindow(5, 9, 2, 1.0, 1.5),
    power=PowerTrace(
        MeterFacts("rail", "board", "external", 0.1), array("q", [1, 2**40]), array("q", [3, -4]), 1, ("sign",)
    ),
)  # fmt: skip
LATENCY = LatencyStats(2, 1.0, (0.9, 1.1), None, None, None, 1.0, 0.9, 1.1, 0.1, 0.01, 0, 0.2, 0.3, array("q", [1, 2]))
MEASUREMENT = Measurement(
    ARTIFACT, "bench", "d1", BenchPlan(), LATENCY, None, 0.9, "unstable", "two modes",
    EnergyStats(0.1, 0.08, "VDD_IN", "board", "A", 0.01), {"p95_latency": "n < 130"}, {"os": "Debian"}, VARIANT,
)  # fmt: skip
INFO = DeviceInfo("d1", "b1", "0.1", "cd" * 32, "3.11", "Pi", "Debian", "6.1", "aarch64", 4, None, 10, None,
                  (RuntimeInfo("litert", None, (), "not installed"),), ("thermal",))  # fmt: skip
RECIPE = PruneRecipe((GroupCut("a", 4, (0, 2), (Slice("a.w", 0, 4, (0, 2)),)),), (("a", "out", 2), ("b", "k", (1, 2))))
RELEASE = Release("m", "r1", "/models/m", "ef" * 32, None, True, "dense", "2026-01-01")
EVERY = [
    ARTIFACT, VARIANT, REPEAT, METERED, MEASUREMENT, INFO, RECIPE, RELEASE, PLANS["strict"],
    replace(VARIANT, prune=None, accuracy=None), DeviceProfile("n", "local://", tags={"bench": "lab"}),
]  # fmt: skip


@pytest.mark.parametrize("value", EVERY, ids=lambda value: type(value).__name__)
def test_value_comes_back_equal_from_json_text(value):
    again = from_data(type(value), json.loads(canonical(value)))
    assert again == value
    assert [type(getattr(again, f.name)) for f in fields(again)] == [
        type(getattr(value, f.name)) for f in fields(value)
    ]


def test_nested_types_are_rebuilt_not_left_as_dicts_and_lists():
    again = from_data(Measurement, to_data(MEASUREMENT))
    assert isinstance(again.variant.artifact.path, Path)
    assert isinstance(again.latency.samples_ns, array)
    assert all(is_dataclass(spec) and isinstance(spec.shape, tuple) for spec in again.artifact.inputs)


def test_missing_optional_fields_take_their_defaults():
    assert from_data(ExportSpec, {"format": "tflite"}) == ExportSpec(format="tflite")


def test_whole_number_is_read_as_a_float_where_one_is_due():
    plan = from_data(BenchPlan, {"warmup_s": 2})
    assert plan.warmup_s == 2.0 and type(plan.warmup_s) is float


@pytest.mark.parametrize(
    ("kind", "data", "named"),
    [
        (ExportSpec, {"fromat": "onnx"}, "fromat"),
        (TensorSpec, {"name": "x", "shape": [1]}, "dtype"),
        (TensorSpec, {"name": "x", "shape": "1", "dtype": "int8"}, "TensorSpec.shape"),
        (TensorSpec, {"name": "x", "shape": [1, True], "dtype": "int8"}, r"shape\[1\]"),
        (Variant, {**to_data(VARIANT), "artifact": None}, "Variant.artifact"),
        (LatencyStats, {**to_data(LATENCY), "p50_ci_s": [1.0]}, "p50_ci_s"),
        (Release, [], "Release is a list"),
    ],
)
def test_data_that_does_not_fit_is_refused_with_its_place(kind, data, named):
    with pytest.raises(ValueError, match=named):
        from_data(kind, data)


@given(st.lists(st.integers(0, 2**63 - 1)), st.booleans(), st.none() | st.integers(0, 2**50))
def test_any_repeat_survives(samples, steady, peak):
    repeat = replace(REPEAT, samples_ns=array("q", samples), steady=steady, peak_memory_bytes=peak)
    assert from_data(Repeat, json.loads(canonical(repeat))) == repeat


@given(st.permutations(list(to_data(BenchPlan()).items())))
def test_content_id_does_not_depend_on_key_order(items):
    assert content_id(dict(items)) == content_id(BenchPlan())
