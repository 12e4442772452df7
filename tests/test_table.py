"""Tables for the terminal and the notebook."""

from __future__ import annotations

from html.parser import HTMLParser

from labsim.table import Table

TABLE = Table(("name", "age"), [("Ada", 3), ("Grace Hopper", None)], "People")


class _Cells(HTMLParser):
    """Collects what a browser would show in each cell, and checks that tags nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[tuple[str, str]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        if tag in ("th", "td", "caption"):
            self.cells.append((tag, ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.cells[-1] = (self.cells[-1][0], self.cells[-1][1] + data)


def test_columns_line_up_in_a_terminal() -> None:
    assert str(TABLE).splitlines() == [
        "People",
        "name          age",
        "------------  ---",
        "Ada           3",
        "Grace Hopper",
    ]


def test_a_table_without_rows_has_a_heading() -> None:
    assert str(Table(("name", "age"), [])) == "name  age\n----  ---"


def test_a_notebook_shows_the_same_cells() -> None:
    assert _Cells(TABLE._repr_html_()).cells == [
        ("caption", "People"),
        ("th", "name"),
        ("th", "age"),
        ("td", "Ada"),
        ("td", "3"),
        ("td", "Grace Hopper"),
        ("td", ""),
    ]


def test_a_value_cannot_put_markup_into_a_notebook() -> None:
    evil = "<script>alert('x')</script> & \"more\""
    shown = Table((evil,), [(evil,)], evil)._repr_html_()
    assert "<script" not in shown
    assert [text for _, text in _Cells(shown).cells] == [evil] * 3


def test_headings_are_marked_for_screen_readers() -> None:
    assert TABLE._repr_html_().count("<th scope='col'") == 2


def test_a_table_has_a_length_and_can_be_walked() -> None:
    assert len(TABLE) == 2
    assert [row[0] for row in TABLE] == ["Ada", "Grace Hopper"]


def test_a_line_break_in_a_cell_stays_within_its_row() -> None:
    shown = str(Table(("text",), [("one\ntwo",), ("three",)]))
    assert len(shown.splitlines()) == 4


def test_a_row_is_taken_by_its_number() -> None:
    assert TABLE[0] == ("Ada", 3)
    assert TABLE[-1][0] == "Grace Hopper"
