"""One run in a process of its own: load a model, measure or compute, spool what happened, end.

Started by `runs.Runs`; a crash here is a result, not an outage. docs/wire.md lists the specs and the events.
"""

import json
import os
import signal
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

from edgeprune_agent import identity, runtimes, timing
from edgeprune_agent.events import EventWriter
from edgeprune_agent.releases import Releases
from edgeprune_agent.tensors import MAX_FILE_BYTES, Tensor, numbered, read_tensors, write_tensors
from edgeprune_agent.watches import Watches


class RunError(Exception):
    """A run cannot be done; the host turns `kind` into its own error.

    Attributes:
        kind: RuntimeMissing, ModelRejected, BadInputs, BadOutputs, NotWhole.
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

    def object_path(self, sha: str) -> str:
        """Return where the store keeps a file."""
        return os.path.join(self.root, "objects", sha[:2], sha)


def main(argv: Sequence[str]) -> int:
    """Do the run of a folder, or tell of a runtime.

    Args:
        argv: The run's folder; or "--probe" and the runtime's name.

    Returns:
        0 if the run ended as "done", else 1; the spool says how.
    """
    if argv[0] == "--probe":
        return runtimes.tell(argv[1])
    stop = Stop()
    folder = os.path.abspath(argv[0])
    _tell_pid(folder)
    with open(os.path.join(folder, "spec.json"), encoding="utf-8") as file:
        spec = json.load(file)
    root = os.path.dirname(os.path.dirname(folder))
    job = Job(root, folder, spec, EventWriter(os.path.join(folder, "events.log"), os.path.basename(folder)), stop)
    state, error = "done", None
    try:
        KINDS[spec["kind"]](job)
    except timing.Cancelled:
        state = "cancelled"
    except RunError as failure:
        state, error = "failed", {"type": failure.kind, "message": str(failure)[:4000]}
    except Exception as failure:  # noqa: BLE001  (whatever a runtime raises is the run's result)
        state, error = "failed", {"type": type(failure).__name__, "message": str(failure)[:4000]}
    job.events.put("end", state=state, peak_memory_bytes=peak_memory_bytes(), error=error)
    job.events.close()
    return 0 if state == "done" else 1


def _tell_pid(folder: str) -> None:
    """Let an agent that was started after this worker find it."""
    path = os.path.join(folder, "pid")
    with open(path + ".new", "w", encoding="ascii") as file:
        file.write(str(os.getpid()))
    os.replace(path + ".new", path)


def peak_memory_bytes() -> Optional[int]:
    """Return the highest resident memory that this process had; None where the kernel does not say."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None


def _open_model(job: Job, path: str) -> Any:
    # Import the runtime, open the model, and tell what both are.
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
    if job.stopped():
        raise timing.Cancelled
    begin = timing.now_ns()
    try:
        model = runtime.open_model(path, job.spec["threads"])
    except runtimes.Rejected as error:
        raise RunError("ModelRejected", str(error)) from error
    load_ns = timing.now_ns() - begin
    job.events.emit("loaded", load_ns=load_ns, inputs=model.inputs, outputs=model.outputs, providers=model.providers)
    return model


def measure_latency(job: Job) -> None:
    """Time single inferences on one batch of inputs, while other processes watch the board."""
    watches = Watches(job.spec, job.events)
    try:
        watches.first()
        _time_inferences(job, watches)
    finally:
        watches.close()


