from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import CTImageStorage
from pynetdicom import build_role, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SOPClassExtendedNegotiation

from labsim import Hospital
from labsim.ids import make_uid
from labsim.sop_classes import (
    PATIENT_ROOT_FIND,
    PATIENT_ROOT_GET,
    STUDY_ROOT_FIND,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
)

Dial = Callable[..., AbstractContextManager[Association]]
Image = Callable[..., FileDataset]
Keys = Callable[..., Dataset]

STUDY, SERIES, IMAGE = (make_uid(f"negotiated {level}") for level in ("st", "se", "i"))


def extended(sop_class: str, information: bytes) -> SOPClassExtendedNegotiation:
    item = SOPClassExtendedNegotiation()
    item.sop_class_uid = sop_class
    item.service_class_application_information = information
    return item


@pytest.fixture(scope="module")
def stored(clinic: Hospital, dial: Dial, image: Image) -> None:
    with dial(clinic, "pacs", CTImageStorage) as association:
        for number, (date, time) in enumerate(
            [("20260301", "0900"), ("20260301", "2000"), ("20260302", "0900"), ("20260303", "2000")]
        ):
            made = image(
                PatientID="N1",
                StudyInstanceUID=STUDY if not number else make_uid("negotiated", number),
                SeriesInstanceUID=SERIES if not number else make_uid("negotiated se", number),
                SOPInstanceUID=IMAGE if not number else make_uid("negotiated i", number),
                AccessionNumber=f"N{number}",
                StudyDate=date,
                StudyTime=time,
            )
            assert association.send_c_store(made).Status == 0x0000


@pytest.fixture
def strict(clinic: Hospital) -> Iterator[None]:
    clinic.pacs.configure_hierarchy(strict=True)
    yield
    clinic.pacs.configure_hierarchy(strict=False)


@pytest.mark.parametrize(
    ("sop_class", "asked", "answered"),
    [
        (STUDY_ROOT_FIND, b"\1", b"\1"),
        (STUDY_ROOT_FIND, b"\1\1\1\1\1", b"\1\1\0\0\0"),
        (STUDY_ROOT_FIND, b"\0\1\1", b"\0\1\0"),
        (PATIENT_ROOT_FIND, b"\1\1\1", b"\1\1\0"),
        (STUDY_ROOT_MOVE, b"\1\1", b"\1\0"),
        (PATIENT_ROOT_GET, b"\1", b"\1"),
    ],
)
def test_each_byte_is_answered_for_what_will_be_done(
    clinic: Hospital, dial: Dial, sop_class: str, asked: bytes, answered: bytes
) -> None:
    item = extended(sop_class, asked)
    with dial(clinic, "pacs", sop_class, roles=(item,)) as association:
        assert association.acceptor.sop_class_extended == {sop_class: answered}


def test_a_class_without_such_information_is_not_answered(clinic: Hospital, dial: Dial) -> None:
    item = extended(CTImageStorage, b"\1\1")
    with dial(clinic, "pacs", CTImageStorage, roles=(item,)) as association:
        assert association.acceptor.sop_class_extended == {}


def find(hospital: Hospital, dial: Dial, identifier: Dataset, *roles: Any) -> list[Any]:
    with dial(hospital, "pacs", STUDY_ROOT_FIND, roles=roles) as association:
        return list(association.send_c_find(identifier, STUDY_ROOT_FIND))


RELATIONAL: list[dict[str, Any]] = [
    {"QueryRetrieveLevel": "IMAGE", "SOPInstanceUID": "", "PatientID": "N1"},
    {"QueryRetrieveLevel": "SERIES", "SeriesInstanceUID": ""},
    {"QueryRetrieveLevel": "SERIES", "SeriesInstanceUID": "", "StudyInstanceUID": [STUDY, "1.2"]},
    {
        "QueryRetrieveLevel": "SERIES",
        "SeriesInstanceUID": "",
        "StudyInstanceUID": STUDY,
        "AccessionNumber": "",
    },
    {
        "QueryRetrieveLevel": "SERIES",
        "SeriesInstanceUID": "",
        "StudyInstanceUID": STUDY,
        "PatientName": "Silva*",
    },
]


