from __future__ import annotations

import pytest

from labsim.errors import NotFound
from labsim.imaging.ct import PROTOCOLS
from labsim.systems.catalogue import examination, examinations


def test_an_examination_is_found_by_its_code() -> None:
    assert [examination(entry.code) for entry in examinations()] == examinations()


def test_an_unknown_code_is_answered_with_the_known_ones() -> None:
    with pytest.raises(NotFound, match=r"'CTKNEE'.*CTTHORAX, CTHEAD"):
        examination("CTKNEE")


def test_the_scanner_has_a_protocol_for_every_ct() -> None:
    assert {e.body_part for e in examinations() if e.modality == "CT"} <= set(PROTOCOLS)


def test_codes_fit_a_code_value() -> None:  # VR SH, PS3.5 6.2
    assert all(len(entry.code) <= 16 for entry in examinations())
