"""ONNX in a newer operator set -> the same network in an older one, or the operator that stands in the way."""

from __future__ import annotations

import copy
from typing import Any

from edgeprune.errors import ExportError
from edgeprune.exporting.onnx_bytes import opset_of, to_bytes
from edgeprune.exporting.onnx_file import ONNX_FAILURES
from edgeprune.exporting.thirdparty import failing_as, quiet

with quiet():
    import onnx


def lowered(model: Any, opset: int) -> Any:
    """Convert a model down.

    Args:
        model: An `onnx.ModelProto`.
        opset: The operator set wanted.

    Returns:
        The model in that operator set, its operators checked against it.

    Raises:
        ExportError: An operator is younger than the operator set, or cannot be converted; says which.
    """
    _refuse_younger(model, opset)
    step = "Give a newer opset, or replace the operator that the message names."
    with failing_as(ExportError, f"The model cannot be written in operator set {opset}", step, *ONNX_FAILURES):
        older = _restamped(model, opset) or onnx.version_converter.convert_version(model, opset)
        for node in older.graph.node:
            known = onnx.defs.get_schema(node.op_type, opset, node.domain).attributes
            # The version converter leaves attributes that the older operator does not have; dropping one is sound only
            # where it holds its default, which the parity check proves.
            kept = [attribute for attribute in node.attribute if attribute.name in known]
            del node.attribute[:]
            node.attribute.extend(kept)
        onnx.checker.check_model(older)
    return older


def _restamped(model: Any, opset: int) -> Any:
    """Return the model with another operator set declared, where its operators have this very form there; else None.

    The version converter knows no way for operators that only learnt new types, such as Relu in 14. What a form does
    not show, a change of meaning, the parity check does.
    """
    older = copy.deepcopy(model)
    next(entry for entry in older.opset_import if entry.domain in ("", "ai.onnx")).version = opset
    try:
        onnx.checker.check_model(older, full_check=True)
    except ONNX_FAILURES:
        return None
    return older


def lowered_file(content: bytes, opset: int) -> bytes:
    """Convert a file down.

    Args:
        content: The file.
        opset: The newest operator set wanted; one of an older set keeps it.

    Returns:
        The file in it; see `lowered` for what can be wrong.
    """
    model = onnx.ModelProto.FromString(content)
    return to_bytes(lowered(model, opset) if opset < opset_of(model) else model)


def _refuse_younger(model: Any, opset: int) -> None:
    # The version converter would say of such an operator only that it has no adapter.
    births = {name: _birth(name) for name in {node.op_type for node in model.graph.node if not node.domain}}
    younger = {name: birth for name, birth in births.items() if birth > opset}
    if younger:
        name = max(younger, key=lambda operator: (younger[operator], operator))
        raise ExportError(
            f"The model cannot be written in operator set {opset}: its operator {name} first came in {younger[name]}.",
            f"Give an opset from {younger[name]}, a runtime that has it, or write the network without {name}.",
        )


def _birth(operator: str) -> int:
    schemas = onnx.defs.get_all_schemas_with_history()
    return min((s.since_version for s in schemas if s.name == operator and not s.domain), default=1)
