"""What every kind of run works with: its folder, its spool, its stop signal, an open model and inputs."""

import os
import re
import signal
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from edgeprune_agent import identity, runtimes, timing
from edgeprune_agent.boards.state import StateReader
from edgeprune_agent.events import EventWriter
from edgeprune_agent.tensors import Tensor, numbered, read_tensors


class RunError(Exception):
    """A run cannot be done; the host turns `kind` into its own error.

    Attributes:
        kind: RuntimeMissing, ModelRejected, NoProfile, NoMarker, BadInputs, BadOutputs, NotWhole.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Stop:
    """Notes SIGTERM, so that a run ends between two inferences and never within a record of its spool."""

    def __init__(self) -> None:
        self.asked = False
        signal.signal(signal.SIGTERM, self._note)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _note(self, number: int, frame: Any) -> None:
        self.asked = True

    def __call__(self) -> bool:
        """Return whether SIGTERM came."""
        return self.asked


class Job(NamedTuple):
    """What a run works with: the agent's root, the run's folder, its spec, its spool, and its stop signal."""

    root: str
    folder: str
    spec: Dict[str, Any]
    events: EventWriter
    stopped: Stop

    def how(self) -> Dict[str, Any]:
        """Return how the model is to be opened; a spec without a provider leaves it to the runtime.

        An engine is tuned to the clocks that it was built at, so each power mode has a folder of its own.
        """
        how: Dict[str, Any] = {key: self.spec[key] for key in ("threads", "provider", "strict") if key in self.spec}
        mode = StateReader().read()["power_mode"] or "any"
        how["engines"] = os.path.join(self.root, "engines", re.sub(r"\W", "_", mode))
        return how

    def object_path(self, sha: str) -> str:
        """Return where the store keeps a file."""
        return os.path.join(self.root, "objects", sha[:2], sha)


def peak_memory_bytes() -> Optional[int]:
    """Return the highest resident memory that this process had; None where the kernel does not say."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None


def start_runtime(job: Job) -> Any:
    """Import the runtime and tell what it is.

    Args:
        job: Whose spec names it.

    Returns:
        A module of `runtimes`.

    Raises:
        RunError: It is missing.
    """
    runtime = runtimes.load(job.spec["runtime"])
    about = runtime.describe()
    if about["reason"]:
        raise RunError("RuntimeMissing", about["reason"])
    job.events.emit(
        "started",
        runtime=about["name"],
        version=about["version"],
        providers=about["providers"],
        boot_id=identity.boot_id(),
        memory_before_bytes=peak_memory_bytes(),
    )
    return runtime


def open_model(job: Job, path: str) -> Any:
    """Import the runtime, open a model file, and tell what both are.

    Args:
        job: Whose spec names the runtime.
        path: The file.

    Returns:
        A model that can run.

    Raises:
        RunError: The runtime is missing, or does not take the file.
        Cancelled: The run was asked to stop.
    """
    runtime = start_runtime(job)
    if job.stopped():
        raise timing.Cancelled
    model, load_ns = load_model(job, runtime, path)
    job.events.emit("loaded", load_ns=load_ns, inputs=model.inputs, outputs=model.outputs, providers=model.providers)
    return model


def load_model(job: Job, runtime: Any, path: str) -> Tuple[Any, int]:
    """Open a model file.

    Args:
        job: Whose spec has the number of threads.
        runtime: A module of `runtimes`.
        path: The file.

    Returns:
        The model, and how many nanoseconds it took.

    Raises:
        RunError: The runtime does not take the file.
    """
    begin = timing.now_ns()
    try:
        model = runtime.open_model(path, **job.how())
    except runtimes.Rejected as error:
        raise RunError("ModelRejected", str(error)) from error
    return model, timing.now_ns() - begin


def stored_inputs(path: str, model: Any) -> List[Any]:
    """Read inputs and see whether they fit.

    Args:
        path: A safetensors file with `input_0`, ….
        model: What takes them.

    Returns:
        Arrays, in the model's order.

    Raises:
        RunError: They do not fit.
    """
    arrays = as_arrays(numbered(read_tensors(path), "input"))
    if len(arrays) != len(model.inputs):
        raise RunError("BadInputs", "{} inputs given, the model takes {}".format(len(arrays), len(model.inputs)))
    for number, (array, spec) in enumerate(zip(arrays, model.inputs)):
        fits = len(array.shape) == len(spec["shape"]) >= 1 and all(
            size < 0 or size == given for size, given in zip(spec["shape"][1:], array.shape[1:])
        )
        if not fits or str(array.dtype) != spec["dtype"]:
            given = "{} {}".format(array.dtype, list(array.shape))
            message = "input {} ({!r}) is {}, the model takes {} {}"
            raise RunError("BadInputs", message.format(number, spec["name"], given, spec["dtype"], spec["shape"]))
    if len({array.shape[0] for array in arrays}) > 1 or not arrays[0].shape[0]:
        raise RunError("BadInputs", "the inputs differ in their number of examples, or hold none")
    return arrays


def batch_size(model: Any) -> int:
    """Return the batch that a model was exported for; 1 where it is open.

    Args:
        model: Any.

    Returns:
        Examples.

    Raises:
        RunError: Its inputs differ in it.
    """
    sizes = {spec["shape"][0] for spec in model.inputs} - {-1}
    if len(sizes) > 1:
        raise RunError("BadInputs", "the model's inputs differ in their batch size")
    return int(sizes.pop()) if sizes else 1


def batches(arrays: List[Any], size: int) -> Any:
    """Yield (inputs, number of true examples); the last batch is filled up with its last example."""
    import numpy

    for start in range(0, len(arrays[0]), size):
        parts = [array[start : start + size] for array in arrays]
        count = len(parts[0])
        if count < size:
            parts = [numpy.concatenate([part, numpy.repeat(part[-1:], size - count, axis=0)]) for part in parts]
        yield [numpy.ascontiguousarray(part) for part in parts], count


def as_arrays(tensors: List[Tensor]) -> List[Any]:
    """Return tensors as numpy arrays, without copying."""
    import numpy

    return [numpy.frombuffer(tensor.data, dtype=tensor.dtype).reshape(tensor.shape) for tensor in tensors]
