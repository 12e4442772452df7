"""The hospital against programs that other people wrote."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import FileDataset

from labsim import Hospital
from labsim.__main__ import _welcome
from labsim.exam import Exam

Peer = Callable[[str], Path]
Program = Callable[..., str]

DATASETS = Path(__file__).parents[1] / "datasets"
FILES = [
    Path(str(get_testdata_file("CT_small.dcm", download=False))),
    Path(str(get_testdata_file("MR_small.dcm", download=False))),
    *sorted(DATASETS.glob("*.dcm")),
]
UNCOMPRESSED = [path for path in FILES if "rle" not in path.name]


@pytest.fixture(scope="module")
def clinic() -> Iterator[Hospital]:
    with Hospital(seed=7) as running:
        yield running


@pytest.fixture
def program(clinic: Hospital, peer: Peer) -> Program:
    """Run a program against a system; return what it said, or fail with it."""

    def run(name: str, *arguments: str | Path, system: str = "pacs", title: str = "TOOLS") -> str:
        place = next(
            e for e in clinic.endpoints() if e.system == system and e.protocol in ("dicom", "mwl")
        )
        called = ["-aet", title, "-aec", place.title, place.local.host, str(place.local.port)]
        return execute([str(peer(name)), *called, *map(str, arguments)])

    return run


def execute(command: list[str]) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        # Without TCP_NODELAY each image waits 40 ms. Names are in many character sets.
        env={**os.environ, "TCP_NODELAY": "1"},
        timeout=30,
        check=False,
    )
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    assert done.returncode == 0, said
    return said


@pytest.fixture(scope="module")
def stored(clinic: Hospital, peer: Peer) -> Hospital:
    """The clinic with every file in its archive, sent by storescu."""
    place = next(e for e in clinic.endpoints() if e.system == "pacs" and e.protocol == "dicom")
    called = ["-aet", "TOOLS", "-aec", "PACS", place.local.host, str(place.local.port)]
    storescu = str(peer("storescu"))
    execute([storescu, *called, *map(str, UNCOMPRESSED)])
    # -xr: proposes RLE Lossless
    execute([storescu, "-xr", *called, str(DATASETS / "thorax-rle.dcm")])
    return clinic


def values(said: str, keyword: str) -> list[str]:
    """Return the values of an attribute in what findscu prints."""
    return re.findall(rf"\[(.*?) *\0?\].* {keyword}$", said, re.MULTILINE)


def same(came: FileDataset, sent: FileDataset) -> None:
    assert came.SOPInstanceUID == sent.SOPInstanceUID
    assert came.PatientName == sent.PatientName
    assert came.StudyInstanceUID == sent.StudyInstanceUID
    assert np.array_equal(came.pixel_array, sent.pixel_array)


def test_anybody_may_echo(clinic: Hospital, program: Program) -> None:
    for system in ("pacs", "ris", "ct1"):
        program("echoscu", system=system)
        program("echoscu", system=system, title="STRANGER")


def test_a_stranger_may_store_only_when_registered(clinic: Hospital, program: Program) -> None:
    file = FILES[0]
    program("echoscu", title="STRANGER")
    with pytest.raises(AssertionError, match="Calling AE Title Not Recognized"):
        program("storescu", file, title="STRANGER")
    clinic.pacs.register_ae("STRANGER", host="desk", port=11112)
    program("storescu", file, title="STRANGER")
    clinic.pacs.remove_ae("STRANGER")
    with pytest.raises(AssertionError, match="Calling AE Title Not Recognized"):
        program("storescu", file, title="STRANGER")


def test_a_wrong_called_title_is_rejected(clinic: Hospital, peer: Peer) -> None:
    place = next(e for e in clinic.endpoints() if e.system == "pacs" and e.protocol == "dicom")
    with pytest.raises(AssertionError, match="Called AE Title Not Recognized"):
        execute([str(peer("echoscu")), "-aec", "PASC", place.local.host, str(place.local.port)])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_is_found(stored: Hospital, program: Program, file: Path) -> None:
    sent = dcmread(file)
    for model, name in (("-S", "StudyInstanceUID"), ("-P", "StudyInstanceUID")):
        said = program(
            "findscu",
            model,
            *("-k", "QueryRetrieveLevel=IMAGE"),
            *("-k", f"StudyInstanceUID={sent.StudyInstanceUID}"),
            *("-k", f"SeriesInstanceUID={sent.SeriesInstanceUID}"),
            *("-k", f"SOPInstanceUID={sent.SOPInstanceUID}"),
            *("-k", "SOPClassUID"),
        )
        assert sent.SOPInstanceUID in values(said, "SOPInstanceUID")
        assert sent[name].value in values(said, name)


# getscu offers each class once, uncompressed; what is stored compressed is decompressed for it.
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_is_fetched_with_c_get(
    stored: Hospital, program: Program, file: Path, tmp_path: Path
) -> None:
    sent = dcmread(file)
    program(
        "getscu",
        *("-S", "-od", tmp_path),
        *("-k", "QueryRetrieveLevel=IMAGE"),
        *("-k", f"StudyInstanceUID={sent.StudyInstanceUID}"),
        *("-k", f"SeriesInstanceUID={sent.SeriesInstanceUID}"),
        *("-k", f"SOPInstanceUID={sent.SOPInstanceUID}"),
    )
    (came,) = tmp_path.iterdir()
    same(dcmread(came), sent)


def test_every_file_is_fetched_with_c_move(
    stored: Hospital, program: Program, tmp_path: Path
) -> None:
    sent = {image.SOPInstanceUID: image for image in map(dcmread, FILES)}
    studies = "\\".join({str(image.StudyInstanceUID) for image in sent.values()})
    program(
        "movescu",
        *("-S", "+xa", "-aem", "TOOLS", "+P", str(stored.tools.local_port), "-od", tmp_path),
        *("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={studies}"),
    )
    came = {image.SOPInstanceUID: image for image in map(dcmread, tmp_path.iterdir())}
    assert came.keys() == sent.keys()
    for uid, image in came.items():
        same(image, sent[uid])


def test_a_study_is_fetched_as_a_whole(stored: Hospital, program: Program, tmp_path: Path) -> None:
    study = dcmread(DATASETS / "thorax-1.dcm").StudyInstanceUID
    program(
        "getscu",
        *("-P", "-od", tmp_path),
        *("-k", "QueryRetrieveLevel=STUDY"),
        *("-k", f"StudyInstanceUID={study}"),
    )
    assert sorted(dcmread(path).InstanceNumber for path in tmp_path.iterdir()) == [1, 2, 3, 4, 5]


def test_a_name_is_found_in_its_character_set(stored: Hospital, program: Program) -> None:
    said = program(
        "findscu",
        *("-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "SpecificCharacterSet=ISO_IR 192"),
        *("-k", "PatientName=*博*", "-k", "StudyInstanceUID"),
    )
    assert values(said, "StudyInstanceUID")[-1] == (
        dcmread(DATASETS / "name-utf8.dcm").StudyInstanceUID
    )
    assert values(said, "PatientName")[-1] == "Nakamura^Hiroshi=中村^博=なかむら^ひろし"


def test_the_worklist_is_read(clinic: Hospital, program: Program) -> None:
    patient = clinic.his.register_patient("Haddad^Priya", "1980-02-29", "F")
    order = clinic.his.place_order(patient.patient_id, "CTHEAD", "Fall")
    procedure = clinic.ris.schedule(order.placer_order)
    keys = ("PatientName", "StudyInstanceUID", "AccessionNumber", "RequestedProcedureID")
    step = "ScheduledProcedureStepSequence[0]"
    said = program(
        "findscu",
        *("-W", "-k", f"{step}.Modality=CT", "-k", f"{step}.ScheduledStationAETitle=CT1"),
        *("-k", f"{step}.ScheduledProcedureStepID"),
        *(part for key in keys for part in ("-k", key)),
        system="ris",
    )
    assert values(said, "AccessionNumber")[-1] == procedure.accession
    assert values(said, "StudyInstanceUID")[-1] == procedure.study_uid
    assert values(said, "ScheduledProcedureStepID")[-1] == procedure.step_id
    assert values(said, "PatientName")[-1] == "Haddad^Priya"
    other = program(
        "findscu", "-W", "-k", f"{step}.Modality=MR", "-k", "AccessionNumber", system="ris"
    )
    assert procedure.accession not in other


def test_the_commands_that_up_prints_work(
    stored: Hospital, peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # getscu and movescu write where they are started
    study = str(dcmread(DATASETS / "head-implicit.dcm").StudyInstanceUID)
    lines = [line for line in _welcome(stored).splitlines() if line.startswith("  ")]
    commands = [shlex.split(line.replace("UID=UID", f"UID={study}")) for line in lines]
    assert [command[0] for command in commands] == [
        "echoscu",
        "storescu",
        "findscu",
        "getscu",
        "movescu",
        "findscu",
    ]
    for name, *arguments in commands:
        if name == "storescu":
            arguments = [*arguments[: arguments.index("FILE")], str(FILES[0])]
        said = execute([str(peer(name)), *arguments])
        if name == "findscu" and "-S" in arguments:
            assert study in said
        if name in ("getscu", "movescu"):
            (came,) = tmp_path.iterdir()
            same(dcmread(came), dcmread(DATASETS / "head-implicit.dcm"))
            came.unlink()


@pytest.fixture(scope="module")
def exams(clinic: Hospital) -> list[Exam]:
    return [clinic.exam("CTTHORAX"), clinic.exam("CTHEAD", name="Sliva^Ines")]


def test_the_images_of_an_exam_are_valid(exams: list[Exam], peer: Peer, tmp_path: Path) -> None:
    dciodvfy = str(peer("dciodvfy"))
    for exam in exams:
        assert exam.problem == ""
        for number in (0, 11, 23):
            file = tmp_path / "image.dcm"
            exam.images[number].save_as(file, enforce_file_format=True)
            said = execute([dciodvfy, str(file)])
            assert said.startswith("CTImage")
            assert [line for line in said.splitlines() if line.startswith("Error")] == []


@pytest.mark.parametrize("file", sorted(DATASETS.glob("*.dcm")), ids=lambda file: file.name)
def test_a_sample_is_valid(peer: Peer, file: Path) -> None:
    said = execute([str(peer("dciodvfy")), str(file)])
    assert said.startswith("CTImage")
    assert [line for line in said.splitlines() if line.startswith("Error")] == []


def test_a_correction_reaches_what_others_fetch(
    clinic: Hospital, exams: list[Exam], program: Program, tmp_path: Path
) -> None:
    exam = exams[1]
    assert exam.patient is not None
    assert exam.procedure is not None
    seen = clinic.journal.all()[-1].seq
    clinic.his.update_patient(exam.patient.patient_id, name="Silva^Łucja")
    assert clinic.journal.wait_for(
        lambda event: event.source == "pacs" and event.summary.endswith("updated"), 5, after=seen
    )
    program(
        "getscu",
        *("-S", "-od", tmp_path, "-k", "QueryRetrieveLevel=STUDY"),
        *("-k", f"StudyInstanceUID={exam.procedure.study_uid}"),
    )
    images = [dcmread(path) for path in tmp_path.iterdir()]
    assert len(images) == 24 + 1  # and the report
    assert {str(image.PatientName) for image in images} == {"Silva^Łucja"}
