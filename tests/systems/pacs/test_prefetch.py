from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import pytest
from pydicom.dataset import FileDataset

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.errors import ConfigurationError, NotFound
from labsim.systems.records import Patient, Procedure
from labsim.wire.hl7 import Header, Message, segment
from labsim.wire.network import free_port

Station = Callable[..., AbstractContextManager[Any]]
Image = Callable[..., FileDataset]
Send = Callable[..., list[int]]
Heard = Callable[[Hospital, str], None]


@pytest.fixture
def archive() -> Iterator[Hospital]:
    """A clinic that knows a workstation which is down."""
    clock = ManualClock(datetime(2026, 3, 2, 10, 30))
    with Hospital(seed=7, clock=clock) as running:
        running.pacs.register_ae("READER", host="127.0.0.1", port=free_port())
        yield running


def prior(image: Image, patient: Patient, **attributes: Any) -> FileDataset:
    """Return an image of an earlier study of a patient."""
    plain = {
        "PatientID": patient.patient_id,
        "IssuerOfPatientID": patient.issuer,
        "PatientName": patient.name,
        "BodyPartExamined": "CHEST",
        "StudyDate": "20250601",
    }
    return image(**(plain | attributes))


def ordered(hospital: Hospital, patient: Patient, code: str, heard: Heard) -> Procedure:
    """Order and schedule, and wait until the archive has chosen the priors."""
    order = hospital.his.place_order(patient.patient_id, code)
    procedure = hospital.ris.schedule(order.placer_order)
    assert hospital.journal.wait_for(
        lambda e: (
            e.source == "pacs"
            and e.keys.get("accession") == procedure.accession
            and (not hospital.pacs.prefetch.all() or "prefetch" in e.summary)
        ),
        5,
    )
    return procedure


def brought(hospital: Hospital) -> list[tuple[str, str, str]]:
    """Return date of the prior, state and reason of each prefetch."""
    return [(row[4], row[6], row[7]) for row in hospital.pacs.prefetches()]


@pytest.mark.parametrize(
    ("rule", "priors", "dates"),
    [
        ({"parts": "same"}, [{}, {"BodyPartExamined": "HEAD"}], ["20250601"]),
        ({"parts": "same"}, [{"BodyPartExamined": "ABDOMEN"}], []),
        ({"parts": "related"}, [{"BodyPartExamined": "ABDOMEN"}], ["20250601"]),
        ({"parts": "any"}, [{"BodyPartExamined": "HAND"}], ["20250601"]),
        ({"parts": "any"}, [{"BodyPartExamined": ""}], ["20250601"]),
        ({"modalities": "same"}, [{"Modality": "MR"}], []),
        ({"modalities": "any"}, [{"Modality": "MR"}], ["20250601"]),
        ({"parts": "any"}, [{"Modality": "SR"}], []),
        ({"max_age_days": 100}, [{}, {"StudyDate": "20260101"}], ["20260101"]),
        (
            {"at_most": 2},
            [{"StudyDate": f"2025010{day}"} for day in (1, 3, 2)],
            ["20250103", "20250102"],
        ),
        ({"modality": "MR"}, [{}], None),
        ({"body_part": "HEAD"}, [{}], None),
        ({"enabled": False}, [{}], None),
    ],
)
def test_rules_choose_among_the_priors(
    archive: Hospital,
    send: Send,
    image: Image,
    heard: Heard,
    rule: dict[str, Any],
    priors: list[dict[str, Any]],
    dates: list[str] | None,
) -> None:
    patient = archive.his.register_patient("Vega^Ines")
    send(archive, *(prior(image, patient, **attributes) for attributes in priors))
    archive.pacs.prefetch.add("chest", **rule)
    order = archive.his.place_order(patient.patient_id, "CTTHORAX")
    archive.ris.schedule(order.placer_order)
    heard(archive, "study announced")
    marker = archive.his.register_patient("After^It")  # later messages come later
    archive.his.update_patient(marker.patient_id, name="After^All")
    heard(archive, f"patient {marker.patient_id} has no images")
    found = brought(archive)
    if dates is None:
        assert found == []
    else:
        assert [date for date, _, _ in found] == (dates or [""])
        assert {state for _, state, _ in found} == ({"staged"} if dates else {"no prior"})


