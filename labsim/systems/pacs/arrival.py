"""What has just come in, as the archive's own rules look at it."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset


@dataclass(frozen=True)
class Arrival:
    """One instance that has been entered into the index, and is about to be acknowledged.

    Parameters
    ----------
    header : Dataset
        The data set without its pixels.
    data : bytes
        The whole file.
    calling : str
        AE title that sent it; the archive's own for what it made itself.
    new : bool
        Whether it was not there before.
    """

    header: Dataset
    data: bytes
    calling: str
    new: bool
