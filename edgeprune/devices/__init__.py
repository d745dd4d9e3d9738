"""DeviceProfile -> Session."""

from edgeprune.devices.resolve import known_devices, resolve, user_list_path
from edgeprune.devices.session import Session, connect

__all__ = ["Session", "connect", "known_devices", "resolve", "user_list_path"]
