"""What a benchmark finds out: a figure of the lab's beside the same of another program."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One comparison within one run.

    Parameters
    ----------
    what : str
        What was measured.
    ours, theirs : float
        The two figures, in `unit`.
    unit : str
        Such as ``"s"`` or ``"messages/s"``.
    peer : str
        Whose figure the second is; empty if there is none.
    more_is_better : bool
        Whether a greater figure is the better one.
    aim : str
        What it ought to be.
    """

    what: str
    ours: float
    unit: str
    theirs: float | None = None
    peer: str = ""
    more_is_better: bool = False
    aim: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times as good as the peer the lab is; below 1 it is worse."""
        if not self.theirs or not self.ours:
            return None
        return self.ours / self.theirs if self.more_is_better else self.theirs / self.ours


def markdown(rows: list[Row]) -> str:
    """Return rows as a table."""
    lines = [
        "| what | labsim | peer | times as good | aim |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        theirs = "" if row.theirs is None else f"{row.theirs:.3g} {row.unit} ({row.peer})"
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        lines.append(f"| {row.what} | {row.ours:.3g} {row.unit} | {theirs} | {ratio} | {row.aim} |")
    return "\n".join(lines)
