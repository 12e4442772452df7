from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MRImageStorage,
    RLELossless,
)
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.association import Association

from labsim import Hospital
from labsim.errors import DimseFailed
from labsim.ids import make_uid
from labsim.sop_classes import (
    PATIENT_ROOT_GET,
    PATIENT_ROOT_MOVE,
    STUDY_ROOT_GET,
    STUDY_ROOT_MOVE,
)

Dial = Callable[..., AbstractContextManager[Association]]
Image = Callable[..., FileDataset]
Keys = Callable[..., Dataset]

PATIENT = "R1"
STUDY, OTHER_STUDY = make_uid("retrieved study", 1), make_uid("retrieved study", 2)
SERIES, OTHER_SERIES = make_uid("retrieved series", 1), make_uid("retrieved series", 2)
THIRD_SERIES = make_uid("retrieved series", 3)
INSTANCES = [make_uid("retrieved image", number) for number in range(5)]
PLACES = [
    (STUDY, SERIES),
    (STUDY, SERIES),
    (STUDY, OTHER_SERIES),
    (OTHER_STUDY, THIRD_SERIES),
    (OTHER_STUDY, THIRD_SERIES),
]
# level, keys, which of INSTANCES
WANTED: list[tuple[str, dict[str, Any], list[int]]] = [
    ("PATIENT", {"PatientID": PATIENT}, [0, 1, 2, 3, 4]),
    ("STUDY", {"StudyInstanceUID": STUDY}, [0, 1, 2]),
    ("STUDY", {"StudyInstanceUID": [STUDY, OTHER_STUDY]}, [0, 1, 2, 3, 4]),
    ("SERIES", {"StudyInstanceUID": STUDY, "SeriesInstanceUID": OTHER_SERIES}, [2]),
    ("SERIES", {"StudyInstanceUID": OTHER_STUDY, "SeriesInstanceUID": OTHER_SERIES}, []),
    (
        "IMAGE",
        {"StudyInstanceUID": STUDY, "SeriesInstanceUID": SERIES, "SOPInstanceUID": INSTANCES[1]},
        [1],
    ),
    ("IMAGE", {"SOPInstanceUID": [INSTANCES[0], INSTANCES[4]]}, [0, 4]),
    ("STUDY", {"StudyInstanceUID": "1.2.3"}, []),
]


def by_model(patient_root: str, study_root: str) -> list[tuple[Any, ...]]:
    """Return what to ask of each model; the study root has no level PATIENT."""
    return [(patient_root, *wanted) for wanted in WANTED] + [
        (study_root, *wanted) for wanted in WANTED if wanted[0] != "PATIENT"
    ]


@pytest.fixture(scope="module")
def stored(clinic: Hospital, dial: Dial, image: Image) -> None:
    """Two studies of one patient; the second is of MR images."""
    with dial(clinic, "pacs", CTImageStorage, MRImageStorage) as association:
        for number, (study, series) in enumerate(PLACES):
            made = image(
                PatientID=PATIENT,
                StudyInstanceUID=study,
                SeriesInstanceUID=series,
                SOPInstanceUID=INSTANCES[number],
                SOPClassUID=CTImageStorage if study == STUDY else MRImageStorage,
                InstanceNumber=number,
                PixelData=bytes([number] * 8),
            )
            assert association.send_c_store(made).Status == 0x0000


class Receiver:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.images: list[Dataset] = []
        self.requests: list[Any] = []
        self.answer = 0x0000

    def store(self, event: evt.Event) -> int:
        self.requests.append(event.request)
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        self.images.append(dataset)
        return self.answer

    @property
    def instances(self) -> list[int]:
        return [INSTANCES.index(image.SOPInstanceUID) for image in self.images]


