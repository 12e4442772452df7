"""The audit trail from the archive's events to the repository's answers, by real syslog."""

from __future__ import annotations

import base64
import socket
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import CTImageStorage, ImplicitVRLittleEndian
from pynetdicom import build_role, evt
from pynetdicom.association import Association
from pynetdicom.dsutils import decode

from labsim import Hospital
from labsim.__main__ import describe
from labsim.clock import ManualClock
from labsim.errors import AccessDenied, ConfigurationError, LabError, NotFound
from labsim.ids import make_uid
from labsim.sop_classes import STUDY_ROOT_FIND, STUDY_ROOT_GET
from labsim.systems.audit.message import AuditMessage, Code, Participant, Subject
from labsim.systems.audit.rules import RULES, problems_of
from labsim.systems.audit.trail import AuditTrail, Study
from labsim.wire.network import Address, free_port
from labsim.wire.syslog import SyslogMessage

Dial = Callable[..., AbstractContextManager[Association]]
Image = Callable[..., FileDataset]
Keys = Callable[..., Dataset]
NOW = datetime(2026, 3, 2, 10, 30)
SECRET = "correct horse"


@pytest.fixture
def hospital(clock: ManualClock) -> Iterator[Hospital]:
    """A community hospital, which has a repository; its start is written down."""
    with Hospital(seed=7, site="community", clock=clock) as running:
        yield running


def found(hospital: Hospital, **asked: Any) -> list[ET.Element]:
    """Return the messages that a search finds, when all that was written has arrived."""
    hospital.pacs.trail.resend()
    numbers = [row[0] for row in hospital.audit.search(**asked)]
    return [ET.fromstring(hospital.audit.message(number).xml) for number in numbers]


def one(hospital: Hospital, **asked: Any) -> ET.Element:
    (message,) = found(hospital, **asked)
    return message


def roles(message: ET.Element) -> dict[str, str]:
    """Return the user ID in each role, and the requestor's."""
    told = {}
    for participant in message.findall("ActiveParticipant"):
        role = participant.find("RoleIDCode")
        name = role.get("csd-code", "") if role is not None else "none"
        told[name] = participant.get("UserID", "")
        if participant.get("UserIsRequestor") == "true":
            told["requestor"] = participant.get("UserID", "")
    return told


def event(message: ET.Element) -> tuple[str | None, ...]:
    identification = message.find("EventIdentification")
    assert identification is not None
    attributes = ("EventActionCode", "EventOutcomeIndicator", "EventDateTime")
    return tuple(identification.get(name) for name in attributes)


def objects(message: ET.Element) -> list[str | None]:
    return [
        thing.get("ParticipantObjectID")
        for thing in message.findall("ParticipantObjectIdentification")
    ]


def hillside(image: Image, number: int = 1, **attributes: object) -> FileDataset:
    plain: dict[str, object] = {
        "PatientID": "H1",
        "IssuerOfPatientID": "HILLSIDE",
        "PatientName": "Łęcka^Żaneta",
        "StudyInstanceUID": make_uid("audited study", 1),
        "SeriesInstanceUID": make_uid("audited series", 1),
        "SOPInstanceUID": make_uid("audited image", number),
        "AccessionNumber": "H001",
    }
    return image(**(plain | attributes))


@pytest.fixture
def stored(hospital: Hospital, dial: Dial, image: Image) -> Hospital:
    """The hospital, with a study of two images that CT1 sent."""
    with dial(hospital, "pacs", CTImageStorage, calling="CT1") as association:
        for number in (1, 2):
            assert association.send_c_store(hillside(image, number)).Status == 0x0000
    assert hospital.journal.wait_for(lambda e: e.summary.endswith("Instances Transferred"), 5)
    return hospital


# What the archive reports


