"""Studies are put away and come back: on disk, in the index, and over DICOM."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import CTImageStorage, JPEGLSLossless, SecondaryCaptureImageStorage
from pynetdicom import build_role, evt
from pynetdicom.association import Association

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.errors import ConfigurationError
from labsim.ids import make_uid
from labsim.sop_classes import STUDY_ROOT_FIND, STUDY_ROOT_GET
from labsim.systems.pacs.files import NEARLINE, ONLINE, FileStore, in_tier
from labsim.systems.pacs.lossless import compressed, expanded

Dial = Callable[..., AbstractContextManager[Association]]
Image = Callable[..., FileDataset]
Keys = Callable[..., Dataset]
Store = Callable[..., list[FileDataset]]


def study_uid(number: int) -> str:
    return make_uid("kept study", number)


def files_of(hospital: Hospital, number: int) -> list[str]:
    rows = hospital.pacs.sql(
        "SELECT i.file FROM instances i JOIN series se ON se.id = i.series "
        "JOIN studies st ON st.id = se.study WHERE st.study_uid = ? ORDER BY i.id",
        study_uid(number),
    )
    return [str(row[0]) for row in rows]


def get(hospital: Hospital, dial: Dial, keys: Keys, number: int) -> tuple[list[Dataset], Any]:
    """Retrieve a study by C-GET, as a workstation that takes nothing compressed."""
    came: list[Dataset] = []

    def take(event: evt.Event) -> int:
        came.append(event.dataset)
        return 0x0000

    with dial(
        hospital,
        "pacs",
        STUDY_ROOT_GET,
        CTImageStorage,
        roles=(build_role(CTImageStorage, scp_role=True),),
        handlers=((evt.EVT_C_STORE, take),),
    ) as association:
        wanted = keys(QueryRetrieveLevel="STUDY", StudyInstanceUID=study_uid(number))
        answers = list(association.send_c_get(wanted, STUDY_ROOT_GET))
    return came, answers[-1][0].Status


def availability(hospital: Hospital, dial: Dial, keys: Keys, level: str, number: int) -> set[str]:
    with dial(hospital, "pacs", STUDY_ROOT_FIND) as association:
        asked = keys(
            QueryRetrieveLevel=level,
            StudyInstanceUID=study_uid(number),
            InstanceAvailability="",
            **({"SeriesInstanceUID": ""} if level != "STUDY" else {}),
            **({"SOPInstanceUID": ""} if level == "IMAGE" else {}),
        )
        found = [answer for _, answer in association.send_c_find(asked, STUDY_ROOT_FIND) if answer]
    return {answer.InstanceAvailability for answer in found}


# Moving


def test_what_was_not_asked_for_is_put_away_smaller_with_the_same_pixels(
    archive: Hospital, clock: ManualClock, store: Store
) -> None:
    sent = store(archive, 1)
    archive.pacs.storage.configure(idle_days=30)
    assert len(archive.pacs.storage.run()) == 0
    clock.advance(timedelta(days=31))
    ((uid, accession, images, before, after),) = archive.pacs.storage.run()
    assert (uid, accession, images) == (study_uid(1), "K1", 2)
    assert after < before
    for path, original in zip(archive.pacs.paths(study_uid(1)), sent, strict=True):
        assert path.is_relative_to(archive.pacs.folder / "nearline")
        kept = dcmread(path)
        assert kept.file_meta.TransferSyntaxUID == JPEGLSLossless
        assert kept.SOPInstanceUID == original.SOPInstanceUID  # lossless: the same instance
        assert np.array_equal(kept.pixel_array, original.pixel_array)
    assert list((archive.pacs.folder / "files").rglob("*.dcm")) == []
    assert list(archive.pacs.consistency(deep=True)) == []


def test_index_and_disk_say_the_same_of_what_was_put_away(
    archive: Hospital, clock: ManualClock, store: Store
) -> None:
    store(archive, 1)
    archive.pacs.storage.configure(idle_days=1)
    clock.advance(timedelta(days=2))
    archive.pacs.storage.run()
    (path, *_) = archive.pacs.paths(study_uid(1))
    ((size, syntax, original),) = archive.pacs.sql(
        "SELECT bytes, transfer_syntax, original_syntax FROM instances LIMIT 1"
    )
    assert (size, syntax) == (path.stat().st_size, JPEGLSLossless)
    assert original == "1.2.840.10008.1.2.1"
    online, nearline = archive.pacs.storage.table()
    assert online[:4] == ("online", 0, 0, 0)
    assert nearline[:3] == ("nearline", 1, 2)


def test_the_high_watermark_puts_away_the_oldest_down_to_the_low_one(
    archive: Hospital, clock: ManualClock, store: Store
) -> None:
    for number in range(4):
        store(archive, number)
        clock.advance(timedelta(hours=1))
    size = sum(path.stat().st_size for path in archive.pacs.paths(study_uid(0)))
    archive.pacs.storage.configure(online_quota=5 * size, high=0.75, low=0.5)
    moved = [row[1] for row in archive.pacs.storage.run()]
    assert moved == ["K0", "K1"]  # four studies are 80 %, two are 40 %
    assert [len(files_of(archive, n)) for n in range(4)] == [2] * 4
    assert [files_of(archive, n)[0].startswith("nearline/") for n in range(4)] == [
        True,
        True,
        False,
        False,
    ]


def test_below_the_high_watermark_nothing_moves(archive: Hospital, store: Store) -> None:
    store(archive, 1)
    size = sum(path.stat().st_size for path in archive.pacs.paths(study_uid(1)))
    archive.pacs.storage.configure(online_quota=2 * size, high=0.75, low=0.1)
    assert list(archive.pacs.storage.run()) == []


def test_a_store_that_passes_the_watermark_puts_away_in_the_background(
    archive: Hospital, clock: ManualClock, store: Store
) -> None:
    store(archive, 1)
    size = sum(path.stat().st_size for path in archive.pacs.paths(study_uid(1)))
    archive.pacs.storage.configure(online_quota=4 * size, high=0.5, low=0.3)
    clock.advance(timedelta(hours=1))
    store(archive, 2)
    assert archive.journal.wait_for(lambda e: "put away nearline" in e.summary, 5)
    assert files_of(archive, 1)[0].startswith("nearline/")
    assert not files_of(archive, 2)[0].startswith("nearline/")


def test_only_the_modalities_of_the_policy_are_put_away(
    archive: Hospital, clock: ManualClock, store: Store
) -> None:
    store(archive, 1)
    store(archive, 2, Modality="MR")
    archive.pacs.storage.configure(idle_days=1, modalities=["MR"])
    clock.advance(timedelta(days=2))
    assert [row[1] for row in archive.pacs.storage.run()] == ["K2"]


def test_what_was_retrieved_lately_stays(
    archive: Hospital, clock: ManualClock, store: Store, dial: Dial, keys: Keys
) -> None:
    store(archive, 1)
    store(archive, 2)
    archive.pacs.storage.configure(idle_days=10)
    clock.advance(timedelta(days=9))
    get(archive, dial, keys, 1)
    clock.advance(timedelta(days=2))
    assert [row[1] for row in archive.pacs.storage.run()] == ["K2"]


def test_without_compression_the_file_is_moved_as_it_is(
    archive: Hospital, clock: ManualClock, store: Store
) -> None:
    store(archive, 1)
    before = [path.read_bytes() for path in archive.pacs.paths(study_uid(1))]
    archive.pacs.storage.configure(idle_days=1, compress=False)
    clock.advance(timedelta(days=2))
    archive.pacs.storage.run()
    assert [path.read_bytes() for path in archive.pacs.paths(study_uid(1))] == before


# Asking for it


def test_a_study_put_away_says_so_and_comes_back_when_retrieved(
    archive: Hospital, clock: ManualClock, store: Store, dial: Dial, keys: Keys
) -> None:
    sent = store(archive, 1)
    archive.pacs.storage.configure(idle_days=1)
    for level in ("STUDY", "SERIES", "IMAGE"):
        assert availability(archive, dial, keys, level, 1) == {"ONLINE"}
    clock.advance(timedelta(days=2))
    archive.pacs.storage.run()
    for level in ("STUDY", "SERIES", "IMAGE"):
        assert availability(archive, dial, keys, level, 1) == {"NEARLINE"}
    came, status = get(archive, dial, keys, 1)
    assert status == 0x0000
    assert [image.PixelData for image in came] == [image.PixelData for image in sent]
    assert availability(archive, dial, keys, "STUDY", 1) == {"ONLINE"}
    assert list((archive.pacs.folder / "nearline").rglob("*.dcm")) == []
    assert list(archive.pacs.consistency(deep=True)) == []


def test_a_study_half_put_away_is_as_slow_as_its_slower_half(
    archive: Hospital, clock: ManualClock, store: Store, dial: Dial, keys: Keys
) -> None:
    store(archive, 1)
    archive.pacs.storage.configure(idle_days=1)
    clock.advance(timedelta(days=2))
    archive.pacs.storage.run()
    archive.pacs.configure_duplicates("replace")
    store(archive, 1, count=3, PatientComments="changed")  # the two, and a third: all online
    assert availability(archive, dial, keys, "STUDY", 1) == {"ONLINE"}
    clock.advance(timedelta(days=2))
    archive.pacs.storage.run()
    store(archive, 1, count=1, PatientComments="changed again")
    assert availability(archive, dial, keys, "STUDY", 1) == {"NEARLINE"}
    assert availability(archive, dial, keys, "IMAGE", 1) == {"ONLINE", "NEARLINE"}
    assert list(archive.pacs.consistency(deep=True)) == []


@pytest.mark.parametrize("recalled", [False, True])
def test_what_was_put_away_is_known_when_it_is_sent_again(
    archive: Hospital, clock: ManualClock, store: Store, dial: Dial, keys: Keys, recalled: bool
) -> None:
    store(archive, 1)
    archive.pacs.configure_duplicates("reject")
    archive.pacs.storage.configure(idle_days=1)
    clock.advance(timedelta(days=2))
    archive.pacs.storage.run()
    if recalled:
        get(archive, dial, keys, 1)
    store(archive, 1)  # the same content is success, however it is kept by now
    assert files_of(archive, 1)[0].startswith("nearline/") != recalled


def test_without_room_online_it_is_sent_from_where_it_is(
    archive: Hospital, clock: ManualClock, store: Store
) -> None:
    store(archive, 1)
    archive.pacs.storage.configure(idle_days=1)
    clock.advance(timedelta(days=2))
    archive.pacs.storage.run()
    archive.pacs.storage.configure(online_quota=1)
    wanted = archive.pacs._index.instances("STUDY", {"st.study_uid": [study_uid(1)]})
    assert archive.pacs.storage.fetched(wanted) == wanted
    errors = [e.summary for e in archive.journal.events(source="pacs", kind="error")]
    assert any("not recalled: the quota of the online tier is used up" in text for text in errors)


def test_a_study_is_recalled_before_it_is_needed(
    archive: Hospital, clock: ManualClock, store: Store
) -> None:
    store(archive, 1)
    archive.pacs.storage.configure(idle_days=1)
    clock.advance(timedelta(days=2))
    archive.pacs.storage.run()
    assert archive.pacs.storage.recall(study_uid(1)) == 2
    assert not files_of(archive, 1)[0].startswith("nearline/")
    assert archive.pacs.storage.recall(study_uid(1)) == 0
    assert len(archive.pacs.storage.run()) == 0  # it counts as asked for


def test_a_prior_that_is_prefetched_comes_online(
    archive: Hospital, clock: ManualClock, store: Store
) -> None:
    store(archive, 1)
    archive.pacs.storage.configure(idle_days=1)
    clock.advance(timedelta(days=2))
    archive.pacs.storage.run()
    archive.pacs.act_as("viewer")  # whoever is at the console, the archive prefetches
    for bring in archive.pacs.prefetched:
        bring(study_uid(1))
    assert not files_of(archive, 1)[0].startswith("nearline/")


# No room


def test_a_full_archive_refuses_with_a700_and_says_so_once(
    archive: Hospital, store: Store, dial: Dial, image: Image
) -> None:
    store(archive, 1)
    used = archive.pacs._files.used(ONLINE)
    archive.pacs.storage.configure(online_quota=used + 10, nearline_quota=1)
    with dial(archive, "pacs", CTImageStorage) as association:
        for _ in range(2):
            answer = association.send_c_store(image())
            assert answer.Status == 0xA700
            assert answer.ErrorComment == "storage: the quota of the online tier is used up"
    archive.pacs.storage.run()
    archive.pacs.storage.run()
    alarms = [e for e in archive.journal.events(source="pacs") if "high watermark" in e.summary]
    assert [e.kind for e in alarms] == ["error"]
    assert archive.pacs._files.used(ONLINE) == used
    assert list(archive.pacs.consistency(deep=True)) == []


def test_the_same_image_again_counts_once(archive: Hospital, store: Store) -> None:
    archive.pacs.configure_duplicates("replace")
    store(archive, 1, PatientComments="before")
    used = archive.pacs._files.used(ONLINE)
    store(archive, 1, PatientComments="after.")
    assert archive.pacs._files.used(ONLINE) == used
    archive.pacs._files.measure()
    assert archive.pacs._files.used(ONLINE) == used


@pytest.mark.parametrize(
    "wrong", [{"high": 0.5, "low": 0.6}, {"high": 1.5}, {"online_quota": -1}, {"colour": "red"}]
)
def test_a_policy_that_cannot_be_right_is_refused(archive: Hospital, wrong: dict[str, Any]) -> None:
    before = archive.pacs.storage.policy
    with pytest.raises(ConfigurationError):
        archive.pacs.storage.configure(**wrong)
    assert archive.pacs.storage.policy == before


def test_the_policy_outlives_a_restart(tmp_path: Path) -> None:
    with Hospital(path=tmp_path) as hospital:
        hospital.pacs.storage.configure(online_quota=10_000_000, modalities="CT")
    with Hospital(path=tmp_path) as hospital:
        assert hospital.pacs.storage.policy.online_quota == 10_000_000
        assert hospital.pacs.storage.policy.modalities == ("CT",)
        assert hospital.pacs._files.quotas[ONLINE] == 10_000_000


# A process that is killed in between


@pytest.mark.parametrize("left", [ONLINE, NEARLINE])
def test_half_a_move_is_finished_at_the_next_start(tmp_path: Path, store: Store, left: str) -> None:
    clock = ManualClock(datetime(2026, 3, 2, 10, 30))
    with Hospital(path=tmp_path, clock=clock) as hospital:
        store(hospital, 1, count=1)
        if left == ONLINE:  # killed after the index was changed, before the old file went
            (path,) = hospital.pacs.paths(study_uid(1))
            old = path.read_bytes()
            hospital.pacs.storage.configure(idle_days=1)
            clock.advance(timedelta(days=2))
            hospital.pacs.storage.run()
        (name,) = files_of(hospital, 1)
        files = FileStore(tmp_path / "pacs")
        stray = files.path(in_tier(name, left))
        stray.parent.mkdir(parents=True, exist_ok=True)
        stray.write_bytes(old if left == ONLINE else b"half")
    with Hospital(path=tmp_path) as hospital:
        assert files_of(hospital, 1) == [name]
        assert not stray.exists()
        assert list(hospital.pacs.consistency(deep=True)) == []


def test_an_image_that_is_stored_again_while_it_moves_is_not_lost(
    archive: Hospital, clock: ManualClock, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(archive, 1, count=1, PatientComments="old")  # of the same length as the new
    archive.pacs.configure_duplicates("replace")
    archive.pacs.storage.configure(idle_days=1)
    clock.advance(timedelta(days=2))

    def meanwhile(data: bytes) -> bytes | None:
        store(archive, 1, count=1, PatientComments="new")
        return compressed(data)

    monkeypatch.setattr("labsim.systems.pacs.storage.compressed", meanwhile)
    assert len(archive.pacs.storage.run()) == 0
    (path,) = archive.pacs.paths(study_uid(1))
    assert dcmread(path).PatientComments == "new"
    assert list(archive.pacs.consistency(deep=True)) == []


# Compression


def test_what_has_no_pixels_is_not_compressed(image: Image, tmp_path: Path) -> None:
    report = image()
    del report.PixelData
    assert compressed(written(report, tmp_path)) is None


def test_what_would_grow_is_not_compressed(image: Image, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 4096, 4, dtype="<u2")
    assert compressed(written(image(PixelData=noise.tobytes()), tmp_path)) is None


@pytest.mark.parametrize("keyword", ["PixelData", "PatientComments"])
def test_what_would_not_come_back_as_it_was_is_not_compressed(
    image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keyword: str
) -> None:
    flat = image(Rows=64, Columns=64, PixelData=bytes(2 * 64 * 64), PatientComments="none")
    data = written(flat, tmp_path)
    assert compressed(data) is not None
    compress = FileDataset.compress

    def careless(dataset: FileDataset, *arguments: Any, **named: Any) -> None:
        spoilt = {"PixelData": b"\1" + bytes(2 * 64 * 64 - 1), "PatientComments": "NONE"}
        setattr(dataset, keyword, spoilt[keyword])
        compress(dataset, *arguments, **named)

    monkeypatch.setattr(FileDataset, "compress", careless)
    assert compressed(data) is None


@pytest.mark.parametrize(("samples", "colours"), [(1, "MONOCHROME1"), (3, "RGB")])
@pytest.mark.parametrize("frames", [1, 3])
def test_compression_is_undone_exactly(
    image: Image, tmp_path: Path, samples: int, colours: str, frames: int
) -> None:
    pixels = np.add.outer(np.arange(32), np.arange(32 * samples)).astype("u1")
    made = image(
        SOPClassUID=SecondaryCaptureImageStorage,
        SamplesPerPixel=samples,
        PhotometricInterpretation=colours,
        Rows=32,
        Columns=32,
        BitsAllocated=8,
        BitsStored=8,
        HighBit=7,
        NumberOfFrames=frames,
        PixelData=pixels.tobytes() * frames,
    )
    if samples == 3:
        made.PlanarConfiguration = 0
    data = written(made, tmp_path)
    small = compressed(data)
    assert small is not None
    assert len(small) < len(data)
    (tmp_path / "back.dcm").write_bytes(expanded(small))
    back = dcmread(tmp_path / "back.dcm")
    assert back.PixelData == made.PixelData
    assert back.SOPInstanceUID == made.SOPInstanceUID


def written(dataset: FileDataset, folder: Path) -> bytes:
    path = folder / "image.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path.read_bytes()
