"""Debian packages and wheels -> a disk that boots. An image is named by a hash over this folder's files."""
