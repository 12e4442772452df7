"""The reading list: in which order, and who has what."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.errors import ConfigurationError, NotFound
from labsim.systems.records import Procedure

pytestmark = pytest.mark.usefixtures("small_scans")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 3, 2, 8, 0))


@pytest.fixture
def clinic(clock: ManualClock) -> Iterator[Hospital]:
    with Hospital(seed=7, clock=clock) as running:
        yield running


def complete(clinic: Hospital, patient_id: str = "", priority: str = "R") -> Procedure:
    patient_id = patient_id or clinic.his.register_patient().patient_id
    order = clinic.his.place_order(patient_id, priority=priority)
    procedure = clinic.ris.schedule(order.placer_order)
    [entry] = clinic.ct.query_worklist(accession=procedure.accession)
    step = clinic.ct.start_step(entry)
    clinic.ct.acquire(step)
    clinic.ct.complete_step(step)
    return procedure


def test_the_urgent_come_first_then_what_waits_longest(
    clinic: Hospital, clock: ManualClock
) -> None:
    made = []
    for priority in ("R", "A", "S", "R"):
        made.append(complete(clinic, priority=priority).accession)
        clock.advance(timedelta(minutes=10))
    first, second, third, fourth = made
    found = clinic.ris.reading_list()
    assert [entry.accession for entry in found] == [third, second, first, fourth]
    assert [entry.waiting for entry in found] == [20, 30, 40, 10]


def test_the_list_says_whose_it_is_and_how_many_priors_there_are(
    clinic: Hospital,
) -> None:
    patient = clinic.his.register_patient("Silva^Ines")
    first = complete(clinic, patient.patient_id)
    clinic.ris.report(first.accession, "Normal.")
    complete(clinic)
    second = complete(clinic, patient.patient_id)
    clinic.ris.report(second.accession, "Normal?", status="P")
    [entry] = [e for e in clinic.ris.reading_list() if e.accession == second.accession]
    assert (entry.patient_id, entry.name, entry.priors) == (patient.patient_id, "Silva^Ines", 1)
    assert (entry.report, entry.reader, entry.modality) == ("P", "", "CT")
    assert "Silva^Ines" in str(clinic.ris.reading_list())


def test_two_readers_do_not_read_one_study(clinic: Hospital) -> None:
    accession = complete(clinic).accession
    clinic.ris.take(accession, "Quist^Noah")
    clinic.ris.take(accession, "Quist^Noah")  # twice is once
    assert clinic.ris.reading_list()[0].reader == "Quist^Noah"
    with pytest.raises(ConfigurationError, match=r"Quist\^Noah is reading"):
        clinic.ris.take(accession, "Okafor^Ngozi")
    with pytest.raises(ConfigurationError, match=r"Quist\^Noah is reading"):
        clinic.ris.report(accession, "Normal.", interpreter="Okafor^Ngozi")
    clinic.ris.give_back(accession)
    clinic.ris.report(accession, "Normal.", interpreter="Okafor^Ngozi")
    assert clinic.ris.procedure(accession).status == "REPORTED"


def test_a_preliminary_report_puts_the_study_back(clinic: Hospital) -> None:
    accession = complete(clinic).accession
    clinic.ris.take(accession, "Bianchi^Elena")
    clinic.ris.report(accession, "Normal?", interpreter="Bianchi^Elena", status="P")
    clinic.ris.take(accession, "Okafor^Ngozi")
    assert clinic.ris.reading_list()[0].reader == "Okafor^Ngozi"


def test_a_resident_signs_no_final_report(clinic: Hospital) -> None:
    accession = complete(clinic).accession
    with pytest.raises(ConfigurationError, match="only an attending"):
        clinic.ris.report(accession, "Normal.", interpreter="Bianchi^Elena")
    clinic.ris.report(accession, "Normal.")
    with pytest.raises(ConfigurationError, match="only an attending"):
        clinic.ris.addendum(accession, "Still normal.", interpreter="Bianchi^Elena")
    assert clinic.his.chart(clinic.his.patients()[0].patient_id)[0].status == "F"


def test_only_what_waits_is_taken(clinic: Hospital) -> None:
    accession = complete(clinic).accession
    clinic.ris.report(accession, "Normal.")
    with pytest.raises(ConfigurationError, match="REPORTED: it does not wait"):
        clinic.ris.take(accession, "Okafor^Ngozi")
    with pytest.raises(NotFound, match="no examination"):
        clinic.ris.take("A9", "Okafor^Ngozi")


def test_strangers_do_not_read(clinic: Hospital) -> None:
    accession = complete(clinic).accession
    with pytest.raises(NotFound, match=r"no reader 'Doe\^Jane'.*add_reader"):
        clinic.ris.take(accession, "Doe^Jane")
    with pytest.raises(NotFound, match="no reader"):
        clinic.ris.report(accession, "Normal.", interpreter="Doe^Jane")
    clinic.ris.add_reader("Doe^Jane", "resident")
    assert ("Doe^Jane", "resident") in [tuple(row) for row in clinic.ris.readers()]
    clinic.ris.take(accession, "Doe^Jane")
    for name, role in (("Doe^Jane", "boss"), ("^", "attending")):
        with pytest.raises(ConfigurationError):
            clinic.ris.add_reader(name, role)
