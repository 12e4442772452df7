"""Answers to C-FIND and C-STORE as they are on the wire, beside those that pynetdicom writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, build_context, evt
from pynetdicom.dimse_messages import C_FIND_RSP, C_STORE_RSP, DIMSEMessage
from pynetdicom.dimse_primitives import C_FIND, C_STORE
from pynetdicom.dsutils import encode

from labsim.journal import Journal
from labsim.sop_classes import STUDY_ROOT_FIND
from labsim.wire.dimse import DicomNode, Peer
from labsim.wire.network import Network
from labsim.wire.status import failure

FIND = build_context(STUDY_ROOT_FIND, ExplicitVRLittleEndian)
STORE = build_context(CTImageStorage, ExplicitVRLittleEndian)
Answer = tuple[int | Dataset, Dataset | None]


@pytest.fixture
def ct(journal: Journal, network: Network) -> Iterator[DicomNode]:
    node = DicomNode("ct1", "CT1", journal, network)
    yield node
    node.close()


@pytest.fixture
def pacs(journal: Journal, network: Network) -> Iterator[DicomNode]:
    node = DicomNode("pacs", "PACS", journal, network)
    yield node
    node.close()


def _study(**values: str) -> Dataset:
    study = Dataset()
    study.QueryRetrieveLevel = "STUDY"
    study.PatientID = "P1"
    study.StudyInstanceUID = "1.2.3.45"
    for keyword, value in values.items():
        setattr(study, keyword, value)
    return study


def _image() -> Dataset:
    image = Dataset()
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, "1.2.3.4"
    image.ensure_file_meta()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return image


def _finding(*answers: Answer) -> tuple[evt.EventType, Any]:
    def find(event: evt.Event) -> Iterator[Answer]:
        yield from answers

    return evt.EVT_C_FIND, find


class Heard:
    """The command sets that came, byte for byte."""

    def __init__(self) -> None:
        self.commands: list[bytes] = []

    def __call__(self, event: evt.Event) -> None:
        self.commands.append(event.message.encoded_command_set.getvalue())


def _as_pynetdicom(message: DIMSEMessage, answer: C_FIND | C_STORE) -> bytes:
    message.primitive_to_message(answer)
    return encode(message.command_set, True, True) or b""


@pytest.mark.parametrize(
    "answers",
    [
        [(0xFF00, _study()), (0xFF01, _study())],
        [],
        [(0xFE00, None)],
        [(failure(0xA900, "no such level"), None)],
        [(failure(0xA700, "odd"), None)],
    ],
    ids=["two", "none", "cancelled", "refused", "odd comment"],
)
def test_the_answers_of_a_query_are_what_pynetdicom_would_write(
    ct: DicomNode, pacs: DicomNode, answers: Sequence[Answer]
) -> None:
    port = pacs.listen([FIND], [_finding(*answers)])
    heard, expected = Heard(), []
    with ct.associate(
        Peer("PACS", "127.0.0.1", port), [FIND], handlers=[(evt.EVT_DIMSE_RECV, heard)]
    ) as association:
        got = list(association.send_c_find(_study(), STUDY_ROOT_FIND, msg_id=7))
    last = [] if answers and answers[-1][1] is None else [(0x0000, None)]
    for status, identifier in [*answers, *last]:
        answer = C_FIND()
        answer.MessageIDBeingRespondedTo = 7
        answer.AffectedSOPClassUID = STUDY_ROOT_FIND
        answer.Status = status.Status if isinstance(status, Dataset) else status
        answer.ErrorComment = status.ErrorComment if isinstance(status, Dataset) else None
        answer.Identifier = BytesIO(b"something") if identifier else None
        expected.append(_as_pynetdicom(C_FIND_RSP(), answer))
    assert heard.commands == expected
    assert [identifier for _, identifier in got if identifier] == [i for _, i in answers if i]


@pytest.mark.parametrize("status", [0x0000, failure(0xA900, "of another class")])
def test_the_answer_of_a_store_is_what_pynetdicom_would_write(
    ct: DicomNode, pacs: DicomNode, status: int | Dataset
) -> None:
    port = pacs.listen([STORE], [(evt.EVT_C_STORE, lambda event: status)])
    heard, expected = Heard(), C_STORE()
    with ct.associate(
        Peer("PACS", "127.0.0.1", port), [STORE], handlers=[(evt.EVT_DIMSE_RECV, heard)]
    ) as association:
        association.send_c_store(_image(), msg_id=9)
    expected.MessageIDBeingRespondedTo = 9
    expected.AffectedSOPClassUID = CTImageStorage
    expected.AffectedSOPInstanceUID = "1.2.3.4"
    expected.Status = status.Status if isinstance(status, Dataset) else status
    expected.ErrorComment = status.ErrorComment if isinstance(status, Dataset) else None
    assert heard.commands == [_as_pynetdicom(C_STORE_RSP(), expected)]


@pytest.mark.parametrize("longest", [0, 64, 1024, 16384])
def test_no_answer_is_longer_than_its_caller_takes(pacs: DicomNode, longest: int) -> None:
    study = _study(PatientComments="A long story." * 300)
    port = pacs.listen([FIND], [_finding((0xFF00, study))])
    sizes: list[int] = []
    association = AE().associate(
        "127.0.0.1",
        port,
        contexts=[FIND],
        ae_title="PACS",
        max_pdu=longest,
        evt_handlers=[(evt.EVT_PDU_RECV, lambda event: sizes.append(event.pdu.pdu_length))],
    )
    (_, found), (last, _) = association.send_c_find(_study(), STUDY_ROOT_FIND)
    del sizes[0]  # of the A-ASSOCIATE-AC
    association.release()
    assert found == study
    assert last.Status == 0x0000
    assert len(sizes) > 2
    assert not longest or max(sizes[:-1]) <= longest


def test_an_answer_is_journaled_at_both_ends_with_what_it_is_about(
    ct: DicomNode, pacs: DicomNode, journal: Journal
) -> None:
    port = pacs.listen([FIND], [_finding((0xFF00, _study(AccessionNumber="A1")))])
    with ct.associate(Peer("PACS", "127.0.0.1", port), [FIND]) as association:
        list(association.send_c_find(_study(), STUDY_ROOT_FIND))
    seen = journal.events(kind="dimse", accession="A1")
    assert {event.source for event in seen} == {"ct1", "pacs"}
    assert seen[0].keys == seen[1].keys
    assert journal.payload(seen[0]) == journal.payload(seen[1])


def test_an_identifier_that_cannot_be_written_is_answered_with_a_failure(
    ct: DicomNode, pacs: DicomNode
) -> None:
    broken = Dataset()
    broken.Rows = 5
    broken["Rows"].value = 70000  # more than VR US holds
    port = pacs.listen([FIND], [_finding((0xFF00, broken))])
    with ct.associate(Peer("PACS", "127.0.0.1", port), [FIND]) as association:
        ((status, found),) = association.send_c_find(_study(), STUDY_ROOT_FIND)
    assert status.Status == 0xC312
    assert found is None


def test_a_query_ends_when_its_caller_has_cancelled_it(
    ct: DicomNode, pacs: DicomNode, journal: Journal
) -> None:
    def find(event: evt.Event) -> Iterator[Answer]:
        yield 0xFF00, _study()
        heard = journal.wait_for(
            lambda each: each.source == "pacs" and each.summary.startswith("C-CANCEL-RQ"), 5
        )
        assert heard is not None
        for _ in range(100):  # the journal hears of it a moment before
            if event.is_cancelled:
                yield 0xFE00, None
            yield 0xFF00, _study()

    port = pacs.listen([FIND], [(evt.EVT_C_FIND, find)])
    with ct.associate(Peer("PACS", "127.0.0.1", port), [FIND]) as association:
        answers = association.send_c_find(_study(), STUDY_ROOT_FIND, msg_id=7)
        next(answers)
        association.send_c_cancel(7, query_model=STUDY_ROOT_FIND)
        *_, (last, _) = answers
    assert last.Status == 0xFE00
