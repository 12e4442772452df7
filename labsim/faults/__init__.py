"""Things that go wrong on purpose."""

from labsim.faults.configuration import UnknownAeTitle
from labsim.faults.engine import StoppedQueue

__all__ = ["StoppedQueue", "UnknownAeTitle"]
