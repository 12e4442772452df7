from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from importlib.resources import files
from pathlib import Path

import pytest
from pydicom import dcmread

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.errors import AssociationFailed, ConfigurationError, DimseFailed, LabError, NotFound
from labsim.media import Limits, outside_disc
from labsim.media.outside import Outsider
from labsim.site import Site
from labsim.systems.importer.identity import plain
from labsim.systems.records import Patient, Procedure

NOW = datetime(2026, 3, 2, 8, 0)


@pytest.fixture
def hospital() -> Iterator[Hospital]:
    """A running community hospital of its own; it is eight o'clock, 2 March 2026."""
    with Hospital(seed=7, site="community", clock=ManualClock(NOW)) as running:
        yield running


def celine(hospital: Hospital) -> Patient:
    """Register the patient of the disc here."""
    return hospital.his.register_patient("Moreau^Céline", "1961-04-17", "F")


def import_order(hospital: Hospital, patient: Patient) -> Procedure:
    order = hospital.his.place_order(patient.patient_id, "IMPORT")
    return hospital.ris.schedule(order.placer_order)


def insert(hospital: Hospital, tmp_path: Path, *snags: str, **who: str) -> int:
    """Insert a disc with one study, and return its number in the queue."""
    disc = outside_disc(tmp_path / "cd", images=3, patient=Outsider(**who), snags=snags)
    (study,) = hospital.importer.insert(disc).imports
    return study.number


def studies(hospital: Hospital) -> list[tuple[object, ...]]:
    return [tuple(row) for row in hospital.pacs.table()]


def test_the_archive_knows_the_importer(hospital: Hospital) -> None:
    assert hospital.pacs.known_ae("IMPORT") is not None
    assert hospital.tools.echoscu("importer") == "0x0000 Success"


def test_a_disc_waits_and_nothing_goes_to_the_archive(hospital: Hospital, tmp_path: Path) -> None:
    number = insert(hospital, tmp_path)
    study = hospital.importer.study(number)
    assert (study.state, study.images, study.stored) == ("WAITING", 3, 0)
    assert study.theirs == Patient("4711", "LAKESIDE", "Moreau^Céline", "19610417", "F")
    assert study.source == "Lakeside Hospital"
    assert studies(hospital) == []


def test_a_disc_may_be_taken_out_when_it_is_read(hospital: Hospital, tmp_path: Path) -> None:
    celine_here = celine(hospital)
    number = insert(hospital, tmp_path)
    (tmp_path / "cd").rename(tmp_path / "gone")
    import_order(hospital, celine_here)
    assert hospital.importer.reconcile(number, celine_here.patient_id).state == "STORED"


def test_the_list_shows_who_fits_best_and_why(hospital: Hospital, tmp_path: Path) -> None:
    import_order(hospital, celine(hospital))
    insert(hospital, tmp_path, "name spelled differently")
    ((*_, state, best),) = hospital.importer.imports()
    assert state == "WAITING"
    assert best.startswith("100: P000001^^^HILLSIDE Moreau^Céline")
    assert "same birth date" in best


def test_a_patient_with_images_is_found_in_the_archive(
    hospital: Hospital, small_scans: None, tmp_path: Path
) -> None:
    exam = hospital.exam(name="Moreau^Céline")
    assert exam.patient is not None
    number = insert(hospital, tmp_path, birth_date=exam.patient.birth_date, sex=exam.patient.sex)
    (match,) = hospital.importer.matches(number)
    assert match.patient == exam.patient
    assert (match.score, match.same) == (100, True)


def test_a_stranger_with_a_number_of_ours_is_shown_as_no_match(
    hospital: Hospital, small_scans: None, tmp_path: Path
) -> None:
    ours = hospital.exam(name="Vega^Carlos").patient
    assert ours is not None
    number = insert(hospital, tmp_path, patient_id=ours.patient_id)
    (match,) = hospital.importer.matches(number)
    assert match.patient == ours
    assert not match.same
    assert "same number, given by LAKESIDE: says nothing" in match.reasons


