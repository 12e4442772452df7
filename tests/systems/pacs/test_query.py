from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import CTImageStorage, MRImageStorage
from pynetdicom.association import Association

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.ids import make_uid
from labsim.sop_classes import PATIENT_ROOT_FIND, STUDY_ROOT_FIND

Dial = Callable[..., AbstractContextManager[Association]]
Image = Callable[..., FileDataset]
Keys = Callable[..., Dataset]
Ask = Callable[..., list[Dataset]]

NOON = datetime(2026, 3, 2, 12, 0)
S1, S2, S3, S4 = (make_uid("queried study", number) for number in range(1, 5))
NAMES = "Yamada^Tarou=山田^太郎=やまだ^たろう"
# patient, name, study, date, time, accession, description, modality, images
ARCHIVE = [
    ("Q1", "Silva^Ines", S1, "20260301", "081500", "X1", "CT thorax", "CT", 3),
    ("Q1", "Silva^Ines", S1, "20260301", "081500", "X1", "CT thorax", "SR", 1),
    ("Q1", "Silva^Ines", S2, "20260302", "120000.5", "X2", "MR head [plain]", "MR", 2),
    ("Q2", "MÜLLER^Jürgen", S3, "2026.03.03", "235959", "X10", "CT head", "CT", 1),
    ("Q3", NAMES, S4, "", "", "Y1", "CT thorax", "CT", 1),
]


@pytest.fixture(scope="module")
def clinic(dial: Dial, image: Image) -> Iterator[Hospital]:
    with Hospital(clock=ManualClock(NOON)) as hospital:
        with dial(hospital, "pacs", CTImageStorage, MRImageStorage) as association:
            for patient, name, study, date, time, accession, text, modality, images in ARCHIVE:
                for number in range(1, images + 1):
                    made = image(
                        SOPClassUID=MRImageStorage if modality == "MR" else CTImageStorage,
                        PatientID=patient,
                        PatientName=name,
                        StudyInstanceUID=study,
                        SeriesInstanceUID=make_uid("queried series", study, modality),
                        SeriesNumber=1 if modality == "CT" else 11,
                        StudyDate=date,
                        StudyTime=time,
                        AccessionNumber=accession,
                        StudyDescription=text,
                        Modality=modality,
                        InstanceNumber=number,
                    )
                    assert association.send_c_store(made).Status == 0x0000
        yield hospital


@pytest.fixture
def ask(clinic: Hospital, dial: Dial, keys: Keys) -> Ask:
    """Query the archive, and require that every answer is a plain match."""

    def query(level: str, model: str = STUDY_ROOT_FIND, **attributes: Any) -> list[Dataset]:
        identifier = keys(QueryRetrieveLevel=level, **attributes)
        with dial(clinic, "pacs", model) as association:
            answers = list(association.send_c_find(identifier, model))
        assert [status.Status for status, _ in answers] == [0xFF00] * (len(answers) - 1) + [0x0000]
        return [entry for _, entry in answers if entry is not None]

    return query


def accessions(entries: list[Dataset]) -> list[str]:
    return [entry.AccessionNumber for entry in entries]


ALL = ["X1", "X2", "X10", "Y1"]


@pytest.mark.parametrize(
    ("attributes", "found"),
    [
        # single value matching
        ({"AccessionNumber": "X1"}, ["X1"]),
        ({"AccessionNumber": "x1"}, []),
        ({"PatientID": "Q1"}, ["X1", "X2"]),
        ({"StudyDescription": "CT head"}, ["X10"]),
        # list of UIDs
        ({"StudyInstanceUID": [S2, S4]}, ["X2", "Y1"]),
        ({"StudyInstanceUID": [S2, "1.2.3"]}, ["X2"]),
        # universal
        ({"AccessionNumber": ""}, ALL),
        ({"AccessionNumber": "*"}, ALL),
        ({"StudyDate": ""}, ALL),
        # wild cards
        ({"AccessionNumber": "X*"}, ["X1", "X2", "X10"]),
        ({"AccessionNumber": "X?"}, ["X1", "X2"]),
        ({"StudyDescription": "*thorax"}, ["X1", "Y1"]),
        ({"StudyDescription": "*[plain]"}, ["X2"]),
        ({"StudyDescription": "MR head [p*"}, ["X2"]),
        # dates and times
        ({"StudyDate": "20260301"}, ["X1"]),
        ({"StudyDate": "20260303"}, ["X10"]),
        ({"StudyDate": "20260301-20260302"}, ["X1", "X2"]),
        ({"StudyDate": "20260302-"}, ["X2", "X10"]),
        ({"StudyDate": "-20260302"}, ["X1", "X2"]),
        ({"StudyDate": "20270101-"}, []),
        ({"StudyTime": "0800-1200"}, ["X1", "X2"]),
        ({"StudyTime": "0815"}, ["X1"]),
        ({"StudyTime": "235959-"}, ["X10"]),
        # names: case does not count, and each group counts by itself
        ({"PatientName": "silva^ines"}, ["X1", "X2"]),
        ({"PatientName": "SIL*"}, ["X1", "X2"]),
        ({"PatientName": "Silva"}, []),
        ({"PatientName": "müller*"}, ["X10"]),
        ({"PatientName": "m?ller^*"}, ["X10"]),
        ({"PatientName": "yamada*"}, ["Y1"]),
        ({"PatientName": "山田^太郎"}, ["Y1"]),
        ({"PatientName": "やまだ*"}, ["Y1"]),
        ({"PatientName": "Yamada^Tarou=山田*"}, ["Y1"]),
        ({"PatientName": "Yamada^Tarou=田中*"}, []),
        # several keys must all match
        ({"PatientID": "Q1", "StudyDate": "20260302"}, ["X2"]),
        ({"PatientID": "Q2", "StudyDate": "20260302"}, []),
        ({"ModalitiesInStudy": "SR"}, ["X1"]),
        ({"ModalitiesInStudy": "MR"}, ["X2"]),
        ({"ModalitiesInStudy": ["MR", "SR"]}, ["X1", "X2"]),
    ],
)
@pytest.mark.parametrize("model", [STUDY_ROOT_FIND])
def test_studies_match(ask: Ask, model: str, attributes: dict[str, Any], found: list[str]) -> None:
    plain = {"SpecificCharacterSet": "ISO_IR 192", "AccessionNumber": ""}
    assert accessions(ask("STUDY", model, **plain | attributes)) == found


