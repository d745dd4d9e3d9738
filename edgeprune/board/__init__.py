"""A virtual arm64 board: Debian under QEMU, as an ordinary process, with its ports on loopback."""
