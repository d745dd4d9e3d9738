"""Pulling a board's plug at a random instant of an installation, and what must be true after that."""

import itertools
import logging
import os
import random
import signal
import threading
import time
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgeprune.board import boards, listing, login
from edgeprune.deploying import install
from edgeprune.deploying.installed import current_row, rows
from edgeprune.devices import connect
from edgeprune.devices.transport import Deadline
from edgeprune.errors import DeviceError
from edgeprune.exporting import load_artifact
from edgeprune.measuring import measure_repeat, summarise
from edgeprune.measuring.metering import NO_POWER, Metering
from edgeprune.values.plan import BenchPlan

_log = logging.getLogger(__name__)
MODEL = "net"
STEPS = ("push", "stage", "switch", "health", "measure")
"""Upload, staging, switch and health check of an installation; and a measurement."""
PLAN = BenchPlan(
    "custom", warmup_s=0.0, warmup_runs=1, min_duration_s=0.01, min_runs=30, max_duration_s=20.0, repeats=1
)
LONG_PLAN = BenchPlan("custom", warmup_s=0.0, warmup_runs=1, min_duration_s=60.0, max_duration_s=60.0, repeats=1)
SIZE = 256
_ANEW = 20
"""A board keeps 200 runs, and each plug takes a few: what is looked for again and again is measured anew in time."""


@dataclass
class Tally:
    """What came of all plugs."""

    pulled: int = 0
    broken_releases: int = 0
    lost_measurements: int = 0
    hands_needed: int = 0
    notes: list = field(default_factory=list)


class Bench:
    """A board whose plug is pulled.

    Args:
        board: On, and in the device list.
        folder: For models.
        seed: Decides models and instants.
    """

    def __init__(self, board, folder, seed):
        self.board, self._folder, self._seed = board, folder, seed
        self.tally = Tally()
        self._runs = {}
        self._known = []
        self._spans = {}

    def prepare(self):
        """Install a first release, and learn how long each step takes here."""
        first = self._model("first")
        times = {}
        with connect(self.board.name) as session:
            self._measurement = self._measured(session, first)
            self._install(session, first, lambda step: times.setdefault(step, time.monotonic()))
            times["end"] = time.monotonic()
        self._known.append(first.sha256)
        order = list(times)
        self._spans = {step: times[after] - times[step] for step, after in itertools.pairwise(order)}
        self._spans["measure"] = self._spans["health"] * 2

    def pull(self, number):
        """Pull the plug once, start the board again, and check what must be true; then let the next deploy finish."""
        rng = random.Random(f"{self._seed}-{number}")
        step = STEPS[number % len(STEPS)]
        delay_s = rng.uniform(0, self._spans[step])
        new = self._model(number)
        note = f"plug {number}: {step} + {delay_s:.2f} s"
        self.tally.pulled += 1
        try:
            seen = self._interrupted(new, step, delay_s)
            self.board = boards.pull_plug(self.board)
            self.board = boards.start(self.board.name)
            listing.enlist(self.board, serial=False)  # its port is another one if somebody took it meanwhile
            with connect(self.board.name) as session:
                note += f"; {self._judge(session, new)}"
                self._replay(session, seen)
                self._install(session, new, lambda step: None)
                self._known.append(new.sha256)
                if number % _ANEW == _ANEW - 1:
                    self._measured(session, new)
        except Exception as error:
            self.tally.hands_needed += 1
            note += f"; {type(error).__name__}: {error}"
            raise
        finally:
            self.tally.notes.append(note)
            _log.warning(note)  # pytest shows it with a failure

    def _interrupted(self, new, step, delay_s):
        """Deploy or measure until the plug is pulled; returns the events of the run that was cut, if one was."""
        plug = threading.Timer(delay_s, os.kill, (self.board.pid, signal.SIGKILL))
        plug.daemon = True

        def reached(name):
            if name == step:
                plug.start()

        seen = []
        try:
            with connect(self.board.name) as session:
                if step == "measure":
                    session.push(new.path, new.sha256)
                    reached("measure")
                    self._follow_long_run(session, new, seen)
                else:
                    self._install(session, new, reached)
        except DeviceError:
            if not plug.finished.is_set():  # the board still has its power: this is none of the plug's doing
                raise
        plug.cancel()
        return seen

    def _follow_long_run(self, session, artifact, seen):
        from edgeprune.measuring.bench import latency_spec

        spec = Metering(NO_POWER, latency_spec(artifact, LONG_PLAN, "onnxruntime")).spec
        session.run(spec, seen.append, 600.0)

    def _judge(self, session, new):
        found = rows(session, MODEL)
        row = current_row(found)
        shas = {self._known[-1]: "old", new.sha256: "new"}
        command = f"cd .edgeprune/models/{MODEL}/current && sha256sum -c SHA256SUMS"
        whole = login.run(self.board.folder, self.board.port, command)
        if row is None or row["manifest"]["sha256"] not in shas or not row["checked_utc"] or not whole:
            self.tally.broken_releases += 1
            return f"current is {row}, whole: {whole}"
        return f"current is the {shas[row['manifest']['sha256']]} one"

    def _replay(self, session, seen):
        """What was measured before is on the board still; of the run that was cut, nothing is there that was not."""
        for run, events in self._runs.items():
            with_end = list(session.client.follow(run, 0, Deadline(60.0)))
            self.tally.lost_measurements += with_end != events
        if seen and seen[-1]["kind"] != "end":
            kept = list(session.client.follow(seen[0]["run"], 0, Deadline(60.0)))
            pairs = [(a, b) for a, b in zip(kept, seen, strict=False) if a["kind"] != "end"]
            self.tally.lost_measurements += any(a != b for a, b in pairs)

    def _measured(self, session, artifact):
        run = session.run
        self._runs.clear()

        def recorded(spec, on_event, deadline_s):
            events = []

            def hear(event):
                events.append(event)
                on_event(event)

            end = run(spec, hear, deadline_s)
            self._runs[events[0]["run"]] = events
            return end

        session.run = recorded
        repeat = measure_repeat(session, artifact, PLAN, 0)
        session.run = run
        return lambda a: summarise(a, PLAN, [repeat], device=self.board.name, info=session.info)

    def _install(self, session, artifact, reached):
        golden = ([self._inputs()], [self._inputs() @ self._weights(artifact.path.stem)])
        install(session, self._measurement(artifact), model=MODEL, golden=golden, listener=lambda e: reached(e.message))

    def _inputs(self):
        return np.random.default_rng(0).standard_normal((2, SIZE)).astype(np.float32)

    def _weights(self, name):
        seed = [self._seed, *name.encode()]
        return np.random.default_rng(seed).standard_normal((SIZE, SIZE)).astype(np.float32)

    def _model(self, name):
        path = self._folder / f"{name}.onnx"
        weights = numpy_helper.from_array(self._weights(path.stem), "w")
        ends = [helper.make_tensor_value_info(end, TensorProto.FLOAT, ["N", SIZE]) for end in "xy"]
        graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [weights])
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
        return load_artifact(path)
