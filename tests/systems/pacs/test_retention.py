"""What may go, what must stay, and that what went is really gone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
from pydicom.dataset import FileDataset

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.errors import AccessDenied, ConfigurationError, LabError, NotFound
from labsim.ids import make_uid
from labsim.systems.pacs.removal import Deletion
from labsim.systems.pacs.retention import Rule, _keep_until

Store = Callable[..., list[FileDataset]]
LONG_AGO = "20100301"


def study_uid(number: int) -> str:
    return make_uid("kept study", number)


def due(hospital: Hospital, on: date | None = None) -> list[str]:
    return [row[1] for row in hospital.pacs.retention.due(on)]


def test_without_a_rule_nothing_is_due(archive: Hospital, store: Store) -> None:
    store(archive, 1, StudyDate="19000101")
    assert due(archive) == []


def test_the_last_day_still_counts(archive: Hospital, store: Store) -> None:
    store(archive, 1, StudyDate="20160302")
    archive.pacs.retention.set_rule("", years=10)
    assert due(archive, date(2026, 3, 2)) == []
    assert due(archive, date(2026, 3, 3)) == ["K1"]


@pytest.mark.parametrize(
    ("made", "born", "until"),
    [
        ("2010-03-01", "1950-01-01", "2020-03-01"),  # of age
        ("2010-03-01", "2000-05-05", "2028-05-05"),  # ten years old that day
        ("2010-03-01", "1992-03-01", "2020-03-01"),  # of age on that very day
        ("2010-03-01", "1992-03-02", "2020-03-02"),  # a day short of it
        ("2010-03-01", None, "2038-03-01"),  # nobody knows: perhaps newborn
        ("2012-02-29", "1950-01-01", "2022-03-01"),  # there is no such day in 2022
    ],
)
def test_children_are_kept_longer(made: str, born: str | None, until: str) -> None:
    rule = Rule("", years=10, minor_age=28)
    birth = date.fromisoformat(born) if born else None
    kept = _keep_until(rule, date.fromisoformat(made), birth)
    assert kept is not None
    assert kept[0] == date.fromisoformat(until)


def test_each_modality_has_its_own_time(archive: Hospital, store: Store) -> None:
    store(archive, 1, StudyDate="20180101")
    store(archive, 2, StudyDate="20180101", Modality="MG")
    archive.pacs.retention.set_rule("", years=5)
    archive.pacs.retention.set_rule("MG", years=15)
    assert due(archive) == ["K1"]


def test_a_modality_that_no_rule_speaks_of_is_kept(archive: Hospital, store: Store) -> None:
    store(archive, 1, StudyDate=LONG_AGO)
    archive.pacs.retention.set_rule("MG", years=5)
    assert due(archive) == []


def test_a_study_without_a_date_counts_from_when_it_came(
    archive: Hospital, clock: ManualClock, store: Store
) -> None:
    store(archive, 1, StudyDate="")
    archive.pacs.retention.set_rule("", years=1)
    assert due(archive) == []
    clock.advance(timedelta(days=366))
    assert due(archive) == ["K1"]


def test_what_is_due_goes_from_index_and_disk(archive: Hospital, store: Store) -> None:
    store(archive, 1, StudyDate=LONG_AGO)
    store(archive, 2)
    paths = archive.pacs.paths(study_uid(1))
    archive.pacs.retention.set_rule("", years=10)
    assert due(archive) == ["K1"]
    assert archive.pacs.count(study_uid(1)) == 2  # looking deletes nothing
    assert archive.pacs.retention.run(confirm=1) == 1
    assert [path.exists() for path in paths] == [False, False]
    assert archive.pacs.count(study_uid(1)) == 0
    assert archive.pacs.patient("K000001") is None
    assert archive.pacs.count(study_uid(2)) == 2
    assert list(archive.pacs.consistency(deep=True)) == []
    gone = archive.pacs.sql("SELECT study_uid, accession, reason, deleted_by FROM deletions")
    assert list(gone) == [(study_uid(1), "K1", "retention: others: 10 years", "admin")] * 2


def test_another_number_deletes_nothing(archive: Hospital, store: Store) -> None:
    store(archive, 1, StudyDate=LONG_AGO)
    archive.pacs.retention.set_rule("", years=10)
    with pytest.raises(ConfigurationError, match="1 studies are due and not on hold, not 2"):
        archive.pacs.retention.run(confirm=2)
    assert archive.pacs.count(study_uid(1)) == 2


def test_what_is_on_hold_stays(archive: Hospital, store: Store) -> None:
    store(archive, 1, StudyDate=LONG_AGO)
    archive.pacs.retention.set_rule("", years=10)
    archive.pacs.retention.hold(study_uid(1), "court of Hillside, 12 C 34/26")
    ((*_, hold),) = archive.pacs.retention.due()
    assert hold == "court of Hillside, 12 C 34/26"
    assert archive.pacs.retention.run(confirm=0) == 0
    with pytest.raises(ConfigurationError, match="on hold"):
        archive.pacs.delete_study(study_uid(1), "no longer needed")
    assert archive.pacs.count(study_uid(1)) == 2
    archive.pacs.retention.release(study_uid(1), "judgment is final")
    assert archive.pacs.retention.run(confirm=1) == 1
    assert archive.pacs.count(study_uid(1)) == 0


def test_who_may_not_delete_holds_nothing_and_deletes_nothing(
    archive: Hospital, store: Store
) -> None:
    store(archive, 1, StudyDate=LONG_AGO)
    archive.pacs.retention.set_rule("", years=10)
    with archive.pacs.act_as("service"):
        for attempt in (
            lambda: archive.pacs.retention.run(confirm=1),
            lambda: archive.pacs.retention.release(study_uid(1), "because"),
        ):
            with pytest.raises(AccessDenied):
                attempt()
    assert archive.pacs.count(study_uid(1)) == 2


def test_who_is_asked_before_can_keep_a_study(archive: Hospital, store: Store) -> None:
    store(archive, 1, StudyDate=LONG_AGO)
    store(archive, 2, StudyDate=LONG_AGO)
    asked: list[str] = []

    def ask(deletion: Deletion) -> None:
        asked.append(deletion.study.accession)
        assert archive.pacs.count(deletion.study.study_uid) == 2
        if deletion.study.accession == "K1":
            raise LabError("no rejection note")

    archive.pacs.removal.before.append(ask)
    archive.pacs.retention.set_rule("", years=10)
    assert archive.pacs.retention.run(confirm=2) == 1
    assert asked == ["K1", "K2"]
    assert [archive.pacs.count(study_uid(n)) for n in (1, 2)] == [2, 0]


def test_a_deleted_study_may_come_again(archive: Hospital, store: Store) -> None:
    store(archive, 1)
    archive.pacs.delete_study(study_uid(1), "asked for by the patient")
    store(archive, 1)
    assert archive.pacs.count(study_uid(1)) == 2


@pytest.mark.parametrize("again", [False, True])
def test_a_killed_process_leaves_no_deleted_image(
    tmp_path: Path, store: Store, again: bool
) -> None:
    with Hospital(path=tmp_path) as hospital:
        store(hospital, 1)
        kept = {path: path.read_bytes() for path in hospital.pacs.paths(study_uid(1))}
        hospital.pacs.delete_study(study_uid(1), "a test")
        if again:  # it came again since, and that counts
            store(hospital, 1)
    for path, data in kept.items():  # as if the process had died before the files went
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with Hospital(path=tmp_path) as hospital:
        assert hospital.pacs.count(study_uid(1)) == (2 if again else 0)
        assert [path.exists() for path in kept] == [again, again]
        assert list(hospital.pacs.consistency(deep=True)) == []


def test_what_cannot_be_is_refused(archive: Hospital, store: Store) -> None:
    store(archive, 1)
    with pytest.raises(ConfigurationError, match="keeps nothing"):
        archive.pacs.retention.set_rule("", years=0)
    with pytest.raises(ConfigurationError, match="has a reason"):
        archive.pacs.retention.hold(study_uid(1), " ")
    with pytest.raises(NotFound, match="no study"):
        archive.pacs.retention.hold("1.2.3", "because")
    with pytest.raises(NotFound, match="not on hold"):
        archive.pacs.retention.release(study_uid(1), "because")
    with pytest.raises(NotFound, match="no retention rule"):
        archive.pacs.retention.remove_rule("CT")
    with pytest.raises(NotFound, match="has no study"):
        archive.pacs.delete_study("1.2.3", "because")
    with pytest.raises(ConfigurationError, match="has a reason"):
        archive.pacs.delete_study(study_uid(1), "")