def _time_inferences(job: Job, watches: Watches) -> None:
    model = _open_model(job, job.object_path(job.spec["sha"]))
    if job.spec.get("inputs"):
        arrays = _stored_inputs(job.object_path(job.spec["inputs"]), model)
        batch = next(_batches(arrays, _batch_size(model)))[0]
    else:
        batch = random_inputs(model.inputs, job.spec["seed"])
    infer = model.bind(batch)
    begin = timing.now_ns()
    outputs = infer()
    first_run_ns = timing.now_ns() - begin
    finite = _all_finite(outputs)
    watches.lie_idle(job.spec["idle_s"], job.stopped)
    load_ns = timing.now_ns()
    warmup = timing.warm_up(infer, job.spec, job.stopped)
    job.events.emit(
        "warm",
        first_run_ns=first_run_ns,
        runs=warmup.runs,
        steady=warmup.steady,
        finite=finite,
        at_ns=timing.now_ns(),
    )

    def deliver(samples: Any) -> None:
        watches.look()
        _spool(job.events, samples)

    sampled = timing.sample(infer, job.spec, deliver, job.stopped)
    job.events.put("load", begin_ns=load_ns, end_ns=timing.now_ns(), runs=warmup.runs + sampled.runs)
    watches.lie_idle(job.spec["idle_s"], job.stopped)


def _spool(events: EventWriter, samples: Any) -> None:
    for start in range(0, len(samples), timing.EVENT_SAMPLES):
        events.put("samples", ns=samples[start : start + timing.EVENT_SAMPLES].tolist())
    events.flush()


def random_inputs(specs: List[Dict[str, Any]], seed: int) -> List[Any]:
    """Draw one batch of inputs: standard normal, the whole range for 8-bit integers, 0 and 1 for all other types.

    Zeros and ones are valid wherever an integer input is an index or a mask.

    Args:
        specs: Of the inputs; open dimensions become 1.
        seed: Equal seeds give equal inputs on every board and numpy.

    Returns:
        One array per input.
    """
    import numpy

    source = numpy.random.RandomState(seed)
    arrays = []
    for spec in specs:
        shape, dtype = [1 if size < 0 else size for size in spec["shape"]], numpy.dtype(spec["dtype"])
        if dtype.kind == "f":
            array: Any = source.standard_normal(shape)
        elif dtype.itemsize == 1 and dtype.kind in "iu":
            limits = numpy.iinfo(dtype)
            array = source.randint(limits.min, limits.max + 1, size=shape)
        else:
            array = source.randint(0, 2, size=shape)
        arrays.append(numpy.ascontiguousarray(array, dtype=dtype).reshape(shape))
    return arrays


def _all_finite(outputs: Sequence[Any]) -> bool:
    import numpy

    arrays = [numpy.asarray(output) for output in outputs]
    return all(bool(numpy.isfinite(array).all()) for array in arrays if array.dtype.kind == "f")


def infer_stored(job: Job) -> None:
    """Run the model over stored inputs and keep all outputs in `output.safetensors`."""
    model = _open_model(job, job.object_path(job.spec["sha"]))
    arrays = _stored_inputs(job.object_path(job.spec["inputs"]), model)
    outputs = _run_all(job, model, arrays)
    write_tensors(os.path.join(job.folder, "output.safetensors"), _as_tensors(outputs, "output"))


def _stored_inputs(path: str, model: Any) -> List[Any]:
    arrays = _as_arrays(numbered(read_tensors(path), "input"))
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


def _batch_size(model: Any) -> int:
    sizes = {spec["shape"][0] for spec in model.inputs} - {-1}
    if len(sizes) > 1:
        raise RunError("BadInputs", "the model's inputs differ in their batch size")
    return int(sizes.pop()) if sizes else 1


def _batches(arrays: List[Any], size: int) -> Any:
    """Yield (inputs, number of true examples); the last batch is filled up with its last example."""
    import numpy

    for start in range(0, len(arrays[0]), size):
        parts = [array[start : start + size] for array in arrays]
        count = len(parts[0])
        if count < size:
            parts = [numpy.concatenate([part, numpy.repeat(part[-1:], size - count, axis=0)]) for part in parts]
        yield [numpy.ascontiguousarray(part) for part in parts], count


