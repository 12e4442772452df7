"""What a performed step tells of radiation."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from labsim import Hospital


@pytest.fixture
def told(small_scans: None) -> Callable[[Hospital, str], Dataset]:
    """Perform an examination, and return what the RIS was told at its end."""

    def perform(hospital: Hospital, code: str) -> Dataset:
        patient = hospital.his.register_patient()
        order = hospital.his.place_order(patient.patient_id, code)
        scanner = hospital.scanner(hospital.ris.schedule(order.placer_order).station)
        step = scanner.start_step(scanner.worklist())
        scanner.acquire(step)
        scanner.complete_step(step)
        event = hospital.journal.events(source="ris", transaction="RAD-7", mpps_uid=step)[0]
        message = hospital.message(event)
        assert isinstance(message, Dataset)
        return message

    return perform


def test_a_scan_computed_twice_is_one_exposure(told: Callable[..., Dataset]) -> None:
    with Hospital(seed=7) as hospital:
        dose = told(hospital, "CTLUNG")  # localizer, soft tissue, and the same again for lungs
        scan = next(
            image
            for image in map(dcmread, sorted(hospital.ct._images.glob("*.dcm")))
            if image.get("CTDIvol")
        )
    assert dose.TotalNumberOfExposures == len(dose.ExposureDoseSequence) == 2
    length = 4 * float(scan.SliceThickness) / 10
    assert dose.CommentsOnRadiationDose == f"TotalDLP={scan.CTDIvol * length:.1f} mGy.cm"
    assert {item.RadiationMode for item in dose.ExposureDoseSequence} == {"CONTINUOUS"}


def test_every_radiograph_is_an_exposure(told: Callable[..., Dataset]) -> None:
    with Hospital(seed=7, site="community") as hospital:
        chest, breasts = told(hospital, "DXCHEST"), told(hospital, "MGSCREEN")
        scan = told(hospital, "USABDOMEN")
    assert chest.TotalNumberOfExposures == 2
    assert float(chest.ImageAndFluoroscopyAreaDoseProduct) > 0
    assert breasts.TotalNumberOfExposures == 4
    assert float(breasts.EntranceDoseInmGy) > float(chest.EntranceDoseInmGy)
    assert "ExposureDoseSequence" not in scan