def test_priors_are_at_the_destination_and_the_table_says_so(
    archive: Hospital, station: Station, send: Send, image: Image, heard: Heard
) -> None:
    patient = archive.his.register_patient("Vega^Ines")
    old = prior(image, patient)
    other = image(PatientID="P999999", IssuerOfPatientID=patient.issuer, BodyPartExamined="CHEST")
    send(archive, old, other)
    with station(archive, "READER") as reader:
        archive.pacs.prefetch.add("chest", "READER")
        ordered(archive, patient, "CTTHORAX", heard)
        heard(archive, "1 images sent to READER: prefetch chest")
    assert reader.uids == [old.SOPInstanceUID]
    assert brought(archive) == [("20250601", "1 sent", "1 of 1 earlier")]


@pytest.mark.parametrize(
    ("study", "why"),
    [
        (None, "the patient has no earlier study here"),
        ({"StudyDate": "20100101"}, "1 earlier, none in 1825 days"),
        ({"BodyPartExamined": "HAND"}, "1 earlier, none of CHEST or what is like it"),
    ],
)
def test_it_says_why_no_prior_was_fetched(
    archive: Hospital,
    send: Send,
    image: Image,
    heard: Heard,
    study: dict[str, Any] | None,
    why: str,
) -> None:
    patient = archive.his.register_patient("Vega^Ines")
    if study is not None:
        send(archive, prior(image, patient, **study))
    archive.pacs.prefetch.add("chest", "READER")
    procedure = ordered(archive, patient, "CTTHORAX", heard)
    assert brought(archive) == [("", "no prior", why)]
    notes = archive.journal.events(source="pacs", accession=procedure.accession)
    assert f"prefetch chest: {why}" in [event.summary for event in notes]


def test_priors_of_a_merged_patient_are_found(
    archive: Hospital, send: Send, image: Image, heard: Heard
) -> None:
    keep, gone = (archive.his.register_patient(name) for name in ("Vega^Ines", "Vega^Inez"))
    send(archive, prior(image, gone))
    archive.his.merge_patients(keep.patient_id, gone.patient_id)
    heard(archive, "1 studies moved")
    archive.pacs.prefetch.add("chest")
    ordered(archive, keep, "CTTHORAX", heard)
    assert brought(archive) == [("20250601", "staged", "1 of 1 earlier")]


def test_rejected_priors_are_not_fetched(
    archive: Hospital, send: Send, image: Image, heard: Heard
) -> None:
    patient = archive.his.register_patient("Vega^Ines")
    old = prior(image, patient)
    send(archive, old)
    archive.pacs.reject(old.StudyInstanceUID, reason="safety")
    archive.pacs.prefetch.add("chest")
    ordered(archive, patient, "CTTHORAX", heard)
    assert brought(archive) == [("", "no prior", "the patient has no earlier study here")]


def test_slow_storage_is_told_of_each_prior(
    archive: Hospital, send: Send, image: Image, heard: Heard
) -> None:
    staged: list[str] = []
    archive.pacs.prefetched.append(staged.append)
    patient = archive.his.register_patient("Vega^Ines")
    old = prior(image, patient)
    send(archive, old)
    archive.pacs.prefetch.add("chest")
    ordered(archive, patient, "CTTHORAX", heard)
    assert staged == [old.StudyInstanceUID]