def test_every_message_of_a_busy_day_is_right(
    stored: Hospital, dial: Dial, keys: Keys, image: Image, tmp_path: Path
) -> None:
    with dial(stored, "pacs", STUDY_ROOT_FIND) as association:
        list(association.send_c_find(keys(QueryRetrieveLevel="STUDY"), STUDY_ROOT_FIND))
    stored.pacs.users.add("anna", "viewer", SECRET)
    with stored.pacs.login("anna", SECRET), pytest.raises(AccessDenied):
        stored.pacs.remove_ae("CT1")
    stored.pacs.backup(tmp_path)
    stored.pacs.delete_study(make_uid("audited study", 1), "asked for")
    stored.pacs.trail.resend()
    table = stored.audit.search()
    events = {row[2] for row in table}
    assert events >= {
        "Application Start",
        "DICOM Instances Transferred",
        "DICOM Study Deleted",
        "Query",
        "Login",
        "Logout",
        "Use of Restricted Function",
        "User security Attributes Changed",
    }
    assert [row[9] for row in table if row[9]] == []  # no problems


def test_a_stored_study_is_one_message_with_its_counts(stored: Hospital) -> None:
    message = one(stored, event="110104")
    assert event(message)[:2] == ("C", "0")
    assert roles(message) == {"110153": "CT1", "110152": "pacs", "requestor": "CT1"}
    assert objects(message) == [make_uid("audited study", 1), "H1^^^HILLSIDE"]
    sop_class = message.find(".//SOPClass")
    assert sop_class is not None
    assert sop_class.attrib == {"UID": CTImageStorage, "NumberOfInstances": "2"}
    assert message.find(".//Accession[@Number='H001']") is not None
    names = [name.text for name in message.iter("ParticipantObjectName")]
    assert names == ["CT thorax", "Łęcka^Żaneta"]


def test_the_time_is_the_hospitals_with_its_zone(stored: Hospital) -> None:
    time = event(one(stored, event="110104"))[2]
    assert time is not None
    assert datetime.fromisoformat(time) == NOW.astimezone()
    assert datetime.fromisoformat(time).tzinfo is not None


def test_an_image_that_was_refused_is_told_apart(
    hospital: Hospital, dial: Dial, image: Image
) -> None:
    with dial(hospital, "pacs", CTImageStorage, calling="CT1") as association:
        association.send_c_store(hillside(image))
        wrong = hillside(image, 2, PatientID="H2")
        assert association.send_c_store(wrong).Status == 0xC001
    assert hospital.journal.wait_for(
        lambda e: e.summary.endswith("Instances Transferred") and e.source == "audit", 5
    )
    good, bad = found(hospital, event="110104")
    assert (event(good)[1], event(bad)[1]) == ("0", "4")
    assert objects(bad)[1] == "H2^^^HILLSIDE"
    assert bad.findtext(".//EventOutcomeDescription", "").startswith("0xC001")


def test_a_query_is_kept_as_it_was_asked(hospital: Hospital, dial: Dial, keys: Keys) -> None:
    asked = keys(QueryRetrieveLevel="STUDY", PatientName="Lecka*", StudyDate="")
    with dial(hospital, "pacs", STUDY_ROOT_FIND) as association:
        list(association.send_c_find(asked, STUDY_ROOT_FIND))
    message = one(hospital, event="Query")
    assert roles(message) == {"110153": "TOOLS", "110152": "pacs", "requestor": "TOOLS"}
    assert objects(message) == [STUDY_ROOT_FIND]
    query = base64.b64decode(message.findtext(".//ParticipantObjectQuery", ""))
    detail = message.find(".//ParticipantObjectDetail[@type='TransferSyntax']")
    assert detail is not None
    assert base64.b64decode(detail.get("value", "")).decode() == ImplicitVRLittleEndian
    assert decode(BytesIO(query), True, True) == asked


