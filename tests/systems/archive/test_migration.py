"""Studies come from the PACS to the archive, and every image is counted and compared."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from pydicom.dataset import FileDataset

from labsim import Hospital
from labsim.errors import ConfigurationError
from labsim.ids import make_uid

Store = Callable[..., list[FileDataset]]
Put = Callable[..., list[int]]
WAIT = 20.0


def counts(hospital: Hospital) -> list[tuple[object, ...]]:
    """State, instances at the source, here, with the same pixels; study by study."""
    return [tuple(row)[3:7] for row in hospital.archive.migration.table()]


def test_every_study_comes_is_counted_and_compared(town: Hospital, store: Store) -> None:
    for number in (1, 2):
        store(town, number, count=3)
    run = town.archive.migrate("PACS")
    assert run.wait(WAIT)
    assert run.state == "done"
    assert counts(town) == [("done", 3, 3, 3)] * 2
    assert len(run.failed()) == 0
    assert [row[3] for row in town.archive.table()] == ["K1", "K2"]
    said = [e.summary for e in town.journal.events(source="archive", kind="state")]
    assert sum("3 of 3 instances here, 3 with the same pixel data" in text for text in said) == 2
    assert "migration ended: 2 studies done, 0 failed" in said
    event = next(e for e in town.journal.events() if "study migrated" in e.summary)
    assert event.keys["study_uid"] == make_uid("kept study", 1)


def test_the_hospital_has_not_settled_while_studies_come(town: Hospital, store: Store) -> None:
    store(town, 1, count=3)
    run = town.archive.migrate(images_per_second=2.0)
    assert not town.settle(0.2)
    assert run.state == "running"
    assert town.settle(WAIT)
    assert counts(town) == [("done", 3, 3, 3)]


def test_keys_choose_the_studies(town: Hospital, store: Store) -> None:
    store(town, 1)
    store(town, 2)
    run = town.archive.migrate(AccessionNumber="K2")
    assert run.wait(WAIT)
    assert [row[2] for row in run.table()] == ["K2"]


def test_other_pixels_under_the_same_uid_fail_and_can_be_tried_again(
    town: Hospital, store: Store, put: Put
) -> None:
    one, _ = store(town, 1)
    original, one.PixelData = one.PixelData, bytes(len(one.PixelData))
    assert put(town, one) == [0x0000]  # before the migration, and not what the PACS has
    run = town.archive.migrate()
    assert run.wait(WAIT)
    assert counts(town) == [("failed", 2, 2, 1)]
    (row,) = run.failed()
    assert "1 images failed" in row[8]
    assert "1 have other pixel data here" in row[8]
    town.archive.delete_study(row[0], reason="other pixels than at the source")
    assert run.retry() == 1
    assert run.wait(WAIT)
    assert counts(town) == [("done", 2, 2, 2)]
    assert [row[7] for row in run.table()] == [2]
    assert original in {i.PixelData for i in town.tools.movescu(row[0], system="archive")}


def test_an_image_whose_file_the_pacs_has_lost_is_missing_in_the_report(
    town: Hospital, store: Store
) -> None:
    store(town, 1)
    store(town, 2)
    town.pacs.paths(make_uid("kept study", 1))[0].unlink()
    run = town.archive.migrate()
    assert run.wait(WAIT)
    assert counts(town) == [("failed", 2, 1, 1), ("done", 2, 2, 2)]
    assert "1 of 2 instances are missing here" in run.failed()[0][8]


def test_the_pause_lets_studies_wait_and_the_throttle_is_interrupted(
    town: Hospital, store: Store
) -> None:
    for number in (1, 2):
        store(town, number, count=1)
    run = town.archive.migrate(images_per_second=0.001)  # a thousand seconds for each study
    assert town.journal.wait_for(lambda event: "study migrated" in event.summary, WAIT)
    run.pause()
    assert run.wait(WAIT)
    assert [row[0] for row in counts(town)] == ["done", "waiting"]
    with pytest.raises(ConfigurationError, match="is paused"):
        run.pause()
    run.resume()
    assert town.journal.wait_for(
        lambda event: event.keys.get("accession") == "K2" and "migrated" in event.summary, WAIT
    )
    assert [row[0] for row in counts(town)] == ["done", "done"]


def test_it_goes_on_after_the_hospital_was_stopped(tmp_path: Path, store: Store) -> None:
    with Hospital(site="community", path=tmp_path) as first:
        for number in (1, 2):
            store(first, number, count=1)
        first.archive.migrate(images_per_second=0.001)
        assert first.journal.wait_for(lambda event: "study migrated" in event.summary, WAIT)
    with Hospital(site="community", path=tmp_path) as again:
        assert again.journal.wait_for(
            lambda event: event.keys.get("accession") == "K2" and "study migrated" in event.summary,
            WAIT,
        )
        assert [row[0] for row in counts(again)] == ["done", "done"]
        assert [row[7] for row in again.archive.migration.table()] == [1, 1]


def test_a_source_that_is_down_pauses_it_and_loses_no_study(town: Hospital, store: Store) -> None:
    store(town, 1)
    store(town, 2)
    run = town.archive.migrate(images_per_second=0.001)
    assert town.journal.wait_for(lambda event: "study migrated" in event.summary, WAIT)
    run.pause()
    assert run.wait(WAIT)
    town.pacs.stop_service("dicom")
    run.resume()
    assert run.wait(WAIT)
    assert run.state == "paused"
    assert [row[0] for row in counts(town)] == ["done", "waiting"]
    assert any("migration paused" in e.summary for e in town.journal.events(kind="error"))
    town.pacs.start_service("dicom")
    run.resume()
    assert town.journal.wait_for(
        lambda event: event.keys.get("accession") == "K2" and "study migrated" in event.summary,
        WAIT,
    )


def test_what_came_to_the_source_since_comes_with_the_next_run(
    town: Hospital, store: Store
) -> None:
    store(town, 1, count=1)
    run = town.archive.migrate()
    assert run.wait(WAIT)
    store(town, 1, count=2)
    store(town, 2, count=1)
    town.archive.migrate()
    assert run.wait(WAIT)
    assert counts(town) == [("done", 2, 2, 2), ("done", 1, 1, 1)]
    assert [row[7] for row in run.table()] == [2, 1]


def test_morphed_images_are_compared_too(town: Hospital, store: Store) -> None:
    town.archive.morphing.add("style", values={"InstitutionName": "X"})
    town.archive.issuers.map("RIVERSIDE", to="HILLSIDE", prefix="R-")
    store(town, 1)
    run = town.archive.migrate()
    assert run.wait(WAIT)
    assert counts(town) == [("done", 2, 2, 2)]
    assert [row[0] for row in town.archive.table()] == ["R-K000001"]


def test_mistakes_are_told(town: Hospital) -> None:
    with pytest.raises(ConfigurationError, match="'NOWHERE'"):
        town.archive.migrate("NOWHERE")
    with pytest.raises(ConfigurationError, match="not begun"):
        town.archive.migration.resume()
    with pytest.raises(ConfigurationError, match="negative"):
        town.archive.migrate(images_per_second=-1)
    assert town.archive.migration.wait(0)
    assert "not begun" in str(town.archive.migration.table())


@pytest.mark.parametrize("into", ["NOBODY", "PACS"])
def test_what_cannot_be_the_target_is_told(town: Hospital, into: str) -> None:
    with pytest.raises(ConfigurationError, match=into):
        town.archive.migrate("PACS", into=into)
    assert town.archive.migration.state == ""


def test_a_target_that_is_down_pauses_it_and_loses_no_study(
    town: Hospital, store: Store, station: Callable[..., AbstractContextManager[object]]
) -> None:
    store(town, 1)
    with station(town, "OTHER"):
        port = town.pacs.known_ae("OTHER").port
        town.archive.register_ae("OTHER", host="127.0.0.1", port=port)
    run = town.archive.migrate(into="OTHER")
    assert run.wait(WAIT)
    assert run.state == "paused"
    assert [row[0] for row in counts(town)] == ["waiting"]
    assert any("OTHER" in e.summary for e in town.journal.events(source="archive", kind="error"))


def test_its_own_title_is_the_archive_itself(town: Hospital, store: Store) -> None:
    store(town, 1)
    run = town.archive.migrate(into="ARCHIVE")
    assert run.wait(WAIT)
    assert counts(town) == [("done", 2, 2, 2)]
    assert town.archive.count(make_uid("kept study", 1)) == 2
