"""All that a hospital says in HL7: every message that it knows how to send, sent once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

import labsim
from labsim import Hospital
from labsim.imaging.ct import PROTOCOLS
from labsim.systems.records import Procedure
from labsim.wire.hl7 import Message

_SYSTEMS = Path(labsim.__file__).parent / "systems"


# How HIS and RIS write orders: by v2.3.1, and by v2.5.1.
_FORMS = (("ORM^O01", "ORM^O01"), ("OMG^O19", "OMI^O23"))


@cache
def all_that_is_said(site: str) -> tuple[Message, ...]:
    """Return all that the systems of a hospital send, with orders in the form of both versions."""
    said: list[Message] = []
    with pytest.MonkeyPatch.context() as patch:
        for part, protocol in list(PROTOCOLS.items()):
            patch.setitem(PROTOCOLS, part, replace(protocol, slices=4, size=32))
        for placed, announced in _FORMS:
            with Hospital(seed=7, site=site) as hospital:
                hospital.his.order_message, hospital.ris.order_message = placed, announced
                make_it_say_everything(hospital)
                said += sent(hospital)
    return tuple(said)


def make_it_say_everything(hospital: Hospital) -> None:
    """Have each kind of message sent, with texts that need escapes and other alphabets."""
    _patients(hospital)
    _orders(hospital)
    _orders_of_the_ris(hospital)
    _examination(hospital)
    assert hospital.settle(30)


def _patients(hospital: Hospital) -> None:
    his = hospital.his
    silva = his.register_patient("Silva^Inês", "19800229", "F").patient_id
    twin = his.register_patient("Silva^Ines").patient_id
    his.admit(silva, "3W^12^A", "Lindqvist^Greta")
    his.transfer(silva, "3W^14^B")
    his.make_outpatient(silva)
    his.make_inpatient(silva, "3W^14^B")
    his.discharge(silva)
    his.discharge(silva)  # of the visit that she was registered with
    his.cancel_discharge(silva)
    his.discharge(silva)
    his.admit(silva, "4N^1^A")
    his.cancel_admit(silva)
    his.update_patient(silva, name="Silva e Sousa^Inês^Maria^^Dr")
    his.update_person(silva, birth_date="19800228")
    his.add_identifier(silva, "77&1", "LAKESIDE", "MR")
    his.merge_patients(silva, twin)
    known, unknown = (his.register_unidentified("M", "found").patient_id for _ in range(2))
    his.identify(known, name="Costa^Rui", birth_date="19550101")
    his.identify(unknown, known)


def _orders(hospital: Hospital) -> None:
    scheduled = _scheduled(hospital, "CTTHORAX", "Cough & fever | since 3 days^", "S")
    hospital.ris.reschedule(scheduled.accession, start=hospital.clock.now())
    hospital.ris.change(scheduled.accession, code="CTHEAD", reason="Fall", priority="A")
    hospital.ris.cancel(scheduled.accession, "Patient did not come\nand did not call")
    changed = _scheduled(hospital, "CTHEAD", "Fall", "R")
    placed = hospital.his.change_order(changed.placer_order, code="CTTHORAX", priority="A")
    hospital.ris.schedule(placed.placer_order)
    hospital.his.cancel_order(placed.placer_order)


def _orders_of_the_ris(hospital: Hospital) -> None:
    patient = hospital.his.register_patient().patient_id
    assert hospital.wait_until(
        lambda: any(p.patient_id == patient for p in hospital.ris.patients())
    )
    asked = hospital.ris.request_order(patient, "CTHEAD", reason="Fall", provider="Reyes^Ana")
    assert hospital.wait_until(lambda: bool(hospital.ris.procedure(asked.accession).placer_order))
    step = hospital.ct.start_step(hospital.ct.query_worklist(accession=asked.accession)[0])
    hospital.ct.discontinue_step(step)
    hospital.ris.schedule_again(asked.accession)


def _examination(hospital: Hospital) -> None:
    procedure = _scheduled(hospital, "CTTHORAX", "", "R")
    ct = hospital.ct
    step = ct.start_step(ct.query_worklist(accession=procedure.accession)[0], perform="CTHEAD")
    ct.acquire(step)
    ct.send(procedure.accession)
    ct.complete_step(step)
    ris, accession = hospital.ris, procedure.accession
    ris.report(
        accession, "1. Nodule | 8 mm ~ left\n2. \\ & ^", interpreter="Bianchi^Elena", status="P"
    )
    ris.report(accession, "Nodule, 8 mm.")
    ris.addendum(accession, "Unverändert.", interpreter="Quist^Noah")


def _scheduled(hospital: Hospital, code: str, reason: str, priority: str) -> Procedure:
    patient = hospital.his.register_patient().patient_id
    order = hospital.his.place_order(patient, code, reason, "Reyes^Ana", priority=priority)
    return hospital.ris.schedule(order.placer_order)


def sent(hospital: Hospital) -> list[Message]:
    """Return every message that a system of the hospital sent, acknowledgments too."""
    found = [
        Message(hospital.journal.payload(event)["hl7"])
        for event in hospital.journal.all()
        if event.kind == "hl7" and event.detail["direction"] == "sent"
    ]
    assert found
    return found


def kinds_in_the_code() -> set[str]:
    """Return the type and event of every message that some line of the systems writes."""
    told = set(
        re.findall(r'"((?:ADT|OR[MRU]|OMG|OMI|ORG)\^[A-Z]\d\d)[\^"]', _code("his", "ris", "."))
    )
    return told | {f"ADT^{event}" for event in re.findall(r'_visit\(\s*"(A\d\d)"', _code("his"))}


def controls_in_the_code() -> set[str]:
    """Return every order control (ORC-1) that some line of HIS and RIS writes."""
    written = (
        r'(?:_tell_placer|_tell_archive|_send_order)\([^")]*"([A-Z]{2})"|orc = {\s*1: "([A-Z]{2})"'
    )
    found = re.findall(written, _code("his", "ris"))
    status = re.findall(r'_set_status\(.*"([A-Z]{2})"', _code("ris"))
    return {one or other for one, other in found} | set(status)


def _code(*folders: str) -> str:
    return "\n".join(file.read_text("utf-8") for each in folders for file in _files(each))


def _files(folder: str) -> Iterator[Path]:
    yield from sorted((_SYSTEMS / folder).glob("*.py"))
