"""The chart keeps every version of a result, and tells what happened when."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.errors import NotFound

Mllp = Callable[[Hospital, str, str], list[str]]

RESULT = """MSH|^~\\&|RIS|R|HIS|R|20260302||ORU^R01|X1|P|2.5.1||||||UNICODE UTF-8
PID|1||{patient}^^^RIVERSIDE^PI||Silva^Ines
OBR|1|{order}^HIS|FIL1^RIS|CTTHORAX^CT thorax^99LABSIM||||||||||||||A1|RP1|SPS1||||CT|{status}
OBX|1|HD|113014^DICOM Study^DCM||1.2.3||||||O
OBX|2|TX|18782-3^Narrative^LN||{text}||||||{status}
"""


def test_no_version_of_a_result_is_lost(clinic: Hospital, mllp: Mllp) -> None:
    patient = clinic.his.register_patient()
    number = clinic.his.place_order(patient.patient_id).placer_order
    for status, text in (("P", "first"), ("P", "second"), ("F", "third"), ("C", "fourth")):
        message = RESULT.format(patient=patient.patient_id, order=number, status=status, text=text)
        assert mllp(clinic, "his", message)[1] == "MSA|AA|X1"
    [latest] = clinic.his.chart(patient.patient_id)
    assert (latest.status, latest.text) == ("C", "fourth")
    assert [(v.status, v.text) for v in clinic.his.versions(number)] == [
        ("P", "first"),
        ("P", "second"),
        ("F", "third"),
        ("C", "fourth"),
    ]
    late = RESULT.format(patient=patient.patient_id, order=number, status="P", text="too late")
    assert "comes too late" in mllp(clinic, "his", late)[1]
    assert len(clinic.his.versions(number)) == 4


def test_versions_of_an_unknown_order_are_not_found(clinic: Hospital) -> None:
    with pytest.raises(NotFound, match="no order 'ORD999999'"):
        clinic.his.versions("ORD999999")


def test_the_timeline_tells_it_in_order(mllp: Mllp) -> None:
    clock = ManualClock(datetime(2026, 3, 2, 9))
    with Hospital(seed=7, clock=clock) as clinic:
        his, other = clinic.his, clinic.his.register_patient()
        patient = his.register_patient("Silva^Ines")
        clock.advance(timedelta(minutes=10))
        number = his.place_order(patient.patient_id).placer_order
        his.place_order(other.patient_id)
        clock.advance(timedelta(minutes=10))
        his.discharge(patient.patient_id)
        clock.advance(timedelta(minutes=10))
        mllp(
            clinic,
            "his",
            RESULT.format(patient=patient.patient_id, order=number, status="F", text="Normal"),
        )
        timeline = his.timeline(patient.patient_id)
        assert [(row[0][11:16], row[1]) for row in timeline] == [
            ("09:00", "visit begins"),
            ("09:10", "order"),
            ("09:20", "visit ends"),
            ("09:30", "final report"),
        ]
        assert list(timeline)[-1][2:] == (number, "Normal", "1.2.3")
        assert "Silva, Ines" in timeline.caption
