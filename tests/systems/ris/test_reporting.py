"""Preliminary, final, addendum: what RIS and chart hold of a report at each state."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from labsim import Hospital
from labsim.errors import ConfigurationError, DeliveryFailed
from labsim.systems.records import Procedure
from labsim.wire.hl7 import Message

pytestmark = pytest.mark.usefixtures("small_scans")


@pytest.fixture
def clinic() -> Iterator[Hospital]:
    with Hospital(seed=7) as running:
        yield running


@pytest.fixture
def completed(clinic: Hospital) -> Procedure:
    order = clinic.his.place_order(clinic.his.register_patient().patient_id)
    procedure = clinic.ris.schedule(order.placer_order)
    [entry] = clinic.ct.query_worklist()
    step = clinic.ct.start_step(entry)
    clinic.ct.acquire(step)
    clinic.ct.complete_step(step)
    return procedure


def chart(clinic: Hospital, procedure: Procedure) -> tuple[str, str]:
    [result] = clinic.his.chart(procedure.patient_id)
    return result.status, result.text


def order_status(clinic: Hospital) -> str:
    return clinic.his.orders()[0].status


def test_a_preliminary_report_is_in_the_chart_and_still_to_be_read(
    clinic: Hospital, completed: Procedure
) -> None:
    clinic.ris.report(completed.accession, "Pneumonia?", status="P")
    assert chart(clinic, completed) == ("P", "Pneumonia?")
    assert order_status(clinic) == "PRELIMINARY"
    assert [p.accession for p in clinic.ris.reading_list()] == [completed.accession]


def test_the_final_report_takes_the_place_of_the_preliminary_one(
    clinic: Hospital, completed: Procedure
) -> None:
    clinic.ris.report(completed.accession, "Pneumonia?", status="P")
    clinic.ris.report(completed.accession, "No pneumonia.")
    assert chart(clinic, completed) == ("F", "No pneumonia.")
    assert order_status(clinic) == "RESULTED"
    assert clinic.ris.reading_list() == []


def test_an_addendum_keeps_the_signed_text(clinic: Hospital, completed: Procedure) -> None:
    clinic.ris.report(completed.accession, "No pneumonia.")
    clinic.ris.addendum(completed.accession, "Compared with 2019: unchanged.")
    status, text = chart(clinic, completed)
    assert status == "C"
    assert text.startswith("No pneumonia.\n\nAddendum")
    assert text.endswith("Compared with 2019: unchanged.")
    clinic.ris.addendum(completed.accession, "And a second one.")
    assert chart(clinic, completed)[1].count("Addendum") == 2


def test_a_signed_report_is_not_written_over(clinic: Hospital, completed: Procedure) -> None:
    clinic.ris.report(completed.accession, "No pneumonia.")
    for status in "FP":
        with pytest.raises(ConfigurationError, match=r"is signed.*addendum"):
            clinic.ris.report(completed.accession, "Something else.", status=status)
    assert chart(clinic, completed) == ("F", "No pneumonia.")


def test_there_is_no_addendum_before_a_signed_report(
    clinic: Hospital, completed: Procedure
) -> None:
    with pytest.raises(ConfigurationError, match="no signed report"):
        clinic.ris.addendum(completed.accession, "Too early.")
    clinic.ris.report(completed.accession, "Pneumonia?", status="P")
    with pytest.raises(ConfigurationError, match="no signed report"):
        clinic.ris.addendum(completed.accession, "Too early.")


def test_an_unknown_result_status_is_refused(clinic: Hospital, completed: Procedure) -> None:
    with pytest.raises(ConfigurationError, match="'X' is no status"):
        clinic.ris.report(completed.accession, "Text.", status="X")


def test_the_chart_does_not_take_a_preliminary_report_after_the_final_one(
    clinic: Hospital, completed: Procedure
) -> None:
    clinic.ris.report(completed.accession, "Pneumonia?", status="P")
    clinic.ris.report(completed.accession, "No pneumonia.")
    events = clinic.journal.events(source="his", transaction="RAD-128")
    sent = [clinic.message(event) for event in events if event.detail.get("request")]
    [late] = [m for m in sent if isinstance(m, Message) and m["OBR-25"] == "P"]
    address = next(e.address for e in clinic.endpoints() if e.system == "his")
    with pytest.raises(DeliveryFailed, match="final report"):
        clinic.his.outbox.send(late, address, "RAD-128")
    assert chart(clinic, completed) == ("F", "No pneumonia.")
