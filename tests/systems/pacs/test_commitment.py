from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import CTImageStorage, MRImageStorage
from pynetdicom import AE, build_context, evt
from pynetdicom.association import Association

from labsim import Hospital
from labsim.ids import make_uid
from labsim.sop_classes import STORAGE_COMMITMENT, STORAGE_COMMITMENT_INSTANCE

Dial = Callable[..., AbstractContextManager[Association]]
Image = Callable[..., FileDataset]


class Requester:
    """A scanner from outside, which waits for what the archive promises."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.reports: queue.Queue[tuple[int, Dataset]] = queue.Queue()
        self.answer = 0x0000

    def report(self) -> tuple[int, Dataset]:
        """Return the next report: event type and information."""
        return self.reports.get(timeout=5)


@pytest.fixture(scope="module")
def listener() -> Iterator[Requester]:
    entity = AE(ae_title="US1")
    entity.add_supported_context(STORAGE_COMMITMENT, scu_role=False, scp_role=True)
    requester = Requester(0)

    def take(event: evt.Event) -> tuple[int, None]:
        requester.reports.put((event.event_type, event.event_information))
        return requester.answer, None

    handlers = [(evt.EVT_N_EVENT_REPORT, take)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert server is not None
    requester.port = server.server_address[1]
    yield requester
    server.shutdown()


@pytest.fixture
def us1(clinic: Hospital, listener: Requester) -> Requester:
    """The requester, registered at the archive, with nothing reported yet."""
    clinic.pacs.register_ae("US1", host="127.0.0.1", port=listener.port)
    listener.answer = 0x0000
    assert listener.reports.empty()
    return listener


def request(transaction: str, *references: tuple[str, str]) -> Dataset:
    information = Dataset()
    information.TransactionUID = transaction
    items = []
    for sop_class, sop_uid in references:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, sop_uid
        items.append(item)
    information.ReferencedSOPSequence = items
    return information


def ask(
    hospital: Hospital,
    dial: Dial,
    information: Dataset,
    *,
    action: int = 1,
    instance: str = STORAGE_COMMITMENT_INSTANCE,
    before: Callable[[], Any] = lambda: None,
) -> Dataset:
    """Send an N-ACTION and return its status."""
    with dial(hospital, "pacs", STORAGE_COMMITMENT, calling="US1") as association:
        before()
        status, _ = association.send_n_action(information, action, STORAGE_COMMITMENT, instance)
    return status


def stored(hospital: Hospital, dial: Dial, made: FileDataset) -> str:
    with dial(hospital, "pacs", build_context(made.SOPClassUID)) as association:
        assert association.send_c_store(made).Status == 0x0000
    return str(made.SOPInstanceUID)


def test_what_is_there_is_promised(
    clinic: Hospital, dial: Dial, image: Image, us1: Requester
) -> None:
    uids = [stored(clinic, dial, image()) for _ in range(2)]
    transaction = make_uid("all there")
    status = ask(clinic, dial, request(transaction, *((CTImageStorage, uid) for uid in uids)))
    assert status.Status == 0x0000
    event_type, information = us1.report()
    assert event_type == 1
    assert information.TransactionUID == transaction
    assert [i.ReferencedSOPInstanceUID for i in information.ReferencedSOPSequence] == uids
    assert "FailedSOPSequence" not in information


def test_what_is_missing_or_of_another_class_is_not_promised(
    clinic: Hospital, dial: Dial, image: Image, us1: Requester
) -> None:
    there, vanished, other = [image() for _ in range(3)]
    for made in (there, vanished, other):
        stored(clinic, dial, made)
    clinic.pacs.paths(vanished.StudyInstanceUID)[0].unlink()
    information = request(
        make_uid("some there"),
        (CTImageStorage, there.SOPInstanceUID),
        (CTImageStorage, vanished.SOPInstanceUID),
        (CTImageStorage, make_uid("never stored")),
        (MRImageStorage, other.SOPInstanceUID),
    )
    assert ask(clinic, dial, information).Status == 0x0000
    event_type, reported = us1.report()
    assert event_type == 2
    assert [i.ReferencedSOPInstanceUID for i in reported.ReferencedSOPSequence] == [
        there.SOPInstanceUID
    ]
    assert [(i.ReferencedSOPInstanceUID, i.FailureReason) for i in reported.FailedSOPSequence] == [
        (vanished.SOPInstanceUID, 0x0112),
        (make_uid("never stored"), 0x0112),
        (other.SOPInstanceUID, 0x0119),
    ]


def test_where_nothing_is_there_only_failures_are_reported(
    clinic: Hospital, dial: Dial, us1: Requester
) -> None:
    ask(clinic, dial, request(make_uid("nothing there"), (CTImageStorage, "1.2.3")))
    event_type, information = us1.report()
    assert event_type == 2
    assert "ReferencedSOPSequence" not in information


@pytest.mark.parametrize(
    ("information", "action", "instance", "status"),
    [
        (request("1.2.3", (CTImageStorage, "1.2")), 1, "1.2.840.10008.1.20.1.2", 0x0112),
        (request("1.2.3", (CTImageStorage, "1.2")), 2, STORAGE_COMMITMENT_INSTANCE, 0x0123),
        (request("", (CTImageStorage, "1.2")), 1, STORAGE_COMMITMENT_INSTANCE, 0x0115),
        (request("1.2.3"), 1, STORAGE_COMMITMENT_INSTANCE, 0x0115),
    ],
)
def test_a_request_that_is_not_right_is_refused(
    clinic: Hospital,
    dial: Dial,
    us1: Requester,
    information: Dataset,
    action: int,
    instance: str,
    status: int,
) -> None:
    answer = ask(clinic, dial, information, action=action, instance=instance)
    assert answer.Status == status
    assert clinic.pacs.db.value("SELECT COUNT(*) FROM commitments WHERE state = 'waiting'") == 0
    assert us1.reports.empty()


def test_a_reference_without_a_uid_is_refused(clinic: Hospital, dial: Dial, us1: Requester) -> None:
    information = request(make_uid("half a reference"), (CTImageStorage, "1.2"))
    del information.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    assert ask(clinic, dial, information).Status == 0x0115
    assert us1.reports.empty()


def test_a_requester_that_is_not_registered_is_told_nothing(
    clinic: Hospital, dial: Dial, us1: Requester
) -> None:
    before = clinic.journal.all()[-1].seq
    status = ask(
        clinic,
        dial,
        request(make_uid("nowhere to"), (CTImageStorage, "1.2")),
        before=lambda: clinic.pacs.remove_ae("US1"),
    )
    assert status.Status == 0x0000
    assert clinic.journal.wait_for(
        lambda event: (
            event.summary
            == "storage commitment not reported: US1 is not registered: nowhere to send the result."
        ),
        5,
        after=before,
    )
    assert us1.reports.empty()


def test_a_report_that_is_not_taken_is_told(clinic: Hospital, dial: Dial, us1: Requester) -> None:
    before = clinic.journal.all()[-1].seq
    us1.answer = 0x0110
    ask(clinic, dial, request(make_uid("not taken"), (CTImageStorage, "1.2")))
    us1.report()
    found = clinic.journal.wait_for(
        lambda event: event.source == "pacs" and event.kind == "error", 5, after=before
    )
    assert found is not None
    assert found.summary == (
        "storage commitment not reported: "
        "US1 did not take the commitment report: 0x0110 Processing failure."
    )


def test_a_requester_that_keeps_the_usual_roles_is_told(clinic: Hospital, dial: Dial) -> None:
    entity = AE(ae_title="US1")  # the archive calls, and yet is the SCP (PS3.4 J.3.3)
    entity.add_supported_context(STORAGE_COMMITMENT, scu_role=True, scp_role=False)
    server = entity.start_server(("127.0.0.1", 0), block=False)
    assert server is not None
    clinic.pacs.register_ae("US1", host="127.0.0.1", port=server.server_address[1])
    before = clinic.journal.all()[-1].seq
    ask(clinic, dial, request(make_uid("usual roles"), (CTImageStorage, "1.2")))
    found = clinic.journal.wait_for(
        lambda event: event.summary.startswith("storage commitment not reported"), 5, before
    )
    server.shutdown()
    assert found is not None
    assert found.summary.endswith(
        "US1 supports nothing of what was proposed: Storage Commitment Push Model SOP Class."
    )


def test_a_requester_at_another_place_is_told(clinic: Hospital, dial: Dial) -> None:
    clinic.pacs.register_ae("US1", host="ris", port=104)  # answers, but to another title
    before = clinic.journal.all()[-1].seq
    ask(clinic, dial, request(make_uid("wrong place"), (CTImageStorage, "1.2")))
    found = clinic.journal.wait_for(
        lambda event: event.source == "pacs" and event.kind == "error", 5, after=before
    )
    assert found is not None
    assert "called AE title not recognized (1/1/7)" in found.summary


def test_a_report_that_waited_is_sent_after_a_restart(
    tmp_path: Path, dial: Dial, image: Image, listener: Requester
) -> None:
    transaction, listener.answer = make_uid("over a restart"), 0x0000
    with Hospital(path=tmp_path) as hospital:
        uid = stored(hospital, dial, image())
        hospital.pacs.register_ae("US1", host="attic", port=104)
        ask(hospital, dial, request(transaction, (CTImageStorage, uid)))
        assert hospital.journal.wait_for(
            lambda event: "No host is called 'attic'" in event.summary, 5
        )
        hospital.pacs.register_ae("US1", host="127.0.0.1", port=listener.port)
    with Hospital(path=tmp_path) as hospital:
        event_type, information = listener.report()
        assert (event_type, information.TransactionUID) == (1, transaction)
        assert hospital.journal.wait_for(
            lambda event: (
                event.summary == "storage commitment reported to US1: 1 committed, 0 failed"
            ),
            5,
        )
    with Hospital(path=tmp_path) as hospital:  # and not once more
        assert hospital.pacs.db.value("SELECT state FROM commitments") == "reported"
    assert listener.reports.empty()
