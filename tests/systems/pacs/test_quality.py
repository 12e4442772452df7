from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from io import BytesIO
from typing import Any

import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileDataset
from pydicom.tag import Tag

from labsim import Hospital
from labsim.errors import ConfigurationError, NotFound
from labsim.ids import make_uid
from labsim.systems.pacs import checks
from labsim.systems.records import Patient, Procedure
from labsim.wire.network import free_port

Station = Callable[..., AbstractContextManager[Any]]
Image = Callable[..., FileDataset]
Send = Callable[..., list[int]]
Heard = Callable[[Hospital, str], None]


@pytest.fixture
def archive(hospital: Hospital) -> Iterator[Hospital]:
    hospital.pacs.register_ae("READER", host="127.0.0.1", port=free_port())
    return hospital


@pytest.fixture
def patient(archive: Hospital) -> Patient:
    return archive.his.register_patient("Vega^Ines")


@pytest.fixture
def procedure(archive: Hospital, patient: Patient) -> Procedure:
    """An examination that the archive expects."""
    placed = archive.his.place_order(patient.patient_id)
    scheduled = archive.ris.schedule(placed.placer_order)
    assert archive.journal.wait_for(
        lambda e: e.source == "pacs" and e.keys.get("accession") == scheduled.accession, 5
    )
    return scheduled


def taken(image: Image, patient: Patient, procedure: Procedure, **attributes: Any) -> FileDataset:
    """Return an image as the order wants it, but for what is given."""
    plain = {
        "PatientID": patient.patient_id,
        "IssuerOfPatientID": patient.issuer,
        "PatientName": patient.name,
        "StudyInstanceUID": procedure.study_uid,
        "AccessionNumber": procedure.accession,
    }
    return image(**(plain | attributes))


def listed(hospital: Hospital, **settings: bool) -> list[tuple[str, str, str]]:
    """Return rule, reason and state of what waits."""
    return [tuple(row[3:6]) for row in hospital.pacs.qc.table(**settings)]


# Rules


def test_what_is_as_ordered_is_not_listed(
    archive: Hospital, send: Send, image: Image, patient: Patient, procedure: Procedure
) -> None:
    for rule in archive.pacs.qc.rules():
        archive.pacs.qc.set_rule(rule[0], hold=True)
    send(archive, taken(image, patient, procedure))
    assert listed(archive, decided=True) == []


@pytest.mark.parametrize(
    ("rule", "attributes", "why"),
    [
        (
            "patient differs",
            {"PatientID": "P9"},
            "ordered for patient P000001^^^RIVERSIDE, came for P9^^^RIVERSIDE",
        ),
        (
            "patient differs",
            {"IssuerOfPatientID": "HILLSIDE"},
            "ordered for patient P000001^^^RIVERSIDE, came for P000001^^^HILLSIDE",
        ),
        ("accession differs", {"AccessionNumber": "B1"}, "ordered as A0000001, came as B1"),
        (
            "accession differs",
            {"StudyInstanceUID": "1.2.3"},
            "accession number A0000001 was announced for another study",
        ),
        ("patient unknown", {"PatientID": "P9"}, "no order names patient P9"),
        ("unannounced", {"StudyInstanceUID": "1.2.3"}, "no order has announced this study"),
        ("laterality missing", {"BodyPartExamined": "KNEE"}, "KNEE of which side?"),
        ("sender", {}, "all of CT1 is looked at"),
    ],
)
def test_a_rule_finds_what_is_wrong(
    archive: Hospital,
    send: Send,
    image: Image,
    patient: Patient,
    procedure: Procedure,
    rule: str,
    attributes: dict[str, Any],
    why: str,
) -> None:
    for row in archive.pacs.qc.rules():
        archive.pacs.qc.set_rule(row[0], enabled=row[0] == rule, value="MR1, CT1")
    send(archive, taken(image, patient, procedure, **attributes))
    assert listed(archive) == [(rule, why, "listed")]


@pytest.mark.parametrize(
    "attributes",
    [
        {"BodyPartExamined": "KNEE", "Laterality": "L"},
        {"BodyPartExamined": "KNEE", "ImageLaterality": "R"},
        {"BodyPartExamined": "CHEST"},
    ],
)
def test_a_side_that_is_given_or_does_not_matter(
    archive: Hospital, send: Send, image: Image, attributes: dict[str, Any]
) -> None:
    archive.pacs.qc.set_rule("laterality missing")
    send(archive, image(**attributes))
    assert listed(archive) == []


