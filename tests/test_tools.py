from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from labsim import Hospital
from labsim.errors import AssociationFailed, ConfigurationError, DimseFailed, NotFound
from labsim.media import outside_disc
from labsim.wire.network import Address

DATASETS = Path(__file__).parents[1] / "datasets"
SAMPLES = sorted(DATASETS.glob("*.dcm"))


@pytest.fixture(scope="module")
def clinic() -> Iterator[Hospital]:
    """A clinic whose archive has every sample, stored from the desk."""
    with Hospital(seed=7) as running:
        answers = running.tools.storescu(SAMPLES)
        assert [tuple(answer) for answer in answers] == [
            (sample.name, "0x0000 Success") for sample in SAMPLES
        ]
        yield running


def study_of(name: str) -> str:
    return str(dcmread(DATASETS / name).StudyInstanceUID)


@pytest.mark.parametrize("system", ["ris", "pacs", "ct1"])
def test_every_dicom_system_answers_an_echo(clinic: Hospital, system: str) -> None:
    assert clinic.tools.echoscu(system) == "0x0000 Success"


@pytest.mark.parametrize("system", ["his", "fridge", ""])
def test_what_speaks_no_dicom_is_told(clinic: Hospital, system: str) -> None:
    with pytest.raises(NotFound, match=r"speaks DICOM\. Use ct1, pacs, ris"):
        clinic.tools.echoscu(system)


def test_an_echo_needs_no_registration(clinic: Hospital) -> None:
    assert clinic.tools.echoscu("pacs", calling="STRANGER") == "0x0000 Success"


def test_a_wrong_called_title_is_told(clinic: Hospital) -> None:
    with pytest.raises(AssociationFailed, match="Correct the AE title") as caught:
        clinic.tools.echoscu("pacs", called="PASC")
    assert caught.value.reason == "rejected 1/1/7"


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_a_sample_comes_back_both_ways_as_it_was(clinic: Hospital, sample: Path) -> None:
    sent = dcmread(sample)
    for fetch in (clinic.tools.getscu, clinic.tools.movescu):
        (came,) = [
            image
            for image in fetch(str(sent.StudyInstanceUID))
            if image.SOPInstanceUID == sent.SOPInstanceUID
        ]
        assert came == sent
        assert came.file_meta.TransferSyntaxUID.is_compressed is (
            sent.file_meta.TransferSyntaxUID.is_compressed
        )


def test_a_study_is_found_by_any_group_of_its_name(clinic: Hospital) -> None:
    for name in ("nakamura*", "中村*", "なかむら^ひろし"):
        (found,) = clinic.tools.findscu("pacs", PatientName=name, StudyInstanceUID="")
        assert found.StudyInstanceUID == study_of("name-utf8.dcm")


def test_the_levels_of_a_query(clinic: Hospital) -> None:
    study = study_of("thorax-1.dcm")
    (found,) = clinic.tools.findscu(
        StudyInstanceUID=study, NumberOfStudyRelatedInstances="", ModalitiesInStudy=""
    )
    assert (found.NumberOfStudyRelatedInstances, found.ModalitiesInStudy) == (5, "CT")
    (series,) = clinic.tools.findscu(level="SERIES", StudyInstanceUID=study, SeriesDescription="")
    assert series.SeriesDescription == "Thorax 5.0 Br40"
    images = clinic.tools.findscu(level="IMAGE", StudyInstanceUID=study, InstanceNumber="")
    assert [image.InstanceNumber for image in images] == [1, 2, 3, 4, 5]
    assert all(image.SOPInstanceUID for image in images)  # the unique key comes unasked


def test_a_misspelt_keyword_is_told(clinic: Hospital) -> None:
    with pytest.raises(ConfigurationError, match="'PatientNaem' is no keyword"):
        clinic.tools.findscu("pacs", PatientNaem="x")


def test_a_level_that_is_none_is_refused_by_the_archive(clinic: Hospital) -> None:
    with pytest.raises(DimseFailed, match=r"0xA900 .*Query/Retrieve Level 'PATIENT' is none"):
        clinic.tools.findscu("pacs", level="PATIENT", PatientID="")


def test_a_scanner_answers_no_query(clinic: Hospital) -> None:
    with pytest.raises(AssociationFailed, match="CT1 supports nothing of what was proposed") as e:
        clinic.tools.findscu("ct1", PatientID="")
    assert e.value.reason == "no context"


def test_the_worklist_is_asked_by_plain_keywords(clinic: Hospital) -> None:
    patient = clinic.his.register_patient("Haddad^Priya")
    order = clinic.his.place_order(patient.patient_id, "CTHEAD")
    procedure = clinic.ris.schedule(order.placer_order)
    for keys in (
        {"PatientName": "haddad*"},
        {"ScheduledStationAETitle": "CT1"},
        {"AccessionNumber": procedure.accession, "Modality": "CT"},
    ):
        (entry,) = clinic.tools.findscu("ris", **keys)
        assert entry.AccessionNumber == procedure.accession
        assert entry.ScheduledProcedureStepSequence[0].Modality == "CT"
    assert list(clinic.tools.findscu("ris", Modality="MR")) == []


def test_an_unknown_study_brings_nothing(clinic: Hospital) -> None:
    assert list(clinic.tools.getscu("1.2.3")) == list(clinic.tools.movescu("1.2.3")) == []


