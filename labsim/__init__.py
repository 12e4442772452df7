"""labsim: a hospital you are allowed to break."""

from __future__ import annotations

from typing import TYPE_CHECKING

from labsim.errors import LabError
from labsim.hospital import Hospital

if TYPE_CHECKING:
    from labsim.learning.lab import Lab

__all__ = ["Hospital", "LabError", "__version__", "start"]
__version__ = "0.1.0"


def start(lesson: str, seed: int = 7) -> Lab:
    """Start a lesson with a hospital of its own, or return it if it runs already.

    Parameters
    ----------
    lesson : str
        Name of its notebook, such as ``"00_start_here"``.
    seed : int
        Another number gives other patients.

    Raises
    ------
    NotFound
        If there is no such lesson.
    """
    from labsim.learning import lab  # here, because a hospital runs without lessons

    return lab.start(lesson, seed)