@contextmanager
def listening(hospital: Hospital, title: str, *sop_classes: str) -> Iterator[Receiver]:
    """Run a destination outside of the hospital, and register it at the archive."""
    receiver, entity = Receiver(), AE(ae_title=title)
    for sop_class in sop_classes:
        entity.add_supported_context(sop_class)
    handlers = [(evt.EVT_C_STORE, receiver.store)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert server is not None
    try:
        hospital.pacs.register_ae(title, host="127.0.0.1", port=server.server_address[1])
        yield receiver
    finally:
        server.shutdown()


@pytest.fixture(scope="module")
def destination(clinic: Hospital) -> Iterator[Receiver]:
    with listening(clinic, "VIEWER", CTImageStorage, MRImageStorage) as receiver:
        yield receiver


@pytest.fixture
def viewer(destination: Receiver) -> Receiver:
    """A destination that has nothing yet."""
    destination.images.clear()
    destination.requests.clear()
    destination.answer = 0x0000
    return destination


def get(
    hospital: Hospital,
    dial: Dial,
    identifier: Dataset,
    model: str = STUDY_ROOT_GET,
    contexts: tuple[Any, ...] = (CTImageStorage, MRImageStorage),
) -> tuple[list[Dataset], Receiver]:
    """Ask with C-GET; return the statuses and what came."""
    receiver = Receiver()
    offered = [build_context(c) if isinstance(c, str) else c for c in contexts]
    roles = tuple(build_role(c.abstract_syntax, scp_role=True) for c in offered)
    handlers = ((evt.EVT_C_STORE, receiver.store),)
    with dial(hospital, "pacs", model, *offered, roles=roles, handlers=handlers) as association:
        statuses = [status for status, _ in association.send_c_get(identifier, model)]
    return statuses, receiver


def move(
    hospital: Hospital,
    dial: Dial,
    identifier: Dataset,
    destination: str = "VIEWER",
    model: str = STUDY_ROOT_MOVE,
) -> list[Dataset]:
    with dial(hospital, "pacs", model) as association:
        answers = association.send_c_move(identifier, destination, model)
        return [status for status, _ in answers]


def counts(status: Dataset) -> tuple[int, int, int]:
    return (
        status.NumberOfCompletedSuboperations,
        status.NumberOfFailedSuboperations,
        status.NumberOfWarningSuboperations,
    )


@pytest.mark.parametrize(
    ("model", "level", "attributes", "wanted"), by_model(PATIENT_ROOT_GET, STUDY_ROOT_GET)
)
@pytest.mark.usefixtures("stored")
def test_c_get_brings_what_was_named(
    clinic: Hospital,
    dial: Dial,
    keys: Keys,
    model: str,
    level: str,
    attributes: dict[str, Any],
    wanted: list[int],
) -> None:
    statuses, receiver = get(clinic, dial, keys(QueryRetrieveLevel=level, **attributes), model)
    assert receiver.instances == wanted
    assert [image.PixelData[0] for image in receiver.images] == wanted
    assert statuses[-1].Status == 0x0000
    assert counts(statuses[-1]) == (len(wanted), 0, 0)


@pytest.mark.parametrize(
    ("model", "level", "attributes", "wanted"), by_model(PATIENT_ROOT_MOVE, STUDY_ROOT_MOVE)
)
@pytest.mark.usefixtures("stored")
def test_c_move_sends_what_was_named(
    clinic: Hospital,
    viewer: Receiver,
    dial: Dial,
    keys: Keys,
    model: str,
    level: str,
    attributes: dict[str, Any],
    wanted: list[int],
) -> None:
    statuses = move(clinic, dial, keys(QueryRetrieveLevel=level, **attributes), "VIEWER", model)
    assert viewer.instances == wanted
    assert statuses[-1].Status == 0x0000
    assert counts(statuses[-1]) == (len(wanted), 0, 0)
    assert all(request.MoveOriginatorMessageID == 1 for request in viewer.requests)


@pytest.mark.parametrize(
    "attributes",
    [
        {"QueryRetrieveLevel": "STUDY"},
        {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": ""},
        {"QueryRetrieveLevel": "STUDY", "PatientID": PATIENT},
        {"QueryRetrieveLevel": "SERIES", "StudyInstanceUID": STUDY},
        {"QueryRetrieveLevel": "IMAGE", "SeriesInstanceUID": SERIES},
        {"QueryRetrieveLevel": "PATIENT", "PatientID": PATIENT},
        {"StudyInstanceUID": STUDY},
    ],
)
@pytest.mark.usefixtures("stored")
def test_without_the_unique_key_of_the_level_nothing_is_sent(
    clinic: Hospital, viewer: Receiver, dial: Dial, keys: Keys, attributes: dict[str, str]
) -> None:
    (status,), receiver = get(clinic, dial, keys(**attributes))
    assert status.Status == 0xA900
    assert receiver.images == []
    (status,) = move(clinic, dial, keys(**attributes))
    assert status.Status == 0xA900
    assert viewer.images == []


@pytest.mark.usefixtures("stored")
def test_an_unknown_destination_is_refused(clinic: Hospital, dial: Dial, keys: Keys) -> None:
    before = clinic.journal.all()[-1].seq
    wanted = keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=STUDY)
    (status,) = move(clinic, dial, wanted, "NOWHERE")
    assert status.Status == 0xA801
    (event,) = clinic.journal.events(source="pacs", kind="error", after=before)
    assert event.summary == "C-MOVE to NOWHERE refused: this destination is not registered"


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 1), ("attic", 104)])
@pytest.mark.usefixtures("stored")
def test_a_destination_that_cannot_be_reached_gets_nothing(
    clinic: Hospital, dial: Dial, keys: Keys, host: str, port: int
) -> None:
    clinic.pacs.register_ae("LOST", host=host, port=port)
    wanted = keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=STUDY)
    (status,) = move(clinic, dial, wanted, "LOST")
    assert status.Status == 0xA702
    assert counts(status) == (0, 3, 0)


