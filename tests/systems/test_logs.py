"""The log of each system."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from labsim import Hospital
from labsim.errors import AssociationFailed, ConfigurationError, NotFound
from labsim.exam import Exam

pytestmark = pytest.mark.usefixtures("small_scans")


@pytest.fixture
def exam(hospital: Hospital) -> Exam:
    exam = hospital.exam()
    assert hospital.settle()
    return exam


def test_a_log_has_a_json_object_a_line_for_all_that_its_system_did(
    hospital: Hospital, exam: Exam
) -> None:
    file = hospital.path / "logs" / "pacs.jsonl"

    def lines_of() -> list[dict[str, object]]:
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]

    assert hospital.wait_until(
        lambda: len(lines_of()) == len(hospital.journal.events(source="pacs"))
    )
    lines = lines_of()
    assert {"time", "level", "event", "transaction", "peer", "keys", "message"} == set(lines[0])
    assert {"dimse", "hl7", "association"} <= {line["event"] for line in lines}
    assert exam.accession in str(lines)


def test_a_log_is_searched_in_messages_peers_and_keys(hospital: Hospital, exam: Exam) -> None:
    found = hospital.logs("ris", contains=exam.accession.lower())
    assert 0 < len(found) < len(hospital.logs("ris"))
    assert len(hospital.logs("pacs", contains="C-STORE-RQ")) >= len(exam.images)


def test_a_good_exam_leaves_no_error_and_a_wrong_title_a_warning(
    hospital: Hospital, exam: Exam
) -> None:
    assert list(hospital.logs("pacs", level="warning")) == []
    with pytest.raises(AssociationFailed):
        hospital.tools.echoscu("pacs", called="WRONG")
    # A log is written just after the journal.
    assert hospital.wait_until(lambda: len(hospital.logs("pacs", level="warning")) > 0)
    (row,) = hospital.logs("pacs", level="warning")
    assert row[1] == "warning"
    assert "called WRONG" in row[4]


def test_what_does_not_answer_is_an_error_in_the_log_of_who_called(hospital: Hospital) -> None:
    hospital.pacs.stop_service("dicom")
    hospital.exam()
    (first, *_) = hospital.logs("ct1", level="error")
    assert "nothing listens on that port" in first[4]


def test_what_a_trainer_does_is_in_no_log(hospital: Hospital) -> None:
    with hospital.journal.hidden():
        hospital.pacs.note("secretly broken")
    hospital.pacs.note("openly mended")
    assert len(hospital.logs("pacs", contains="secretly")) == 0
    assert len(hospital.logs("pacs", contains="openly")) == 1


def test_a_log_goes_on_after_a_restart(tmp_path: Path) -> None:
    for text in ("first life", "second life"):
        with Hospital(seed=7, path=tmp_path / "kept") as hospital:
            hospital.pacs.note(text)
            found = hospital.logs("pacs", contains="life")
    assert [row[4] for row in found] == ["first life", "second life"]


def test_a_wrong_question_is_answered_with_what_there_is(hospital: Hospital) -> None:
    hospital.pacs.note("something")
    with pytest.raises(NotFound, match="no log of 'pacz'"):
        hospital.logs("pacz")
    with pytest.raises(ConfigurationError, match="no level"):
        hospital.logs("pacs", level="loud")
