"""ONNX files by onnxruntime."""

import json
import os
import tempfile
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Sequence

from edgeprune_agent.runtimes import Rejected

PACKAGES = ("onnxruntime",)
_SUFFIX = "ExecutionProvider"
_DTYPES = {"float": "float32", "double": "float64"}
"""onnxruntime's names of element types where they differ from numpy's."""


def describe() -> Dict[str, Any]:
    """Return name, version, providers of the installed build, and why it cannot be used, if so."""
    try:
        import onnxruntime
    except ImportError as error:
        return {"name": "onnxruntime", "version": None, "providers": [], "reason": str(error)}
    providers = [_plain(name) for name in onnxruntime.get_available_providers()]
    return {"name": "onnxruntime", "version": onnxruntime.__version__, "providers": providers, "reason": ""}


def open_model(
    path: str, threads: int, provider: str = "auto", strict: bool = False, engines: Optional[str] = None
) -> "OnnxModel":
    """Make a session.

    Args:
        path: An ONNX file.
        threads: Within an operator; operators run one after the other.
        provider: Such as "CUDA", without "ExecutionProvider", in upper or lower case; "auto" is "CPU".
        strict: Refuse a model of which any node would run on the CPU instead.
        engines: Folder in which TensorRT keeps what it has built; None to build anew.

    Returns:
        A model that can run.

    Raises:
        Rejected: onnxruntime does not take the file, or has not that provider.
    """
    return OnnxModel(_session(path, threads, provider, strict, engines))


def profile(path: str, runs: int, draw: Callable[[Any], Any], **how: Any) -> List[Dict[str, Any]]:
    """Time every node of the graph as onnxruntime has optimized it.

    Args:
        path: An ONNX file.
        runs: How often it runs, the first of which does not count.
        draw: Gives inputs for a model's specs.
        how: As for `open_model`.

    Returns:
        In the order in which nodes ran: `name`, `op`, `provider`, and `ns`, the median.
    """
    with tempfile.TemporaryDirectory() as folder:
        session = _session(path, prefix=os.path.join(folder, "profile"), **how)
        model = OnnxModel(session)
        infer = model.bind(draw(model.inputs))
        for _ in range(runs + 1):
            infer()
        with open(session.end_profiling(), encoding="utf-8") as file:
            return _node_times(json.load(file))


def _node_times(events: List[Dict[str, Any]]) -> List[Dict[str, Any]]:
    nodes: Dict[Any, Dict[str, Any]] = {}
    for event in events:
        about = event.get("args", {})
        if event.get("cat") != "Node" or "provider" not in about:
            continue
        name = event["name"].replace("_kernel_time", "")
        row = {"name": name, "op": about["op_name"], "provider": _plain(about["provider"]), "ns": []}
        nodes.setdefault((name, about.get("node_index")), row)["ns"].append(int(event["dur"]) * 1000)
    return [dict(row, ns=sorted(row["ns"][1:] or row["ns"])[len(row["ns"][1:]) // 2]) for row in nodes.values()]


def _plain(provider: str) -> str:
    return provider.replace(_SUFFIX, "")


def _providers(wanted: str, strict: bool, engines: Optional[str]) -> List[Any]:
    # What a session is to try, in this order. TensorRT names its engines by model, its own version and the GPU.
    import onnxruntime

    built = onnxruntime.get_available_providers()
    full = ("CPU" if wanted == "auto" else wanted) + _SUFFIX
    found = [name for name in built if name.lower() == full.lower()]
    if not found:
        raise Rejected("this onnxruntime has no provider {}, only {}".format(wanted, ", ".join(map(_plain, built))))
    chosen: List[Any] = found
    if found[0] == "Tensorrt" + _SUFFIX and engines:
        os.makedirs(engines, 0o700, exist_ok=True)
        chosen = [(found[0], {"trt_engine_cache_enable": "True", "trt_engine_cache_path": engines})]
    return chosen if strict or found[0] == "CPU" + _SUFFIX else chosen + ["CPU" + _SUFFIX]


def _session(
    path: str, threads: int, provider: str, strict: bool, engines: Optional[str] = None, prefix: str = ""
) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    if prefix:
        options.enable_profiling, options.profile_file_prefix = True, prefix
    wanted = _providers(provider, strict, engines)
    if strict and wanted != ["CPU" + _SUFFIX]:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        return onnxruntime.InferenceSession(path, options, providers=wanted)
    except Exception as error:
        raise Rejected(str(error)) from error


def _spec(argument: Any) -> Dict[str, Any]:
    kind = argument.type[len("tensor(") : -1] if argument.type.startswith("tensor(") else argument.type
    shape = [size if isinstance(size, int) else -1 for size in argument.shape]
    return {"name": argument.name, "shape": shape, "dtype": _DTYPES.get(kind, kind)}


class OnnxModel:
    """An open session.

    Attributes:
        inputs: Name, shape (-1 where open) and dtype of each input.
        outputs: The same of each output.
        providers: Execution providers in use.
    """

    def __init__(self, session: Any) -> None:
        self._session = session
        self.inputs = [_spec(argument) for argument in session.get_inputs()]
        self.outputs = [_spec(argument) for argument in session.get_outputs()]
        self.providers = [_plain(name) for name in session.get_providers()]

    def run(self, arrays: Sequence[Any]) -> List[Any]:
        """Return the outputs for one batch of inputs."""
        return list(self.bind(arrays)())

    def bind(self, arrays: Sequence[Any]) -> Callable[[], Any]:
        """Return one inference as a callable without a Python frame of its own: what a user's loop would call."""
        names = [spec["name"] for spec in self.inputs]
        return partial(self._session.run, None, dict(zip(names, arrays)))
