"""What a check says: passed, not attempted, incorrect, or that it cannot tell."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from html import escape


class Verdict(Enum):
    """The four outcomes of a check."""

    PASSED = "passed"
    NOT_ATTEMPTED = "not attempted"
    INCORRECT = "incorrect"
    CANNOT_CHECK = "cannot check"


# A mark and a colour of the Okabe-Ito palette; the words say the same to who sees neither.
_LOOK = {
    Verdict.PASSED: ("✔", "#009E73"),
    Verdict.NOT_ATTEMPTED: ("…", "#56B4E9"),
    Verdict.INCORRECT: ("✘", "#D55E00"),
    Verdict.CANNOT_CHECK: ("?", "#E69F00"),
}


@dataclass(frozen=True)
class Outcome:
    """What a check found.

    Parameters
    ----------
    verdict : Verdict
        One of four.
    reason : str
        Why, in one sentence, and what to look at next.
    desired, actual : str
        What the hospital should be like, and what it is like.
    evidence : tuple of int
        Numbers of journal events to look at.
    """

    verdict: Verdict
    reason: str
    desired: str = ""
    actual: str = ""
    evidence: tuple[int, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the exercise is done."""
        return self.verdict is Verdict.PASSED

    def __str__(self) -> str:
        mark, _ = _LOOK[self.verdict]
        lines = [f"{mark} {self.verdict.value.capitalize()}. {self.reason}"]
        lines += [f"  {name}: {text}" for name, text in self._details() if text]
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        mark, colour = _LOOK[self.verdict]
        details = "".join(
            f"<div><b>{name}:</b> {escape(text)}</div>" for name, text in self._details() if text
        )
        return (
            f"<div role='status' style='border-left: 6px solid {colour}; padding: 4px 12px'>"
            f"<b>{mark} {self.verdict.value.capitalize()}.</b> {escape(self.reason)}{details}</div>"
        )

    def _details(self) -> tuple[tuple[str, str], ...]:
        numbers = ", ".join(map(str, self.evidence))
        return (
            ("Wanted", self.desired),
            ("Found", self.actual),
            ("Journal events", numbers),
        )


def passed(reason: str, *evidence: int) -> Outcome:
    """Make the outcome of a solved exercise."""
    return Outcome(Verdict.PASSED, reason, evidence=evidence)


def not_attempted(reason: str) -> Outcome:
    """Make the outcome of an exercise that nobody has worked on yet."""
    return Outcome(Verdict.NOT_ATTEMPTED, reason)


def incorrect(reason: str, desired: object = "", actual: object = "", *evidence: int) -> Outcome:
    """Make the outcome of an attempt that is not right, with what is wanted and what is there."""
    return Outcome(Verdict.INCORRECT, reason, str(desired), str(actual), evidence)


def cannot_check(reason: str) -> Outcome:
    """Make the outcome of a check that could not be made."""
    return Outcome(Verdict.CANNOT_CHECK, reason)
