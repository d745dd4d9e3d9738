"""DeviceProfile -> Session."""

from edgeprune.devices.resolve import expecting, known_devices, resolve, user_list_path
from edgeprune.devices.session import Session, connect

__all__ = ["Session", "connect", "expecting", "known_devices", "resolve", "user_list_path"]
