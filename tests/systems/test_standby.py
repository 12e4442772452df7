"""A PACS that fails over to its standby, a little behind; on real sockets."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.errors import LabError, NotFound, Unreachable
from labsim.systems.pacs import backup
from labsim.wire.http_client import HttpClient
from labsim.wire.network import Address

pytestmark = pytest.mark.usefixtures("small_scans")
STANDBY = Address("standby", 8090)


@pytest.fixture
def time() -> ManualClock:
    return ManualClock(datetime(2026, 3, 2, 10, 30))


@pytest.fixture
def university(time: ManualClock) -> Iterator[Hospital]:
    with Hospital(seed=7, site="university", clock=time) as running:
        running.settle()
        yield running


def test_the_replica_follows_and_its_lag_is_seen(university: Hospital, time: ManualClock) -> None:
    university.pacs.replication.run()
    assert university.pacs.replication.waiting() == 0
    exam = university.exam()
    university.settle()
    assert university.pacs.replication.waiting() == len(
        university.pacs.paths(exam.procedure.study_uid)
    )
    time.advance(timedelta(seconds=40))
    assert university.pacs.replication.lag() == timedelta(seconds=40)
    assert "0:00:40" in str(university.pacs.replication.table())
    time.advance(timedelta(seconds=30))
    university.his.register_patient()  # something happens, and a minute is over
    university.settle()
    assert university.pacs.replication.waiting() == 0
    assert university.pacs.replication.lag() == timedelta()
    assert len(list(university.standby.table())) == 2


def test_the_standby_takes_over_what_had_been_replicated(
    university: Hospital, time: ManualClock
) -> None:
    kept = university.exam()
    university.settle()
    university.pacs.replication.run()
    time.advance(timedelta(seconds=30))
    lost = university.exam()
    university.settle()
    university.lose("pacs")
    recovery = university.fail_over()
    assert recovery.lost_time == timedelta(seconds=30)
    assert recovery.lost_studies == (lost.procedure.study_uid,)
    assert {e.address.host for e in university.pacs.endpoints} == {"standby"}
    assert university.pacs.count(kept.procedure.study_uid) == 4
    assert list(university.pacs.consistency(deep=True)) == []
    assert university.exam().problem == ""  # all others still call pacs:104
    with pytest.raises(LabError, match="already"):
        university.fail_over()
    with pytest.raises(NotFound, match="no standby"):  # it does not replicate to itself
        university.pacs.replication.run()


def test_it_goes_back_home_with_what_came_meanwhile(university: Hospital) -> None:
    university.pacs.replication.run()
    university.fail_over()
    exam = university.exam()
    university.settle()
    university.take_down("pacs")
    university.bring_up("pacs")
    assert {e.address.host for e in university.pacs.endpoints} == {"pacs"}
    assert university.pacs.count(exam.procedure.study_uid) == 4
    university.pacs.replication.run()
    assert university.exam().problem == ""


def test_without_a_replica_nothing_is_taken_down(time: ManualClock) -> None:
    with Hospital(seed=7, site="university", clock=time) as running:
        running.settle()
        for number in backup.snapshots(running.standby.replica):
            (running.standby.replica / "snapshots" / f"{number:04d}" / "manifest.json").unlink()
        with pytest.raises(NotFound):
            running.fail_over()
        assert running.tools.echoscu("pacs").startswith("0x0000")


def test_a_standby_that_is_down_is_named_and_storing_goes_on(
    university: Hospital, time: ManualClock
) -> None:
    university.standby.stop_service("replication")
    with pytest.raises(Unreachable, match="standby:8090"):
        university.pacs.replication.run()
    time.advance(timedelta(minutes=2))
    assert university.exam().problem == ""
    university.settle()
    assert "standby:8090" in str(university.pacs.replication.table())
    assert any(
        "replication failed" in event.summary
        for event in university.journal.events(source="pacs", kind="error")
    )
    university.standby.start_service("replication")
    university.pacs.replication.run()
    assert university.pacs.replication.waiting() == 0


def test_a_replica_that_is_damaged_on_its_way_is_not_taken(university: Hospital) -> None:
    client = HttpClient("pacs", university.journal, university.network)
    digest = "0" * 64
    bad = client.request("PUT", STANDBY, f"/replica/files/{digest}", content=b"something else")
    assert (bad.status_code, bad.text) == (400, f"The file is not {digest}. Send it again.\n")
    assert backup.missing(university.standby.replica, [digest]) == [digest]
    head = b'{"index": {"sha256": "0"}, "files": {}, "taken_at": ""}'
    wrong = client.request(
        *("PUT", STANDBY, "/replica/snapshot"),
        content=head + b"index",
        headers={"X-Manifest-Length": str(len(head))},
    )
    assert wrong.status_code == 409


@pytest.mark.parametrize(
    ("path", "body"), [("missing", b"{"), ("missing", b"{}"), ("snapshot", b"no json")]
)
def test_what_cannot_be_read_is_refused(university: Hospital, path: str, body: bytes) -> None:
    client = HttpClient("pacs", university.journal, university.network)
    method = "POST" if path == "missing" else "PUT"
    answer = client.request(method, STANDBY, f"/replica/{path}", content=body)
    assert answer.status_code == 400


def test_nobody_but_the_pacs_may_replicate(university: Hospital) -> None:
    for caller in ("ris", ""):
        client = HttpClient(caller, university.journal, university.network)
        answer = client.request("POST", STANDBY, "/replica/missing", content=b"[]")
        assert answer.status_code == 403


def test_where_there_is_no_standby_it_is_said(hospital: Hospital) -> None:
    with pytest.raises(LabError, match="no standby"):
        hospital.fail_over()
    with pytest.raises(NotFound, match="no standby"):
        hospital.pacs.replication.run()
