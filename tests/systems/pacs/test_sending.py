"""What goes in comes back, bit for bit or transcoded, to receivers of every kind."""

from __future__ import annotations

import functools
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.data.data_manager import DATA_ROOT
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from pynetdicom import AE, build_context, build_role, evt
from pynetdicom.association import Association
from pynetdicom.dsutils import decode, encode, split_dataset

from labsim import Hospital
from labsim.errors import ConfigurationError
from labsim.ids import make_uid
from labsim.sop_classes import STUDY_ROOT_GET, STUDY_ROOT_MOVE
from labsim.wire.network import free_port

Dial = Callable[..., AbstractContextManager[Association]]
Image = Callable[..., FileDataset]
Keys = Callable[..., Dataset]
Peer = Callable[[str], Path]

TEST_FILES = Path(DATA_ROOT) / "test_files"
NEEDED = ("SOPClassUID", "SOPInstanceUID")
# pydicom says that these are not what they say.
ODD = {"SC_rgb_jpeg.dcm", "JPEG2000-embedded-sequence-delimiter.dcm"}


def whole(path: Path) -> FileDataset | None:
    """Return a test file as an instance of its own, None if it is no whole DICOM file."""
    try:
        dataset = dcmread(path)
        syntax = dataset.file_meta.TransferSyntaxUID
        if path.name in ODD or any(key not in dataset for key in NEEDED):
            return None
    except Exception:
        return None
    for level in ("Study", "Series"):
        setattr(dataset, f"{level}InstanceUID", make_uid(f"sent {level}", path.name))
    dataset.SOPInstanceUID = make_uid("sent instance", path.name)
    dataset.PatientID = path.name[:60]
    data = encode(dataset, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
    return dataset if data else None


FILES = [path for path in sorted(TEST_FILES.rglob("*.dcm")) if whole(path) is not None]


@pytest.fixture
def image(image: Image) -> Image:
    """Make images that are large enough for every codec."""
    pixels = np.arange(32 * 32, dtype="<u2").tobytes()
    return functools.partial(image, Rows=32, Columns=32, PixelData=pixels)


def store(hospital: Hospital, dial: Dial, dataset: FileDataset) -> bytes:
    """Send an image to the archive; return its bytes as they were on the wire."""
    sent: list[bytes] = []

    def see(event: evt.Event) -> None:
        if event.message.data_set is not None:
            sent.append(event.message.data_set.getvalue())

    context = build_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
    with dial(hospital, "pacs", context, handlers=((evt.EVT_DIMSE_SENT, see),)) as association:
        assert association.send_c_store(dataset).Status == 0x0000
    return sent[0]


def fetch(
    hospital: Hospital, dial: Dial, study: str, sop_class: str, *syntaxes: UID
) -> tuple[int, list[tuple[UID, bytes]]]:
    """Ask with C-GET for a study in some syntaxes; return the status and what came."""
    came: list[tuple[UID, bytes]] = []

    def take(event: evt.Event) -> int:
        came.append((event.context.transfer_syntax, event.request.DataSet.getvalue()))
        return 0x0000

    identifier = Dataset()
    identifier.QueryRetrieveLevel, identifier.StudyInstanceUID = "STUDY", study
    with dial(
        hospital,
        "pacs",
        STUDY_ROOT_GET,
        *(build_context(sop_class, syntax) for syntax in syntaxes),
        roles=(build_role(sop_class, scp_role=True),),
        handlers=((evt.EVT_C_STORE, take),),
    ) as association:
        statuses = [status for status, _ in association.send_c_get(identifier, STUDY_ROOT_GET)]
    return statuses[-1].Status, came


def test_the_files_are_of_many_syntaxes() -> None:
    assert len(FILES) > 60
    syntaxes = {dcmread(path).file_meta.TransferSyntaxUID for path in FILES}
    assert len(syntaxes) >= 12


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_comes_back_bit_for_bit(clinic: Hospital, dial: Dial, path: Path) -> None:
    sent = whole(path)
    assert sent is not None
    syntax = sent.file_meta.TransferSyntaxUID
    data = store(clinic, dial, sent)
    status, came = fetch(clinic, dial, sent.StudyInstanceUID, sent.SOPClassUID, syntax)
    assert status == 0x0000
    assert came == [(syntax, data)]


def test_what_another_program_wrote_is_not_written_anew(
    clinic: Hospital, dial: Dial, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = TEST_FILES / "693_J2KI.dcm"  # with group lengths, which pydicom does not write
    meta, start = split_dataset(path)
    data, sent = path.read_bytes()[start:], dcmread(path)
    assert encode(sent, False, True) != data
    with monkeypatch.context() as patch:
        patch.setattr("pynetdicom.association.encode", lambda *_: data)
        store(clinic, dial, sent)
    syntax = meta.TransferSyntaxUID
    _, came = fetch(clinic, dial, sent.StudyInstanceUID, sent.SOPClassUID, syntax)
    assert came == [(syntax, data)]


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_a_receiver_that_takes_one_compression_only_gets_it(
    clinic: Hospital, dial: Dial, image: Image, syntax: UID
) -> None:
    sent = image()
    store(clinic, dial, sent)
    status, came = fetch(clinic, dial, sent.StudyInstanceUID, CTImageStorage, syntax)
    assert (status, [got for got, _ in came]) == (0x0000, [syntax])
    received = decode(BytesIO(came[0][1]), syntax.is_implicit_VR, syntax.is_little_endian)
    received.file_meta = FileMetaDataset()
    received.file_meta.TransferSyntaxUID = syntax
    assert np.array_equal(received.pixel_array, sent.pixel_array)


def test_what_no_codec_reads_is_a_failed_sub_operation(clinic: Hospital, dial: Dial) -> None:
    sent = whole(TEST_FILES / "JPGExtended.dcm")
    assert sent is not None
    sent.StudyInstanceUID = make_uid("undecodable study")
    sent.SeriesInstanceUID = make_uid("undecodable series")
    sent.SOPInstanceUID = make_uid("undecodable instance")
    store(clinic, dial, sent)
    status, came = fetch(
        clinic, dial, sent.StudyInstanceUID, sent.SOPClassUID, ExplicitVRLittleEndian
    )
    assert (status, came) == (0xA702, [])
    (event,) = clinic.journal.events(source="pacs", kind="error", sop_uid=sent.SOPInstanceUID)
    assert event.summary.startswith(f"{sent.SOPInstanceUID} not sent to TOOLS: JPEG Extended")


# DCMTK

COMPRESSED = {
    "-xr": "MR_small_RLE.dcm",
    "-xs": "SC_rgb_jpeg_gdcm.dcm",
    "-xv": "MR_small_jp2klossless.dcm",
    "-xt": "MR_small_jpeg_ls_lossless.dcm",
    "-xy": "SC_rgb_jpeg_dcmtk.dcm",
}


@pytest.fixture(scope="module")
def archived(clinic: Hospital, peer: Peer, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Compressed files that DCMTK's storescu has sent."""
    folder = tmp_path_factory.mktemp("compressed")
    paths = []
    for option, name in COMPRESSED.items():
        dataset = dcmread(TEST_FILES / name)
        for level in ("Study", "Series"):
            setattr(dataset, f"{level}InstanceUID", make_uid(f"peer {level}", name))
        dataset.SOPInstanceUID = make_uid("peer instance", name)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.PatientID = "PEER"
        dataset.save_as(folder / name)
        run(clinic, peer, "storescu", option, folder / name)
        paths.append(folder / name)
    return paths


def run(hospital: Hospital, peer: Peer, name: str, *arguments: str | Path) -> None:
    place = next(e for e in hospital.endpoints() if e.system == "pacs" and e.protocol == "dicom")
    called = ["-aet", "TOOLS", "-aec", "PACS", place.local.host, str(place.local.port)]
    done = subprocess.run(
        [str(peer(name)), *called, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "TCP_NODELAY": "1"},
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def expect(folder: Path, archived: list[Path]) -> None:
    """Require the pictures that were sent, uncompressed."""
    came = {image.SOPInstanceUID: image for image in map(dcmread, folder.iterdir())}
    assert len(came) == len(archived)
    for path in archived:
        sent = dcmread(path)
        image = came[sent.SOPInstanceUID]
        assert not image.file_meta.TransferSyntaxUID.is_compressed
        assert np.array_equal(image.pixel_array, sent.pixel_array)


def test_getscu_fetches_what_is_compressed(
    clinic: Hospital, peer: Peer, archived: list[Path], tmp_path: Path
) -> None:
    for path in archived:
        study = dcmread(path).StudyInstanceUID
        wanted = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}")
        # It proposes one context a class, first of all in the uncompressed syntaxes.
        run(clinic, peer, "getscu", "-S", "-od", tmp_path, *wanted)
    expect(tmp_path, archived)


def test_storescp_is_sent_what_it_takes(
    clinic: Hospital, peer: Peer, archived: list[Path], tmp_path: Path
) -> None:
    port = free_port()
    clinic.pacs.register_ae("STORESCP", host="127.0.0.1", port=port)
    # Without options it takes uncompressed images only.
    storescp = subprocess.Popen(
        [str(peer("storescp")), "-aet", "STORESCP", "-od", str(tmp_path), str(port)],
        env={**os.environ, "TCP_NODELAY": "1"},
    )
    try:
        await_port(clinic, peer, port)
        for path in archived:
            study = dcmread(path).StudyInstanceUID
            wanted = ("-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}")
            run(clinic, peer, "movescu", "-S", "-aem", "STORESCP", *wanted)
    finally:
        storescp.terminate()
        storescp.wait(5)
    expect(tmp_path, archived)


def await_port(hospital: Hospital, peer: Peer, port: int) -> None:
    """Echo until a program that has just been started listens."""
    for _ in range(100):
        command = [str(peer("echoscu")), "-aec", "STORESCP", "127.0.0.1", str(port)]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return
    pytest.fail("storescp does not listen")


# Settings of an entry


@pytest.fixture
def desk(clinic: Hospital) -> Iterator[Callable[..., None]]:
    """Change the entry of the desk for one test."""
    entry = clinic.pacs.known_ae("TOOLS")
    assert entry is not None

    def change(**settings: object) -> None:
        clinic.pacs.register_ae("TOOLS", host=entry.host, port=entry.port, **settings)  # type: ignore[arg-type]

    yield change
    change()


def test_an_entry_may_prefer_a_syntax(
    clinic: Hospital, dial: Dial, image: Image, desk: Callable[..., None]
) -> None:
    sent = image()
    store(clinic, dial, sent)
    both = (ExplicitVRLittleEndian, JPEGLSLossless)
    _, came = fetch(clinic, dial, sent.StudyInstanceUID, CTImageStorage, *both)
    assert [syntax for syntax, _ in came] == [ExplicitVRLittleEndian]
    desk(preferred_syntax=JPEGLSLossless)
    _, came = fetch(clinic, dial, sent.StudyInstanceUID, CTImageStorage, *both)
    assert [syntax for syntax, _ in came] == [JPEGLSLossless]
    (moved,) = clinic.tools.movescu(sent.StudyInstanceUID)
    assert moved.file_meta.TransferSyntaxUID == JPEGLSLossless
    assert np.array_equal(moved.pixel_array, sent.pixel_array)


def test_an_entry_cannot_prefer_what_there_is_no_codec_for(desk: Callable[..., None]) -> None:
    with pytest.raises(ConfigurationError, match="JPEG Baseline"):
        desk(preferred_syntax="1.2.840.10008.1.2.4.50")


def test_every_syntax_of_a_class_is_proposed_to_a_destination(
    clinic: Hospital, dial: Dial, image: Image
) -> None:
    study, series = make_uid("mixed study"), make_uid("mixed series")
    for number, compressed in enumerate((False, True)):
        sent = image(
            PatientID="MIXED",
            StudyInstanceUID=study,
            SeriesInstanceUID=series,
            InstanceNumber=number,
        )
        if compressed:
            sent.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
        store(clinic, dial, sent)
    came = clinic.tools.movescu(study)
    assert [image.file_meta.TransferSyntaxUID for image in came] == [
        ExplicitVRLittleEndian,
        RLELossless,
    ]


def test_a_sub_operation_names_who_asked(clinic: Hospital, dial: Dial, image: Image) -> None:
    sent = image()
    store(clinic, dial, sent)
    clinic.pacs.register_ae("READER1", host="127.0.0.1", port=1)
    requests: list[Any] = []

    def take(event: evt.Event) -> int:
        requests.append(event.request)
        return 0x0000

    entity = AE(ae_title="VIEWER")
    entity.add_supported_context(CTImageStorage)
    handlers = [(evt.EVT_C_STORE, take)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    assert server is not None
    try:
        clinic.pacs.register_ae("VIEWER", host="127.0.0.1", port=server.server_address[1])
        wanted = Dataset()
        wanted.QueryRetrieveLevel, wanted.StudyInstanceUID = "STUDY", sent.StudyInstanceUID
        with dial(clinic, "pacs", STUDY_ROOT_MOVE, calling="READER1") as association:
            answers = association.send_c_move(wanted, "VIEWER", STUDY_ROOT_MOVE, msg_id=77)
            statuses = [status.Status for status, _ in answers]
    finally:
        server.shutdown()
    assert statuses == [0xFF00, 0x0000]
    (request,) = requests
    assert request.MoveOriginatorApplicationEntityTitle == "READER1"
    assert request.MoveOriginatorMessageID == 77
