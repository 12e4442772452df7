"""What was done with which attribute."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from labsim.table import Table


@dataclass
class Record:
    """What was done with which attribute, over all instances of one de-identifier."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def note(self, attribute: str, outcome: str) -> None:
        """Count one."""
        self.counts[attribute, outcome] += 1

    def table(self) -> Table:
        """Return each attribute of the profile with what became of it, and how often."""
        rows = [(attribute, done, n) for (attribute, done), n in sorted(self.counts.items())]
        return Table(("attribute", "what became of it", "times"), rows, "De-identification")

    def __str__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()
