"""Coded concepts (PS3.3 8.8), as images name what they show."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset


@dataclass(frozen=True)
class Code:
    """A concept of a coding scheme.

    Parameters
    ----------
    value, meaning : str
        Code Value (0008,0100) and Code Meaning (0008,0104).
    scheme : str
        Coding Scheme Designator (0008,0102); SNOMED CT if left out.
    """

    value: str
    meaning: str
    scheme: str = "SCT"

    def item(self) -> Dataset:
        """Return it as an item of a code sequence."""
        item = Dataset()
        item.CodeValue = self.value
        item.CodingSchemeDesignator = self.scheme
        item.CodeMeaning = self.meaning
        return item
