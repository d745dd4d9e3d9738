"""TFLite files by LiteRT (ai-edge-litert), or by its ancestor tflite-runtime."""

import importlib
import os
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from edgeprune_agent.runtimes import NoProfile, Rejected

PACKAGES = ("ai_edge_litert", "tflite_runtime")


def _find() -> Tuple[Any, Any]:
    reasons = []
    for package in PACKAGES:
        try:
            return importlib.import_module(package), importlib.import_module(package + ".interpreter")
        except ImportError as error:
            reasons.append(str(error))
    raise ImportError("; ".join(reasons))


def describe() -> Dict[str, Any]:
    """Return name, version, providers, and why it cannot be used, if so."""
    try:
        package, _ = _find()
    except ImportError as error:
        return {"name": "litert", "version": None, "providers": [], "reason": str(error)}
    version = str(getattr(package, "__version__", "unknown"))
    if package.__name__ == "tflite_runtime":
        version = "tflite-runtime " + version
    return {"name": "litert", "version": version, "providers": ["XNNPACK", "CPU"], "reason": ""}


def open_model(
    path: str, threads: int, provider: str = "auto", strict: bool = False, engines: Optional[str] = None
) -> "TfliteModel":
    """Make an interpreter with its tensors allocated.

    Args:
        path: A TFLite file.
        threads: Of the kernels.
        provider: "CPU" for the built-in kernels alone; "auto" is "XNNPACK", which takes the nodes that it knows.
        strict: Refuse a model of which XNNPACK takes nothing.
        engines: Not used: nothing is built.

    Returns:
        A model that can run.

    Raises:
        Rejected: The interpreter does not take the file, or has not that provider.
    """
    del engines
    module = _find()[1]
    if provider not in ("auto", "CPU", "XNNPACK"):
        raise Rejected("this interpreter has no provider {}, only XNNPACK and CPU".format(provider))
    options = {}
    if provider == "CPU":
        options["experimental_op_resolver_type"] = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    if not os.access(path, os.R_OK):
        raise Rejected("{} cannot be read".format(path))
    try:
        interpreter = module.Interpreter(model_path=path, num_threads=threads, **options)
        for detail in interpreter.get_input_details():
            if min(_shape(detail), default=1) < 0:
                interpreter.resize_tensor_input(detail["index"], [1 if n < 0 else n for n in _shape(detail)])
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise Rejected(str(error)) from error
    model = TfliteModel(interpreter)
    if strict and provider == "XNNPACK" and "XNNPACK" not in model.providers:
        raise Rejected("XNNPACK takes no node of it")
    return model


def profile(path: str, runs: int, draw: Callable[[Any], Any], **how: Any) -> List[Dict[str, Any]]:
    """Raise: the Python interpreter gives no time per node.

    Raises:
        NoProfile: Always.
    """
    raise NoProfile("the interpreter's Python interface gives no time per operator")


def _shape(detail: Dict[str, Any]) -> List[int]:
    signature = detail.get("shape_signature")
    return [int(size) for size in (detail["shape"] if signature is None else signature)]


def _spec(detail: Dict[str, Any]) -> Dict[str, Any]:
    return {"name": detail["name"], "shape": _shape(detail), "dtype": detail["dtype"].__name__.rstrip("_")}


class TfliteModel:
    """An interpreter that is ready.

    Attributes:
        inputs: Name, shape (-1 where open) and dtype of each input.
        outputs: The same of each output.
        providers: XNNPACK where a delegate took nodes, CPU for the built-in kernels.
    """

    def __init__(self, interpreter: Any) -> None:
        self._interpreter = interpreter
        self._input_indices = [detail["index"] for detail in interpreter.get_input_details()]
        self._output_indices = [detail["index"] for detail in interpreter.get_output_details()]
        self.inputs = [_spec(detail) for detail in interpreter.get_input_details()]
        self.outputs = [_spec(detail) for detail in interpreter.get_output_details()]
        self.providers = _providers(interpreter)

    def run(self, arrays: Sequence[Any]) -> List[Any]:
        """Return the outputs for one batch of inputs."""
        return list(self.bind(arrays)())

    def bind(self, arrays: Sequence[Any]) -> Callable[[], Any]:
        """Return one inference as a callable: inputs in, invoke, outputs out, as onnxruntime's `run` does it."""
        put, invoke, get = self._interpreter.set_tensor, self._interpreter.invoke, self._interpreter.get_tensor
        pairs, indices = list(zip(self._input_indices, arrays)), self._output_indices

        def infer() -> List[Any]:
            for index, array in pairs:
                put(index, array)
            invoke()
            return [get(index) for index in indices]

        return infer


def _providers(interpreter: Any) -> List[str]:
    # Read from the interpreter's node list what runs the model; delegated nodes stay listed beside their delegate.
    details = getattr(interpreter, "_get_ops_details", None)
    if details is None:
        return ["CPU"]
    names = [operator["op_name"] for operator in details()]
    return ["XNNPACK", "CPU"] if "DELEGATE" in names else ["CPU"]