def test_a_key_in_another_character_set_finds_the_same_name(ask: Ask) -> None:
    found = ask(
        "STUDY", SpecificCharacterSet="ISO_IR 100", PatientName="Müller*", AccessionNumber=""
    )
    assert accessions(found) == ["X10"]
    assert found[0].SpecificCharacterSet == "ISO_IR 100"
    assert found[0].PatientName == "MÜLLER^Jürgen"


@pytest.mark.parametrize(
    ("name", "indices"),
    [
        ("yam*", {"patients_by_name", "patients_by_ideographic", "patients_by_phonetic"}),
        ("=山田*", {"patients_by_ideographic"}),
        ("yam*==やまだ*", {"patients_by_name", "patients_by_phonetic"}),
    ],
)
def test_a_name_is_looked_up_in_the_index_of_each_group(
    clinic: Hospital, ask: Ask, monkeypatch: pytest.MonkeyPatch, name: str, indices: set[str]
) -> None:
    shown = clinic.pacs.visibility.database("TOOLS")
    asked: list[tuple[str, tuple[Any, ...]]] = []
    rows = shown.rows

    def seen(sql: str, *values: Any) -> list[Any]:
        asked.append((sql, values))
        return rows(sql, *values)

    monkeypatch.setattr(shown, "rows", seen)
    found = ask("STUDY", SpecificCharacterSet="ISO_IR 192", PatientName=name, AccessionNumber="")
    assert accessions(found) == ["Y1"]
    sql, values = next((sql, values) for sql, values in asked if "_key GLOB" in sql)
    plan = " ".join(str(row["detail"]) for row in rows(f"EXPLAIN QUERY PLAN {sql}", *values))
    assert set(re.findall(r"INDEX (patients_by_\w+)", plan)) == indices
    assert "SCAN patients" not in plan


def test_a_patient_comes_with_counts(ask: Ask) -> None:
    found = ask(
        "PATIENT",
        PATIENT_ROOT_FIND,
        PatientID="",
        PatientName="",
        NumberOfPatientRelatedStudies="",
        NumberOfPatientRelatedSeries="",
        NumberOfPatientRelatedInstances="",
    )
    assert [
        (
            entry.PatientID,
            int(entry.NumberOfPatientRelatedStudies),
            int(entry.NumberOfPatientRelatedSeries),
            int(entry.NumberOfPatientRelatedInstances),
        )
        for entry in found
    ] == [("Q1", 2, 3, 6), ("Q2", 1, 1, 1), ("Q3", 1, 1, 1)]


def test_a_corrected_patient_without_images_is_not_found(clinic: Hospital, ask: Ask) -> None:
    patient = clinic.his.register_patient("Nobody^Here")
    seen = clinic.journal.all()[-1].seq
    clinic.his.update_patient(patient.patient_id, name="Nobody^There")
    assert clinic.journal.wait_for(
        lambda event: event.source == "pacs" and event.summary.endswith("those to come"), 5, seen
    )
    assert ask("PATIENT", PATIENT_ROOT_FIND, PatientName="Nobody*") == []