def test_a_retrieve_begins_and_ends(stored: Hospital, dial: Dial, keys: Keys) -> None:
    wanted = keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=make_uid("audited study", 1))
    with dial(
        stored,
        "pacs",
        STUDY_ROOT_GET,
        CTImageStorage,
        roles=(build_role(CTImageStorage, scp_role=True),),
        handlers=((evt.EVT_C_STORE, lambda e: 0x0000),),
    ) as association:
        list(association.send_c_get(wanted, STUDY_ROOT_GET))
    begun = one(stored, event="110102")
    assert roles(begun) == {"110153": "pacs", "110152": "TOOLS", "requestor": "TOOLS"}
    ended = found(stored, event="110104")[-1]
    assert event(ended)[:2] == ("R", "0")
    assert objects(ended) == objects(begun)


def test_a_move_names_all_three(stored: Hospital) -> None:
    stored.tools.movescu(make_uid("audited study", 1))
    begun = one(stored, event="110102")
    assert roles(begun) == {
        "110153": "pacs",
        "110152": "TOOLS",
        "none": "TOOLS",
        "requestor": "TOOLS",
    }


def test_what_a_route_sends_is_told_as_well(
    hospital: Hospital,
    dial: Dial,
    image: Image,
    station: Callable[..., AbstractContextManager[Any]],
) -> None:
    with station(hospital, "READER"):
        hospital.pacs.routes.add("all", "READER", Modality="CT")
        with dial(hospital, "pacs", CTImageStorage, calling="CT1") as association:
            assert association.send_c_store(hillside(image)).Status == 0x0000
        assert hospital.journal.wait_for(lambda e: "sent to READER: all" in e.summary, 5)
    [out] = [m for m in found(hospital, event="110104") if roles(m).get("110152") == "READER"]
    assert roles(out)["110153"] == roles(out)["requestor"] == "pacs"
    assert event(out)[0] == "R"
    assert "H1^^^HILLSIDE" in objects(out)


def test_a_stranger_is_an_alert(hospital: Hospital, dial: Dial) -> None:
    with dial(hospital, "pacs", STUDY_ROOT_FIND, calling="STRANGER") as association:
        assert association.is_rejected
    message = one(hospital, event="Node Authentication")
    assert event(message)[1] == "4"
    assert roles(message)["requestor"] == "STRANGER"
    assert message.findtext(".//EventOutcomeDescription") == "association of STRANGER rejected"


def test_asking_without_the_right_is_an_alert(hospital: Hospital, dial: Dial, keys: Keys) -> None:
    hospital.pacs.register_ae("STOREONLY", host="x", port=104, may_query=False)
    with dial(hospital, "pacs", STUDY_ROOT_FIND, calling="STOREONLY") as association:
        list(association.send_c_find(keys(QueryRetrieveLevel="STUDY"), STUDY_ROOT_FIND))
    message = one(hospital, event="Use of Restricted Function")
    assert roles(message)["requestor"] == "STOREONLY"


def test_a_change_of_configuration_names_who_did_it(hospital: Hospital) -> None:
    hospital.pacs.register_ae("NEW", host="new", port=104)
    message = one(hospital, event="Network Configuration")
    assert roles(message)["requestor"] == "admin@hillside"
    detail = message.find(".//ParticipantObjectDetail")
    assert detail is not None
    text = base64.b64decode(detail.get("value", "")).decode()
    assert text == "AE title NEW registered at new:104"


def test_logins_and_what_was_denied_are_found_by_user(hospital: Hospital) -> None:
    hospital.pacs.users.add("anna", "viewer", SECRET)
    with pytest.raises(AccessDenied):
        hospital.pacs.login("anna", "wrong")
    with hospital.pacs.login("anna", SECRET), pytest.raises(AccessDenied):
        hospital.pacs.remove_ae("CT1")
    hospital.pacs.trail.resend()
    rows = [(row[2], row[4]) for row in hospital.audit.search(user="ANNA")]
    assert rows == [
        ("Login", "minor failure"),
        ("Login", "success"),
        ("Use of Restricted Function", "minor failure"),
        ("Logout", "success"),
    ]
    assert SECRET not in str([m.xml for m in map(hospital.audit.message, range(1, 8))])