@pytest.mark.usefixtures("stored")
def test_a_destination_that_refuses_is_counted(
    clinic: Hospital, viewer: Receiver, dial: Dial, keys: Keys
) -> None:
    viewer.answer = 0xA700
    wanted = keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=STUDY)
    statuses = move(clinic, dial, wanted)
    assert statuses[-1].Status == 0xA702
    assert counts(statuses[-1]) == (0, 3, 0)


@pytest.mark.usefixtures("stored")
def test_a_destination_that_takes_one_class_gets_only_that(
    clinic: Hospital, dial: Dial, keys: Keys
) -> None:
    with listening(clinic, "CTVIEWER", CTImageStorage) as receiver:
        wanted = keys(QueryRetrieveLevel="PATIENT", PatientID=PATIENT)
        statuses = move(clinic, dial, wanted, "CTVIEWER", PATIENT_ROOT_MOVE)
    assert receiver.instances == [0, 1, 2]
    assert statuses[-1].Status == 0xB000
    assert counts(statuses[-1]) == (3, 2, 0)


def test_a_vanished_file_is_counted_and_the_rest_is_sent(
    clinic: Hospital, dial: Dial, image: Image, keys: Keys
) -> None:
    study, series = make_uid("holed study"), make_uid("holed series")
    images = [
        image(PatientID="R2", StudyInstanceUID=study, SeriesInstanceUID=series, InstanceNumber=n)
        for n in range(3)
    ]
    with dial(clinic, "pacs", CTImageStorage) as association:
        for made in images:
            association.send_c_store(made)
    clinic.pacs.paths(study)[1].unlink()
    before = clinic.journal.all()[-1].seq
    wanted = keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=study)
    statuses, receiver = get(clinic, dial, wanted)
    assert statuses[-1].Status == 0xB000
    assert counts(statuses[-1]) == (2, 1, 0)
    assert [i.InstanceNumber for i in receiver.images] == [0, 2]
    (event,) = clinic.journal.events(source="pacs", kind="error", after=before)
    assert event.summary.startswith(
        f"{images[1].SOPInstanceUID} not sent to TOOLS: file cannot be read"
    )
    with pytest.raises(DimseFailed, match=r"0xB000 .*, 1 images failed") as caught:
        clinic.tools.getscu(study)
    assert caught.value.status == 0xB000
    for path in clinic.pacs.paths(study):
        path.unlink(missing_ok=True)
    statuses, _ = get(clinic, dial, wanted)
    assert statuses[-1].Status == 0xA702
    assert counts(statuses[-1]) == (0, 3, 0)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_uncompressed_images_are_sent_in_what_the_receiver_takes(
    clinic: Hospital, dial: Dial, image: Image, keys: Keys, syntax: UID
) -> None:
    other = {ExplicitVRLittleEndian: ImplicitVRLittleEndian}.get(syntax, ExplicitVRLittleEndian)
    sent = image(other, StudyDescription="Größe")
    with dial(clinic, "pacs", build_context(CTImageStorage, other)) as association:
        association.send_c_store(sent)
    wanted = keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=sent.StudyInstanceUID)
    statuses, receiver = get(
        clinic, dial, wanted, contexts=(build_context(CTImageStorage, syntax),)
    )
    assert counts(statuses[-1]) == (1, 0, 0)
    (came,) = receiver.images
    assert came.file_meta.TransferSyntaxUID == syntax
    assert (came.PixelData, came.StudyDescription) == (sent.PixelData, "Größe")


