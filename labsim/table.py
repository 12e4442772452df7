"""Small tables that read well in a terminal and in a notebook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any


@dataclass(frozen=True)
class Table:
    """Rows with a heading.

    Parameters
    ----------
    columns : sequence of str
        The heading of each column.
    rows : sequence of sequences
        The cells; each is shown with ``str``.
    caption : str
        What the table shows, read out first by a screen reader.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Sequence[Any]]:
        return iter(self.rows)

    def __getitem__(self, row: int) -> Sequence[Any]:
        return self.rows[row]

    def __str__(self) -> str:
        cells = [list(map(_line, row)) for row in [self.columns, *self.rows]]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in cells
        ]
        lines.insert(1, "  ".join("-" * width for width in widths))
        return "\n".join([self.caption, *lines] if self.caption else lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head = "".join(f"<th scope='col' style='{_CELL}'>{_html(c)}</th>" for c in self.columns)
        body = "".join(
            "<tr>" + "".join(f"<td style='{_CELL}'>{_html(c)}</td>" for c in row) + "</tr>"
            for row in self.rows
        )
        caption = f"<caption style='{_CAPTION}'>{escape(self.caption)}</caption>"
        return (
            f"<div style='overflow-x: auto'><table>{caption if self.caption else ''}"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        )


# Long UIDs may break anywhere, so that a table never grows wider than the page.
_CELL = "text-align: left; vertical-align: top; overflow-wrap: anywhere"
_CAPTION = "caption-side: top; text-align: left; font-weight: 600"


def _text(cell: Any) -> str:
    return "" if cell is None else str(cell)


def _line(cell: Any) -> str:
    return " ".join(_text(cell).splitlines())


def _html(cell: Any) -> str:
    return escape(_text(cell))
