"""The agent that runs on a board: standard library only, Python 3.6 syntax."""

__version__ = "0.1.0"
