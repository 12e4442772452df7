"""Faults of the integration engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from labsim.hospital import Hospital


@dataclass(frozen=True)
class StoppedQueue:
    """Somebody has stopped a destination of a channel, and nobody has started it again.

    The engine still thanks every sender (AA), because a message is safe once
    it is in its store; the receiver just never gets it.

    Parameters
    ----------
    channel, destination : str
        Whose queue stands still.
    """

    channel: str
    destination: str

    @property
    def title(self) -> str:
        """What goes wrong, in a few words."""
        return f"the queue of {self.channel} to {self.destination} is stopped"

    def apply(self, hospital: Hospital) -> Callable[[], None]:
        """Stop the queue, and return what starts it."""
        queue = hospital.engine.channel(self.channel).destination(self.destination)
        queue.stop()
        return queue.start
