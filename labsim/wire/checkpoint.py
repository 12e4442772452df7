"""Where an association's own thread stands while another thread waits for an answer."""

from __future__ import annotations

import threading

from pynetdicom.association import Association


class Checkpoint(threading.Event):
    """Lets the thread of an association through only while nobody has closed it.

    pynetdicom's own thread takes every message that comes in. Who sends a
    request stops it first, so that the answer is left to be waited for. With
    pynetdicom's plain event the thread may just have come through, and look as
    if it stood there: it then throws the first answer of a query away.

    Parameters
    ----------
    association : Association
        Whose. It has not begun yet.
    """

    def __init__(self, association: Association) -> None:
        super().__init__()
        self._association = association
        self._passing = threading.Lock()
        self.set()

    def clear(self) -> None:
        """Close it, before the thread comes through or after, but never while it does."""
        with self._passing:
            super().clear()

    def wait(self, timeout: float | None = None) -> bool:
        """Come through as soon as it is open, and no longer be counted as standing there."""
        while super().wait(timeout):
            with self._passing:
                if self.is_set():
                    self._association._is_paused = False
                    return True
        return False