def test_nobody_is_like_a_patient_who_was_never_here(hospital: Hospital, tmp_path: Path) -> None:
    number = insert(hospital, tmp_path)
    assert hospital.importer.matches(number) == []
    ((*_, best),) = hospital.importer.imports()
    assert best == "nobody here is like this patient"


def test_without_an_order_the_archive_says_who_it_is(
    hospital: Hospital, small_scans: None, tmp_path: Path
) -> None:
    ours = hospital.exam(name="Moreau^Céline").patient
    assert ours is not None
    number = insert(hospital, tmp_path, birth_date=ours.birth_date, sex=ours.sex)
    study = hospital.importer.reconcile(number, ours.patient_id)
    assert (study.state, study.stored) == ("STORED", 3)
    first = dcmread(hospital.pacs.paths(study.study_uid)[0])
    assert (first.PatientID, first.IssuerOfPatientID) == (ours.patient_id, "HILLSIDE")
    assert not first.AccessionNumber
    ((*_, step_id, station, status, _, _, images),) = [
        row for row in hospital.ris.performed_steps() if row[2] == "IMPORT"
    ]
    assert (step_id, station, status, images) == ("", "IMPORT", "COMPLETED", 3)


def test_somebody_else_is_refused_and_the_study_waits(hospital: Hospital, tmp_path: Path) -> None:
    other = hospital.his.register_patient("Vega^Carlos", "1970-01-31", "M")
    order = import_order(hospital, other)
    number = insert(hospital, tmp_path, patient_id=other.patient_id)
    for decision in ({"patient_id": other.patient_id}, {"accession": order.accession}):
        with pytest.raises(ConfigurationError, match="somebody else: other name"):
            hospital.importer.reconcile(number, **decision)  # type: ignore[arg-type]
    assert hospital.importer.study(number).state == "WAITING"
    assert studies(hospital) == []
    assert len(hospital.ris.performed_steps()) == 0


def test_a_clerk_who_has_asked_may_overrule(hospital: Hospital, tmp_path: Path) -> None:
    married = hospital.his.register_patient("Okafor^Céline", "1961-04-17", "F")
    order = import_order(hospital, married)
    number = insert(hospital, tmp_path)
    study = hospital.importer.reconcile(number, accession=order.accession, although_different=True)
    assert study.state == "STORED"
    assert any("although it differs" in e.summary for e in hospital.journal.events())


def test_an_order_of_another_patient_is_refused(hospital: Hospital, tmp_path: Path) -> None:
    order = import_order(hospital, celine(hospital))
    number = insert(hospital, tmp_path)
    with pytest.raises(ConfigurationError, match="Order A0000001 is of P000001"):
        hospital.importer.reconcile(number, "P000002", accession=order.accession)


def test_a_study_that_the_archive_has_of_another_is_refused(
    hospital: Hospital, tmp_path: Path
) -> None:
    disc = outside_disc(tmp_path / "cd", images=1)
    assert hospital.tools.import_folder(disc).stored == 1  # past the importer, as it came
    order = import_order(hospital, celine(hospital))
    (study,) = hospital.importer.insert(disc).imports
    ((*_, best),) = hospital.importer.imports()
    assert best.startswith("in the archive already, of 4711^^^LAKESIDE")
    with pytest.raises(ConfigurationError, match="The archive has study"):
        hospital.importer.reconcile(study.number, accession=order.accession)


def test_two_patients_in_one_study_are_two_decisions(hospital: Hospital, tmp_path: Path) -> None:
    disc = outside_disc(tmp_path / "cd", images=3)
    last = disc / "PT000000/ST000000/SE000000/IM000002"
    image = dcmread(last)
    image.PatientID, image.PatientName = "9999", "Vega^Carlos"
    image.save_as(last)
    first, second = hospital.importer.insert(disc).imports
    assert first.study_uid == second.study_uid
    assert (first.theirs.patient_id, first.images) == ("4711", 2)
    assert (second.theirs.patient_id, second.images) == ("9999", 1)


