"""An ONNX model -> the bytes of its file: no trace of the machine that made it, and no newer IR than it needs."""

from __future__ import annotations

from typing import Any

from edgeprune.exporting.runtimes import ir_version_for


def to_bytes(model: Any) -> bytes:
    """Return the bytes without stack traces and doc strings, which name the machine that made them.

    The optimizer declares every operator domain that it knows; those that no node uses go too, since a runtime may
    refuse a domain that it does not know. The IR version becomes that of the oldest runtime that has the operator set:
    newer ones only add types and functions that no artifact of ours holds.

    Args:
        model: An `onnx.ModelProto`; changed in place.

    Returns:
        The file.
    """
    graph = model.graph
    for value in (*graph.node, *graph.value_info, *graph.initializer, *graph.input, *graph.output, graph, model):
        value.ClearField("metadata_props")
        value.ClearField("doc_string")
    used = {"", "ai.onnx", *(node.domain for node in graph.node)}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    model.ir_version = min(model.ir_version, ir_version_for(opset_of(model)))
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def opset_of(model: Any) -> int:
    """Return the version of ONNX's own operator set that a model declares."""
    return next(int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