def test_what_must_not_be_transcoded_fails_where_the_receiver_does_not_take_it(
    clinic: Hospital, dial: Dial, image: Image, keys: Keys
) -> None:
    sent = image()
    sent.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
    with dial(clinic, "pacs", build_context(CTImageStorage, RLELossless)) as association:
        association.send_c_store(sent)
    wanted = keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=sent.StudyInstanceUID)
    desk = clinic.pacs.known_ae("TOOLS")
    assert desk is not None
    clinic.pacs.register_ae("TOOLS", host=desk.host, port=desk.port, transcode=False)
    statuses, receiver = get(clinic, dial, wanted)
    assert (statuses[-1].Status, receiver.images) == (0xA702, [])
    last = clinic.journal.events(source="pacs", kind="error", sop_uid=sent.SOPInstanceUID)[-1]
    assert "stored as RLE Lossless, and the receiver takes" in last.summary
    statuses, receiver = get(
        clinic, dial, wanted, contexts=(build_context(CTImageStorage, RLELossless),)
    )
    clinic.pacs.register_ae("TOOLS", host=desk.host, port=desk.port)
    assert statuses[-1].Status == 0x0000
    assert receiver.images[0].PixelData == sent.PixelData


def test_a_correction_does_not_touch_a_stranger_with_the_same_number(
    clinic: Hospital, dial: Dial, image: Image, keys: Keys
) -> None:
    patient = clinic.his.register_patient("Vega^Carlos")
    stranger = image(PatientID=patient.patient_id, PatientName="Other^Hospital")
    with dial(clinic, "pacs", CTImageStorage) as association:
        association.send_c_store(stranger)
    seen = clinic.journal.all()[-1].seq
    clinic.his.update_patient(patient.patient_id, name="Vega^Carla")
    assert clinic.journal.wait_for(
        lambda event: event.source == "pacs" and "no images here yet" in event.summary,
        5,
        after=seen,
    )
    wanted = keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=stranger.StudyInstanceUID)
    _, receiver = get(clinic, dial, wanted)
    assert [str(came.PatientName) for came in receiver.images] == ["Other^Hospital"]


def test_a_number_that_two_issuers_gave_is_not_enough_to_retrieve_a_patient(
    clinic: Hospital, dial: Dial, image: Image, keys: Keys
) -> None:
    for issuer in ("NORTH", "SOUTH"):
        with dial(clinic, "pacs", CTImageStorage) as association:
            taken = image(PatientID="TWICE", IssuerOfPatientID=issuer)
            assert association.send_c_store(taken).Status == 0x0000
    wanted = keys(QueryRetrieveLevel="PATIENT", PatientID="TWICE")
    (status,), receiver = get(clinic, dial, wanted, PATIENT_ROOT_GET)
    assert (status.Status, receiver.images) == (0xA900, [])
    assert "issuer" in status.ErrorComment.lower()
    wanted.IssuerOfPatientID = "SOUTH"
    _, receiver = get(clinic, dial, wanted, PATIENT_ROOT_GET)
    assert [came.IssuerOfPatientID for came in receiver.images] == ["SOUTH"]


