"""What a stranger is told at each door of the largest hospital."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import httpx
import pytest
from pydicom.uid import CTImageStorage
from pynetdicom.association import Association

from labsim import Hospital
from labsim.sop_classes import VERIFICATION

Dial = Callable[..., AbstractContextManager[Association]]


@pytest.fixture(scope="module")
def university() -> Iterator[Hospital]:
    with Hospital(site="university", seed=7) as running:
        yield running


@pytest.mark.parametrize("system", ["pacs", "archive", "ai", "ws1"])
def test_a_stranger_stores_nowhere(university: Hospital, dial: Dial, system: str) -> None:
    with dial(university, system, CTImageStorage, calling="STRANGER") as association:
        assert association.is_rejected
        answer = association.acceptor.primitive
        assert answer is not None
        assert (answer.result, answer.result_source, answer.diagnostic) == (1, 1, 3)


@pytest.mark.parametrize(
    "system", ["pacs", "archive", "ai", "ws1", "ris", "ct1", "mr1", "importer"]
)
def test_who_does_not_know_the_title_is_rejected(
    university: Hospital, dial: Dial, system: str
) -> None:
    with dial(university, system, VERIFICATION, called="NOBODY") as association:
        assert association.is_rejected
        answer = association.acceptor.primitive
        assert answer is not None
        assert (answer.result, answer.result_source, answer.diagnostic) == (1, 1, 7)


def test_a_token_opens_the_system_that_issued_it_and_no_other(university: Hospital) -> None:
    university.ai.tokens.issue("gone")
    token = university.ai.tokens.issue("viewer")
    gone = university.ai.tokens.issue("gone")
    university.ai.tokens.revoke("gone")
    for place in university.endpoints():
        if place.protocol != "dicomweb":
            continue
        path = "/workitems" if place.system == "ai" else "/studies"
        for shown, status in ((gone, 401), (token, 204 if place.system == "ai" else 401)):
            answer = httpx.get(
                f"http://{place.local}/dicom-web{path}",
                headers={"Authorization": f"Bearer {shown}"},
                trust_env=False,
                timeout=30,
            )
            assert answer.status_code == status, (place.system, answer.text)


def test_nobody_but_the_pacs_replicates(university: Hospital) -> None:
    place = next(e for e in university.endpoints() if e.protocol == "replication")
    answer = httpx.put(
        f"http://{place.local}/replica/files/{'0' * 64}", content=b"x", trust_env=False, timeout=30
    )
    assert answer.status_code == 403


@pytest.mark.parametrize("depth", [150, 400, 900, 100_000])
def test_a_step_of_great_depth_is_refused_as_one(university: Hospital, depth: int) -> None:
    token = university.ai.tokens.issue("planner", rights=("read", "write"))
    place = next(e for e in university.endpoints() if (e.system, e.protocol) == ("ai", "dicomweb"))
    deep = '{"00404018":{"vr":"SQ","Value":[' * depth + "{}" + "]}}" * depth
    answer = httpx.post(
        f"http://{place.local}/dicom-web/workitems",
        content=deep,
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/dicom+json"},
        trust_env=False,
        timeout=30,
    )
    assert answer.status_code == 400, answer.text[:200]
