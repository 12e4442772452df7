"""DCMTK's clients with the files that a learner finds: stored, found, fetched, corrected."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import dcmtk
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import FileDataset

from labsim import Hospital
from labsim.__main__ import _welcome

Program = Callable[..., str]

DATASETS = Path(__file__).parents[2] / "datasets"
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
def program(clinic: Hospital) -> Program:
    """Run a program against a system; return what it said, or fail with it."""

    def run(name: str, *arguments: str | Path, system: str = "pacs", title: str = "TOOLS") -> str:
        return dcmtk.run(name, *dcmtk.called(clinic, system, calling=title), *arguments)

    return run


@pytest.fixture(scope="module")
def stored(clinic: Hospital) -> Hospital:
    """The clinic with every file in its archive, sent by storescu."""
    called = dcmtk.called(clinic, "pacs")
    dcmtk.run("storescu", *called, *UNCOMPRESSED)
    # -xr: proposes RLE Lossless
    dcmtk.run("storescu", "-xr", *called, DATASETS / "thorax-rle.dcm")
    return clinic


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


def test_a_wrong_called_title_is_rejected(clinic: Hospital) -> None:
    *_, host, port = dcmtk.called(clinic, "pacs")
    said = dcmtk.run("echoscu", "-aec", "PASC", host, port, good=False)
    assert "Called AE Title Not Recognized" in said


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
        assert sent.SOPInstanceUID in dcmtk.values(said, "SOPInstanceUID")
        assert sent[name].value in dcmtk.values(said, name)


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


def test_a_name_is_found_in_its_character_set(stored: Hospital, program: Program) -> None:
    said = program(
        "findscu",
        *("-S", "-k", "QueryRetrieveLevel=STUDY", "-k", "SpecificCharacterSet=ISO_IR 192"),
        *("-k", "PatientName=*博*", "-k", "StudyInstanceUID"),
    )
    assert dcmtk.values(said, "StudyInstanceUID")[-1] == (
        dcmread(DATASETS / "name-utf8.dcm").StudyInstanceUID
    )
    assert dcmtk.values(said, "PatientName")[-1] == "Nakamura^Hiroshi=中村^博=なかむら^ひろし"


def test_the_commands_that_up_prints_work(
    stored: Hospital, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # getscu and movescu write where they are started
    study = str(dcmread(DATASETS / "head-implicit.dcm").StudyInstanceUID)
    lines = [line for line in _welcome(stored, {}).splitlines() if line.startswith("  ")]
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
        said = dcmtk.run(name, *arguments)
        if name == "findscu" and "-S" in arguments:
            assert study in said
        if name in ("getscu", "movescu"):
            (came,) = tmp_path.iterdir()
            same(dcmread(came), dcmread(DATASETS / "head-implicit.dcm"))
            came.unlink()


def test_a_correction_reaches_what_others_fetch(
    clinic: Hospital, program: Program, tmp_path: Path
) -> None:
    exam = clinic.exam("CTHEAD", name="Sliva^Ines")
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
