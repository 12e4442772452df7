"""Letters of dots: every one is there, and what is not is seen to be missing."""

from __future__ import annotations

import numpy as np
import pytest

from labsim.imaging.font import glyphs, plain

PRINTABLE = "".join(map(chr, range(33, 127)))


def test_every_printable_character_has_a_look_of_its_own() -> None:
    looks = {glyphs(letter + "g").tobytes() for letter in PRINTABLE}
    assert len(looks) == len(PRINTABLE)


@pytest.mark.parametrize("letter", PRINTABLE)
def test_no_letter_is_empty_or_touches_the_next(letter: str) -> None:
    pair = glyphs(letter + letter)
    assert pair.shape[1] == 11
    assert pair.any()
    assert not pair[:, 5].any()


def test_a_line_is_as_high_as_it_has_to_be() -> None:
    assert glyphs("Ham").shape == (7, 17)
    assert glyphs("gym").shape == (9, 17)
    assert glyphs("").shape[1] == 0


def test_a_space_is_as_wide_as_a_letter() -> None:
    assert np.array_equal(glyphs("A B")[:, 12:], glyphs("B"))
    assert not glyphs("A B")[:, 5:12].any()


def test_accents_are_left_out() -> None:
    assert plain("Møller Åse, Łukasz Straße") == "Moller Ase, Lukasz Strasse"
    assert np.array_equal(glyphs("Åse"), glyphs("Ase"))


def test_what_the_font_does_not_have_is_a_box() -> None:
    box = glyphs("中")
    assert box[0].all()
    assert box[:, 0].all()
    assert not box[3, 2]
    assert np.array_equal(glyphs("村"), box)