def test_a_study_is_sent_elsewhere(clinic: Hospital) -> None:
    with pytest.raises(DimseFailed, match="0xA801 Move destination unknown") as caught:
        clinic.tools.movescu(study_of("thorax-1.dcm"), destination="VIEWER")
    assert caught.value.status == 0xA801


def test_an_unregistered_desk_is_shut_out(hospital: Hospital) -> None:
    hospital.pacs.remove_ae("TOOLS")
    for ask in (
        lambda: hospital.tools.storescu(SAMPLES[:1]),
        lambda: hospital.tools.findscu("pacs", PatientID=""),
        lambda: hospital.tools.getscu("1.2.3"),
        lambda: hospital.tools.movescu("1.2.3"),
    ):
        with pytest.raises(AssociationFailed, match="Register the calling AE title") as caught:
            ask()
        assert caught.value.reason == "rejected 1/1/3"
    assert hospital.tools.echoscu("pacs") == "0x0000 Success"


def test_an_archive_that_is_away_is_told(hospital: Hospital) -> None:
    hospital.network.withdraw(Address("pacs", 104))
    with pytest.raises(AssociationFailed, match="Open ports of pacs: 2575") as caught:
        hospital.tools.findscu("pacs", PatientID="")
    assert caught.value.reason == "unreachable"


def test_nothing_to_send_is_no_association(clinic: Hospital, tmp_path: Path) -> None:
    before = clinic.journal.all()[-1].seq
    assert list(clinic.tools.storescu([])) == []
    empty = tmp_path / "empty.dcm"
    empty.touch()
    (answer,) = clinic.tools.storescu([empty])
    assert tuple(answer) == ("empty.dcm", "not sent: not a DICOM file")
    assert clinic.journal.all()[-1].seq == before


def test_a_private_class_is_told_for_its_file_alone(clinic: Hospital, tmp_path: Path) -> None:
    private = dcmread(SAMPLES[0])
    private.SOPClassUID = private.file_meta.MediaStorageSOPClassUID = "1.2.826.0.1.3680043.8.498.1"
    private.SOPInstanceUID = private.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    private.save_as(tmp_path / "private.dcm")
    shutil.copy(SAMPLES[1], tmp_path / "plain.dcm")
    [(_, alone)] = clinic.tools.storescu([tmp_path / "private.dcm"])
    assert alone.startswith("not sent: No presentation context")
    answers = dict(
        tuple(answer)
        for answer in clinic.tools.storescu([tmp_path / "private.dcm", tmp_path / "plain.dcm"])
    )
    assert answers["plain.dcm"] == "0x0000 Success"
    assert answers["private.dcm"].startswith("not sent: No presentation context")


@pytest.mark.parametrize("keyword", ["SOPClassUID", "SOPInstanceUID"])
def test_a_broken_file_does_not_stop_the_others(
    clinic: Hospital, tmp_path: Path, keyword: str
) -> None:
    broken = dcmread(SAMPLES[0])
    delattr(broken, keyword)
    broken.save_as(tmp_path / "broken.dcm")
    answers = clinic.tools.storescu([tmp_path / "broken.dcm", SAMPLES[1]])
    assert [tuple(answer) for answer in answers] == [
        ("broken.dcm", f"not sent: {keyword} is missing"),
        (SAMPLES[1].name, "0x0000 Success"),
    ]


def test_a_folder_is_imported_with_a_report_of_what_was_refused(
    clinic: Hospital, tmp_path: Path
) -> None:
    for name in ("a/one.dcm", "b/two"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
    image = dcmread(SAMPLES[0])
    image.StudyInstanceUID, image.SeriesInstanceUID = generate_uid(), generate_uid()
    for number, name in enumerate(("a/one.dcm", "b/two"), start=1):
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        image.InstanceNumber = number
        image.save_as(tmp_path / name)
    (tmp_path / "b" / "readme.txt").write_text("Insert into any PACS.")
    image.PatientID = "ANOTHER"  # one study, two patients
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    image.save_as(tmp_path / "c.dcm")
    shutil.copy(get_testdata_file("dicomdirtests/DICOMDIR"), tmp_path)

    taken = clinic.tools.import_folder(tmp_path)
    assert taken.stored == 2
    reasons = dict(taken.refused)
    assert set(reasons) == {"b/readme.txt", "c.dcm", "DICOMDIR"}
    assert reasons["b/readme.txt"] == "not sent: not a DICOM file"
    assert "index of a medium" in reasons["DICOMDIR"]
    assert reasons["c.dcm"].startswith("0xC001")
    assert clinic.pacs.count(str(image.StudyInstanceUID)) == 2
    assert "2 images stored, 3 files refused" in str(taken)


def test_a_folder_that_is_not_there_is_one_sentence(clinic: Hospital, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="There is no folder"):
        clinic.tools.import_folder(tmp_path / "nowhere")


def test_a_folder_with_a_dicomdir_is_imported_with_what_it_says_wrongly(
    clinic: Hospital, tmp_path: Path
) -> None:
    disc = outside_disc(tmp_path / "cd", seed=11, images=3, snags=["missing file"])
    taken = clinic.tools.import_folder(disc)
    assert taken.stored == 2
    assert taken.mismatches == [
        ("PT000000/ST000000/SE000000/IM000002", "named by the DICOMDIR, and not on the disc")
    ]
    assert "1 remarks on the DICOMDIR" in str(taken)
