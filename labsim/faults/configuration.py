"""Faults in a system's configuration: what an administrator forgot, or mistyped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from labsim.hospital import Hospital


@dataclass(frozen=True)
class UnknownAeTitle:
    """The PACS does not know an application entity that calls it.

    Its associations are rejected with 1/1/3, calling AE title not recognized
    (PS3.8 9.3.4); a C-ECHO still works.

    Parameters
    ----------
    ae_title : str
        Whose entry is missing.
    """

    ae_title: str

    @property
    def title(self) -> str:
        """What goes wrong, in a few words."""
        return f"the PACS does not know the AE title {self.ae_title}"

    def apply(self, hospital: Hospital) -> Callable[[], None]:
        """Remove the entry, and return what puts it back."""
        pacs = hospital.pacs
        entity = pacs.remove_ae(self.ae_title)

        def restore() -> None:
            if pacs.known_ae(self.ae_title) is None:  # a learner's repair is left alone
                pacs.register_ae(**vars(entity))

        return restore