def test_a_deleted_study_is_permanent_erasure(stored: Hospital) -> None:
    stored.pacs.delete_study(make_uid("audited study", 1), "asked for by the patient")
    message = one(stored, event="110105")
    assert event(message)[0] == "D"
    assert roles(message)["requestor"] == "admin@hillside"
    study = message.find("ParticipantObjectIdentification")
    assert study is not None
    assert study.get("ParticipantObjectDataLifeCycle") == "15"


def test_an_export_names_the_patient_and_the_place(stored: Hospital, tmp_path: Path) -> None:
    with stored.pacs.act_as("technologist"), pytest.raises(AccessDenied):
        stored.pacs.export(tmp_path / "disc", study_uids=[make_uid("audited study", 1)])
    assert not (tmp_path / "disc").exists()
    stored.pacs.export(tmp_path / "disc", study_uids=[make_uid("audited study", 1)])
    message = one(stored, event="110106")
    assert roles(message) == {
        "110153": "admin@hillside",
        "none": "pacs",
        "110154": (tmp_path / "disc").as_uri(),
        "requestor": "admin@hillside",
    }
    assert objects(message) == [make_uid("audited study", 1), "H1^^^HILLSIDE"]


def test_the_his_reports_patients_and_orders(hospital: Hospital) -> None:
    patient = hospital.his.register_patient("Silva^Ines", "19800229", "F")
    hospital.his.update_patient(patient.patient_id, name="Silva Costa^Ines")
    order = hospital.his.place_order(patient.patient_id, "CTTHORAX")
    hospital.his.cancel_order(order.placer_order)
    hospital.his.trail.resend()
    rows = hospital.audit.search(patient_id=patient.patient_id, source="his")
    assert [(row[2], row[3], row[6], row[9]) for row in rows] == [
        ("Patient Record", "C", "his", ""),
        ("Patient Record", "U", "his", ""),
        ("Order Record", "C", "his", ""),
        ("Order Record", "U", "his", ""),
    ]
    told = ET.fromstring(hospital.audit.message(rows.rows[1][0]).xml)
    assert told.findtext(".//ParticipantObjectName") == "Silva Costa^Ines"


def test_any_system_may_keep_a_trail(hospital: Hospital) -> None:
    trail = AuditTrail(hospital.ris, hospital.site.audit, host="ris")
    patient = hospital.his.register_patient("Silva^Ines", "19800229", "F")
    study = Study("1.2.3", "H001", "CT thorax", {CTImageStorage: 2})
    clerk = trail.person("clerk")
    trail.about("110110", "C", [clerk], patient)
    trail.order("C", "O000001", patient, clerk)
    trail.about("110111", "U", [clerk], patient, [study])
    trail.media("clerk", "disc 7", patient, [study], out=True)
    trail.media("clerk", "disc 8", patient, [study], out=False, kind="USB")
    trail.close()
    rows = hospital.audit.search(patient_id=patient.patient_id, source="ris")
    assert [(row[2], row[3], row[9]) for row in rows] == [
        ("Patient Record", "C", ""),
        ("Order Record", "C", ""),
        ("Procedure Record", "U", ""),
        ("Export", "R", ""),
        ("Import", "C", ""),
    ]
    assert [row[5] for row in hospital.audit.search(user="disc 8")] == ["ris"]


# Nothing is lost


