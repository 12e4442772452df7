"""A PACS that dies in the middle of its own work: it goes on, or begins anew, and loses nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from images import Ledger, make, send_one
from victims import Victim, Victims, die_in_between, require_whole

from labsim import Hospital
from labsim.ids import make_uid
from labsim.systems.pacs import backup

STUDY = make_uid("killed study", 1)
IMAGES = 2
WAIT = 20.0
Filled = Callable[..., Path]


@pytest.fixture
def filled(tmp_path: Path) -> Filled:
    """Make a hospital with one study in its PACS."""

    def fill(ledger: Ledger, site: str = "clinic") -> Path:
        chance = random.Random("filled")
        with Hospital(path=tmp_path / "filled", site=site) as hospital:
            for number in range(IMAGES):
                assert send_one(hospital, ledger, make(number, chance))
            hospital.settle()
        return tmp_path / "filled"

    return fill


def work(code: str) -> Callable[[Victim], None]:
    return lambda victim: victim.ask(code)


def test_a_deletion_is_whole_or_not_at_all(filled: Filled, victims: Victims, times: int) -> None:
    delete = work(f"hospital.pacs.delete_study({STUDY!r}, 'a test')")
    left = set()
    for folder in die_in_between(victims, filled(Ledger()), delete, times=4 * times):
        with Hospital(path=folder) as hospital:
            require_whole(hospital)
            left.add(hospital.pacs.count(STUDY))
    assert left == {0, IMAGES}


def test_what_is_put_away_is_in_one_place(filled: Filled, victims: Victims, times: int) -> None:
    ledger = Ledger()
    put_away = work("str(hospital.pacs.storage.run())")
    template = filled(ledger)
    with Hospital(path=template) as hospital:
        hospital.pacs.storage.configure(online_quota=10**8, low=1e-9, high=1e-9)
    tiers = set()
    for folder in die_in_between(victims, template, put_away, times=4 * times):
        with Hospital(path=folder) as hospital:
            require_whole(hospital)
            assert hospital.pacs.count(STUDY) == IMAGES
            tiers |= {row[0] for row in hospital.pacs.db.rows("SELECT availability FROM instances")}
            for image in hospital.tools.getscu(STUDY):
                assert ledger.sent[str(image.SOPInstanceUID)].endswith(image.PixelData)
    assert tiers == {"ONLINE", "NEARLINE"}


def test_a_backup_is_whole_or_not_there(
    filled: Filled, victims: Victims, times: int, tmp_path: Path
) -> None:
    template = filled(Ledger())
    for number, folder in enumerate(
        die_in_between(
            victims,
            template,
            lambda victim: victim.ask(f"str(hospital.pacs.backup({str(tmp_path / 'backup')!r}))"),
            times=3 * times,
        )
    ):
        target = tmp_path / "backup"
        for snapshot in backup.snapshots(target):
            assert list(backup.verify(target, snapshot)) == []
        with Hospital(path=folder) as hospital:
            require_whole(hospital)
            report = hospital.pacs.backup(target)
            assert (report.instances, report.problems) == (IMAGES, ())
            assert list(backup.verify(target)) == []
        assert len(backup.snapshots(target)) > number


def test_a_migration_goes_on(filled: Filled, victims: Victims, times: int) -> None:
    migrate = work("hospital.archive.migrate('PACS').wait(60)")
    template = filled(Ledger(), site="community")
    for folder in die_in_between(victims, template, migrate, times=3 * times, site="community"):
        with Hospital(path=folder, site="community") as hospital:
            assert hospital.settle(WAIT)
            if not list(hospital.archive.migration.table()):  # it had not begun
                assert hospital.archive.migrate("PACS").wait(WAIT)
            assert hospital.archive.migration.wait(WAIT)
            [row] = hospital.archive.migration.table()
            assert tuple(row)[3:7] == ("done", IMAGES, IMAGES, IMAGES)
            require_whole(hospital)


@pytest.mark.parametrize("first", [True, False])
def test_a_start_that_was_cut_off_begins_anew(
    filled: Filled, victims: Victims, times: int, tmp_path: Path, first: bool
) -> None:
    ledger = Ledger()
    template = tmp_path / "empty" if first else filled(ledger)
    template.mkdir(exist_ok=True)
    for folder in die_in_between(victims, template, work("0"), times=3 * times, starting=True):
        with Hospital(path=folder) as hospital:
            require_whole(hospital)
            ledger.require_kept(folder)
            assert hospital.exam().problem == ""
