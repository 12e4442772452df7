"""DCMTK listens: its receiver, its archive and its worklist, called by the hospital's systems."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dcmtk
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from labsim import Hospital
from labsim.errors import AssociationFailed
from labsim.ids import make_uid
from labsim.media import outside_disc
from labsim.media.outside import Outsider

pytestmark = pytest.mark.usefixtures("small_scans")
DATASETS = Path(__file__).parents[2] / "datasets"
THORAX = [DATASETS / f"thorax-{number}.dcm" for number in range(1, 6)]
STUDY = str(dcmread(THORAX[0]).StudyInstanceUID)
WAIT = 60.0


@pytest.fixture
def town() -> Iterator[Hospital]:
    with Hospital(seed=7, site="community") as running:
        yield running


# storescp


@contextmanager
def receiver(folder: Path, *options: str) -> Iterator[dict[str, object]]:
    """Run storescp; yield where it listens, as a peer is configured."""
    port = dcmtk.free_port()
    arguments = ["-aet", "DCMTK", "-od", folder, *options]
    with dcmtk.listening("storescp", folder, *arguments, port=port):
        yield {"ae_title": "DCMTK", "host": "127.0.0.1", "port": port}


def images_in(folder: Path) -> dict[str, FileDataset]:
    return {str(image.SOPInstanceUID): image for image in map(dcmread, dcmtk.files(folder))}


def test_a_scanner_sends_to_storescp(town: Hospital, tmp_path: Path) -> None:
    with receiver(tmp_path) as place:
        town.ct.configure("store", **place)  # type: ignore[arg-type]
        assert town.ct.echo("store") == "0x0000 Success"
        exam = town.exam("CTHEAD", name="Silva^Ines")
        assert "at the reading" in exam.problem  # which looks for them in the PACS
        came = images_in(tmp_path)
    assert exam.procedure is not None
    sent = [str(row[0]) for row in town.ct.sql("SELECT sop_uid FROM images WHERE state = 'sent'")]
    assert set(came) >= set(sent)
    assert len(sent) >= 4
    assert {str(image.PatientName) for image in came.values()} == {"Silva^Ines"}
    assert {str(image.AccessionNumber) for image in came.values()} == {exam.accession}
    assert town.pacs.count(exam.procedure.study_uid) == 0


def test_what_storescp_refuses_waits_at_the_scanner_and_goes_later(
    town: Hospital, tmp_path: Path
) -> None:
    with receiver(tmp_path, "--refuse") as place:
        town.ct.configure("store", **place)  # type: ignore[arg-type]
        with pytest.raises(AssociationFailed):
            town.ct.echo("store")
        exam = town.exam("CTHEAD")
        assert "wait" in exam.problem
        waiting = town.ct.waiting()
        assert waiting >= 4
    with receiver(tmp_path) as place:
        town.ct.configure("store", **place)  # type: ignore[arg-type]
        assert town.ct.send().waiting == 0
        assert len(images_in(tmp_path)) == waiting


@pytest.mark.parametrize("manner", ["--abort-after", "--abort-during"])
def test_a_receiver_that_aborts_has_nothing_marked_as_sent(
    town: Hospital, tmp_path: Path, manner: str
) -> None:
    with receiver(tmp_path, manner) as place:
        town.ct.configure("store", **place)  # type: ignore[arg-type]
        exam = town.exam("CTHEAD")
        assert "sending" in exam.problem
    assert len(town.ct.sql("SELECT 1 FROM images WHERE state = 'sent'")) == 0
    assert town.ct.waiting() >= 4


def test_a_route_of_the_pacs_leads_to_storescp(town: Hospital, tmp_path: Path) -> None:
    with receiver(tmp_path) as place:
        town.pacs.register_ae("DCMTK", host="127.0.0.1", port=int(str(place["port"])))
        town.pacs.routes.add("films", "DCMTK", Modality="CT")
        exam = town.exam("CTHEAD")
        assert exam.problem == ""
        assert town.settle(WAIT)
        came = images_in(tmp_path)
    assert exam.procedure is not None
    found = town.tools.getscu(exam.procedure.study_uid)
    assert {str(each.SOPInstanceUID) for each in found if each.Modality == "CT"} == set(came)
    assert len(came) >= 4


def test_the_desk_has_a_study_moved_to_storescp(town: Hospital, tmp_path: Path) -> None:
    town.tools.storescu(THORAX)
    with receiver(tmp_path) as place:
        town.pacs.register_ae("DCMTK", host="127.0.0.1", port=int(str(place["port"])))
        assert town.tools.movescu(STUDY, destination="DCMTK") == []
        came = images_in(tmp_path)
    assert set(came) == {dcmread(path).SOPInstanceUID for path in THORAX}
    for path in THORAX:
        sent = dcmread(path)
        assert came[sent.SOPInstanceUID].PixelData == sent.PixelData


def test_the_importer_sends_a_disc_to_storescp(town: Hospital, tmp_path: Path) -> None:
    came = tmp_path / "came"
    came.mkdir()
    patient = town.his.register_patient("Moreau^Céline", "1961-04-17", "F")
    order = town.his.place_order(patient.patient_id, "IMPORT")
    assert town.settle()
    town.ris.schedule(order.placer_order)
    disc = outside_disc(tmp_path / "cd", images=3, patient=Outsider())
    (study,) = town.importer.insert(disc).imports
    with receiver(came) as place:
        town.importer.configure("store", **place)  # type: ignore[arg-type]
        assert town.importer.reconcile(study.number, patient.patient_id).state == "STORED"
        images = images_in(came)
    assert len(images) == 3
    assert {image.PatientID for image in images.values()} == {patient.patient_id}


# dcmqrscp


@contextmanager
def archive_of_dcmtk(folder: Path, **callers: tuple[str, int]) -> Iterator[int]:
    """Run dcmqrscp as DCMQR with the studies of the samples; yield its port.

    Parameters
    ----------
    folder : Path
        For its database and configuration.
    **callers
        Whom it knows as a destination: host and port by AE title.
    """
    database = folder / "database"
    database.mkdir(parents=True)
    port = dcmtk.free_port()
    hosts = [
        f"h{n} = ({title}, {where[0]}, {where[1]})"
        for n, (title, where) in enumerate(callers.items())
    ]
    lines = [
        f"NetworkTCPPort = {port}",
        "MaxPDUSize = 16384",
        "MaxAssociations = 16",
        "HostTable BEGIN",
        *hosts,
        "HostTable END",
        "VendorTable BEGIN",
        "VendorTable END",
        "AETable BEGIN",
        f"DCMQR {database} RW (200, 1024mb) ANY",
        "AETable END",
    ]
    configuration = folder / "dcmqrscp.cfg"
    configuration.write_text("\n".join(lines) + "\n")
    with dcmtk.listening("dcmqrscp", folder, "-c", configuration, port=port, at_end=False):
        titles = ["-aet", "TOOLS", "-aec", "DCMQR", "127.0.0.1", str(port)]
        dcmtk.run("storescu", *titles, *THORAX)
        yield port


def port_of(hospital: Hospital, system: str) -> int:
    return next(
        e.local.port for e in hospital.endpoints() if (e.system, e.protocol) == (system, "dicom")
    )


def test_the_workstation_reads_a_study_of_dcmqrscp(town: Hospital, tmp_path: Path) -> None:
    known = {"WS1": ("localhost", port_of(town, "ws1"))}
    with archive_of_dcmtk(tmp_path, **known) as port:
        town.workstation.register_ae("DCMQR", host="127.0.0.1", port=port)
        town.workstation.configure("archive", "DCMQR")
        reading = town.workstation.open(STUDY)
    assert reading.study.study_uid == STUDY
    assert len(town.workstation.cache.uids(STUDY)) == len(THORAX)


def test_the_archive_migrates_the_studies_of_dcmqrscp(town: Hospital, tmp_path: Path) -> None:
    known = {"ARCHIVE": ("localhost", port_of(town, "archive"))}
    with archive_of_dcmtk(tmp_path, **known) as port:
        town.archive.register_ae("DCMQR", host="127.0.0.1", port=port)
        run = town.archive.migrate("DCMQR")
        assert run.wait(WAIT)
        rows = [tuple(row)[3:7] for row in run.table()]
    assert run.state == "done", list(run.failed())
    assert rows == [("done", len(THORAX), len(THORAX), len(THORAX))]
    assert town.archive.count(STUDY) == len(THORAX)


# wlmscpfs


def entry(town: Hospital, number: int, station: str = "CT1") -> FileDataset:
    """Make a worklist file as a worklist provider of files reads it."""
    step = Dataset()
    step.Modality = "CT"
    step.ScheduledStationAETitle = station
    step.ScheduledStationName = station
    step.ScheduledProcedureStepStartDate = town.clock.now().strftime("%Y%m%d")
    step.ScheduledProcedureStepStartTime = "103000"
    step.ScheduledPerformingPhysicianName = "Roy^Ada"
    step.ScheduledProcedureStepDescription = "CT head"
    step.ScheduledProcedureStepID = f"W{number}"
    step.ScheduledProtocolCodeSequence = [code()]
    made = FileDataset("", {}, file_meta=FileMetaDataset(), preamble=bytes(128))
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = "1.2.276.0.7230010.3.1.0.1"
    made.file_meta.MediaStorageSOPInstanceUID = make_uid("worklist file", number)
    made.SpecificCharacterSet = "ISO_IR 192"
    made.AccessionNumber = f"W{number}"
    made.PatientName = "Łącka^Zofia"
    made.PatientID = f"W{number:06d}"
    made.PatientBirthDate = "19800229"
    made.PatientSex = "F"
    made.StudyInstanceUID = make_uid("worklist study", number)
    made.RequestedProcedureID = f"W{number}"
    made.RequestedProcedureDescription = "CT head"
    made.RequestedProcedureCodeSequence = [code()]
    made.ReferringPhysicianName = "Roy^Ada"
    made.ScheduledProcedureStepSequence = [step]
    return made


def code() -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "CTHEAD", "99LOCAL", "CT head"
    return item


@contextmanager
def worklist(folder: Path, *entries: FileDataset) -> Iterator[dict[str, object]]:
    """Run wlmscpfs with some entries; yield where it listens, as a peer is configured."""
    files = folder / "DCMWL"
    files.mkdir()
    (files / "lockfile").touch()
    for number, each in enumerate(entries):
        each.save_as(files / f"{number}.wl", enforce_file_format=True)
    port = dcmtk.free_port()
    with dcmtk.listening("wlmscpfs", folder, "-dfp", folder, "-csk", port=port):
        yield {"ae_title": "DCMWL", "host": "127.0.0.1", "port": port}


def test_a_scanner_performs_what_wlmscpfs_lists(town: Hospital, tmp_path: Path) -> None:
    with worklist(tmp_path, entry(town, 1), entry(town, 2, station="CT2")) as place:
        town.ct.configure("worklist", **place)  # type: ignore[arg-type]
        (listed,) = town.ct.query_worklist()
        assert listed.AccessionNumber == "W1"
        assert listed.PatientName == "Łącka^Zofia"
        assert len(town.ct.query_worklist(accession="W3")) == 0
        assert len(town.ct.query_worklist(station="")) == 2
        mpps_uid = town.ct.start_step(listed)
        town.ct.acquire(mpps_uid)
        assert town.ct.send("W1").waiting == 0
        town.ct.complete_step(mpps_uid)
    (found,) = town.tools.findscu(AccessionNumber="W1", PatientName="")
    assert found.StudyInstanceUID == make_uid("worklist study", 1)
    assert found.PatientName == "Łącka^Zofia"


def test_an_empty_worklist_of_wlmscpfs_is_empty(town: Hospital, tmp_path: Path) -> None:
    with worklist(tmp_path) as place:
        town.ct.configure("worklist", **place)  # type: ignore[arg-type]
        assert town.ct.query_worklist() == []


def test_the_kept_worklist_is_shown_when_wlmscpfs_is_gone(town: Hospital, tmp_path: Path) -> None:
    with worklist(tmp_path, entry(town, 1)) as place:
        town.ct.configure("worklist", **place)  # type: ignore[arg-type]
        assert len(town.ct.worklist()) == 1
    shown = town.ct.worklist()
    assert [each.AccessionNumber for each in shown] == ["W1"]
    assert shown.caption != town.ct.ae_title
