"""What a run may be asked to do: every key, type and range of a spec, checked before anything is started."""

import re
from typing import Any, Callable, Dict

from edgeprune_agent.power import SENSORS
from edgeprune_agent.runtimes import FORMATS, RUNTIMES
from edgeprune_agent.wire import AgentError, check_name

_DAY_S = 86400.0
_CHIP = re.compile("gpiochip[0-9]{1,3}")
_PROVIDER = re.compile("[A-Za-z0-9]{1,32}")
Check = Callable[[str, Any], None]


def _number(low: float, high: float) -> Check:
    def check(key: str, value: Any) -> None:
        if type(value) not in (int, float) or not low <= value <= high:
            raise AgentError("E_ARG", "{} must be a number from {:g} to {:g}.".format(key, low, high))

    return check


def _whole(low: int, high: int) -> Check:
    def check(key: str, value: Any) -> None:
        if type(value) is not int or not low <= value <= high:
            raise AgentError("E_ARG", "{} must be a whole number from {} to {}.".format(key, low, high))

    return check


def _one_of(known: Any) -> Check:
    def check(key: str, value: Any) -> None:
        if not isinstance(value, str) or value not in known:
            raise AgentError("E_ARG", "{} must be one of {}.".format(key, ", ".join(sorted(known))))

    return check


def _name(kind: str) -> Check:
    def check(key: str, value: Any) -> None:
        check_name(kind, value)

    return check


def _provider(key: str, value: Any) -> None:
    if not isinstance(value, str) or not _PROVIDER.fullmatch(value):
        raise AgentError("E_ARG", "{} must be the name of an execution provider.".format(key))


def _flag(key: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise AgentError("E_ARG", "{} must be true or false.".format(key))


def _power(key: str, value: Any) -> None:
    if not isinstance(value, dict) or set(value) != {"sensor", "rails", "current_unit"}:
        raise AgentError("E_ARG", "{} has the keys sensor, rails and current_unit.".format(key))
    if value["sensor"] is not None:
        _one_of(SENSORS)("sensor", value["sensor"])
    _one_of(("uA", "mA"))("current_unit", value["current_unit"])
    rails = value["rails"]
    if not isinstance(rails, list) or len(rails) > 16 or not all(isinstance(r, str) and len(r) <= 64 for r in rails):
        raise AgentError("E_ARG", "rails must be a list of at most 16 names.")


def _marker(key: str, value: Any) -> None:
    if not isinstance(value, dict) or set(value) != {"chip", "line"}:
        raise AgentError("E_ARG", "{} has the keys chip and line.".format(key))
    if not isinstance(value["chip"], str) or not _CHIP.fullmatch(value["chip"]):
        raise AgentError("E_ARG", "chip must be like gpiochip0.")
    _whole(0, 1023)("line", value["line"])


def _optional(inner: Check) -> Check:
    def check(key: str, value: Any) -> None:
        if value is not None:
            inner(key, value)

    return check


_MODEL = {"sha": _name("sha"), "format": _one_of(FORMATS), "runtime": _one_of(RUNTIMES), "threads": _whole(1, 256)}
_CHOSEN = dict(_MODEL, provider=_provider, strict=_flag)
_SPECS: Dict[str, Dict[str, Check]] = {
    "latency": dict(
        _CHOSEN,
        warmup_s=_number(0, _DAY_S),
        warmup_runs=_whole(0, 10**6),
        min_duration_s=_number(0, _DAY_S),
        min_runs=_whole(1, 10**8),
        max_duration_s=_number(0.001, _DAY_S),
        period_s=_number(0, _DAY_S),
        idle_s=_number(0, 3600),
        power=_optional(_power),
        marker=_optional(_marker),
        state_period_s=_number(0.01, _DAY_S),
        seed=_whole(0, 2**32 - 1),
        inputs=_optional(_name("sha")),
    ),
    "layers": dict(_CHOSEN, runs=_whole(1, 50), seed=_whole(0, 2**32 - 1)),
    "footprint": dict(_CHOSEN, runs=_whole(1, 10**6), seed=_whole(0, 2**32 - 1)),
    "infer": dict(_MODEL, provider=_provider, inputs=_name("sha")),
    "check": {
        "model": _name("model"),
        "release": _optional(_name("release")),
        "runtime": _one_of(RUNTIMES),
        "threads": _whole(1, 256),
        "provider": _provider,
    },
}


def check_power(wanted: Any) -> Dict[str, Any]:
    """Return what names a power sensor, if it does.

    Args:
        wanted: What came over the wire.

    Returns:
        The same.
    """
    _power("power", wanted)
    return dict(wanted)


def check_spec(spec: Any) -> Dict[str, Any]:
    """Return a spec that is whole and within its limits.

    Args:
        spec: What came over the wire.

    Returns:
        The same spec.

    Raises:
        AgentError: E_ARG: a key is missing, unknown, or holds what it may not.
    """
    if not isinstance(spec, dict):
        raise AgentError("E_ARG", "A run's spec is an object.")
    _one_of(_SPECS)("kind", spec.get("kind"))
    checks = _SPECS[spec["kind"]]
    for wrong, keys in (("missing", set(checks) - set(spec)), ("unknown", set(spec) - set(checks) - {"kind"})):
        if keys:
            raise AgentError("E_ARG", "The run's spec has {} keys: {}.".format(wrong, ", ".join(sorted(keys))[:200]))
    for key, check in checks.items():
        check(key, spec[key])
    if "format" in spec and spec["runtime"] not in FORMATS[spec["format"]]:
        raise AgentError("E_ARG", "{} does not run {} files.".format(spec["runtime"], spec["format"]))
    return spec
