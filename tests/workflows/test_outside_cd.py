"""An outside CD is imported and reconciled; and what must never happen to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from labsim import Hospital
from labsim.errors import ConfigurationError
from labsim.media import outside_disc, read_disc
from labsim.media.outside import Outsider


def test_an_outside_cd_is_imported_for_an_order(department: Hospital, tmp_path: Path) -> None:
    his, ris, pacs, importer = (
        department.his,
        department.ris,
        department.pacs,
        department.importer,
    )
    disc = outside_disc(
        tmp_path / "cd",
        images=4,
        snags=["no issuer", "name spelled differently", "broken file", "missing file"],
    )
    patient = his.register_patient("Moreau^Céline", "1961-04-17", "F")
    order = his.place_order(patient.patient_id, "IMPORT", "Second opinion")
    procedure = ris.schedule(order.placer_order)

    # The clerk inserts the disc, looks who it may be, and finds the order.
    reading = importer.insert(disc)
    (study,) = reading.imports
    (match,) = importer.matches(study.number)
    assert match.patient == patient
    assert match.same
    (entry,) = importer.worklist()
    assert entry.AccessionNumber == procedure.accession
    importer.reconcile(study.number, accession=procedure.accession)
    ris.report(procedure.accession, "Outside CT reviewed. No acute finding.")
    assert department.settle()  # the report goes by way of the engine

    # HIS: the order is resulted, in the chart of this patient only.
    assert [o.status for o in his.orders()] == ["RESULTED"]
    (result,) = his.chart(patient.patient_id)
    assert result.accession == procedure.accession
    assert result.study_uid == study.study_uid  # the images as they are, not as announced
    # RIS: the examination is done by the importer, and its step names what was stored.
    done = ris.procedure(procedure.accession)
    assert (done.status, done.station) == ("REPORTED", "IMPORT")
    [step] = ris.performed_steps()
    assert (step[1], step[2]) == (procedure.step_id, "IMPORT")
    assert (step[3], step[6]) == ("COMPLETED", 2)
    # PACS: the images are under our patient, and say where they came from.
    ((number, name, date, accession, _, series, count),) = pacs.table()
    assert (number, name, accession) == (patient.patient_id, "Moreau^Céline", procedure.accession)
    assert (date, series, count) == (study.study_date, 2, 2)  # a series of its own for our report
    assert pacs.patient("4711", "") is None
    senders = pacs.sql("SELECT DISTINCT received_from FROM instances")
    assert {row[0] for row in senders} == {"IMPORT", "RIS"}
    stored = [dcmread(path) for path in pacs.paths(study.study_uid)]
    kept = [image for image in stored if image.Modality != "SR"]
    assert len(kept) == 2
    for image in kept:
        assert image.InstitutionName == "Lakeside Hospital"
        (change,) = image.OriginalAttributesSequence
        assert change.ModifiedAttributesSequence[0].PatientID == "4711"
        assert change.SourceOfPreviousValues == "Lakeside Hospital"
    # The importer: nothing waits; what was refused is still known.
    assert importer.study(study.number).state == "STORED"
    assert len(reading.refused) == 1
    assert any("not on the disc" in reason for _, reason in reading.mismatches)
    # The pixels and the UIDs are those of the disc.
    theirs = {i.header.SOPInstanceUID: dcmread(i.path) for i in read_disc(disc).images}
    assert {image.SOPInstanceUID for image in kept} == set(theirs)
    for image in kept:
        assert image.PixelData == theirs[image.SOPInstanceUID].PixelData
    # No scanner has heard of any of it.
    assert [len(scanner.table()) for scanner in department.modalities()] == [0] * 6


def test_a_number_of_two_patients_is_never_merged(department: Hospital, tmp_path: Path) -> None:
    exam = department.exam(name="Vega^Carlos")
    ours = exam.patient
    assert ours is not None
    before = [tuple(row) for row in department.pacs.table()]
    disc = outside_disc(
        tmp_path / "cd", images=3, patient=Outsider(patient_id=ours.patient_id), snags=["no issuer"]
    )
    (study,) = department.importer.insert(disc).imports
    (match,) = department.importer.matches(study.number)
    assert not match.same
    with pytest.raises(ConfigurationError, match="is somebody else"):
        department.importer.reconcile(study.number, ours.patient_id)

    # Every system is as it was.
    assert [tuple(row) for row in department.pacs.table()] == before
    assert department.pacs.patient(ours.patient_id) == ours
    assert department.pacs.patient(ours.patient_id, "") is None
    assert [result.accession for result in department.his.chart(ours.patient_id)] == [
        exam.accession
    ]
    assert [row[2] for row in department.ris.performed_steps()] == ["CT1"]
    assert department.importer.study(study.number).state == "WAITING"


def test_a_study_goes_to_another_hospital_and_arrives_bit_for_bit(
    department: Hospital, tmp_path: Path
) -> None:
    exam = department.exam(name="Silva^Ines")
    assert exam.patient is not None
    assert exam.procedure is not None
    disc = department.pacs.export(tmp_path / "cd.zip", patient_id=exam.patient.patient_id)
    stored = map(dcmread, department.pacs.paths(exam.procedure.study_uid))
    sent = {image.SOPInstanceUID: image for image in stored}

    with Hospital(seed=8, site="community") as elsewhere:
        born = exam.patient.birth_date
        there = elsewhere.his.register_patient("Silva^Ines", born, exam.patient.sex)
        order = elsewhere.his.place_order(there.patient_id, "IMPORT")
        procedure = elsewhere.ris.schedule(order.placer_order)
        reading = elsewhere.importer.insert(disc.path)
        assert (reading.refused, reading.mismatches) == ([], [])
        (study,) = reading.imports
        done = elsewhere.importer.reconcile(study.number, accession=procedure.accession)
        assert (done.state, done.stored) == ("STORED", len(sent))
        arrived = list(map(dcmread, elsewhere.pacs.paths(study.study_uid)))

    assert {image.SOPInstanceUID for image in arrived} == set(sent)
    for image in arrived:
        original = sent[image.SOPInstanceUID]
        assert image.get("PixelData") == original.get("PixelData")  # the report has none
        if "PixelData" in original:
            np.testing.assert_array_equal(image.pixel_array, original.pixel_array)
        assert image.SeriesInstanceUID == original.SeriesInstanceUID
