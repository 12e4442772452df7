"""Orthanc calls the PACS by DICOM: verify, store, find, move and commit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from orthanc import Orthanc
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import CTImageStorage

from labsim import Hospital
from labsim.ids import make_uid

WAIT = 20.0

Study = Callable[[str], dict[str, FileDataset]]


def at_the_pacs(town: Hospital, study_uid: str) -> dict[str, FileDataset]:
    images = [dcmread(path) for path in town.pacs.paths(study_uid)]
    return {str(image.SOPInstanceUID): image for image in images}


def store(beside: Orthanc, study_uid: str) -> dict[str, object]:
    """Let it send a study to the PACS, and return the job."""
    wanted = {"Resources": beside.find("Study", StudyInstanceUID=study_uid), "Synchronous": True}
    sent: dict[str, object] = beside.post("/modalities/pacs/store", wanted)
    return sent


@pytest.mark.parametrize("name", ["pacs", "archive", "ris", "ws1", "ct1"])
def test_it_verifies_a_system(beside: Orthanc, name: str) -> None:
    assert beside.post(f"/modalities/{name}/echo", {}) == {}


@pytest.mark.parametrize("sample", ["thorax-?", "head-implicit", "thorax-rle", "name-utf8"])
def test_it_stores_a_study_and_the_pacs_has_it_unchanged(
    town: Hospital, beside: Orthanc, samples: Study, sample: str
) -> None:
    sent = samples(sample)
    study = str(next(iter(sent.values())).StudyInstanceUID)
    for image in sent.values():
        beside.take(image)
    job = store(beside, study)
    assert (job["InstancesCount"], job["FailedInstancesCount"]) == (len(sent), 0)
    came = at_the_pacs(town, study)
    assert came == sent
    for uid, image in came.items():
        assert image.file_meta.TransferSyntaxUID == sent[uid].file_meta.TransferSyntaxUID


def test_it_finds_a_study_by_a_name_in_japanese_and_moves_it_to_itself(
    town: Hospital, beside: Orthanc, samples: Study
) -> None:
    (image,) = samples("name-utf8").values()
    beside.take(image)
    study = str(image.StudyInstanceUID)
    store(beside, study)
    for each in beside.find("Study", StudyInstanceUID=study):
        beside.http.delete(f"/studies/{each}").raise_for_status()
    wanted = {"PatientName": "*博*", "StudyDate": "20260301-20260303", "ModalitiesInStudy": "CT"}
    query = beside.post("/modalities/pacs/query", {"Level": "Study", "Query": wanted})
    (number,) = beside.get(f"{query['Path']}/answers")
    answer = beside.get(f"{query['Path']}/answers/{number}/content?simplify")
    assert answer["StudyInstanceUID"] == study
    assert answer["PatientName"] == str(image.PatientName)
    assert answer["RetrieveAETitle"] == "PACS"

    beside.post(f"{query['Path']}/retrieve", {"TargetAet": "ORTHANC", "Synchronous": True})
    assert beside.instances(study) == {str(image.SOPInstanceUID): image}


def test_it_asks_for_series_and_images_below_each_other(
    town: Hospital, beside: Orthanc, samples: Study
) -> None:
    sent = samples("thorax-?")
    for image in sent.values():
        beside.take(image)
    store(beside, study := str(image.StudyInstanceUID))
    keys = {"StudyInstanceUID": study, "SeriesInstanceUID": str(image.SeriesInstanceUID)}
    query = beside.post("/modalities/pacs/query", {"Level": "Series", "Query": keys})
    assert len(beside.get(f"{query['Path']}/answers")) == 1
    query = beside.post("/modalities/pacs/query", {"Level": "Instance", "Query": keys})
    answers = beside.get(f"{query['Path']}/answers?expand&simplify")
    assert {answer["SOPInstanceUID"] for answer in answers} == set(sent)


def test_it_reads_the_worklist_of_the_ris(town: Hospital, beside: Orthanc) -> None:
    patient = town.his.register_patient("Núñez^Zoë")
    order = town.his.place_order(patient.patient_id, "MRHEAD", "Headache")
    assert town.settle(WAIT)
    procedure = town.ris.schedule(order.placer_order)
    step = {"Modality": "MR", "ScheduledStationAETitle": procedure.station}
    keys = {"PatientName": "", "AccessionNumber": procedure.accession, "StudyInstanceUID": ""}
    wanted = {**keys, "ScheduledProcedureStepSequence": [step]}
    (entry,) = beside.post("/modalities/ris/find-worklist", wanted)
    assert entry["PatientName"] == "Núñez^Zoë"
    assert entry["StudyInstanceUID"] == procedure.study_uid


def test_it_asks_what_the_pacs_keeps_and_hears_what_is_not_there(
    town: Hospital, beside: Orthanc, samples: Study
) -> None:
    sent = samples("head-implicit")
    for image in sent.values():
        beside.take(image)
    store(beside, str(image.StudyInstanceUID))
    asked = {"SOPClassUID": CTImageStorage, "SOPInstanceUID": str(image.SOPInstanceUID)}
    assert commitment(town, beside, asked) == ("Success", [asked["SOPInstanceUID"]], [])

    missing = {"SOPClassUID": CTImageStorage, "SOPInstanceUID": make_uid("never stored")}
    status, kept, failed = commitment(town, beside, asked, missing)
    assert (status, kept) == ("Failure", [asked["SOPInstanceUID"]])
    assert failed == [(missing["SOPInstanceUID"], 0x0112)]


def commitment(
    town: Hospital, beside: Orthanc, *asked: dict[str, str]
) -> tuple[str, list[str], list[tuple[str, int]]]:
    """Return what the PACS has reported: status, what it keeps, and what not."""
    request = beside.post("/modalities/pacs/storage-commitment", {"DicomInstances": asked})
    assert town.journal.wait_for(
        lambda event: (
            event.keys.get("commitment_uid") == request["ID"]
            and event.summary.startswith("storage commitment reported to ORTHANC")
        ),
        WAIT,
    )
    answer = beside.get(request["Path"])
    kept = [each["SOPInstanceUID"] for each in answer.get("Success", [])]
    failed = [(e["SOPInstanceUID"], e["FailureReason"]) for e in answer.get("Failures", [])]
    return answer["Status"], kept, failed


def test_a_route_of_the_pacs_sends_to_it_what_a_scanner_stores(
    town: Hospital, beside: Orthanc, small_scans: None
) -> None:
    town.pacs.routes.add("outside", "ORTHANC", Modality="CT")
    try:
        exam = town.exam("CTHEAD")
        assert exam.problem == ""
        assert town.settle(WAIT)
    finally:
        town.pacs.routes.remove("outside")
    assert exam.procedure is not None
    study = exam.procedure.study_uid
    ours = {uid: i for uid, i in at_the_pacs(town, study).items() if i.Modality == "CT"}
    assert len(ours) == 4
    assert beside.instances(study) == ours


def test_an_order_brings_the_priors_to_it(
    town: Hospital, beside: Orthanc, small_scans: None
) -> None:
    before = town.exam("CTHEAD")
    assert before.problem == ""
    assert before.patient is not None
    assert before.procedure is not None
    town.pacs.prefetch.add("priors", "ORTHANC")
    try:
        order = town.his.place_order(before.patient.patient_id, "CTHEAD", "Fall")
        assert town.settle(WAIT)
        town.ris.schedule(order.placer_order)
        assert town.settle(WAIT)
    finally:
        town.pacs.prefetch.remove("priors")
    study = before.procedure.study_uid
    assert beside.instances(study) == at_the_pacs(town, study)


def test_it_is_refused_once_it_is_registered_no_more(
    town: Hospital, beside: Orthanc, samples: Study
) -> None:
    (image,) = samples("name-utf8").values()
    beside.take(image)
    town.pacs.remove_ae("ORTHANC")
    try:
        study = beside.find("Study", StudyInstanceUID=str(image.StudyInstanceUID))
        wanted = {"Resources": study, "Synchronous": True}
        assert beside.http.post("/modalities/pacs/store", json=wanted).status_code == 500
    finally:
        town.pacs.register_ae("ORTHANC", host="127.0.0.1", port=beside.dicom_port)
    refused = [e for e in town.journal.events(source="pacs") if "A-ASSOCIATE rejected" in e.summary]
    assert "ORTHANC" in {event.peer for event in refused}