def test_what_the_archive_refuses_is_sent_again(hospital: Hospital, tmp_path: Path) -> None:
    order = import_order(hospital, celine(hospital))
    number = insert(hospital, tmp_path)
    hospital.importer.configure("store", ae_title="NOBODY", host="pacs", port=104)
    assert hospital.importer.reconcile(number, accession=order.accession).state == "INCOMPLETE"
    assert hospital.ris.procedure(order.accession).status == "IN PROGRESS"
    hospital.importer.configure("store", ae_title="PACS", host="pacs", port=104)
    assert hospital.importer.send(number).state == "STORED"
    assert hospital.ris.procedure(order.accession).status == "COMPLETED"
    assert hospital.pacs.count(hospital.importer.study(number).study_uid) == 3
    hospital.importer.send(number)  # has nothing left to do
    assert len(hospital.ris.performed_steps()) == 1


def test_a_ris_that_is_away_leaves_the_study_waiting(hospital: Hospital, tmp_path: Path) -> None:
    order = import_order(hospital, celine(hospital))
    number = insert(hospital, tmp_path)
    hospital.importer.configure("mpps", ae_title="RIS", host="ris", port=4242)
    with pytest.raises(AssociationFailed):
        hospital.importer.reconcile(number, accession=order.accession)
    assert hospital.importer.study(number).state == "WAITING"
    assert studies(hospital) == []


def test_an_archive_that_is_away_when_a_disc_comes_loses_nothing(
    hospital: Hospital, tmp_path: Path
) -> None:
    hospital.importer.configure("query", ae_title="PACS", host="pacs", port=4242)
    number = insert(hospital, tmp_path)
    assert hospital.importer.study(number).state == "WAITING"
    ((*_, best),) = hospital.importer.imports()
    assert best.startswith("not asked: ")


def test_a_patient_nobody_knows_is_answered_with_what_to_do(
    hospital: Hospital, tmp_path: Path
) -> None:
    number = insert(hospital, tmp_path)
    with pytest.raises(NotFound, match=r"knows a patient P000009.*order IMPORT"):
        hospital.importer.reconcile(number, "P000009")
    with pytest.raises(NotFound, match=r"has no entry 'A0000009'"):
        hospital.importer.reconcile(number, accession="A0000009")
    with pytest.raises(ConfigurationError, match="Nobody was named"):
        hospital.importer.reconcile(number)
    with pytest.raises(NotFound, match="no study 99"):
        hospital.importer.reconcile(99, "P000001")


def test_a_decision_is_made_once(hospital: Hospital, tmp_path: Path) -> None:
    order = import_order(hospital, celine(hospital))
    number = insert(hospital, tmp_path)
    with pytest.raises(ConfigurationError, match="Nobody has said whose study"):
        hospital.importer.send(number)
    hospital.importer.reconcile(number, accession=order.accession)
    with pytest.raises(ConfigurationError, match="is STORED already"):
        hospital.importer.reconcile(number, accession=order.accession)
    with pytest.raises(ConfigurationError, match="is STORED already"):
        hospital.importer.reject(number, "too late")


def test_a_rejected_study_is_gone_and_remembered(hospital: Hospital, tmp_path: Path) -> None:
    number = insert(hospital, tmp_path)
    copies = hospital.importer.folder / "discs"
    assert len(list(copies.rglob("*.dcm"))) == 3
    assert hospital.importer.reject(number, "not our patient").state == "REJECTED"
    assert list(copies.rglob("*.dcm")) == []
    assert hospital.journal.events()[-1].summary.endswith("rejected: not our patient")
    with pytest.raises(ConfigurationError, match="is REJECTED already"):
        hospital.importer.reconcile(number, "P000001")


def test_what_was_wrong_with_a_disc_is_told_and_kept(hospital: Hospital, tmp_path: Path) -> None:
    disc = outside_disc(tmp_path / "cd", images=4, snags=["broken file", "missing file"])
    reading = hospital.importer.insert(disc)
    assert [study.images for study in reading.imports] == [2]
    assert [kind for kind, *_ in reading.table()] == ["refused", "DICOMDIR"]
    assert list(hospital.importer.findings(1)) == list(reading.table())
    assert "1 files refused, 1 remarks on the DICOMDIR" in str(reading)