@pytest.mark.parametrize(
    ("message_type", "segments", "sent_with"),
    [
        ("ORM^O01", [("OBR", {27: "1^^^^^S"}), ("ZDS", {1: "1.2.3.4^100^Application^DICOM"})], 1),
        ("ORM^O01", [("OBR", {27: "1^^^^^R"}), ("ZDS", {1: "1.2.3.4^100^Application^DICOM"})], 2),
        ("OMI^O23", [("TQ1", {9: "S"}), ("OBR", {}), ("IPC", {1: "A9", 3: "1.2.3.4"})], 1),
        ("OMI^O23", [("TQ1", {9: "R"}), ("OBR", {}), ("IPC", {1: "A9", 3: "1.2.3.4"})], 2),
    ],
)
def test_a_stat_order_brings_its_priors_first(
    archive: Hospital,
    send: Send,
    image: Image,
    mllp: Callable[[Hospital, str, str], list[str]],
    message_type: str,
    segments: list[tuple[str, dict[int, str]]],
    sent_with: int,
) -> None:
    patient = archive.his.register_patient("Vega^Ines")
    send(archive, prior(image, patient))
    archive.pacs.prefetch.add("chest", "READER", priority="LOW")
    exam = {"OBR": {4: "CTTHORAX^CT thorax^L", 18: "A9"}}
    message = Message.build(
        Header(("RIS", "Y"), ("PACS", "Y"), message_type, "STAT1", archive.journal.now()),
        segment("PID", {3: f"{patient.patient_id}^^^{patient.issuer}", 5: patient.name}),
        segment("ORC", {1: "NW", 2: "ORD9^HIS"}),
        *(segment(kind, fields | exam.get(kind, {})) for kind, fields in segments),
    )
    assert mllp(archive, "pacs", message.text)[1].startswith("MSA|AA")
    [row] = archive.pacs.db.rows("SELECT DISTINCT priority FROM send_queue")
    assert row["priority"] == sent_with
    assert [row[0] for row in archive.pacs.prefetches()] == ["A9"]


def test_the_same_order_again_brings_nothing_twice(
    archive: Hospital, send: Send, image: Image, heard: Heard
) -> None:
    patient = archive.his.register_patient("Vega^Ines")
    send(archive, prior(image, patient))
    archive.pacs.prefetch.add("chest", "READER")
    procedure = ordered(archive, patient, "CTTHORAX", heard)
    before = list(archive.pacs.prefetches())
    [message] = [
        event
        for event in archive.journal.events(source="pacs", kind="hl7", transaction="RAD-4")
        if event.detail["direction"] == "received" and event.payload is not None
    ][:1]
    again = archive.message(message)
    assert isinstance(again, Message)
    archive.pacs._ordered(again, patient)
    assert [tuple(r) for r in archive.pacs.prefetches()] == [tuple(r) for r in before]
    assert procedure.accession == before[0][0]


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"destination": "NOBODY"}, "No AE title 'NOBODY' is registered"),
        ({"destination": "PACS"}, "the priors are here"),
        ({"parts": "left"}, "'left' cannot be in a prefetch rule"),
        ({"modalities": "CT"}, "'CT' cannot be in a prefetch rule"),
        ({"priority": "stat"}, "'stat' cannot be in a prefetch rule"),
        ({"at_most": 0}, "brings nothing"),
        ({"max_age_days": 0}, "brings nothing"),
        ({"older": 3}, "no such value"),
    ],
)
def test_what_cannot_be_right_is_refused(
    archive: Hospital, settings: dict[str, Any], why: str
) -> None:
    with pytest.raises(ConfigurationError, match=why):
        archive.pacs.prefetch.add("new", **settings)
    assert archive.pacs.prefetch.all() == []


def test_a_rule_is_changed_and_removed(archive: Hospital) -> None:
    archive.pacs.prefetch.add("chest", "READER", at_most=5)
    changed = archive.pacs.prefetch.change("chest", destination="TOOLS")
    assert (changed.destination, changed.at_most) == ("TOOLS", 5)
    assert archive.pacs.prefetch.remove("chest") == changed
    with pytest.raises(NotFound, match="no prefetch rule 'chest'"):
        archive.pacs.prefetch.remove("chest")


def test_parts_are_related_both_ways(archive: Hospital) -> None:
    archive.pacs.prefetch.relate("HAND", "FOREARM")
    related = {tuple(row) for row in archive.pacs.prefetch.related()}
    assert {("HAND", "FOREARM"), ("FOREARM", "HAND"), ("CHEST", "ABDOMEN")} <= related
