"""The meters that EdgePrune reads, as models for the truth test: the facts that their drivers state, and typical loads.

tests/measuring holds the facts equal to those of the drivers. The noise is an assumption: none of these was checked
against an instrument.
"""

from __future__ import annotations

import numpy as np

from edgeprune.testing.meter_model import MeterModel
from edgeprune.testing.power_curve import PowerCurve
from edgeprune.values.power import MeterFacts

_USB_CLOCK_S = 2e-3
"""What the offset of two clocks over a network is usually known to."""


def _curve(idle_w: float, busy_w: float) -> PowerCurve:
    # An inference whose second part takes 15 % less; the board warms by 1 % under load and idles 0.5 % higher after it.
    light_w = busy_w - 0.15 * (busy_w - idle_w)
    return PowerCurve(
        idle_w, busy_w, light_w, 1.0, np.ones(1), warming_w=0.01 * (busy_w - idle_w), after_w=0.005 * idle_w
    )


def _onboard(name: str, period_s: float, average_s: float, delay_s: float, resolution_w: float,
             gain_ratio: float, offset_w: float, counter: bool = False) -> MeterFacts:  # fmt: skip
    return MeterFacts(
        name, "module", "onboard", period_s, average_s, delay_s, resolution_w, gain_ratio, offset_w, counter
    )


def _external(name: str, period_s: float, average_s: float, delay_s: float, resolution_w: float,
              gain_ratio: float, offset_w: float, counter: bool = False) -> MeterFacts:  # fmt: skip
    return MeterFacts(
        name, "board", "external", period_s, average_s, delay_s, resolution_w, gain_ratio, offset_w, counter
    )


METERS: dict[str, MeterModel] = {
    "ina3221, JetPack 5 and later": MeterModel(
        _onboard("ina3221", 0.02, 0.0011, 0.0066, 0.04, 0.006, 0.046), 0.03, 0.0, _curve(4, 9)
    ),
    "ina3221, JetPack 4": MeterModel(
        _onboard("ina3221x", 0.02, 0.422, 0.0, 0.04, 0.006, 0.046), 0.01, 0.0, _curve(3, 6)
    ),
    "ina226": MeterModel(_onboard("ina226", 0.02, 0.0352, 0.0352, 0.00625, 0.006, 0.003), 0.01, 0.0, _curve(3, 6)),
    "ina219": MeterModel(_onboard("ina219", 0.02, 0.001, 0.001, 0.02, 0.006, 0.01), 0.02, 0.0, _curve(3, 6)),
    "Raspberry Pi 5 PMIC": MeterModel(
        _onboard("rpi_pmic", 0.1, 0.001, 0.02, 0.001, 0.1, 0.05), 0.05, 0.0, _curve(3, 7)
    ),
    "power_supply": MeterModel(_onboard("power_supply", 0.25, 0.5, 0.5, 0.004, 0.03, 0.01), 0.03, 0.0, _curve(2, 5)),
    "rapl": MeterModel(_onboard("rapl", 0.02, 0.0, 0.001, 6.1e-5, 0.03, 0.05, True), 0.0, 0.0, _curve(5, 20)),
    "ppk2": MeterModel(
        _external("ppk2", 1e-3, 1e-3, 0.0, 4e-3, 0.06, 5e-6), 0.002, _USB_CLOCK_S, _curve(0.3, 0.9)
    ),
    "um25c": MeterModel(_external("um25c", 0.5, 0.1, 0.5, 5e-4, 0.006, 0.005), 0.02, _USB_CLOCK_S, _curve(3, 6)),
    "fnb58": MeterModel(_external("fnb58", 0.01, 0.01, 0.0, 5e-5, 0.006, 0.005), 0.02, _USB_CLOCK_S, _curve(3, 6)),
    "scpi": MeterModel(_external("scpi", 0.1, 0.02, 0.1, 0.005, 0.003, 0.015), 0.01, _USB_CLOCK_S, _curve(3, 6)),
    "korad": MeterModel(_external("korad", 0.2, 0.02, 0.2, 0.005, 0.003, 0.025), 0.01, _USB_CLOCK_S, _curve(3, 6)),
    "joulescope": MeterModel(
        _external("joulescope", 0.05, 0.0, 0.0, 1e-9, 0.003, 1e-4, True), 0.0, _USB_CLOCK_S, _curve(1, 3)
    ),
}  # fmt: skip
"""By what people call them."""
