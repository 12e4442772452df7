"""Broken DICOM objects in valid requests: by C-STORE, by STOW-RS, and from a folder."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx
import pydicom
import pytest
from conftest import Watch
from mutation import Mutator, rounds
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.dimse_primitives import C_STORE

from labsim import Hospital
from labsim.ids import make_uid
from labsim.sop_classes import STUDY_ROOT_FIND

BATCH = 25
MOST_GROWTH = 60.0  # MB, over all inputs
TOKENS = (
    b"\\",
    b"\0",
    b"^",
    b"=",
    b"../../../etc/passwd",
    b"1.2.840.10008.5.1.4.1.1.2",
    b"SQ\0\0\xff\xff\xff\xff",
    b"OB\0\0\xff\xff\xff\xff",
    b"UN\0\0\xff\xff\xff\xff",
    b"\xfe\xff\x00\xe0\xff\xff\xff\xff",
    b"\xfe\xff\x0d\xe0\x00\x00\x00\x00",
    b"\xfe\xff\xdd\xe0\x00\x00\x00\x00",
    b"PN\x00\x00",
    b"US\x02\x00\x00\x00",
    b"DS\x04\x00x\\y ",
    b"ISO_IR 100",
    b"ISO 2022 IR 87",
    b"\x1b$B",
    b"\xe0\x7f\x10\x00",
    b"99991331",
)


@pytest.fixture(scope="module")
def original(community: Hospital) -> Dataset:
    """A CT image as the scanner sent it."""
    exam = community.exam()
    assert exam.complete, exam.problem
    community.settle()
    return exam.images[0]


def variants(name: str, original: Dataset) -> Iterator[tuple[str, bytes, bytes]]:
    """Return a UID, a data set of that UID, and the same one broken; without end."""
    mutator = Mutator(name, TOKENS)
    for number in itertools.count(1):
        uid = make_uid(name, number)
        original.SOPInstanceUID = uid
        buffer = BytesIO()
        pydicom.dcmwrite(buffer, original, implicit_vr=False, little_endian=True)
        valid = buffer.getvalue()
        yield uid, valid, mutator.mutate(valid)


def file_of(original: Dataset, uid: str, dataset: bytes) -> bytes:
    """Return a file with this data set (PS3.10 7.1)."""
    buffer = BytesIO()
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = original.SOPClassUID, uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.FileMetaInformationVersion, meta.ImplementationClassUID = b"\0\1", "1.2.3"
    write_file_meta_info(buffer, meta)
    return bytes(128) + b"DICM" + buffer.getvalue() + dataset


def agree(hospital: Hospital) -> None:
    """Index and files agree, and nothing that is stored cannot be found or retrieved."""
    problems = hospital.pacs.consistency(deep=True)
    assert len(problems.rows) == 0, problems


def everything_works(hospital: Hospital, watch: Watch, client: httpx.Client) -> None:
    """Whatever is stored can be asked for and retrieved, in every way."""
    place = watch.endpoint("pacs", "dicom")
    entity = AE(ae_title="TOOLS")
    entity.add_requested_context(STUDY_ROOT_FIND)
    association = entity.associate(place.local.host, place.local.port, ae_title="PACS")
    keys = Dataset()
    keys.QueryRetrieveLevel = "STUDY"
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "StudyDate", "StudyTime"):
        setattr(keys, keyword, "")
    answers = list(association.send_c_find(keys, STUDY_ROOT_FIND))
    association.release()
    association.dul.join(5)
    assert [status.Status for status, _ in answers][-1:] == [0x0000]
    found = client.get("/instances?limit=5000")
    assert found.status_code in (200, 204), found.text
    assert client.get("/studies").status_code in (200, 204)
    for instance in found.json() if found.status_code == 200 else []:
        uids = [instance[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018")]
        path = "/studies/{}/series/{}/instances/{}".format(*uids)
        kept = client.get(path, headers={"Accept": "application/dicom"})
        assert kept.status_code == 200, f"{path}: {kept.text}"
        for part in ("metadata", "rendered"):
            shown = client.get(f"{path}/{part}")
            assert shown.status_code < 500, f"{path}/{part}: {shown.text}"


@pytest.fixture
def client(community: Hospital, watch: Watch) -> Iterator[httpx.Client]:
    """A caller of the PACS over the web."""
    place = watch.endpoint("pacs", "dicomweb").local
    token = community.pacs.tokens.issue("fuzz", rights=("read", "write"))
    with httpx.Client(
        base_url=f"http://127.0.0.1:{place.port}/dicom-web",
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
    ) as calling:
        yield calling


def test_broken_objects_by_c_store_get_a_true_status(
    community: Hospital, watch: Watch, client: httpx.Client, original: Dataset
) -> None:
    place = watch.endpoint("pacs", "dicom")
    source = variants("C-STORE", original)

    def batch(count: int) -> None:
        entity = AE(ae_title="TOOLS")
        entity.add_requested_context(original.SOPClassUID, ExplicitVRLittleEndian)
        association = entity.associate(place.local.host, place.local.port, ae_title="PACS")
        for _ in range(count):
            uid, _, broken = next(source)
            request = C_STORE()
            request.MessageID, request.Priority = 1, 2
            request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = original.SOPClassUID, uid
            request.DataSet = BytesIO(broken)
            association._reactor_checkpoint.clear()
            association.dimse.send_msg(request, association.accepted_contexts[0].context_id)
            _, answer = association.dimse.get_msg(block=True)
            association._reactor_checkpoint.set()
            assert answer is not None, f"no answer to {uid}"
            held = bool(community.pacs.sql("SELECT 1 FROM instances WHERE sop_uid = ?", uid))
            taken = answer.Status == 0 or answer.Status >> 12 == 0xB
            assert taken == held, f"0x{answer.Status:04X}, and {'' if held else 'not '}kept: {uid}"
        association.release()
        association.dul.join(5)

    batch(BATCH)
    watch.begin()
    before = watch.memory()
    for _ in range(0, rounds(200), BATCH):
        batch(BATCH)
    everything_works(community, watch, client)
    agree(community)
    watch.check()
    assert watch.memory() - before < MOST_GROWTH


def test_broken_objects_by_stow_get_a_true_status(
    community: Hospital, watch: Watch, client: httpx.Client, original: Dataset
) -> None:
    source = variants("STOW", original)
    form = 'multipart/related; type="application/dicom"; boundary=xx'

    def batch(count: int) -> None:
        for _ in range(count):
            uid, _, broken = next(source)
            whole = file_of(original, uid, broken)
            part = b"--xx\r\nContent-Type: application/dicom\r\n\r\n" + whole + b"\r\n--xx--\r\n"
            answer = client.post("/studies", content=part, headers={"Content-Type": form})
            held = bool(community.pacs.sql("SELECT 1 FROM instances WHERE sop_uid = ?", uid))
            assert answer.status_code in (200, 202, 400, 409), answer.text
            if held:
                assert answer.status_code in (200, 202), f"{uid} is kept: {answer.text}"

    batch(BATCH)
    watch.begin()
    before = watch.memory()
    for _ in range(0, rounds(100), BATCH):
        batch(BATCH)
    everything_works(community, watch, client)
    agree(community)
    watch.check()
    assert watch.memory() - before < MOST_GROWTH


def test_a_folder_of_broken_files_is_imported_as_far_as_it_can_be(
    community: Hospital, watch: Watch, client: httpx.Client, original: Dataset, tmp_path: Path
) -> None:
    mutator = Mutator("folder", TOKENS)
    source = variants("folder", original)
    total = rounds(60)
    watch.begin()
    for number in range(total):
        uid, valid, _ = next(source)
        (tmp_path / f"{number}.dcm").write_bytes(mutator.mutate(file_of(original, uid, valid)))
    taken = community.tools.import_folder(tmp_path)
    assert taken.stored + len(taken.refused) == total
    everything_works(community, watch, client)
    agree(community)
    watch.check()
