"""Which torch module a node of an ONNX file comes from, by the names of the weights that it holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_WRAPPER = "model."
_FROM = {"weight", "bias", "running_mean", "running_var"}


def modules_of(path: Path) -> Mapping[str, str]:
    """Return the torch module of each node.

    A node without weights of its own, such as an activation, belongs to the module that its first input comes from.

    Args:
        path: An ONNX file that torch.onnx or we have written: its initializers bear the parameters' names.

    Returns:
        Name of a node, and name of each value that it puts out, to a module's path such as "features.0".
    """
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    constant = {tensor.name: _module(tensor.name) for tensor in graph.initializer}
    modules: dict[str, str] = {}
    for node in graph.node:
        own = [constant[name] for name in node.input if constant.get(name)]
        passed = [modules[name] for name in node.input if modules.get(name)]
        module = next(iter(own + passed), "")
        modules.update(dict.fromkeys((node.name, *node.output), module))
        if all(name in constant for name in node.input):  # a weight that is stored in another form
            constant.update(dict.fromkeys(node.output, module))
    return _without_wrapper({name: module for name, module in modules.items() if name and module})


def _without_wrapper(modules: dict[str, str]) -> dict[str, str]:
    # Our exporter has the user's network inside a module of its own.
    if all(module.startswith(_WRAPPER) for module in modules.values()):
        return {name: module.removeprefix(_WRAPPER) for name, module in modules.items()}
    return modules


def _module(parameter: str) -> str:
    # "features.0.weight" and what quantizing makes of it, "features.0.weight_quantized".
    module, _, last = parameter.rpartition(".")
    return module if any(last.startswith(kind) for kind in _FROM) else ""