def test_the_archive_does_not_take_a_stranger_for_a_patient_of_the_house(
    clinic: Hospital, dial: Dial, image: Image
) -> None:
    with dial(clinic, "pacs", CTImageStorage) as association:
        association.send_c_store(image(PatientID="STRANGER", IssuerOfPatientID="NORTH"))
    assert clinic.pacs.patient("STRANGER") is None
    found = clinic.pacs.patient("STRANGER", issuer="NORTH")
    assert found is not None
    assert found.issuer == "NORTH"


def test_a_correction_does_not_touch_other_text(
    clinic: Hospital, dial: Dial, image: Image, keys: Keys
) -> None:
    patient = clinic.his.register_patient("Vega^Carlos")
    request = Dataset()
    request.RequestedProcedureDescription = "Größe prüfen"
    sent = image(
        SpecificCharacterSet="ISO_IR 100",
        PatientID=patient.patient_id,
        IssuerOfPatientID=patient.issuer,
        PatientName="Vega^Carlos",
        StudyDescription="Schädel über Ohr",
        RequestAttributesSequence=[request],
    )
    with dial(clinic, "pacs", CTImageStorage) as association:
        association.send_c_store(sent)
    seen = clinic.journal.all()[-1].seq
    clinic.his.update_patient(patient.patient_id, name="Vega^Łukasz")
    assert clinic.journal.wait_for(
        lambda event: event.source == "pacs" and event.summary.endswith("updated"), 5, after=seen
    )
    wanted = keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=sent.StudyInstanceUID)
    _, receiver = get(clinic, dial, wanted)
    (came,) = receiver.images
    assert came.PatientName == "Vega^Łukasz"
    assert came.StudyDescription == "Schädel über Ohr"
    (came_request,) = came.RequestAttributesSequence
    assert came_request.RequestedProcedureDescription == "Größe prüfen"


@pytest.mark.usefixtures("stored")
def test_the_desk_fetches_both_ways(clinic: Hospital) -> None:
    got = clinic.tools.getscu(STUDY)
    moved = clinic.tools.movescu(STUDY)
    assert [i.SOPInstanceUID for i in got] == [i.SOPInstanceUID for i in moved] == INSTANCES[:3]
    assert got == moved


@pytest.mark.usefixtures("stored")
def test_several_readers_at_once_get_the_same(clinic: Hospital, dial: Dial, keys: Keys) -> None:
    wanted = keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=STUDY)
    seen: list[list[int]] = []
    readers = [
        threading.Thread(target=lambda: seen.append(get(clinic, dial, wanted)[1].instances))
        for _ in range(6)
    ]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(20)
    assert seen == [[0, 1, 2]] * 6


# When something ends in the middle


def three() -> Dataset:
    """Ask for the three images of the first study."""
    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.StudyInstanceUID = "STUDY", STUDY
    return identifier


@pytest.mark.usefixtures("stored")
def test_a_cancelled_retrieval_stops_and_says_what_remains(clinic: Hospital, dial: Dial) -> None:
    taken: list[str] = []

    def take(event: evt.Event) -> int:
        taken.append(event.request.AffectedSOPInstanceUID)
        event.assoc.send_c_cancel(1, query_model=STUDY_ROOT_GET)
        return 0x0000

    roles = (build_role(CTImageStorage, scp_role=True),)
    with dial(
        clinic,
        "pacs",
        STUDY_ROOT_GET,
        CTImageStorage,
        roles=roles,
        handlers=((evt.EVT_C_STORE, take),),
    ) as association:
        statuses = [status for status, _ in association.send_c_get(three(), STUDY_ROOT_GET)]
    assert statuses[-1].Status == 0xFE00
    assert statuses[-1].NumberOfCompletedSuboperations == len(taken) < 3
    assert statuses[-1].NumberOfRemainingSuboperations == 3 - len(taken)


