"""Every transfer syntax goes in by storescu and comes back bit for bit.

Back it comes by C-GET, by C-MOVE and by WADO-RS. The list of syntaxes is that of the files; the
options are those of DCMTK.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import dcmtk
import httpx
import pytest
import syntaxes
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import (
    AllTransferSyntaxes,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from labsim import Hospital

# How DCMTK is told of a syntax: storescu proposes it with -x and a letter.
LETTERS = {
    "1.2.840.10008.1.2": "i",
    "1.2.840.10008.1.2.1": "e",
    "1.2.840.10008.1.2.1.99": "d",
    "1.2.840.10008.1.2.2": "b",
    "1.2.840.10008.1.2.4.50": "y",
    "1.2.840.10008.1.2.4.51": "x",
    "1.2.840.10008.1.2.4.70": "s",
    "1.2.840.10008.1.2.4.80": "t",
    "1.2.840.10008.1.2.4.81": "u",
    "1.2.840.10008.1.2.4.90": "v",
    "1.2.840.10008.1.2.4.91": "w",
    "1.2.840.10008.1.2.4.100": "m",
    "1.2.840.10008.1.2.4.101": "h",
    "1.2.840.10008.1.2.4.102": "n",
    "1.2.840.10008.1.2.4.103": "l",
    "1.2.840.10008.1.2.4.104": "2",
    "1.2.840.10008.1.2.4.105": "3",
    "1.2.840.10008.1.2.4.106": "o",
    "1.2.840.10008.1.2.4.107": "4",
    "1.2.840.10008.1.2.4.108": "5",
    "1.2.840.10008.1.2.5": "r",
}
# Never over the web (PS3.18 8.7.3.2).
NOT_ON_THE_WEB = {ImplicitVRLittleEndian, ExplicitVRBigEndian}


@pytest.fixture(scope="module")
def clinic() -> Iterator[Hospital]:
    with Hospital(seed=7) as running:
        yield running


@dataclass
class Sent:
    """Every file after it was stored; by the desk what DCMTK does not know."""

    images: list[FileDataset]
    strange: list[FileDataset]


@pytest.fixture(scope="module")
def sent(clinic: Hospital, tmp_path_factory: pytest.TempPathFactory) -> Sent:
    folder, done = tmp_path_factory.mktemp("made"), Sent([], [])
    for path in [*syntaxes.shipped().values(), *syntaxes.made(folder)]:
        image = dcmread(path)
        syntax = image.file_meta.TransferSyntaxUID
        how = [f"-x{LETTERS[syntax]}"] if syntax in LETTERS else profile(folder, "scu", [image])
        code, said = dcmtk.outcome("storescu", "-v", *how, *dcmtk.called(clinic, "pacs"), path)
        if code == 0:
            done.images.append(image)
        else:
            assert f"Unsupported transfer syntax: {syntax}" in said, said
            ((_, answer),) = clinic.tools.storescu([path])
            assert answer == "0x0000 Success"
            done.strange.append(image)
    return done


def profile(folder: Path, role: str, images: list[FileDataset]) -> list[str]:
    """Write what is negotiated into a configuration file; return the arguments that name it."""
    kinds = list(dict.fromkeys((i.SOPClassUID, i.file_meta.TransferSyntaxUID) for i in images))
    syntaxes_ = list(dict.fromkeys(syntax for _, syntax in kinds))
    names = {syntax: f"S{number}" for number, syntax in enumerate(syntaxes_)}
    contexts = (
        [f"{sop_class}\\{names[syntax]}" for sop_class, syntax in kinds]
        if role == "scu"
        else [f"{sop_class}\\All" for sop_class in dict.fromkeys(kind for kind, _ in kinds)]
    )
    lines = ["[[TransferSyntaxes]]"]
    for syntax, name in names.items():
        lines += [f"[{name}]", f"TransferSyntax1 = {syntax}"]
    lines += ["[All]", *(f"TransferSyntax{n} = {s}" for n, s in enumerate(syntaxes_, 1))]
    lines += ["[[PresentationContexts]]", "[C]"]
    lines += [f"PresentationContext{n} = {context}" for n, context in enumerate(contexts, 1)]
    lines += ["[[Profiles]]", "[Default]", "PresentationContexts = C"]
    path = folder / f"{role}.cfg"
    path.write_text("\n".join(lines) + "\n")
    return ["-xf", str(path), "Default"]


def same(came: Dataset, image: FileDataset) -> None:
    """Compare a data set that came with what was sent: bytes of the pixels, all other values."""
    assert came.file_meta.TransferSyntaxUID == image.file_meta.TransferSyntaxUID
    assert came.get("PixelData") == image.get("PixelData")  # as encoded, fragment by fragment
    assert plain(came) == plain(image)


def plain(dataset: Dataset) -> dict[str, object]:
    """Return the values of a data set, without what an encoder may write as it likes.

    Group lengths and padding (PS3.5 7.2, PS3.10 7.2) are that. DCMTK writes encapsulated pixels
    that are said to be OW as the OB that they have to be (PS3.5 A.4).
    """
    return {
        str(element.tag): [plain(item) for item in element.value]
        if element.VR == "SQ"
        else element.value
        for element in dataset
        if element.tag.element != 0 and element.tag not in (0xFFFCFFFC, 0x7FE00010)
    }


def of_path(clinic: Hospital, image: FileDataset) -> bytes:
    """Return the data set of an image as the PACS keeps it on its disk."""
    kept = next(
        path
        for path in clinic.pacs.paths(str(image.StudyInstanceUID))
        if dcmread(path, stop_before_pixels=True).SOPInstanceUID == image.SOPInstanceUID
    )
    return data_set(kept)


def data_set(path: Path) -> bytes:
    """Return the bytes after the file meta information."""
    file = path.read_bytes()
    length = int.from_bytes(file[140:144], "little")
    assert file[128:138] == b"DICM\x02\x00\x00\x00UL"
    return file[144 + length :]


def test_every_transfer_syntax_is_among_the_files(sent: Sent) -> None:
    there = {i.file_meta.TransferSyntaxUID for i in [*sent.images, *sent.strange]}
    assert {uid for uid in AllTransferSyntaxes if uid not in there} == set()
    assert set(syntaxes.shipped()) <= there


def test_what_was_sent_lies_in_the_pacs_in_its_own_syntax(clinic: Hospital, sent: Sent) -> None:
    for image in [*sent.images, *sent.strange]:
        paths = clinic.pacs.paths(str(image.StudyInstanceUID))
        kept = {each.SOPInstanceUID: each for each in map(dcmread, paths)}
        same(kept[image.SOPInstanceUID], image)


def test_everything_comes_back_by_c_get(clinic: Hospital, sent: Sent) -> None:
    for image in sent.images:
        found = clinic.tools.getscu(str(image.StudyInstanceUID))
        came = {each.SOPInstanceUID: each for each in found}
        same(came[image.SOPInstanceUID], image)


def test_getscu_is_given_the_very_bytes_of_the_store(
    clinic: Hospital, sent: Sent, tmp_path: Path
) -> None:
    """It offers all syntaxes in one context, and the PACS takes one that is not compressed."""
    for number, image in enumerate(sent.images):
        syntax = image.file_meta.TransferSyntaxUID
        if syntax != ExplicitVRLittleEndian:
            continue
        folder = tmp_path / str(number)
        folder.mkdir()
        where = ["+xe", "+B", "-od", folder, *dcmtk.called(clinic, "pacs")]
        dcmtk.run("getscu", "-S", *where, *image_keys(image))
        (path,) = dcmtk.files(folder)
        same(dcmread(path), image)
        assert data_set(path) == of_path(clinic, image)


def image_keys(image: FileDataset) -> list[str]:
    unique = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    return dcmtk.keys("IMAGE", **{each: str(image[each].value) for each in unique})


def test_everything_comes_back_by_c_move(clinic: Hospital, sent: Sent, tmp_path: Path) -> None:
    port = dcmtk.free_port()
    dcmtk.known(clinic, "DCMTK", port)
    folder = tmp_path / "came"
    folder.mkdir()
    how = profile(tmp_path, "scp", sent.images)
    with dcmtk.listening("storescp", tmp_path, *how, "+B", "-od", folder, port=port):
        for study in {str(image.StudyInstanceUID) for image in sent.images}:
            keys = dcmtk.keys("STUDY", StudyInstanceUID=study)
            dcmtk.run("movescu", "-S", "-aem", "DCMTK", *dcmtk.called(clinic, "pacs"), *keys)
    came = {dcmread(path).SOPInstanceUID: path for path in dcmtk.files(folder)}
    for image in sent.images:
        same(dcmread(came[image.SOPInstanceUID]), image)
        assert data_set(came[image.SOPInstanceUID]) == of_path(clinic, image)


def test_everything_comes_back_by_wado_rs(clinic: Hospital, sent: Sent) -> None:
    place = next(
        e for e in clinic.endpoints() if (e.system, e.protocol) == ("pacs", "dicomweb")
    ).local
    headers = {
        "Authorization": f"Bearer {clinic.pacs.tokens.issue('viewer')}",
        "Accept": "application/dicom; transfer-syntax=*",
    }
    root = f"http://{place.host}:{place.port}/dicom-web"
    with httpx.Client(headers=headers, trust_env=False, timeout=60) as client:
        for image in [*sent.images, *sent.strange]:
            series = f"/studies/{image.StudyInstanceUID}/series/{image.SeriesInstanceUID}"
            answer = client.get(f"{root}{series}/instances/{image.SOPInstanceUID}")
            assert answer.status_code == 200, answer.text
            came = dcmread(BytesIO(answer.content))
            if image.file_meta.TransferSyntaxUID in NOT_ON_THE_WEB:
                assert came.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
                assert came.SOPInstanceUID == image.SOPInstanceUID
            else:
                same(came, image)


def test_what_dcmtk_does_not_know_comes_back_to_the_desk(clinic: Hospital, sent: Sent) -> None:
    assert [image for image in sent.strange if image.file_meta.TransferSyntaxUID in LETTERS] == []
    for study in {str(image.StudyInstanceUID) for image in sent.strange}:
        for came in (clinic.tools.getscu(study), clinic.tools.movescu(study)):
            found = {each.SOPInstanceUID: each for each in came}
            for image in sent.strange:
                if image.StudyInstanceUID == study:
                    same(found[image.SOPInstanceUID], image)


@pytest.mark.parametrize(("program", "option"), syntaxes.RETIRED)
def test_a_retired_syntax_is_not_accepted(
    clinic: Hospital, tmp_path: Path, program: str, option: str
) -> None:
    path = syntaxes.coded(tmp_path, program, option)
    how = profile(tmp_path, "scu", [dcmread(path)])
    said = dcmtk.run("storescu", *how, *dcmtk.called(clinic, "pacs"), path, good=False)
    assert "No Acceptable Presentation Contexts" in said
