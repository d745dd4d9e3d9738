"""One run in a process of its own: load a model, measure or compute, spool what happened, end.

Started by `runs.Runs`; a crash here is a result, not an outage. docs/wire.md lists the specs and the events.
"""

import json
import os
from typing import Any, Callable, Dict, List, Optional, Sequence

from edgeprune_agent import runtimes, timed_runs, timing
from edgeprune_agent.events import EventWriter
from edgeprune_agent.job import (
    Job,
    RunError,
    Stop,
    as_arrays,
    batch_size,
    batches,
    open_model,
    peak_memory_bytes,
    stored_inputs,
)
from edgeprune_agent.releases import Releases
from edgeprune_agent.tensors import MAX_FILE_BYTES, Tensor, numbered, read_tensors, write_tensors


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


def infer_stored(job: Job) -> None:
    """Run the model over stored inputs and keep all outputs in `output.safetensors`."""
    model = open_model(job, job.object_path(job.spec["sha"]))
    arrays = stored_inputs(job.object_path(job.spec["inputs"]), model)
    outputs = _run_all(job, model, arrays)
    write_tensors(os.path.join(job.folder, "output.safetensors"), _as_tensors(outputs, "output"))


def _run_all(job: Job, model: Any, arrays: List[Any]) -> List[Any]:
    import numpy

    size, total, done, held = batch_size(model), len(arrays[0]), 0, 0
    collected: List[List[Any]] = [[] for _ in model.outputs]
    told = timing.now_ns()
    for batch, count in batches(arrays, size):
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
    model = open_model(job, os.path.join(folder, "model." + manifest["format"]))
    golden = os.path.join(folder, "golden.safetensors")
    outputs = _run_all(job, model, stored_inputs(golden, model))
    expected = as_arrays(numbered(read_tensors(golden), "output"))
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


def _as_tensors(arrays: List[Any], prefix: str) -> List[Tensor]:
    import numpy

    tensors = []
    for number, array in enumerate(arrays):
        array = numpy.ascontiguousarray(array)
        tensors.append(Tensor("{}_{}".format(prefix, number), str(array.dtype), array.shape, array.tobytes()))
    return tensors


KINDS: Dict[str, Callable[[Job], None]] = {
    "latency": timed_runs.measure_latency,
    "layers": timed_runs.time_layers,
    "footprint": timed_runs.measure_footprint,
    "infer": infer_stored,
    "check": check_release,
}