@pytest.mark.usefixtures("stored")
def test_a_destination_that_hangs_up_is_counted(clinic: Hospital, dial: Dial, keys: Keys) -> None:
    entity, requests = AE(ae_title="QUITTER"), []
    entity.add_supported_context(CTImageStorage)

    def quit_at_once(event: evt.Event) -> int:
        requests.append(event.request)
        event.assoc.abort()
        return 0x0000

    handlers = [(evt.EVT_C_STORE, quit_at_once)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert server is not None
    try:
        clinic.pacs.register_ae("QUITTER", host="127.0.0.1", port=server.server_address[1])
        statuses = move(clinic, dial, three(), "QUITTER")
    finally:
        server.shutdown()
    assert len(requests) == 1
    assert statuses[-1].Status == 0xA702
    assert counts(statuses[-1]) == (0, 3, 0)


def test_who_hangs_up_is_sent_no_more(
    clinic: Hospital, dial: Dial, image: Image, keys: Keys
) -> None:
    study, series = make_uid("long study"), make_uid("long series")
    with dial(clinic, "pacs", CTImageStorage) as association:
        for _ in range(20):
            made = image(PatientID="R20", StudyInstanceUID=study, SeriesInstanceUID=series)
            assert association.send_c_store(made).Status == 0x0000
    wanted = keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=study)
    taken: list[str] = []

    def take(event: evt.Event) -> int:
        taken.append(event.request.AffectedSOPInstanceUID)
        return 0x0000

    before = clinic.journal.all()[-1].seq
    with dial(
        clinic,
        "pacs",
        STUDY_ROOT_GET,
        CTImageStorage,
        roles=(build_role(CTImageStorage, scp_role=True),),
        handlers=((evt.EVT_C_STORE, take),),
    ) as association:
        next(association.send_c_get(wanted, STUDY_ROOT_GET))
        association.abort()
    assert 1 <= len(taken) < 20
    assert clinic.journal.wait_for(
        lambda event: event.source == "pacs" and "aborted" in event.summary, 5, after=before
    )
    statuses, receiver = get(clinic, dial, wanted)  # the archive lives on
    assert (statuses[-1].Status, len(receiver.images)) == (0x0000, 20)


@pytest.mark.usefixtures("stored")
def test_a_warning_of_the_receiver_is_counted_as_one(
    clinic: Hospital, viewer: Receiver, dial: Dial
) -> None:
    viewer.answer = 0xB000
    statuses = move(clinic, dial, three())
    assert statuses[-1].Status == 0xB000
    assert counts(statuses[-1]) == (0, 0, 3)


@pytest.mark.usefixtures("stored")
def test_failed_instances_are_named(clinic: Hospital, viewer: Receiver, dial: Dial) -> None:
    viewer.answer = 0xA700
    with dial(clinic, "pacs", STUDY_ROOT_MOVE) as association:
        answers = list(association.send_c_move(three(), "VIEWER", STUDY_ROOT_MOVE))
    last = answers[-1][1]
    assert last is not None
    assert list(last.FailedSOPInstanceUIDList) == INSTANCES[:3]


def test_an_error_of_the_archive_is_no_success(
    clinic: Hospital, dial: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise ValueError("out of order")

    monkeypatch.setattr(clinic.pacs.visibility.index("TOOLS"), "instances", broken)
    before = clinic.journal.all()[-1].seq
    for model in (STUDY_ROOT_GET, STUDY_ROOT_MOVE):
        if model == STUDY_ROOT_GET:
            (status,), _ = get(clinic, dial, three())
        else:
            (status,) = move(clinic, dial, three(), "TOOLS")
        assert status.Status == 0xC000
        assert status.ErrorComment == "ValueError: out of order"
    errors = clinic.journal.events(source="pacs", kind="error", after=before)
    assert len(errors) == 2