def test_what_could_not_be_sent_waits_and_goes_in_order(hospital: Hospital) -> None:
    hospital.pacs.trail.resend()
    place = Address("audit", 514)
    local = hospital.network.resolve(place)
    hospital.network.withdraw(place)
    before = hospital.audit.count()
    for number in range(3):
        hospital.pacs.register_ae(f"NEW{number}", host="new", port=104)
    with pytest.raises(LabError, match="3 audit messages of pacs could not be sent"):
        hospital.pacs.trail.resend()
    assert hospital.audit.count() == before
    assert len(hospital.pacs.trail.waiting()) == 3
    errors = hospital.journal.events(source="pacs", kind="error")
    assert [e.summary[:19] for e in errors] == ["audit messages wait"]  # told once
    hospital.network.publish(place, local.port)
    hospital.pacs.register_ae("NEW3", host="new", port=104)  # takes the others along
    hospital.pacs.trail.resend()
    assert len(hospital.pacs.trail.waiting()) == 0
    texts = [
        base64.b64decode(message.find(".//ParticipantObjectDetail").get("value")).decode()  # type: ignore[union-attr,arg-type]
        for message in found(hospital, event="Network Configuration")
    ]
    assert texts == [f"AE title NEW{n} registered at new:104" for n in range(4)]


def test_what_waits_at_the_end_goes_at_the_next_start(tmp_path: Path) -> None:
    with Hospital(path=tmp_path, site="community") as hospital:
        hospital.network.withdraw(Address("audit", 514))
        hospital.pacs.register_ae("NEW", host="new", port=104)
        with pytest.raises(LabError):
            hospital.pacs.trail.resend()
    with Hospital(path=tmp_path, site="community") as hospital:
        hospital.pacs.trail.resend()
        events = [row[2] for row in hospital.audit.search(source="pacs")]
        assert events[-3:] == ["Network Configuration", "Application Stop", "Application Start"]


def test_the_end_of_a_hospital_is_the_last_it_reports(tmp_path: Path) -> None:
    with Hospital(path=tmp_path, site="community"):
        pass
    with Hospital(path=tmp_path, site="community") as hospital:
        hospital.pacs.trail.resend()
        events = [row[2] for row in hospital.audit.search(source="pacs")]
    assert events == ["Application Start", "Application Stop", "Application Start"]


