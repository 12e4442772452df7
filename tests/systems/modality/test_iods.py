"""The images of every case of scheduled workflow are valid, and say what the case is."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from labsim import Hospital
from labsim.systems.records import Procedure

pytestmark = pytest.mark.usefixtures("small_scans")


def errors(program: Path, file: Path) -> list[str]:
    done = subprocess.run([program, file], capture_output=True, text=True, timeout=60)
    return [line for line in (done.stdout + done.stderr).splitlines() if "Error" in line]


def test_images_of_unscheduled_group_and_appended_steps_are_valid(
    hospital: Hospital, peer: Callable[[str], Path]
) -> None:
    ct, dciodvfy = hospital.ct, peer("dciodvfy")
    patient = hospital.his.register_patient()
    group: list[Procedure] = []
    for code in ("CTTHORAX", "CTHEAD"):
        order = hospital.his.place_order(patient.patient_id, code)
        group.append(hospital.ris.schedule(order.placer_order))
    steps = [
        ct.start_unscheduled("Unknown^Male", perform="CTHEAD"),
        ct.start_step(ct.worklist()),
    ]
    files = [ct.acquire(step)[0] for step in steps]
    for step in steps:
        ct.complete_step(step)
    files.append(ct.acquire(ct.append(group[0].accession, perform="CTHEAD"))[0])
    assert [errors(dciodvfy, file) for file in files] == [[], [], []]
