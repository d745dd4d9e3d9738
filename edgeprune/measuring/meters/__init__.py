"""Power meters at the host: addresses, drivers, and the thread that reads one while a board works."""

from edgeprune.measuring.meters.address import MeterAddress, parse_meter
from edgeprune.measuring.meters.meter import METERS, Meter, MeterReadings, open_meter

__all__ = ["METERS", "Meter", "MeterAddress", "MeterReadings", "open_meter", "parse_meter"]
