"""What each kind of scanner can do: its protocols, and how it takes images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import FileDataset

from labsim.imaging import cr, ct, dx, mg, mr, us
from labsim.imaging.common import Protocol


@dataclass(frozen=True)
class Scanner:
    """One kind of scanner.

    Parameters
    ----------
    protocols : mapping
        Protocol by key.
    artefacts : mapping
        What may go wrong with its images: name to what one sees.
    acquire : callable
        Takes an `Acquisition` and SOP Instance UIDs, yields images.
    """

    protocols: Mapping[str, Protocol]
    artefacts: Mapping[str, str]
    acquire: Callable[[Any, list[str]], Iterator[FileDataset]]


SCANNERS: Mapping[str, Scanner] = {
    "CT": Scanner(ct.PROTOCOLS, ct.ARTEFACTS, ct.acquire),
    "MR": Scanner(mr.PROTOCOLS, mr.ARTEFACTS, mr.acquire),
    "DX": Scanner(dx.PROTOCOLS, dx.ARTEFACTS, dx.acquire),
    "CR": Scanner(cr.PROTOCOLS, cr.ARTEFACTS, cr.acquire),
    "MG": Scanner(mg.PROTOCOLS, mg.ARTEFACTS, mg.acquire),
    "US": Scanner(us.PROTOCOLS, us.ARTEFACTS, us.acquire),
}
