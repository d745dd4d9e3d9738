"""Small networks that ask a board questions: convolutions of any width and batch, as ONNX that every runtime takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgeprune.exporting.loading import load_artifact
from edgeprune.values.artifact import Artifact

LAYERS, SIZE = 4, 32
_OPSET, _IR = 13, 7
"""What onnxruntime 1.10 of JetPack 4 takes, too."""


def probe_network(folder: Path, width: int, batch: int = 1) -> Artifact:
    """Write a chain of 3 x 3 convolutions with ReLU on images of 32 x 32.

    Args:
        folder: Where.
        width: Channels of every layer, input included.
        batch: Images at a time.

    Returns:
        The file.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    source, nodes, constants = np.random.default_rng(0), [], []
    for layer in range(LAYERS):
        weight = source.standard_normal((width, width, 3, 3)).astype(np.float32) / (3 * width**0.5)
        constants.append(numpy_helper.from_array(weight, f"layer{layer}.weight"))
        nodes.append(helper.make_node("Conv", [f"x{layer}", f"layer{layer}.weight"], [f"c{layer}"], pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"x{layer + 1}"]))
    shape = [batch, width, SIZE, SIZE]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x0", f"x{LAYERS}")]
    graph = helper.make_graph(nodes, "probe", ends[:1], ends[1:], constants)
    path = folder / f"probe-{width}x{batch}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR), path)
    return load_artifact(path)
