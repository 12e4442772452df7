from __future__ import annotations

import pytest

from labsim.errors import NotFound
from labsim.imaging.scanners import SCANNERS
from labsim.systems.catalogue import Examination, examination, examinations

each = pytest.mark.parametrize("entry", examinations(), ids=lambda entry: entry.code)


def test_an_examination_is_found_by_its_code() -> None:
    assert [examination(entry.code) for entry in examinations()] == examinations()


def test_an_unknown_code_is_answered_with_the_known_ones() -> None:
    with pytest.raises(NotFound, match=r"'CTKNEE'.*CTTHORAX, CTHEAD"):
        examination("CTKNEE")


@each
def test_its_scanner_has_the_protocol_of_every_series(entry: Examination) -> None:
    protocols = [SCANNERS[entry.modality].protocols[key] for key in entry.series]
    assert {protocol.body_part for protocol in protocols} == {entry.body_part}


def test_every_kind_of_scanner_has_something_to_do() -> None:
    assert {entry.modality for entry in examinations()} == set(SCANNERS)


@each
def test_code_and_description_fit_their_fields(entry: Examination) -> None:
    assert len(entry.code) <= 16  # Code Value, VR SH
    assert len(entry.description) <= 64  # Study Description, VR LO
    assert entry.report