def test_a_repository_that_cannot_keep_a_message_is_not_taken_at_its_word(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    hospital.pacs.trail.resend()

    def full(*_: Any, **__: Any) -> str:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(hospital.audit, "_keep", full)
        hospital.pacs.register_ae("NEW", host="new", port=104)
        with pytest.raises(LabError):
            hospital.pacs.trail.resend()
    assert len(hospital.pacs.trail.waiting()) == 1
    hospital.pacs.trail.resend()
    assert len(found(hospital, event="Network Configuration")) == 1


def test_a_message_that_comes_twice_is_kept_once(hospital: Hospital) -> None:
    hospital.pacs.trail.resend()
    before = hospital.audit.count()
    sent = syslog(audit_xml(), sequence=77)
    for _ in range(2):
        send(hospital, sent.encode())
    assert hospital.audit.count() == before + 1


def test_a_site_without_a_repository_writes_nothing() -> None:
    with Hospital() as clinic:
        clinic.pacs.register_ae("NEW", host="new", port=104)
        assert clinic.pacs.trail.resend() == 0
        assert "audit_spool" not in [
            row[0] for row in clinic.pacs.sql("SELECT name FROM sqlite_master")
        ]
        with pytest.raises(LabError, match="has no audit"):
            _ = clinic.audit


def test_by_udp_it_arrives_as_well(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "labsim/sites/community.toml").read_text(encoding="utf-8")
    site = tmp_path / "udp.toml"
    site.write_text(text.replace('transport = "tcp"', 'transport = "udp"'), encoding="utf-8")
    with Hospital(site=site) as hospital:
        assert hospital.journal.wait_for(
            lambda e: e.source == "audit" and e.peer == "pacs" and "Start" in e.summary, 5
        )
        rows = hospital.audit.search(source="pacs")
        assert [row[2] for row in rows] == ["Application Start"]


# What the repository takes, and answers


def audit_xml(**changes: Any) -> str:
    plain: dict[str, Any] = {
        "event": Code("110110", "DCM", "Patient Record"),
        "action": "U",
        "time": "2026-03-02T09:00:00+00:00",
        "outcome": "0",
        "source": "emr",
        "site": "HILLSIDE",
        "participants": (Participant("clerk@hillside", name="The clerk", requestor=True),),
        "subjects": (
            Subject(
                "P1^^^HILLSIDE", Code("2", "RFC-3881", "Patient Number"), "1", "1", "Silva^Ines"
            ),
        ),
    }
    return AuditMessage(**(plain | changes)).xml()


def syslog(text: str, **changes: Any) -> SyslogMessage:
    time = "2026-03-02T09:00:00+00:00"
    return SyslogMessage("other", "emr", "1", "IHE+RFC-3881", time, text, **changes)


def send(hospital: Hospital, data: bytes) -> None:
    """Send from outside, and wait until all was read."""
    (place,) = [e.local for e in hospital.endpoints() if e.protocol == "syslog"]
    with socket.create_connection((place.host, place.port), 5) as door:
        door.sendall(b"%d %b" % (len(data), data))
        door.shutdown(socket.SHUT_WR)
        assert door.recv(1) == b""


def test_an_outside_sender_is_searched_in_every_way(hospital: Hospital) -> None:
    send(hospital, syslog(audit_xml()).encode())
    asked: list[dict[str, Any]] = [
        {"patient_id": "P1"},
        {"patient_id": "P1^^^HILLSIDE"},
        {"user": "clerk"},
        {"user": "Clerk@Hillside"},
        {"user": "the clerk"},
        {"event": "patient record"},
        {"event": "110110"},
        {"source": "emr"},
        {"source": "emr", "outcome": "success"},
        {"source": "emr", "since": "2026-03-02T09:00:00+00:00"},
        {"source": "emr", "until": datetime.fromisoformat("2026-03-02T09:00:00+00:00")},
    ]
    for question in asked:
        assert [row[5] for row in hospital.audit.search(**question)] == ["emr"], question
    for question in (
        {"patient_id": "P"},
        {"patient_id": "P1^^^RIVERSIDE"},
        {"user": "cler"},
        {"source": "emr", "outcome": "failure"},
        {"source": "emr", "since": "2026-03-02T09:00:01+00:00"},
        {"study_uid": "1.2.3"},
    ):
        assert len(hospital.audit.search(**question)) == 0, question


def test_nothing_of_another_patient_is_found(hospital: Hospital) -> None:
    for number in ("P1", "P10"):
        subject = Subject(f"{number}^^^HILLSIDE", Code("2", "RFC-3881", "Patient Number"), "1", "1")
        send(hospital, syslog(audit_xml(subjects=(subject,))).encode())
    assert [row[7] for row in hospital.audit.search(patient_id="P1")] == ["P1^^^HILLSIDE"]


def test_looking_is_written_down(hospital: Hospital) -> None:
    hospital.audit.search(patient_id="P1")
    used = hospital.audit.search(event="Audit Log Used")
    xml = hospital.audit.message(used.rows[0][0]).xml
    assert base64.b64encode(b"P1").decode() in xml
    assert problems_of(xml) == []


def test_a_message_shows_itself_in_lines(hospital: Hospital) -> None:
    send(hospital, syslog(audit_xml()).encode())
    ((number, *_),) = hospital.audit.search(source="emr")
    entry = hospital.audit.message(number)
    assert entry.xml == audit_xml()
    assert "\n  <ActiveParticipant" in str(entry)
    with pytest.raises(NotFound, match="no audit message 999"):
        hospital.audit.message(999)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("not xml", "It is not XML"),
        ("<Audit/>", "Its root is Audit"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><AuditMessage>&b;</AuditMessage>', "A document type"),
        ("<AuditMessage/>", "AuditMessage has the children none"),
    ],
)
def test_what_is_wrong_is_kept_with_its_problem(
    hospital: Hospital, text: str, problem: str
) -> None:
    send(hospital, syslog(text).encode())
    ((*_, problems),) = [row for row in hospital.audit.search() if row[9]]
    assert problem in problems


