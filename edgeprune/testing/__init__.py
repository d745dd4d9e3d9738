"""Fakes that ship: boards, sensors and instruments that behave as the real ones do, faults included."""
