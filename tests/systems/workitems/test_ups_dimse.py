"""Work items by DIMSE, asked for by pynetdicom's own SCU: PS3.4 table CC.1.1-2."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from pynetdicom.association import Association
from pynetdicom.sop_class import (
    UnifiedProcedureStepPull,
    UnifiedProcedureStepPush,
    UnifiedProcedureStepQuery,
    UnifiedProcedureStepWatch,
)

from labsim import Hospital

Dial = Callable[..., AbstractContextManager[Association]]
PUSH, PULL, WATCH = UnifiedProcedureStepPush, UnifiedProcedureStepPull, UnifiedProcedureStepWatch
LOCK, OTHER = "2.25.111", "2.25.222"


@pytest.fixture(scope="module")
def calling(community: Hospital, dial: Dial) -> Iterator[Association]:
    """An association with the AI node for all the classes that it offers."""
    with dial(community, "ai", PUSH, PULL, WATCH, UnifiedProcedureStepQuery) as association:
        assert len(association.accepted_contexts) == 4
        yield association


@pytest.fixture
def made(calling: Association, step: Callable[..., dict[str, Any]]) -> str:
    """A step that is SCHEDULED; its UID."""
    uid = generate_uid()
    status, _ = calling.send_n_create(Dataset.from_json(step()), PUSH, uid)
    assert status.Status == 0x0000
    return uid


def act(calling: Association, uid: str, state: str, lock: str = LOCK) -> int:
    asked = Dataset()
    asked.ProcedureStepState, asked.TransactionUID = state, lock
    status, _ = calling.send_n_action(asked, 1, PUSH, uid, meta_uid=PULL)
    return int(status.Status)


def change(calling: Association, uid: str, changes: Dataset, lock: str = LOCK) -> int:
    if lock:
        changes.TransactionUID = lock
    status, _ = calling.send_n_set(changes, PUSH, uid, meta_uid=PULL)
    return int(status.Status)


def ask_to_cancel(calling: Association, uid: str) -> int:
    asked = Dataset()
    asked.ReasonForCancellation = "Ordered twice"
    status, _ = calling.send_n_action(asked, 2, PUSH, uid)
    return int(status.Status)


def state_of(calling: Association, uid: str) -> str:
    status, found = calling.send_n_get([(0x0074, 0x1000)], PUSH, uid, meta_uid=WATCH)
    assert status.Status == 0x0000
    return str(found.ProcedureStepState)


def bring_to(calling: Association, uid: str, state: str, performed: dict[str, Any]) -> None:
    if state != "SCHEDULED":
        assert act(calling, uid, "IN PROGRESS") == 0x0000
    if state == "COMPLETED":
        assert change(calling, uid, Dataset.from_json(performed)) == 0x0000
    if state in ("COMPLETED", "CANCELED"):
        assert act(calling, uid, state) == 0x0000


@pytest.mark.parametrize(
    ("before", "wanted", "lock", "status"),
    [
        ("SCHEDULED", "IN PROGRESS", LOCK, 0x0000),
        ("SCHEDULED", "IN PROGRESS", "", 0xC301),
        ("SCHEDULED", "SCHEDULED", LOCK, 0xC303),
        ("SCHEDULED", "COMPLETED", LOCK, 0xC310),
        ("SCHEDULED", "CANCELED", LOCK, 0xC310),
        ("IN PROGRESS", "IN PROGRESS", LOCK, 0xC302),
        ("IN PROGRESS", "IN PROGRESS", OTHER, 0xC301),
        ("IN PROGRESS", "SCHEDULED", LOCK, 0xC303),
        ("IN PROGRESS", "COMPLETED", LOCK, 0xC304),
        ("IN PROGRESS", "COMPLETED", OTHER, 0xC301),
        ("IN PROGRESS", "CANCELED", LOCK, 0x0000),
        ("IN PROGRESS", "CANCELED", OTHER, 0xC301),
        ("COMPLETED", "IN PROGRESS", LOCK, 0xC300),
        ("COMPLETED", "SCHEDULED", LOCK, 0xC303),
        ("COMPLETED", "COMPLETED", LOCK, 0xB306),
        ("COMPLETED", "COMPLETED", OTHER, 0xC301),
        ("COMPLETED", "CANCELED", LOCK, 0xC300),
        ("CANCELED", "IN PROGRESS", LOCK, 0xC300),
        ("CANCELED", "COMPLETED", LOCK, 0xC300),
        ("CANCELED", "CANCELED", LOCK, 0xB304),
        ("CANCELED", "CANCELED", OTHER, 0xC301),
    ],
)
def test_states_change_as_the_table_says(
    calling: Association,
    made: str,
    performed: dict[str, Any],
    before: str,
    wanted: str,
    lock: str,
    status: int,
) -> None:
    bring_to(calling, made, before, performed)
    assert act(calling, made, wanted, lock) == status
    assert state_of(calling, made) == (wanted if status == 0x0000 else before)


@pytest.mark.parametrize(
    ("before", "status", "after"),
    [
        ("SCHEDULED", 0x0000, "CANCELED"),
        ("IN PROGRESS", 0xC312, "IN PROGRESS"),
        ("COMPLETED", 0xC311, "COMPLETED"),
        ("CANCELED", 0xB304, "CANCELED"),
    ],
)
def test_requests_to_cancel_are_answered_as_the_table_says(
    calling: Association,
    made: str,
    performed: dict[str, Any],
    before: str,
    status: int,
    after: str,
) -> None:
    bring_to(calling, made, before, performed)
    assert ask_to_cancel(calling, made) == status
    assert state_of(calling, made) == after


def test_attributes_are_set_by_who_has_the_lock(
    calling: Association, made: str, performed: dict[str, Any]
) -> None:
    def changes() -> Dataset:
        return Dataset.from_json(performed)

    assert change(calling, made, changes(), LOCK) == 0xC310  # nobody has claimed it
    assert change(calling, made, changes(), "") == 0x0000
    assert act(calling, made, "IN PROGRESS") == 0x0000
    assert change(calling, made, changes(), "") == 0xC301
    assert change(calling, made, changes(), OTHER) == 0xC301
    assert change(calling, made, changes(), LOCK) == 0x0000
    assert act(calling, made, "COMPLETED") == 0x0000
    assert change(calling, made, changes(), LOCK) == 0xC300


def test_what_is_created_by_dimse_is_read_over_the_web_and_found(
    calling: Association, made: str, ask: Callable[..., httpx.Response]
) -> None:
    (shown,) = ask("GET", f"/workitems/{made}").json()
    assert shown["00741204"]["Value"] == ["Look for nodules"]
    keys = Dataset()
    keys.SOPInstanceUID, keys.ProcedureStepState, keys.PatientName = made, "SCHEDULED", "silva*"
    keys.TransactionUID = ""
    for model in (PULL, WATCH, UnifiedProcedureStepQuery):
        answers = [found for status, found in calling.send_c_find(keys, model) if found]
        assert [found.PatientName for found in answers] == ["Silva^Ines"]
    keys.ProcedureStepState = "COMPLETED"
    assert [found for _, found in calling.send_c_find(keys, PULL) if found] == []


def test_nobody_is_told_the_lock(calling: Association, made: str) -> None:
    act(calling, made, "IN PROGRESS")
    for asked in ([], [(0x0008, 0x1195)]):
        status, found = calling.send_n_get(asked, PUSH, made)
        assert status.Status == 0x0000
        assert "TransactionUID" not in found
    keys = Dataset()
    keys.TransactionUID = LOCK
    assert [found for _, found in calling.send_c_find(keys, PULL) if found] == []


def test_what_is_no_step_is_refused(
    calling: Association, made: str, step: Callable[..., dict[str, Any]]
) -> None:
    def create(uid: str = "", **more: Any) -> int:
        given = Dataset.from_json(step())
        for keyword, value in more.items():
            setattr(given, keyword, value)
        status, _ = calling.send_n_create(given, PUSH, uid or generate_uid())
        return int(status.Status)

    assert create(made) == 0x0111
    assert create(ProcedureStepState="COMPLETED") == 0xC309
    assert create(ProcedureStepLabel="") == 0x0121
    assert create(WorklistLabel="") == 0xB300
    assert act(calling, "1.2.3", "IN PROGRESS") == 0xC307
    assert ask_to_cancel(calling, "1.2.3") == 0xC307


def test_subscriptions_are_said_not_to_be_supported(calling: Association, made: str) -> None:
    asked = Dataset()
    asked.ReceivingAE, asked.DeletionLock = "TOOLS", "FALSE"
    status, _ = calling.send_n_action(asked, 3, PUSH, made, meta_uid=WATCH)
    assert status.Status == 0xC315
