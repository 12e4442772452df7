"""What a reader writes: a report in its sections."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from labsim.systems.records import Record


@dataclass(frozen=True)
class ReportText(Record):
    """A report as a reader dictates it, section by section.

    Parameters
    ----------
    history : str
        Why the examination was asked for, what is known.
    technique : str
        What was done.
    findings : str
        What is seen.
    impression : str
        What it means.
    """

    history: str = ""
    technique: str = ""
    findings: str = ""
    impression: str = ""

    @classmethod
    def of(cls, text: str) -> ReportText:
        r"""Find the sections of plain text by their headings.

        Parameters
        ----------
        text : str
            Such as ``"Findings: No fracture.\nImpression: Normal hand."``;
            what stands under no heading is a finding.
        """
        lines: dict[str, list[str]] = {}
        section = "findings"
        for line in text.strip().splitlines():
            heading = _HEADING.match(line)
            if heading:
                section, line = heading[1].lower(), heading[2]
            lines.setdefault(section, []).append(line)
        return cls(**{name: "\n".join(found).strip() for name, found in lines.items()})

    @property
    def text(self) -> str:
        """The sections that have text, each under its heading."""
        return "\n".join(
            f"{name.capitalize()}: {text}" for name, text in vars(self).items() if text.strip()
        )


_HEADING = re.compile(
    rf"({'|'.join(field.name for field in fields(ReportText))})\s*:\s*(.*)", re.IGNORECASE
)
