"""For tests of the scanner's parts: somebody on the table."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydicom.dataset import Dataset

from labsim import Hospital
from labsim.systems.records import Procedure


@pytest.fixture
def entry_of() -> Callable[..., tuple[Procedure, Dataset]]:
    """Bring a patient to the scanner, with their entry of the worklist."""

    def bring(hospital: Hospital, code: str = "CTTHORAX") -> tuple[Procedure, Dataset]:
        patient = hospital.his.register_patient()
        order = hospital.his.place_order(patient.patient_id, code, "Cough")
        procedure = hospital.ris.schedule(order.placer_order)
        (entry,) = hospital.ct.query_worklist(accession=procedure.accession)
        return procedure, entry

    return bring


@pytest.fixture
def scanned(entry_of: Callable[..., tuple[Procedure, Dataset]]) -> Callable[..., Procedure]:
    """Scan a patient, and send nothing."""

    def scan(hospital: Hospital) -> Procedure:
        procedure, entry = entry_of(hospital)
        step = hospital.ct.start_step(entry)
        hospital.ct.acquire(step)
        hospital.ct.complete_step(step)
        return procedure

    return scan