def test_a_study_comes_with_counts_and_modalities(ask: Ask) -> None:
    (entry,) = ask(
        "STUDY",
        StudyInstanceUID=S1,
        ModalitiesInStudy="",
        NumberOfStudyRelatedSeries="",
        NumberOfStudyRelatedInstances="",
    )
    assert sorted(entry.ModalitiesInStudy) == ["CT", "SR"]
    assert entry.NumberOfStudyRelatedSeries == 2
    assert entry.NumberOfStudyRelatedInstances == 4


@pytest.mark.parametrize("model", [PATIENT_ROOT_FIND, STUDY_ROOT_FIND])
def test_series_of_a_study_are_found(ask: Ask, model: str) -> None:
    found = ask(
        "SERIES",
        model,
        StudyInstanceUID=S1,
        SeriesInstanceUID="",
        Modality="",
        SeriesNumber="",
        NumberOfSeriesRelatedInstances="",
    )
    assert [(e.Modality, e.SeriesNumber, e.NumberOfSeriesRelatedInstances) for e in found] == [
        ("CT", 1, 3),
        ("SR", 11, 1),
    ]


@pytest.mark.parametrize(
    ("attributes", "found"),
    [({"Modality": "SR"}, [11]), ({"SeriesNumber": "01"}, [1]), ({"SeriesNumber": "2"}, [])],
)
def test_series_match_by_their_own_keys(
    ask: Ask, attributes: dict[str, str], found: list[int]
) -> None:
    plain = {"StudyInstanceUID": S1, "SeriesNumber": ""}
    assert [entry.SeriesNumber for entry in ask("SERIES", **plain | attributes)] == found


@pytest.mark.parametrize("model", [PATIENT_ROOT_FIND, STUDY_ROOT_FIND])
def test_images_of_a_series_are_found(ask: Ask, model: str) -> None:
    found = ask(
        "IMAGE",
        model,
        StudyInstanceUID=S1,
        SeriesInstanceUID=make_uid("queried series", S1, "CT"),
        SOPInstanceUID="",
        SOPClassUID="",
        InstanceNumber="",
        Rows="",
    )
    assert [(e.InstanceNumber, e.Rows, e.SOPClassUID) for e in found] == [
        (1, 2, CTImageStorage),
        (2, 2, CTImageStorage),
        (3, 2, CTImageStorage),
    ]


def test_an_image_matches_by_its_number(ask: Ask) -> None:
    (entry,) = ask("IMAGE", StudyInstanceUID=S1, InstanceNumber="2", SOPInstanceUID="")
    assert entry.InstanceNumber == 2


def test_only_what_was_asked_for_is_answered(ask: Ask) -> None:
    (entry,) = ask("STUDY", StudyInstanceUID=S2, StudyDate="", PatientID="")
    assert {element.keyword: element.value for element in entry} == {
        "QueryRetrieveLevel": "STUDY",
        "RetrieveAETitle": "PACS",
        "StudyInstanceUID": S2,
        "StudyDate": "20260302",
        "PatientID": "Q1",
    }


@pytest.mark.parametrize(
    ("model", "level"),
    [
        (STUDY_ROOT_FIND, "PATIENT"),
        (STUDY_ROOT_FIND, ""),
        (STUDY_ROOT_FIND, "EVERYTHING"),
        (PATIENT_ROOT_FIND, "FRAME"),
    ],
)
def test_a_level_that_the_model_does_not_have_is_refused(
    clinic: Hospital, dial: Dial, keys: Keys, model: str, level: str
) -> None:
    identifier = keys(QueryRetrieveLevel=level, PatientID="")
    with dial(clinic, "pacs", model) as association:
        ((status, entry),) = list(association.send_c_find(identifier, model))
    assert (status.Status, entry) == (0xA900, None)
    assert status.ErrorComment.startswith("Query/Retrieve Level")


def test_a_request_without_a_level_is_refused(clinic: Hospital, dial: Dial, keys: Keys) -> None:
    with dial(clinic, "pacs", STUDY_ROOT_FIND) as association:
        ((status, _),) = list(association.send_c_find(keys(PatientID=""), STUDY_ROOT_FIND))
    assert status.Status == 0xA900


def test_a_key_that_is_not_supported_is_told(clinic: Hospital, dial: Dial, keys: Keys) -> None:
    identifier = keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=S1, InstitutionName="Elsewhere")
    with dial(clinic, "pacs", STUDY_ROOT_FIND) as association:
        answers = list(association.send_c_find(identifier, STUDY_ROOT_FIND))
    assert [status.Status for status, _ in answers] == [0xFF01, 0x0000]
    assert "InstitutionName" not in answers[0][1]


def test_quotes_are_no_danger_to_the_index(ask: Ask) -> None:
    assert ask("STUDY", PatientID="' OR 1=1 --") == []
    assert ask("STUDY", PatientName="O'*", PatientID='"') == []
    assert len(ask("STUDY", PatientID="")) == 4