def _run_all(job: Job, model: Any, arrays: List[Any]) -> List[Any]:
    import numpy

    size, total, done, held = _batch_size(model), len(arrays[0]), 0, 0
    collected: List[List[Any]] = [[] for _ in model.outputs]
    told = timing.now_ns()
    for batch, count in _batches(arrays, size):
        if job.stopped():
            raise timing.Cancelled
        for parts, output in zip(collected, model.run(batch)):
            if total != size and (not output.shape or output.shape[0] != size):
                raise RunError("BadOutputs", "an output of shape {} has no row per example".format(output.shape))
            parts.append(output[:count] if total != size else output)
            held += parts[-1].nbytes
        if held > MAX_FILE_BYTES:
            raise RunError("BadOutputs", "the outputs take more than {} bytes".format(MAX_FILE_BYTES))
        done += count
        if timing.now_ns() - told >= timing.FLUSH_NS or done == total:
            job.events.emit("progress", done=done, total=total)
            told = timing.now_ns()
    return [numpy.concatenate(parts) if len(parts) > 1 else parts[0] for parts in collected]


def check_release(job: Job) -> None:
    """Compare a release's golden outputs with what its model gives on this board now.

    Raises:
        RunError: There is no such release, or one of its files was changed.
    """
    releases = Releases(job.root)
    release = job.spec["release"] or releases.current(job.spec["model"])
    if release is None:
        raise RunError("NotWhole", "no release of {} is installed".format(job.spec["model"]))
    damaged = releases.damaged(job.spec["model"], release)
    if damaged:
        raise RunError("NotWhole", "{} of release {} was changed or is missing".format(damaged, release))
    manifest, folder = releases.manifest(job.spec["model"], release), releases.folder(job.spec["model"], release)
    model = _open_model(job, os.path.join(folder, "model." + manifest["format"]))
    golden = os.path.join(folder, "golden.safetensors")
    outputs = _run_all(job, model, _stored_inputs(golden, model))
    expected = _as_arrays(numbered(read_tensors(golden), "output"))
    max_abs = max_difference(expected, outputs)
    tolerance = float(manifest["tolerance"])
    ok = max_abs is not None and max_abs <= tolerance
    if ok:
        releases.passed(job.spec["model"], release)
    job.events.emit("checked", ok=ok, max_abs=max_abs, tolerance=tolerance, n=len(outputs[0]), release=release)


def max_difference(expected: List[Any], actual: List[Any]) -> Optional[float]:
    """Return max |Δ| over all outputs; None if one of them is not finite.

    Args:
        expected: Arrays.
        actual: Arrays of the same number and shapes.

    Returns:
        The largest absolute difference.

    Raises:
        RunError: Numbers or shapes differ.
    """
    import numpy

    if [array.shape for array in expected] != [array.shape for array in actual]:
        shapes = [list(array.shape) for array in actual], [list(array.shape) for array in expected]
        raise RunError("BadOutputs", "the outputs have shapes {}, the golden ones {}".format(*shapes))
    largest = 0.0
    for old, new in zip(expected, actual):
        delta = numpy.abs(old.astype("float64") - new.astype("float64"))
        if not numpy.isfinite(delta).all():
            return None
        largest = max(largest, float(delta.max()) if delta.size else 0.0)
    return largest


def _as_arrays(tensors: List[Tensor]) -> List[Any]:
    import numpy

    return [numpy.frombuffer(tensor.data, dtype=tensor.dtype).reshape(tensor.shape) for tensor in tensors]


def _as_tensors(arrays: List[Any], prefix: str) -> List[Tensor]:
    import numpy

    tensors = []
    for number, array in enumerate(arrays):
        array = numpy.ascontiguousarray(array)
        tensors.append(Tensor("{}_{}".format(prefix, number), str(array.dtype), array.shape, array.tobytes()))
    return tensors


KINDS: Dict[str, Callable[[Job], None]] = {
    "latency": measure_latency,
    "infer": infer_stored,
    "check": check_release,
}