@pytest.mark.parametrize("attributes", RELATIONAL)
@pytest.mark.usefixtures("stored", "strict")
def test_a_strict_archive_refuses_what_is_not_hierarchical(
    clinic: Hospital, dial: Dial, keys: Keys, attributes: dict[str, Any]
) -> None:
    ((status, _),) = find(clinic, dial, keys(**attributes))
    assert status.Status == 0xA900
    agreed = find(clinic, dial, keys(**attributes), extended(STUDY_ROOT_FIND, b"\1"))
    assert len(agreed) > 1
    assert agreed[-1][0].Status == 0x0000


@pytest.mark.parametrize("attributes", RELATIONAL)
@pytest.mark.usefixtures("stored")
def test_others_answer_it(
    clinic: Hospital, dial: Dial, keys: Keys, attributes: dict[str, Any]
) -> None:
    assert len(find(clinic, dial, keys(**attributes))) > 1


@pytest.mark.usefixtures("stored", "strict")
def test_a_hierarchical_query_is_always_answered(clinic: Hospital, dial: Dial, keys: Keys) -> None:
    down: list[dict[str, Any]] = [
        {"QueryRetrieveLevel": "STUDY", "PatientName": "Silva*", "StudyInstanceUID": STUDY},
        {"QueryRetrieveLevel": "SERIES", "StudyInstanceUID": STUDY, "SeriesInstanceUID": ""},
        {
            "QueryRetrieveLevel": "IMAGE",
            "StudyInstanceUID": STUDY,
            "SeriesInstanceUID": SERIES,
            "SOPInstanceUID": "",
        },
    ]
    for attributes in down:
        assert len(find(clinic, dial, keys(**attributes))) == 2


@pytest.mark.usefixtures("stored", "strict")
def test_a_relational_retrieval_is_negotiated_too(clinic: Hospital, dial: Dial, keys: Keys) -> None:
    wanted = keys(QueryRetrieveLevel="IMAGE", SOPInstanceUID=IMAGE)
    got: list[Any] = []
    role = build_role(CTImageStorage, scp_role=True)
    handlers = ((evt.EVT_C_STORE, lambda event: got.append(event) or 0x0000),)
    for item, status in (((), 0xA900), ((extended(STUDY_ROOT_GET, b"\1"),), 0x0000)):
        with dial(
            clinic,
            "pacs",
            STUDY_ROOT_GET,
            CTImageStorage,
            roles=(role, *item),
            handlers=handlers,
        ) as association:
            answers = list(association.send_c_get(wanted, STUDY_ROOT_GET))
        assert answers[-1][0].Status == status
    assert len(got) == 1


@pytest.mark.parametrize(
    ("dates", "times", "separate", "combined"),
    [
        ("20260301-20260302", "1000-1800", [], ["N1", "N2"]),
        ("20260301-20260303", "1900-2100", ["N1", "N3"], ["N1", "N2", "N3"]),
        ("20260301", "0800-1000", ["N0"], ["N0"]),
        ("20260302-", "1000-", ["N3"], ["N3"]),
        ("-20260302", "-1000", ["N0", "N2"], ["N0", "N1", "N2"]),
        ("20260301-20260302", "", ["N0", "N1", "N2"], ["N0", "N1", "N2"]),
    ],
)
@pytest.mark.usefixtures("stored")
def test_dates_and_times_are_one_range_if_that_was_agreed(
    clinic: Hospital,
    dial: Dial,
    keys: Keys,
    dates: str,
    times: str,
    separate: list[str],
    combined: list[str],
) -> None:
    wanted = keys(
        QueryRetrieveLevel="STUDY",
        PatientID="N1",
        StudyDate=dates,
        StudyTime=times,
        AccessionNumber="",
    )
    plain = find(clinic, dial, wanted)
    assert [entry.AccessionNumber for _, entry in plain[:-1]] == separate
    agreed = find(clinic, dial, wanted, extended(STUDY_ROOT_FIND, b"\0\1"))
    assert [entry.AccessionNumber for _, entry in agreed[:-1]] == combined
