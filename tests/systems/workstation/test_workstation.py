"""A workstation finds studies and fetches them; what it cannot do it says."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import CTImageStorage
from pynetdicom.association import Association

from labsim import Hospital
from labsim.errors import AssociationFailed, ConfigurationError, DimseFailed, LabError, NotFound
from labsim.site import site_names
from labsim.systems.workstation import Workstation

Store = Callable[..., list[FileDataset]]
Dial = Callable[..., AbstractContextManager[Association]]


@pytest.fixture
def ws(archive: Hospital) -> Workstation:
    """The workstation of a clinic that is its own."""
    return archive.workstation


def files(ws: Workstation) -> list[str]:
    return sorted(path.name for path in (ws.folder / "images").iterdir())


@pytest.mark.parametrize("site", site_names())
def test_each_site_has_a_workstation_that_the_archive_knows(site: str) -> None:
    with Hospital(seed=7, site=site) as hospital:
        assert list(hospital.workstations()) == ["ws1"]
        assert hospital.workstation.ae_title == "WS1"
        known = hospital.pacs.known_ae("WS1")
        assert known is not None
        assert (known.host, known.port) == ("ws1", 104)
        assert next(e.title for e in hospital.endpoints() if e.system == "ws1") == "WS1"


def test_a_hospital_without_one_says_so() -> None:
    with Hospital(seed=7) as hospital:
        hospital.take_down("ws1")
        with pytest.raises(LabError, match="no workstation"):
            _ = hospital.workstation


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({"name": "silva"}, ["K1", "K2"]),
        ({"name": "Silva^Ines"}, ["K1", "K2"]),
        ({"name": "Nobody"}, []),
        ({"patient_id": "K000002"}, ["K2"]),
        ({"accession": "K1"}, ["K1"]),
        ({"date": "20260302"}, ["K1", "K2"]),
        ({"date": "-20260301"}, []),
        ({"modality": "CT"}, ["K1", "K2"]),
        ({"modality": "MR"}, []),
        ({"name": "silva", "patient_id": "K000001"}, ["K1"]),
    ],
)
def test_studies_are_found_by_what_a_reader_knows(
    archive: Hospital, ws: Workstation, store: Store, keys: dict[str, str], found: list[str]
) -> None:
    for number in (1, 2):
        store(archive, number)
    assert [row[4] for row in ws.find(**keys)] == found


@pytest.mark.parametrize("method", ["C-MOVE", "C-GET"])
def test_what_is_fetched_is_no_new_image_in_the_journal(
    archive: Hospital, ws: Workstation, store: Store, method: str
) -> None:
    store(archive, 1)
    ws.retrieve("K1", method=method)
    of_reader = [
        event.transaction
        for event in archive.journal.all()
        if "ws1" in (event.source, event.peer) and "C-STORE" in event.summary
    ]
    assert set(of_reader) == {"RAD-16"}


@pytest.mark.parametrize("method", ["C-MOVE", "C-GET"])
def test_a_study_is_fetched_whole_and_only_once(
    archive: Hospital, ws: Workstation, store: Store, method: str
) -> None:
    images = store(archive, 1, 3)
    got = ws.retrieve("K1", method=method)
    assert (got.method, got.expected, got.completed, got.failed, got.here) == (method, 3, 3, 0, 3)
    assert got.status == "0x0000 Success"
    assert files(ws) == sorted(f"{image.SOPInstanceUID}.dcm" for image in images)
    sent = ws.cache.image(str(images[1].SOPInstanceUID))
    assert sent.PixelData == images[1].PixelData
    assert ws.find(accession="K1")[0][8] == 3
    again = ws.retrieve(str(images[0].StudyInstanceUID), method=method)
    assert (again.method, again.here, again.completed) == ("", 3, 0)


def test_what_is_missing_is_fetched_alone(archive: Hospital, ws: Workstation, store: Store) -> None:
    store(archive, 1, 2)
    ws.retrieve("K1")
    store(archive, 1, 1, SeriesInstanceUID="1.2.3.4", SOPInstanceUID="1.2.3.4.5")
    got = ws.retrieve("K1")
    assert (got.expected, got.completed, got.here) == (3, 1, 3)


def test_a_file_that_has_gone_is_fetched_again(
    archive: Hospital, ws: Workstation, store: Store
) -> None:
    image, _ = store(archive, 1, 2)
    ws.retrieve("K1")
    path = ws.folder / "images" / f"{image.SOPInstanceUID}.dcm"
    path.unlink()
    with pytest.raises(NotFound, match="does not have the image"):
        ws.cache.image(str(image.SOPInstanceUID))
    assert ws.retrieve("K1").complete
    assert path.is_file()


def test_a_study_that_nobody_has(ws: Workstation) -> None:
    for wanted in ("A9999", "1.2.3", ""):
        with pytest.raises(NotFound, match="PACS has no study"):
            ws.retrieve(wanted)


def test_an_accession_number_of_two_studies_is_no_answer(
    archive: Hospital, ws: Workstation, store: Store
) -> None:
    for number in (1, 2):
        store(archive, number, 1, AccessionNumber="K9")
    with pytest.raises(ConfigurationError, match="2 studies"):
        ws.retrieve("K9")


def test_the_wrong_words(ws: Workstation, archive: Hospital, store: Store) -> None:
    store(archive, 1)
    with pytest.raises(ConfigurationError, match="FTP"):
        ws.retrieve("K1", method="FTP")
    with pytest.raises(ConfigurationError, match="no setting 'volume'"):
        ws.configure("volume", "11")
    with pytest.raises(ConfigurationError, match="no AE title"):
        ws.configure("archive", "a\\b")
    ws.configure("archive", "NOBODY")
    with pytest.raises(ConfigurationError, match="does not know where NOBODY is"):
        ws.find()
    with pytest.raises(ConfigurationError, match="no application entity"):
        ws.register_ae("X", host="x", port=0)
    with pytest.raises(NotFound, match="'X'"):
        ws.remove_ae("X")
    shown = [row[:2] for row in ws.settings()]
    assert shown == [("archive", "NOBODY"), ("destination", "WS1"), ("priors", "2")]


# What goes wrong between the two


def test_a_destination_that_the_archive_does_not_know(
    archive: Hospital, ws: Workstation, store: Store
) -> None:
    store(archive, 1)
    ws.configure("destination", "WS9")
    with pytest.raises(DimseFailed, match="0xA801 Move destination unknown") as caught:
        ws.retrieve("K1")
    assert caught.value.status == 0xA801
    assert files(ws) == []
    assert ws.retrieve("K1", method="C-GET").complete  # which needs no destination


def test_a_workstation_that_the_archive_does_not_know(
    archive: Hospital, ws: Workstation, store: Store
) -> None:
    store(archive, 1)
    archive.pacs.remove_ae("WS1")
    with pytest.raises(AssociationFailed) as caught:
        ws.retrieve("K1")
    assert caught.value.reason == "rejected 1/1/3"


def test_an_archive_that_knows_another_port_of_it(
    archive: Hospital, ws: Workstation, store: Store
) -> None:
    store(archive, 1)
    archive.pacs.register_ae("WS1", host="ws1", port=105)
    with pytest.raises(DimseFailed, match="2 images failed") as caught:
        ws.retrieve("K1")
    assert caught.value.status == 0xA702


def test_a_caller_that_it_does_not_know(
    archive: Hospital, ws: Workstation, dial: Dial, store: Store
) -> None:
    image, _ = store(archive, 1)
    with dial(archive, "ws1", CTImageStorage, calling="STRANGER") as association:
        answer = association.acceptor.primitive
        assert association.is_rejected
        assert (answer.result, answer.result_source, answer.diagnostic) == (1, 1, 3)
    assert files(ws) == []
    said = archive.journal.wait_for(lambda e: "STRANGER rejected" in e.summary, 2)
    assert said is not None
    ws.register_ae("STRANGER", host="elsewhere", port=104)
    with dial(archive, "ws1", CTImageStorage, calling="STRANGER") as association:
        assert association.send_c_store(image).Status == 0x0000
    assert files(ws) == [f"{image.SOPInstanceUID}.dcm"]


def test_an_image_without_its_uids_is_not_taken(
    archive: Hospital, ws: Workstation, dial: Dial, image: Callable[..., FileDataset]
) -> None:
    with dial(archive, "ws1", CTImageStorage) as association:
        assert association.send_c_store(image(SeriesInstanceUID="")).Status == 0xA900
    assert files(ws) == []


def test_a_disk_that_is_full_takes_no_image(
    archive: Hospital, ws: Workstation, store: Store
) -> None:
    store(archive, 1, 2)
    store(archive, 2, 2)
    ws.retrieve("K1")
    host = archive.host("ws1")
    host.disk.resize(host.disk.used, host.systems)
    with pytest.raises(DimseFailed, match="2 images failed") as caught:
        ws.retrieve("K2")
    assert caught.value.status == 0xA702
    assert len(files(ws)) == 2
    host.disk.resize(0, host.systems)
    assert ws.retrieve("K2").complete


# The cache


def test_the_study_used_longest_ago_goes_first(
    archive: Hospital, ws: Workstation, store: Store
) -> None:
    for number in (1, 2, 3):
        store(archive, number)
    ws.retrieve("K1")
    one = ws.cache.used
    ws.cache.resize(2 * one + one // 2)
    ws.retrieve("K2")
    ws.retrieve("K1")  # here already, and used again
    ws.retrieve("K3")
    assert [row[0] for row in ws.cache.table()] == ["K3", "K1"]
    assert ws.cache.used <= ws.cache.limit
    assert len(files(ws)) == 4


def test_a_study_larger_than_the_cache_comes_in_part(
    archive: Hospital, ws: Workstation, store: Store
) -> None:
    store(archive, 1)
    ws.retrieve("K1")
    ws.cache.resize(ws.cache.used * 3 // 4)
    assert len(ws.cache.table()) == 0
    got = ws.retrieve("K1")
    assert (got.expected, got.here, got.completed, got.failed) == (2, 1, 1, 1)
    assert got.status.startswith("0xB000")
    assert not got.complete


def test_the_cache_is_cleared_and_the_archive_has_it_still(
    archive: Hospital, ws: Workstation, store: Store
) -> None:
    for number in (1, 2):
        store(archive, number)
        ws.retrieve(f"K{number}")
    uid = str(ws.cache.table()[0][-1])
    assert ws.cache.clear(uid) == 2
    assert [row[0] for row in ws.cache.table()] == ["K1"]
    assert ws.cache.clear() == 2
    assert (files(ws), len(ws.cache.table()), ws.cache.used) == ([], 0, 0)
    assert ws.retrieve("K2").complete
    with pytest.raises(ConfigurationError, match="cache of 0 bytes"):
        ws.cache.resize(0)


def test_what_was_received_is_there_after_a_restart(archive: Hospital, store: Store) -> None:
    store(archive, 1)
    archive.workstation.retrieve("K1")
    half = archive.workstation.folder / "images" / "1.2.3.part"
    archive.rebuild("ws1", lambda: half.write_bytes(b"half"))
    assert not half.exists()
    assert archive.workstation.retrieve("K1").method == ""
    assert archive.workstation.setting("destination") == "WS1"
