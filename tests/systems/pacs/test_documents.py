from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import (
    CTImageStorage,
    EncapsulatedPDFStorage,
    EnhancedSRStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    KeyObjectSelectionDocumentStorage,
    RTPlanStorage,
    SegmentationStorage,
)
from pynetdicom.association import Association

from labsim import Hospital
from labsim.ids import make_uid
from labsim.sop_classes import STUDY_ROOT_FIND

Dial = Callable[..., AbstractContextManager[Association]]
Image = Callable[..., FileDataset]
Keys = Callable[..., Dataset]

STUDY = make_uid("study with documents")


def concept(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def observer(name: str) -> Dataset:
    item = Dataset()
    item.VerifyingObserverName, item.VerificationDateTime = name, "20260302110000"
    return item


DOCUMENTS: list[dict[str, Any]] = [
    {
        "SOPClassUID": KeyObjectSelectionDocumentStorage,
        "Modality": "KO",
        "ConceptNameCodeSequence": [concept("113001", "DCM", "Rejected for Quality Reasons")],
        "ContentDate": "20260302",
        "ContentTime": "110000",
    },
    {
        "SOPClassUID": EnhancedSRStorage,
        "Modality": "SR",
        "ConceptNameCodeSequence": [concept("18748-4", "LN", "Diagnostic imaging report")],
        "ContentDate": "20260303",
        "CompletionFlag": "COMPLETE",
        "VerificationFlag": "VERIFIED",
        "VerifyingObserverSequence": [observer("Łęcka^Żaneta")],
    },
    {
        "SOPClassUID": GrayscaleSoftcopyPresentationStateStorage,
        "Modality": "PR",
        "ContentLabel": "BONE",
        "ContentDescription": "Bone window",
        "ContentCreatorName": "Reader^One",
        "PresentationCreationDate": "20260304",
        "PresentationCreationTime": "0800",
    },
    {
        "SOPClassUID": EncapsulatedPDFStorage,
        "Modality": "DOC",
        "DocumentTitle": "Consent",
        "MIMETypeOfEncapsulatedDocument": "application/pdf",
        "EncapsulatedDocument": b"%PDF-1.4 ",
    },
    {"SOPClassUID": RTPlanStorage, "Modality": "RTPLAN", "RTPlanLabel": "Plan A"},
]
NO_PIXELS = ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit")


@pytest.fixture(scope="module")
def stored(clinic: Hospital, dial: Dial, image: Image) -> None:
    """A study with an image and one document of each kind, none of which has pixels."""
    plain = {"PatientID": "D1", "StudyInstanceUID": STUDY}
    with dial(clinic, "pacs", CTImageStorage) as association:
        assert association.send_c_store(image(**plain)).Status == 0x0000
    for attributes in DOCUMENTS:
        made = image(**plain, **attributes)
        for keyword in NO_PIXELS:
            delattr(made, keyword)
        with dial(clinic, "pacs", made.SOPClassUID) as association:
            assert association.send_c_store(made).Status == 0x0000
    segmentation = image(**plain, SOPClassUID=SegmentationStorage, ContentLabel="LIVER")
    with dial(clinic, "pacs", SegmentationStorage) as association:
        assert association.send_c_store(segmentation).Status == 0x0000


def ask(hospital: Hospital, dial: Dial, keys: Keys, **attributes: Any) -> list[Dataset]:
    identifier = keys(
        QueryRetrieveLevel="IMAGE",
        SpecificCharacterSet="ISO_IR 192",
        StudyInstanceUID=STUDY,
        **{"SOPClassUID": ""} | attributes,
    )
    with dial(hospital, "pacs", STUDY_ROOT_FIND) as association:
        answers = list(association.send_c_find(identifier, STUDY_ROOT_FIND))
    assert {status.Status for status, _ in answers[:-1]} <= {0xFF00}
    return [answer for _, answer in answers if answer is not None]


def item(**attributes: str) -> list[Dataset]:
    made = Dataset()
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return [made]


@pytest.mark.parametrize(
    ("attributes", "found"),
    [
        ({"ConceptNameCodeSequence": item(CodeValue="113001")}, [0]),
        ({"ConceptNameCodeSequence": item(CodeMeaning="*report")}, [1]),
        ({"ConceptNameCodeSequence": item(CodeValue="18748-4", CodingSchemeDesignator="DCM")}, []),
        ({"CompletionFlag": "COMPLETE"}, [1]),
        ({"VerificationFlag": "UNVERIFIED"}, []),
        ({"VerifyingObserverSequence": item(VerifyingObserverName="łęcka*")}, [1]),
        ({"ContentDate": "20260302-20260303"}, [0, 1]),
        ({"ContentLabel": "BO*"}, [2]),
        ({"ContentCreatorName": "reader*"}, [2]),
        ({"PresentationCreationDate": "20260304"}, [2]),
        ({"DocumentTitle": "Consent"}, [3]),
        ({"RTPlanLabel": "Plan A"}, [4]),
    ],
)
@pytest.mark.usefixtures("stored")
def test_a_document_is_found_by_its_own_keys(
    clinic: Hospital, dial: Dial, keys: Keys, attributes: dict[str, Any], found: list[int]
) -> None:
    answers = ask(clinic, dial, keys, **attributes)
    assert [a.SOPClassUID for a in answers] == [DOCUMENTS[n]["SOPClassUID"] for n in found]


@pytest.mark.usefixtures("stored")
def test_a_document_comes_with_what_was_asked_for(clinic: Hospital, dial: Dial, keys: Keys) -> None:
    (report,) = ask(
        clinic,
        dial,
        keys,
        SOPClassUID=EnhancedSRStorage,
        ConceptNameCodeSequence=[],
        VerifyingObserverSequence=item(VerifyingObserverName=""),
        ContentLabel="",
    )
    assert report.ConceptNameCodeSequence[0].CodeMeaning == "Diagnostic imaging report"
    assert report.VerifyingObserverSequence[0].VerifyingObserverName == "Łęcka^Żaneta"
    assert "VerificationDateTime" not in report.VerifyingObserverSequence[0]
    assert report.ContentLabel == ""
    assert "CompletionFlag" not in report


@pytest.mark.usefixtures("stored")
def test_documents_are_listed_without_the_images(clinic: Hospital) -> None:
    assert [tuple(row) for row in clinic.pacs.documents(STUDY)] == [
        ("Key Object Selection Document", "Rejected for Quality Reasons", "", "20260302", ""),
        (
            "Enhanced SR",
            "Diagnostic imaging report",
            "Łęcka^Żaneta",
            "20260303",
            "COMPLETE, VERIFIED",
        ),
        ("Grayscale Softcopy Presentation State", "BONE", "Reader^One", "20260304", ""),
        ("Encapsulated PDF", "Consent", "", "", ""),
        ("RT Plan", "Plan A", "", "", ""),
        ("Segmentation", "LIVER", "", "", ""),
    ]
    assert len(clinic.pacs.documents("1.2.3")) == 0


@pytest.mark.usefixtures("stored")
def test_a_study_says_of_what_it_is_made(clinic: Hospital, dial: Dial, keys: Keys) -> None:
    def found(**attributes: Any) -> list[Dataset]:
        identifier = keys(QueryRetrieveLevel="STUDY", PatientID="D1", **attributes)
        with dial(clinic, "pacs", STUDY_ROOT_FIND) as association:
            answers = association.send_c_find(identifier, STUDY_ROOT_FIND)
            return [answer for _, answer in answers if answer is not None]

    (study,) = found(SOPClassesInStudy="", ModalitiesInStudy="")
    assert set(study.SOPClassesInStudy) >= {CTImageStorage, EncapsulatedPDFStorage}
    assert len(study.SOPClassesInStudy) == 7
    assert len(found(SOPClassesInStudy=EnhancedSRStorage)) == 1
    assert found(SOPClassesInStudy="1.2.3") == []
    for modalities in ("KO", "K*", "?O", ["US", "PR"]):
        assert len(found(ModalitiesInStudy=modalities)) == 1
    assert found(ModalitiesInStudy="US") == []


def test_a_report_of_another_program_is_found(clinic: Hospital, dial: Dial, keys: Keys) -> None:
    sent = dcmread(Path(str(get_testdata_file("reportsi.dcm", download=False))))
    with dial(clinic, "pacs", sent.SOPClassUID) as association:
        assert association.send_c_store(sent).Status == 0x0000
    (row,) = clinic.pacs.documents(sent.StudyInstanceUID)
    assert row[1] == sent.ConceptNameCodeSequence[0].CodeMeaning


@pytest.mark.usefixtures("stored")
def test_a_study_is_as_available_as_its_slowest_instance(
    clinic: Hospital, dial: Dial, keys: Keys
) -> None:
    def availability(level: str, **attributes: Any) -> list[str]:
        identifier = keys(
            QueryRetrieveLevel=level, StudyInstanceUID=STUDY, InstanceAvailability="", **attributes
        )
        with dial(clinic, "pacs", STUDY_ROOT_FIND) as association:
            answers = association.send_c_find(identifier, STUDY_ROOT_FIND)
            return [answer.InstanceAvailability for _, answer in answers if answer is not None]

    assert availability("STUDY") == ["ONLINE"]
    slow = clinic.pacs.sql(
        "SELECT i.sop_uid FROM instances i JOIN series s ON s.id = i.series WHERE s.modality = 'KO'"
    ).rows[0][0]
    clinic.pacs._index.set_availability([slow], "NEARLINE")
    assert availability("STUDY") == ["NEARLINE"]
    assert sorted(availability("SERIES")) == ["NEARLINE", *["ONLINE"] * 6]
    assert availability("IMAGE", SOPInstanceUID=slow) == ["NEARLINE"]
    clinic.pacs._index.set_availability([slow], "ONLINE")
