"""Power sensors of the board: each gives its facts once and then readings, from a tree whose root is an argument.

A sensor has `facts`, the fields of `edgeprune.values.power.MeterFacts` by name; `read() -> int` in nW (nJ of a
counter), which raises OSError when there is no reading now; and `flags`, the gates that it shuts itself.
"""

from typing import Any, Dict, List

from edgeprune_agent import identity
from edgeprune_agent.power import battery, ina, pmic, rapl
from edgeprune_agent.power.gauges import Unusable

SENSORS = {"ina": ina, "rapl": rapl, "rpi_pmic": pmic, "power_supply": battery}
"""By name, the one to be preferred first."""
_DEFAULTS = {
    "average_s": 0.0, "delay_s": 0.0, "resolution_w": 0.0, "gain_ratio": 0.0, "offset_w": 0.0, "counter": False,
}  # fmt: skip


def find(wanted: Dict[str, Any], filesystem: str = "/") -> Any:
    """Return the sensor that a run asks for.

    Args:
        wanted: `sensor`: one of `SENSORS`, or null for the first that works; `rails`: which of them make the total, or
            [] where there is one; `current_unit`: of a battery, "uA" or "mA".
        filesystem: Where /sys lies.

    Returns:
        A sensor whose facts are whole.

    Raises:
        Unusable: There is none; says why.
    """
    reasons = []
    for name in [wanted["sensor"]] if wanted["sensor"] else SENSORS:
        try:
            sensor = SENSORS[name].find(filesystem, wanted)
        except Unusable as error:
            reasons.append("{}: {}".format(name, error))
        else:
            sensor.facts = dict(_DEFAULTS, **sensor.facts)
            return sensor
    raise Unusable("; ".join(reasons))


def power_facts(wanted: Dict[str, Any]) -> Dict[str, Any]:
    """Return the facts of a sensor of this board, or why there is none.

    Args:
        wanted: See `find`.

    Returns:
        `facts` or `error`; the other one is null.
    """
    try:
        return {"facts": find(wanted, identity.filesystem()).facts, "error": None}
    except Unusable as error:
        return {"facts": None, "error": str(error)}


def names(filesystem: str = "/") -> List[str]:
    """Return what could be read here, such as "ina3221 VDD_IN"."""
    return [name for module in SENSORS.values() for name in module.names(filesystem)]
