"""When studies are put away, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labsim.systems.records import Record

SCHEMA = """
CREATE TABLE IF NOT EXISTS storage_policy (id INTEGER PRIMARY KEY, policy TEXT NOT NULL);
"""


@dataclass(frozen=True)
class StoragePolicy(Record):
    """When studies are put away.

    Parameters
    ----------
    online_quota, nearline_quota : int
        Bytes that a tier may hold; 0 for what the disk takes.
    high, low : float
        Watermarks, as shares of the online quota: past the one studies are put
        away, those not asked for longest first, until it holds no more than the other.
    idle_days : float
        Studies not asked for so long are put away in any case; 0 for never.
    modalities : tuple of str
        What may be put away, such as ``("MG", "CT")``; empty for all.
    compress : bool
        Whether pixels are compressed without loss on the way (JPEG-LS).
    recall : bool
        Whether what is asked for comes back online.
    """

    online_quota: int = 0
    nearline_quota: int = 0
    high: float = 0.9
    low: float = 0.75
    idle_days: float = 0
    modalities: tuple[str, ...] = ()
    compress: bool = True
    recall: bool = True

    @property
    def high_mark(self) -> float:
        """The high watermark in bytes; infinite without a quota."""
        return self.high * self.online_quota if self.online_quota else float("inf")


def policy_of(values: Mapping[str, Any]) -> StoragePolicy:
    """Return a policy from its values, one modality or several."""
    modalities = values["modalities"]
    several = (modalities,) if isinstance(modalities, str) else tuple(modalities)
    return StoragePolicy(**{**values, "modalities": several})