def test_a_disc_that_holds_too_much_leaves_nothing(hospital: Hospital, tmp_path: Path) -> None:
    disc = outside_disc(tmp_path / "cd.zip", images=1)
    with pytest.raises(ConfigurationError, match="taken at most"):
        hospital.importer.insert(disc, Limits(files=2))
    assert len(hospital.importer.imports()) == 0


def test_an_mpps_says_what_was_imported(hospital: Hospital, tmp_path: Path) -> None:
    order = import_order(hospital, celine(hospital))
    number = insert(hospital, tmp_path)
    study = hospital.importer.reconcile(number, accession=order.accession)
    (created,) = [
        e
        for e in hospital.journal.events()
        if e.source == "ris" and e.summary.startswith("N-CREATE-RQ")
    ]
    begun = hospital.message(created)
    (code,) = begun.PerformedProtocolCodeSequence  # type: ignore[union-attr]
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("110024", "DCM")  # CD Imported
    (step,) = begun.ScheduledStepAttributesSequence  # type: ignore[union-attr]
    assert step.StudyInstanceUID == study.study_uid
    assert step.ScheduledProcedureStepID == order.step_id


@pytest.mark.parametrize("family", ["*", "Mor?au", "O\\M"])
def test_a_name_with_wild_cards_matches_nobody_by_them(
    hospital: Hospital, small_scans: None, tmp_path: Path, family: str
) -> None:
    hospital.exam(name="Vega^Carlos")
    number = insert(hospital, tmp_path, name=f"{family}^X", patient_id="*", birth_date="19010101")
    assert hospital.importer.matches(number) == []
    assert plain("Vega^Carlos") == "vega carlos"


def test_a_queue_outlives_a_restart(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with Hospital(seed=7, site="community", path=kept, clock=ManualClock(NOW)) as first:
        order = import_order(first, celine(first))
        number = insert(first, tmp_path)
    with Hospital(seed=7, site="community", path=kept, clock=ManualClock(NOW)) as second:
        study = second.importer.reconcile(number, accession=order.accession)
        assert study.state == "STORED"
        assert second.pacs.count(study.study_uid) == 3


def test_a_clinic_has_no_importer() -> None:
    with Hospital(seed=7) as clinic:
        with pytest.raises(LabError, match="has no importer"):
            _ = clinic.importer
        patient = clinic.his.register_patient()
        order = clinic.his.place_order(patient.patient_id, "IMPORT")
        with pytest.raises(ConfigurationError, match="no OT station"):
            clinic.ris.schedule(order.placer_order)


@pytest.mark.parametrize("wrong", [{"ae_title": "A\\B"}, {"service": "fax"}])
def test_a_wrong_configuration_is_refused(hospital: Hospital, wrong: dict[str, str]) -> None:
    right = {"service": "store", "ae_title": "PACS"}
    service, title = (right | wrong).values()
    with pytest.raises(ConfigurationError):
        hospital.importer.configure(service, ae_title=title, host="pacs", port=104)
    assert list(hospital.importer.peers())[3][1] == "PACS"


def test_a_ris_that_refuses_a_step_says_why(hospital: Hospital, tmp_path: Path) -> None:
    order = import_order(hospital, celine(hospital))
    number = insert(hospital, tmp_path)
    hospital.importer.reconcile(number, accession=order.accession)
    hospital.importer.db.run("UPDATE imports SET state = 'INCOMPLETE'")
    with pytest.raises(DimseFailed, match="N-SET failed"):
        hospital.importer.send(number)  # the step is COMPLETED and may not be updated


def test_an_importer_with_the_title_of_the_archive_is_no_site(tmp_path: Path) -> None:
    text = (files("labsim.sites") / "community.toml").read_text(encoding="utf-8")
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(text.replace('ae_title = "IMPORT"', 'ae_title = "PACS"'), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="two systems have the AE title 'PACS'"):
        Site.load(wrong)