@pytest.mark.parametrize(
    ("declared", "written", "why"),
    [
        ("", "Müller".encode("latin-1"), "Institution Name is not in no character set"),
        ("ISO_IR 192", "张".encode("gb18030"), "Institution Name is not in ISO_IR 192"),
        ("ISO_IR 100", "A–B".encode("cp1252"), "Institution Name is perhaps in Windows-1252"),
        ("ISO_IR 100", "Müller".encode("latin-1"), ""),
        ("ISO_IR 192", "Müller".encode(), ""),
        ("", b"Mueller", ""),
    ],
)
def test_text_that_is_not_in_its_character_set_is_found(
    archive: Hospital, image: Image, declared: str, written: bytes, why: str
) -> None:
    file = BytesIO()
    made = image(SpecificCharacterSet=declared, InstitutionName="x" * len(written))
    made.save_as(file, enforce_file_format=True)
    data = file.getvalue().replace(b"x" * len(written), written)
    assert checks.character_set(checks.Seen(made, data, "CT1", {}, archive.pacs._announced)) == why


def test_an_image_with_text_in_no_character_set_is_listed(
    archive: Hospital, send: Send, image: Image
) -> None:
    archive.pacs.qc.set_rule("character set")
    made = image(SpecificCharacterSet="")
    tag = Tag("InstitutionName")
    made[tag] = RawDataElement(tag, "LO", 6, b"M\xfcller", 0, False, True)  # goes as it is
    send(archive, made)
    why = "Institution Name is not in no character set"
    assert listed(archive) == [("character set", why, "listed")]


@pytest.mark.parametrize("accession", ["", "A0000001", "A7"])
def test_a_study_for_two_examinations_has_no_number_or_one_of_theirs(
    archive: Hospital,
    send: Send,
    image: Image,
    patient: Patient,
    procedure: Procedure,
    accession: str,
) -> None:
    archive.pacs._reconciling.announce(procedure.study_uid, "A7", patient, "CT abdomen")
    send(archive, taken(image, patient, procedure, AccessionNumber=accession))
    assert listed(archive) == []


def test_what_the_index_refuses_is_listed(archive: Hospital, send: Send, image: Image) -> None:
    first = image()
    wrong = image(StudyInstanceUID=first.StudyInstanceUID, PatientID="ELSE")
    assert send(archive, first, wrong) == [0x0000, 0xC001]
    why = "from CT1: The study is in the archive for another patient."
    assert listed(archive) == [("refused", why, "listed")]


def test_a_study_is_listed_once_for_each_reason(
    archive: Hospital, send: Send, image: Image, patient: Patient, procedure: Procedure
) -> None:
    wrong = [taken(image, patient, procedure, AccessionNumber="B1") for _ in range(3)]
    for each in wrong[1:]:
        each.SeriesInstanceUID = wrong[0].SeriesInstanceUID
    send(archive, *wrong)
    assert len(archive.pacs.qc.table()) == 1
    assert archive.pacs.qc.reasons(procedure.study_uid) == ["ordered as A0000001, came as B1"]


def test_an_unknown_rule_is_named(archive: Hospital) -> None:
    with pytest.raises(NotFound, match=r"no rule 'colour'.*patient differs, accession differs"):
        archive.pacs.qc.set_rule("colour")


# Hold


@pytest.fixture
def held(
    archive: Hospital, send: Send, image: Image, patient: Patient, procedure: Procedure
) -> str:
    """A study of the wrong patient and accession number, which quality control holds."""
    archive.pacs.qc.set_rule("patient differs", hold=True)
    archive.pacs.routes.add("all", "READER")
    wrong = taken(image, patient, procedure, PatientID="P9", PatientName="Else^Somebody",
                  AccessionNumber="B1")  # fmt: skip
    assert send(archive, wrong) == [0x0000]
    return procedure.study_uid


def test_a_held_study_is_not_seen_and_not_sent_on(archive: Hospital, held: str) -> None:
    assert archive.tools.findscu(StudyInstanceUID=held) == []
    assert archive.tools.findscu(PatientID="P9") == []
    assert archive.tools.getscu(held) == []
    assert len(archive.pacs.queue()) == 0
    archive.pacs.visibility.grant("TOOLS")
    assert len(archive.tools.getscu(held)) == 1


def test_what_is_only_listed_is_seen_and_sent_on(
    archive: Hospital,
    station: Station,
    send: Send,
    image: Image,
    patient: Patient,
    procedure: Procedure,
) -> None:
    with station(archive, "READER") as reader:
        archive.pacs.routes.add("all", "READER")
        send(archive, taken(image, patient, procedure, AccessionNumber="B1"))
        assert len(archive.tools.findscu(StudyInstanceUID=procedure.study_uid)) == 1
        archive.pacs.retry()
        assert len(reader.images) == 1
        archive.pacs.qc.release(procedure.study_uid)
        archive.pacs.retry()
        assert len(reader.images) == 1  # not sent again


def test_what_was_released_is_seen_and_sent_on(
    archive: Hospital, station: Station, held: str, send: Send, image: Image
) -> None:
    with station(archive, "READER") as reader:
        archive.pacs.qc.release(held, reason="it is the right one")
        archive.pacs.retry()
    assert len(reader.images) == len(archive.tools.getscu(held)) == 1
    assert listed(archive) == []
    assert {state for _, _, state in listed(archive, decided=True)} == {"released"}
    more = image(StudyInstanceUID=held, PatientID="P9", IssuerOfPatientID="RIVERSIDE")
    assert send(archive, more) == [0x0000]
    assert listed(archive) == []  # somebody has looked at that
    with pytest.raises(NotFound, match="waits for quality control"):
        archive.pacs.qc.release(held)


