"""DCMTK calls: its clients of every DIMSE verb that it has, against the systems of a hospital.

It has no client for the performed procedure step, for storage commitment nor for UPS; pynetdicom
is the stranger there (tests/systems/ris, tests/systems/pacs, tests/systems/workitems).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dcmtk
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import FileDataset

from labsim import Hospital

DATASETS = Path(__file__).parents[2] / "datasets"
THORAX = [DATASETS / f"thorax-{number}.dcm" for number in range(1, 6)]
CT = Path(str(get_testdata_file("CT_small.dcm", download=False)))
MR = Path(str(get_testdata_file("MR_small.dcm", download=False)))
FILES = [*THORAX, CT, MR]
ONE = dcmread(THORAX[0])
STUDY = str(ONE.StudyInstanceUID)
UNIQUE = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
LEVELS = ("PATIENT", "STUDY", "SERIES", "IMAGE")


@pytest.fixture(scope="module")
def town() -> Iterator[Hospital]:
    """A community hospital whose PACS and archive have the files, sent by storescu."""
    with Hospital(seed=7, site="community") as running:
        for system, calling in (("pacs", "TOOLS"), ("archive", "PACS")):
            dcmtk.run("storescu", *dcmtk.called(running, system, calling=calling), *FILES)
        yield running


def find(hospital: Hospital, *arguments: str, system: str = "pacs", calling: str = "TOOLS") -> str:
    return dcmtk.run("findscu", *dcmtk.called(hospital, system, calling=calling), *arguments)


def down_to(level: str, top: str) -> dict[str, str]:
    """Return the unique keys above a level, with their values, and its own without."""
    above = LEVELS[LEVELS.index(top) : LEVELS.index(level)]
    keys = {
        UNIQUE[LEVELS.index(each)]: str(ONE[UNIQUE[LEVELS.index(each)]].value) for each in above
    }
    return keys | {UNIQUE[LEVELS.index(level)]: ""}


# C-ECHO


def test_every_system_that_speaks_dicom_answers_an_echo(town: Hospital) -> None:
    speaking = {e.system for e in town.endpoints() if e.protocol in ("dicom", "mwl")}
    assert {"pacs", "archive", "ris", "ct1", "mr1", "importer", "ai", "ws1"} <= speaking
    for system in sorted(speaking):
        dcmtk.run("echoscu", *dcmtk.called(town, system))


def test_every_system_answers_many_echoes_over_one_association(town: Hospital) -> None:
    for system in ("pacs", "ris", "ct1", "ws1"):
        said = dcmtk.run("echoscu", "-v", "--repeat", "20", *dcmtk.called(town, system))
        assert said.count("Received Echo Response (Success)") == 20


# C-FIND


@pytest.mark.parametrize("system", ["pacs", "archive"])
@pytest.mark.parametrize(
    ("model", "top", "level"),
    [
        *(("-P", "PATIENT", level) for level in LEVELS),
        *(("-S", "STUDY", level) for level in LEVELS[1:]),
    ],
)
def test_a_query_goes_down_from_level_to_level(
    town: Hospital, system: str, model: str, top: str, level: str
) -> None:
    keys = dcmtk.keys(level, **down_to(level, top))
    said = find(
        town, model, *keys, system=system, calling="PACS" if system == "archive" else "TOOLS"
    )
    found = dcmtk.values(said, UNIQUE[LEVELS.index(level)])
    everything = [dcmread(path, stop_before_pixels=True) for path in FILES]
    keyword = UNIQUE[LEVELS.index(level)]
    above = {key: value for key, value in down_to(level, top).items() if value}
    expected = {
        str(each[keyword].value)
        for each in everything
        if all(str(each[key].value) == value for key, value in above.items())
    }
    assert set(found) == expected
    assert len(found) == len(expected)


def test_the_study_root_has_no_patient_level(town: Hospital) -> None:
    said = find(town, "-v", "-S", *dcmtk.keys("PATIENT", PatientID=""))
    assert "A900" in said or "DataSetDoesNotMatchSOPClass" in said.replace(" ", "")


def test_a_relational_query_is_answered_by_the_pacs_and_refused_by_the_archive(
    town: Hospital,
) -> None:
    keys = dcmtk.keys("IMAGE", PatientID=str(ONE.PatientID), Modality="CT", SOPInstanceUID="")
    assert len(dcmtk.values(find(town, "-S", *keys), "SOPInstanceUID")) == len(THORAX)
    said = find(town, "-v", "-S", *keys, system="archive", calling="PACS")
    assert dcmtk.values(said, "SOPInstanceUID")[1:] == []  # but that of the request
    assert "DataSetDoesNotMatchSOPClass" in said.replace(" ", "")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("PatientName", f"{str(ONE.PatientName)[:3]}*"),
        ("PatientID", str(ONE.PatientID)),
        ("StudyDate", f"{ONE.StudyDate}-"),
        ("StudyDate", f"{ONE.StudyDate}-{ONE.StudyDate}"),
        ("AccessionNumber", str(ONE.AccessionNumber)),
        ("ModalitiesInStudy", "CT"),
        ("StudyInstanceUID", f"{STUDY}\\{dcmread(CT).StudyInstanceUID}"),
    ],
)
def test_a_study_is_found_by_each_kind_of_matching(town: Hospital, key: str, value: str) -> None:
    wanted = {"StudyInstanceUID": ""} | {key: value}
    found = dcmtk.values(find(town, "-S", *dcmtk.keys("STUDY", **wanted)), "StudyInstanceUID")
    assert STUDY in found
    assert str(dcmread(MR).StudyInstanceUID) not in found


def test_a_retired_information_model_is_not_accepted(town: Hospital) -> None:
    arguments = [*dcmtk.called(town, "pacs"), "-O", *dcmtk.keys("STUDY", StudyInstanceUID="")]
    said = dcmtk.run("findscu", *arguments, good=False)
    assert "No Acceptable Presentation Contexts" in said


@pytest.mark.parametrize("proposal", ["-x=", "-xe", "-xb", "-xd", "-xi"])
def test_a_query_in_each_transfer_syntax_is_answered(town: Hospital, proposal: str) -> None:
    keys = dcmtk.keys("STUDY", StudyInstanceUID=STUDY, PatientName="")
    assert dcmtk.values(find(town, proposal, "-S", *keys), "PatientName") == [str(ONE.PatientName)]


def test_a_query_is_cancelled(town: Hospital) -> None:
    said = find(town, "-v", "--cancel", "1", "-S", *dcmtk.keys("IMAGE", SOPInstanceUID=""))
    assert "Sending Cancel Request" in said
    assert town.tools.echoscu("pacs") == "0x0000 Success"


# C-MOVE


def test_movescu_has_a_study_sent_to_storescp(town: Hospital, tmp_path: Path) -> None:
    port = dcmtk.free_port()
    dcmtk.known(town, "DCMTK", port)
    try:
        with dcmtk.listening("storescp", tmp_path, "-aet", "DCMTK", "-od", tmp_path, port=port):
            for model, level, keys in (
                ("-S", "STUDY", {"StudyInstanceUID": STUDY}),
                ("-P", "PATIENT", {"PatientID": str(ONE.PatientID)}),
                ("-S", "IMAGE", {each: str(ONE[each].value) for each in UNIQUE[1:]}),
            ):
                wanted = dcmtk.keys(level, **keys)
                dcmtk.run("movescu", model, "-aem", "DCMTK", *dcmtk.called(town, "pacs"), *wanted)
                expected = {dcmread(path).SOPInstanceUID for path in THORAX}
                came = [dcmread(path) for path in dcmtk.files(tmp_path)]
                if level == "IMAGE":
                    expected = {ONE.SOPInstanceUID}
                assert {image.SOPInstanceUID for image in came} == expected
                for path in dcmtk.files(tmp_path):
                    path.unlink()
    finally:
        town.pacs.remove_ae("DCMTK")


def test_movescu_has_a_study_sent_to_the_workstation(town: Hospital) -> None:
    keys = dcmtk.keys("STUDY", StudyInstanceUID=STUDY)
    dcmtk.run("movescu", "-S", "-aem", "WS1", *dcmtk.called(town, "pacs"), *keys)
    assert len(town.workstation.cache.uids(STUDY)) == len(THORAX)


def test_a_move_to_nobody_known_is_refused(town: Hospital) -> None:
    keys = dcmtk.keys("STUDY", StudyInstanceUID=STUDY)
    arguments = ["-v", "-S", "-aem", "NOBODY", *dcmtk.called(town, "pacs"), *keys]
    said = dcmtk.run("movescu", *arguments, good=False)
    assert "MoveDestinationUnknown" in said.replace(" ", "")


def test_a_move_to_a_destination_that_is_down_fails_image_by_image(town: Hospital) -> None:
    dcmtk.known(town, "DOWN", dcmtk.free_port())
    try:
        keys = dcmtk.keys("STUDY", StudyInstanceUID=STUDY)
        arguments = ["-d", "-S", "-aem", "DOWN", *dcmtk.called(town, "pacs"), *keys]
        said = dcmtk.run("movescu", *arguments, good=False)
    finally:
        town.pacs.remove_ae("DOWN")
    assert f"Failed Suboperations          : {len(THORAX)}" in said


# C-GET


@pytest.mark.parametrize("model", ["-S", "-P"])
@pytest.mark.parametrize("system", ["pacs", "archive"])
def test_getscu_fetches_at_each_level(
    town: Hospital, model: str, system: str, tmp_path: Path
) -> None:
    calling = "PACS" if system == "archive" else "TOOLS"
    top = "PATIENT" if model == "-P" else "STUDY"
    for level in LEVELS[LEVELS.index(top) :]:
        folder = tmp_path / level
        folder.mkdir()
        own = UNIQUE[LEVELS.index(level)]
        wanted = down_to(level, top) | {own: str(ONE[own].value)}
        where = dcmtk.called(town, system, calling=calling)
        dcmtk.run("getscu", model, "-od", folder, *where, *dcmtk.keys(level, **wanted))
        came = {dcmread(path).SOPInstanceUID for path in dcmtk.files(folder)}
        expected = {dcmread(path).SOPInstanceUID for path in THORAX}
        assert came == ({ONE.SOPInstanceUID} if level == "IMAGE" else expected)


def test_what_another_archive_does_not_have_is_answered_with_nothing(
    town: Hospital, tmp_path: Path
) -> None:
    keys = dcmtk.keys("STUDY", StudyInstanceUID="1.2.3.4")
    dcmtk.run("getscu", "-S", "-od", tmp_path, *dcmtk.called(town, "pacs"), *keys)
    assert dcmtk.files(tmp_path) == []


# Worklist


def test_the_worklist_is_matched_by_keys_within_the_sequence(town: Hospital) -> None:
    patient = town.his.register_patient("Haddad^Priya", "1980-02-29", "F")
    codes = {"CT": "CTHEAD", "MR": "MRHEAD"}
    orders = {
        modality: town.his.place_order(patient.patient_id, code, "Fall")
        for modality, code in codes.items()
    }
    assert town.settle()
    procedures = {m: town.ris.schedule(order.placer_order) for m, order in orders.items()}
    step = "ScheduledProcedureStepSequence[0]"
    for modality, procedure in procedures.items():
        today = procedure_date(town, procedure.accession)
        for key, value in (
            ("Modality", modality),
            ("ScheduledStationAETitle", procedure.station),
            ("ScheduledProcedureStepStartDate", today),
            ("ScheduledProcedureStepStartDate", f"{today}-"),
        ):
            asked = {
                f"{step}.ScheduledProcedureStepID": "",
                f"{step}.{key}": value,
                "AccessionNumber": "",
                "PatientID": patient.patient_id,
                "StudyInstanceUID": "",
            }
            said = find(town, "-W", *dcmtk.keys(**asked), system="ris")
            assert procedure.accession in dcmtk.values(said, "AccessionNumber")
            assert procedure.study_uid in dcmtk.values(said, "StudyInstanceUID")
            assert procedure.step_id in dcmtk.values(said, "ScheduledProcedureStepID")
            if key in ("Modality", "ScheduledStationAETitle"):
                assert len(dcmtk.values(said, "AccessionNumber")) == 1
        said = find(
            town,
            "-W",
            *dcmtk.keys(**{f"{step}.Modality": "XX", "AccessionNumber": ""}),
            system="ris",
        )
        assert dcmtk.values(said, "AccessionNumber") == []


def procedure_date(hospital: Hospital, accession: str) -> str:
    said = find(
        hospital,
        "-W",
        *dcmtk.keys(
            **{
                "AccessionNumber": accession,
                "ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartDate": "",
            }
        ),
        system="ris",
    )
    (date,) = dcmtk.values(said, "ScheduledProcedureStepStartDate")
    return date


def test_an_empty_step_sequence_returns_the_whole_step(town: Hospital) -> None:
    patient = town.his.register_patient("Silva^Ines", "1980-02-29", "F")
    order = town.his.place_order(patient.patient_id, "CTHEAD", "Fall")
    assert town.settle()
    procedure = town.ris.schedule(order.placer_order)
    asked = {"AccessionNumber": procedure.accession, "ScheduledProcedureStepSequence": ""}
    said = find(town, "-W", *dcmtk.keys(**asked), system="ris")
    assert dcmtk.values(said, "ScheduledProcedureStepID") == [procedure.step_id]
    assert dcmtk.values(said, "ScheduledStationAETitle") == [procedure.station]


# C-STORE


def test_storescu_stores_a_folder_and_is_told_each_status(town: Hospital, tmp_path: Path) -> None:
    names = ["1.dcm", "2.dcm"]
    for number, name in enumerate(names):
        image: FileDataset = dcmread(CT)
        image.StudyInstanceUID = f"{image.StudyInstanceUID}.77"
        image.SeriesInstanceUID = f"{image.SeriesInstanceUID}.77"
        image.SOPInstanceUID = f"{image.SOPInstanceUID}.77.{number}"
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.save_as(tmp_path / name)
    said = dcmtk.run("storescu", "-v", "+sd", "+r", *dcmtk.called(town, "pacs"), tmp_path)
    assert said.count("Received Store Response (Success)") == 2
    assert town.pacs.count(f"{dcmread(CT).StudyInstanceUID}.77") == 2


def test_a_series_of_another_study_is_refused_and_storescu_is_told(
    town: Hospital, tmp_path: Path
) -> None:
    image: FileDataset = dcmread(CT)
    image.StudyInstanceUID = f"{image.StudyInstanceUID}.78"
    image.SOPInstanceUID = f"{image.SOPInstanceUID}.78"
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.save_as(tmp_path / "image.dcm")
    arguments = ["-v", *dcmtk.called(town, "pacs"), str(tmp_path / "image.dcm")]
    assert "0x111" in dcmtk.run("storescu", *arguments, good=False)
    assert town.pacs.count(image.StudyInstanceUID) == 0
