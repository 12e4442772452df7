from collections.abc import Iterator
from datetime import datetime

import pytest

from labsim import Hospital
from labsim.errors import LabError
from labsim.exam import Exam
from labsim.ids import make_uid
from labsim.imaging.presentation import Mark, Text, make
from labsim.widgets import show_presentation


@pytest.fixture(scope="module")
def exam() -> Iterator[Exam]:
    with Hospital(seed=7) as running:
        yield running.exam()


def test_a_state_is_shown_and_what_it_writes_is_said(exam: Exam) -> None:
    image = exam.images[3]
    uids = {"series_uid": make_uid("series"), "sop_uid": make_uid("state")}
    notes = [Mark("CIRCLE", [(40, 40), (60, 40)]), Text("look\nhere", at=(60, 40))]
    states = [
        make([image], **uids, now=datetime(2026, 3, 2), label="FOR ANNA", annotations=marks)
        for marks in ([], notes)
    ]
    plain, marked = (show_presentation(state, image) for state in states)
    assert plain.png != marked.png
    assert marked.png.startswith(b"\x89PNG\r\n\x1a\n")
    assert marked.alt.endswith("as FOR ANNA shows it: look here.")
    assert plain.alt.endswith("nothing is written in it.")
    with pytest.raises(LabError, match="FOR ANNA does not refer"):
        show_presentation(states[0], exam.images[4])
