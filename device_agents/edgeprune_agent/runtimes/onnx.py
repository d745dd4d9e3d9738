"""ONNX files by onnxruntime on the CPU provider."""

from functools import partial
from typing import Any, Callable, Dict, List, Sequence

from edgeprune_agent.runtimes import Rejected

PACKAGES = ("onnxruntime",)
_DTYPES = {"float": "float32", "double": "float64"}
"""onnxruntime's names of element types where they differ from numpy's."""


def describe() -> Dict[str, Any]:
    """Return name, version, providers of the installed build, and why it cannot be used, if so."""
    try:
        import onnxruntime
    except ImportError as error:
        return {"name": "onnxruntime", "version": None, "providers": [], "reason": str(error)}
    providers = [name.replace("ExecutionProvider", "") for name in onnxruntime.get_available_providers()]
    return {"name": "onnxruntime", "version": onnxruntime.__version__, "providers": providers, "reason": ""}


def open_model(path: str, threads: int) -> "OnnxModel":
    """Make a session.

    Args:
        path: An ONNX file.
        threads: Within an operator; operators run one after the other.

    Returns:
        A model that can run.

    Raises:
        Rejected: onnxruntime does not take the file.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise Rejected(str(error)) from error
    return OnnxModel(session)


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
        self.providers = [name.replace("ExecutionProvider", "") for name in session.get_providers()]

    def run(self, arrays: Sequence[Any]) -> List[Any]:
        """Return the outputs for one batch of inputs."""
        return list(self.bind(arrays)())

    def bind(self, arrays: Sequence[Any]) -> Callable[[], Any]:
        """Return one inference as a callable without a Python frame of its own: what a user's loop would call."""
        names = [spec["name"] for spec in self.inputs]
        return partial(self._session.run, None, dict(zip(names, arrays)))