def test_bytes_that_are_no_syslog_are_kept_too(hospital: Hospital) -> None:
    send(hospital, b"\xffhello")
    assert [row[9] for row in hospital.audit.search() if row[9]] == ["The message is not UTF-8."]


def test_a_wrong_question_is_told(hospital: Hospital) -> None:
    with pytest.raises(ConfigurationError, match="is no time"):
        hospital.audit.search(since="yesterday")
    with pytest.raises(ConfigurationError, match="is no outcome"):
        hospital.audit.search(outcome="maybe")


# The rules


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"action": "E"}, "Patient Record has the action E, not C or R or U or D."),
        ({"outcome": "1"}, "EventOutcomeIndicator of EventIdentification is '1'."),
        ({"time": "2026-03-02T09:00:00"}, "has not the form of a time with its zone"),
        ({"participants": ()}, "AuditMessage has the children"),
        ({"source": ""}, "AuditSourceIdentification has no AuditSourceID."),
        ({"subjects": ()}, "Patient Record has no object with ID type 2."),
        (
            {"participants": (Participant("a", requestor=True), Participant("b", requestor=True))},
            "2 participants are the requestor",
        ),
        (
            {"event": Code("110114", "DCM", "User Authentication"), "action": "E"},
            "User Authentication has none of its event type codes 110122, 110123.",
        ),
        (
            {"event": Code("110104", "DCM", "DICOM Instances Transferred"), "action": "C"},
            "DICOM Instances Transferred has no participant with role 110153.",
        ),
    ],
)
def test_each_break_of_a_rule_is_named(changes: dict[str, Any], problem: str) -> None:
    assert problems_of(audit_xml()) == []
    assert any(problem in told for told in problems_of(audit_xml(**changes)))


def test_what_xml_cannot_hold_does_not_break_a_message() -> None:
    patient = Subject("P\x001", Code("2", "RFC-3881", "Patient Number"), "1", "1", "Sil\x0bva")
    assert problems_of(audit_xml(subjects=(patient,))) == []


def test_every_event_of_a_5_3_has_its_rule() -> None:
    assert sorted(RULES) == [str(code) for code in range(110100, 110115)]


def test_a_later_search_begins_later(hospital: Hospital, clock: ManualClock) -> None:
    hospital.pacs.trail.resend()
    clock.advance(timedelta(hours=1))
    hospital.pacs.register_ae("NEW", host="new", port=104)
    hospital.pacs.trail.resend()
    later = NOW + timedelta(minutes=30)
    assert [row[2] for row in hospital.audit.search(source="pacs", since=later)] == [
        "Network Configuration"
    ]
    assert [row[2] for row in hospital.audit.search(source="pacs", until=later)] == [
        "Application Start"
    ]


# Where it listens


def test_the_repository_is_told_to_programs_outside(hospital: Hospital) -> None:
    (told,) = [each for each in describe(hospital)["systems"] if each["protocol"] == "syslog"]
    (place,) = [each for each in hospital.audit.endpoints if each.protocol == "syslog"]
    assert told == {
        "name": "audit",
        "protocol": "syslog",
        "application": "AUDIT",
        "host": "127.0.0.1",
        "port": place.local.port,
        "tls": False,
    }


def test_it_listens_at_a_port_that_was_asked_for() -> None:
    port = free_port()
    with Hospital(site="community", ports={"audit.syslog": port}) as hospital:
        ports = {e.protocol: e.local.port for e in hospital.audit.endpoints}
        assert ports["syslog"] == port
    with pytest.raises(ConfigurationError, match="There is no place"):
        Hospital(ports={"audit.syslog": port})
