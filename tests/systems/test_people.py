from __future__ import annotations

import random
import re

from labsim.systems.people import invent


def test_the_same_numbers_invent_the_same_person() -> None:
    assert invent(random.Random(3)) == invent(random.Random(3))


def test_different_numbers_invent_different_people() -> None:
    assert len({invent(random.Random(n)) for n in range(200)}) > 190


def test_a_person_fits_dicom_and_hl7() -> None:
    for number in range(500):
        name, birth_date, sex = invent(random.Random(number))
        assert re.fullmatch(r"[^^=\\|&~]+\^[^^=\\|&~]+", name)
        assert re.fullmatch(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|1\d|2[0-8])", birth_date)
        assert sex in ("F", "M")
