"""Variants -> measurements on one device, in interleaved rounds, every repeat stored as it comes.

Round k measures repeat k of every variant, so that a machine that grows warm or busy touches all of them alike. What
the store has is not measured again: that is how a run resumes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from edgeprune import exporting, measuring
from edgeprune.devices import Session
from edgeprune.errors import RunFailed
from edgeprune.flow.project import Project
from edgeprune.flow.variants import Failure
from edgeprune.store import RunStore
from edgeprune.values.event import Event, Listener
from edgeprune.values.measurement import Measurement
from edgeprune.values.plan import BenchPlan
from edgeprune.values.variant import Variant

Entry = tuple[Variant, BenchPlan]


@dataclass(slots=True)
class Rounds:
    """One visit to a board.

    Attributes:
        session: Opened and leased.
        store: Where samples and accuracies are kept.
        project: Gives data and metric.
        listener: Told of every step.
        energy_needed: Whether nothing is worth measuring without its energy.
        failed: Entries that the board could not run.
        device_time_s: Time spent on the board so far, s.
    """

    session: Session
    store: RunStore
    project: Project
    listener: Listener
    energy_needed: bool = False
    failed: list[tuple[Entry, Failure]] = field(default_factory=list)
    device_time_s: float = 0.0
    _powers: dict[str, measuring.Power] = field(default_factory=dict)

    def measure(self, entries: Sequence[Entry]) -> list[Measurement]:
        """Measure what is missing, and summarise all.

        Args:
            entries: What to run and how.

        Returns:
            One measurement per entry that the board could run, in order.
        """
        started = time.monotonic()
        entries = self._accuracies(entries)
        entries = self._latencies(entries)
        self.device_time_s += time.monotonic() - started
        return [self._summary(variant, plan) for variant, plan in entries]

    def _latencies(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        missing = [
            (index, entry)
            for index in range(max(plan.repeats for _, plan in entries))
            for entry in entries
            if index < entry[1].repeats and index not in self._stored(entry)
        ]
        gate = measuring.CoolingGate(self.session.state)
        for done, (index, entry) in enumerate(missing):
            self.listener(Event("measure", entry[0].label, done, len(missing), "repeats"))
            if not self._has_failed(entry):
                gate.wait(entry[1].cool_s)
                self._repeat(entry, index)
        if missing:
            self.listener(Event("measure", "", len(missing), len(missing), "repeats"))
        return [entry for entry in entries if not self._has_failed(entry)]

    def _repeat(self, entry: Entry, index: int) -> None:
        variant, plan = entry
        try:
            repeat = measuring.measure_repeat(
                self.session, variant.artifact, plan, index, self.listener, self._power(plan)
            )
        except RunFailed as error:  # a runtime that crashes on a variant is a result, not an outage
            self.failed.append((entry, Failure(variant.label, error)))
        else:
            self.store.add_repeat(variant.artifact.sha256, self.session.info.device_id, plan, repeat)

    def _power(self, plan: BenchPlan) -> measuring.Power:
        # Opened when it is first needed: a run that only looks at what is stored needs no meter.
        if plan.meter not in self._powers:
            meter = plan.meter or self.session.profile.meter
            power = measuring.power_for(self.session, meter, self.listener, needed=self.energy_needed)
            self._powers[plan.meter] = power
        return self._powers[plan.meter]

    def _accuracies(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        if not self.project.has_test:
            return entries
        missing = [entry for entry in entries if self._accuracy(entry[0]) is None]
        for done, entry in enumerate(missing):
            self.listener(Event("accuracy", entry[0].label, done, len(missing), "variants"))
            try:
                self._evaluate(entry[0])
            except RunFailed as error:
                self.failed.append((entry, Failure(entry[0].label, error)))
        if missing:
            self.listener(Event("accuracy", "", len(missing), len(missing), "variants"))
        return [entry for entry in entries if not self._has_failed(entry)]

    def _evaluate(self, variant: Variant) -> None:
        project, device_id = self.project, self.session.info.device_id
        value = measuring.evaluate(self.session, variant.artifact, project.test, project.metric, listener=self.listener)
        self.store.put_accuracy(variant.artifact.sha256, device_id, project.data_id, value)

    def _accuracy(self, variant: Variant) -> float | None:
        return self.store.accuracy(variant.artifact.sha256, self.session.info.device_id, self.project.data_id)

    def _summary(self, variant: Variant, plan: BenchPlan) -> Measurement:
        info = self.session.info
        sha256 = variant.artifact.sha256
        return measuring.summarise(
            variant.artifact,
            plan,
            self.store.repeats(sha256, info.device_id, plan),
            device=self.session.profile.name,
            info=info,
            variant=variant,
            device_accuracy=self._accuracy(variant),
        )

    def _stored(self, entry: Entry) -> set[int]:
        variant, plan = entry
        return {r.index for r in self.store.repeats(variant.artifact.sha256, self.session.info.device_id, plan)}

    def _has_failed(self, entry: Entry) -> bool:
        return any(entry == failed for failed, _ in self.failed)


def with_host_accuracy(project: Project, store: RunStore, variant: Variant) -> Variant:
    """Return the variant with its artifact's accuracy on the host, evaluated once.

    Args:
        project: Gives test data and metric.
        store: Remembers the accuracy.
        variant: Whose artifact lies on the host.

    Returns:
        The variant, `accuracy` set; a model file may come without test data, and then has none.
    """
    if not project.has_test:
        return variant
    key = (variant.artifact.sha256, "host", project.data_id)
    accuracy = store.accuracy(*key)
    if accuracy is None:
        artifact = variant.artifact
        accuracy = measuring.score(lambda inputs: exporting.predict(artifact, inputs), project.test, project.metric)
        store.put_accuracy(*key, accuracy)
    return replace(variant, accuracy=accuracy)
