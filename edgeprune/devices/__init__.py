"""DeviceProfile -> Session."""
