"""Things that go wrong on purpose."""

from labsim.faults.configuration import UnknownAeTitle

__all__ = ["UnknownAeTitle"]
