"""Runs that measure: single inferences one after the other, and what loading and memory take."""

import gc
import os
from typing import Any, Callable, Dict, List, Sequence

from edgeprune_agent import runtimes, timing
from edgeprune_agent.events import EventWriter
from edgeprune_agent.job import (
    Job,
    RunError,
    batch_size,
    batches,
    load_model,
    open_model,
    peak_memory_bytes,
    start_runtime,
    stored_inputs,
)
from edgeprune_agent.marker import NoMarker
from edgeprune_agent.watches import Watches

_EVENT_LAYERS = 100


def measure_footprint(job: Job) -> None:
    """Load the model from the disk, run it a few times, note the memory's peak, and load it once more.

    Raises:
        Cancelled: The run was asked to stop.
    """
    path = job.object_path(job.spec["sha"])
    _forget_pages(path)
    infer = _first_session(job, path)
    for _ in range(job.spec["runs"]):
        infer()
        if job.stopped():
            raise timing.Cancelled
    peak = peak_memory_bytes()
    del infer
    gc.collect()
    _, warm_load_ns = load_model(job, runtimes.load(job.spec["runtime"]), path)
    job.events.emit("footprint", warm_load_ns=warm_load_ns, peak_memory_bytes=peak)


def _first_session(job: Job, path: str) -> Callable[[], Any]:
    model = open_model(job, path)
    infer: Callable[[], Any] = model.bind(random_inputs(model.inputs, job.spec["seed"]))
    return infer


def _forget_pages(path: str) -> None:
    # Without root: what the page cache holds of one file that is durable, and no other process has mapped.
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def time_layers(job: Job) -> None:
    """Tell how long each node of the model takes and which provider runs it.

    Raises:
        RunError: The runtime cannot tell, or does not take the model.
    """
    runtime, path = start_runtime(job), job.object_path(job.spec["sha"])
    try:
        rows = runtime.profile(
            path, job.spec["runs"], lambda specs: random_inputs(specs, job.spec["seed"]), **job.how()
        )
    except (runtimes.Rejected, runtimes.NoProfile) as error:
        kind = "NoProfile" if isinstance(error, runtimes.NoProfile) else "ModelRejected"
        raise RunError(kind, str(error)) from error
    for start in range(0, len(rows), _EVENT_LAYERS):
        job.events.put("layers", rows=rows[start : start + _EVENT_LAYERS])


def measure_latency(job: Job) -> None:
    """Time single inferences on one batch of inputs, while other processes watch the board.

    Raises:
        RunError: The marker's line cannot be driven.
    """
    try:
        watches = Watches(job.spec, job.events)
    except NoMarker as error:
        raise RunError("NoMarker", str(error)) from error
    try:
        watches.first()
        _time_inferences(job, watches)
    finally:
        watches.close()


def _time_inferences(job: Job, watches: Watches) -> None:
    model = open_model(job, job.object_path(job.spec["sha"]))
    if job.spec.get("inputs"):
        arrays = stored_inputs(job.object_path(job.spec["inputs"]), model)
        batch = next(batches(arrays, batch_size(model)))[0]
    else:
        batch = random_inputs(model.inputs, job.spec["seed"])
    infer = model.bind(batch)
    begin = timing.now_ns()
    outputs = infer()
    first_run_ns = timing.now_ns() - begin
    finite = _all_finite(outputs)
    watches.lie_idle(job.spec["idle_s"], job.stopped)
    watches.mark(1)
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
    end_ns = timing.now_ns()
    watches.mark(0)
    runs = warmup.runs + sampled.runs
    job.events.put("load", begin_ns=load_ns, end_ns=end_ns, runs=runs, marks=watches.marks())
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