def test_what_was_rejected_is_not_seen(archive: Hospital, held: str) -> None:
    [note] = archive.pacs.qc.reject(held, reason="worklist", text="wrong patient")
    assert archive.tools.findscu(StudyInstanceUID=held) == []
    assert [row[3:5] for row in archive.pacs.rejected()] == [
        ("Incorrect Modality Worklist Entry", "wrong patient")
    ]
    assert archive.pacs._index.find(note) is not None
    assert {state for _, _, state in listed(archive, decided=True)} == {"rejected"}


def test_a_fix_makes_it_what_the_order_says_and_lets_it_through(
    archive: Hospital, station: Station, held: str, patient: Patient, procedure: Procedure
) -> None:
    with station(archive, "READER") as reader:
        fixed = archive.pacs.qc.fix(held, reason="wrong worklist entry")
        assert ("AccessionNumber", "B1", procedure.accession) in fixed.changes
        archive.pacs.retry()
    [study] = archive.tools.findscu(StudyInstanceUID=held, PatientID="", AccessionNumber="")
    assert (study.PatientID, study.AccessionNumber) == (patient.patient_id, procedure.accession)
    [image] = reader.images
    assert (image.PatientID, image.AccessionNumber) == (patient.patient_id, procedure.accession)
    assert image.OriginalAttributesSequence[0].ModifiedAttributesSequence[0].PatientID == "P9"
    assert {state for _, _, state in listed(archive, decided=True)} == {"fixed"}


def test_a_correction_that_leaves_something_wrong_does_not_let_it_through(
    archive: Hospital, held: str, procedure: Procedure
) -> None:
    archive.pacs.qc.correct(held, accession=procedure.accession, reason="that at least")
    assert [(rule, state) for rule, _, state in listed(archive)] == [("patient differs", "held")]
    assert archive.tools.findscu(StudyInstanceUID=held) == []


def test_a_move_lets_it_through(
    archive: Hospital, held: str, patient: Patient, procedure: Procedure
) -> None:
    archive.pacs.qc.correct(held, accession=procedure.accession, reason="that first")
    archive.pacs.move_study(held, patient.patient_id, reason="and that")
    assert listed(archive) == []
    assert len(archive.tools.findscu(StudyInstanceUID=held)) == 1


def test_an_order_that_comes_later_lets_it_through(
    archive: Hospital, send: Send, image: Image, patient: Patient, heard: Heard
) -> None:
    archive.pacs.qc.set_rule("unannounced", hold=True)
    placed = archive.his.place_order(patient.patient_id)
    uid = make_uid("study", 7, 1)  # as the RIS will give it
    send(archive, image(
        StudyInstanceUID=uid, PatientID=patient.patient_id, IssuerOfPatientID="RIVERSIDE",
        AccessionNumber="",
    ))  # fmt: skip
    assert archive.tools.findscu(StudyInstanceUID=uid) == []
    assert archive.ris.schedule(placed.placer_order).study_uid == uid
    heard(archive, "quality control, fixed: no order has announced this study")
    [study] = archive.tools.findscu(StudyInstanceUID=uid, AccessionNumber="")
    assert study.AccessionNumber == "A0000001"


def test_a_study_that_came_without_a_number_gets_the_one_of_its_order(
    archive: Hospital, send: Send, image: Image, patient: Patient, procedure: Procedure
) -> None:
    send(archive, taken(image, patient, procedure, AccessionNumber=""))
    assert listed(archive, decided=True) == []
    [study] = archive.tools.findscu(StudyInstanceUID=procedure.study_uid, AccessionNumber="")
    assert study.AccessionNumber == procedure.accession


def test_a_merge_of_patients_is_no_mismatch(
    archive: Hospital, send: Send, image: Image, patient: Patient, procedure: Procedure,
    heard: Heard,
) -> None:  # fmt: skip
    keep = archive.his.register_patient("Vega^Inés")
    archive.his.merge_patients(keep.patient_id, patient.patient_id)
    heard(archive, "0 studies moved")
    send(archive, taken(image, patient, procedure))
    assert listed(archive) == []


def test_nothing_says_what_would_be_right_without_an_order(
    archive: Hospital, send: Send, image: Image
) -> None:
    archive.pacs.qc.set_rule("unannounced", hold=True)
    sent = image()
    send(archive, sent)
    with pytest.raises(NotFound, match="nothing says what would be right"):
        archive.pacs.qc.fix(str(sent.StudyInstanceUID), reason="x")
    with pytest.raises(ConfigurationError, match="needs a reason"):
        archive.pacs.qc.release(str(sent.StudyInstanceUID), reason=" ")


def test_the_scanner_is_promised_what_is_held(archive: Hospital, held: str) -> None:
    [path] = archive.pacs.paths(held)
    assert not archive.pacs._rejections.is_rejected(path.stem)
