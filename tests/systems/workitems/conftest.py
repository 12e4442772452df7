"""For tests of work items: a hospital with an AI node, and plain requests to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from labsim import Hospital

Ask = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def community() -> Iterator[Hospital]:
    """A hospital with an AI node, which the tests of a module share."""
    with Hospital(site="community", seed=7) as running:
        yield running


@pytest.fixture(scope="module")
def ask(community: Hospital) -> Ask:
    """Send a request to the AI node as a program from outside does, with a token."""
    return asking(community, community.ai.tokens.issue("planner", ("read", "write")))


def asking(hospital: Hospital, token: str) -> Ask:
    """Return what sends requests with a token."""
    place = next(e for e in hospital.endpoints() if (e.system, e.protocol) == ("ai", "dicomweb"))
    base = f"http://{place.local.host}:{place.local.port}/dicom-web"

    def send(method: str, path: str, step: dict[str, Any] | None = None, **headers: str) -> Any:
        headers = {"Authorization": f"Bearer {token}", **headers}
        return httpx.request(
            method,
            base + path,
            json=None if step is None else [step],
            headers={"Content-Type": "application/dicom+json", **headers},
            trust_env=False,
        )

    return send


@pytest.fixture(scope="session")
def step() -> Callable[..., dict[str, Any]]:
    """Write the payload that schedules a step, by hand; at first one that no system can perform."""

    def write(**more: Any) -> dict[str, Any]:
        plain: dict[str, Any] = {
            "00741000": {"vr": "CS", "Value": ["SCHEDULED"]},
            "00741200": {"vr": "CS", "Value": ["MEDIUM"]},
            "00741204": {"vr": "LO", "Value": ["Look for nodules"]},
            "00741202": {"vr": "LO", "Value": ["RESEARCH"]},
            "00404005": {"vr": "DT", "Value": ["20260302103000"]},
            "00404041": {"vr": "CS", "Value": ["READY"]},
            "00404018": code("110005", "Interpretation"),
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Silva^Ines"}]},
            "00100020": {"vr": "LO", "Value": ["AI00004"]},
            "00101002": {"vr": "SQ"},
            "00100030": {"vr": "DA", "Value": ["19700102"]},
            "00100040": {"vr": "CS", "Value": ["F"]},
            "00380010": {"vr": "LO"},
            "00380014": {"vr": "SQ"},
            "00081080": {"vr": "LO"},
            "00081084": {"vr": "SQ"},
            "0040A370": {"vr": "SQ"},
            "00741210": {"vr": "SQ"},
            "00404025": {"vr": "SQ"},
            "00404026": {"vr": "SQ"},
            "00404027": {"vr": "SQ"},
            "00400400": {"vr": "LT"},
            "00404021": {"vr": "SQ"},
            "00741002": {"vr": "SQ"},
            "00741216": {"vr": "SQ"},
            "00081195": {"vr": "UI"},
        }
        return {**plain, **{name.removeprefix("t"): value for name, value in more.items()}}

    return write


def code(value: str, meaning: str, scheme: str = "DCM") -> dict[str, Any]:
    """Write a sequence of one code."""
    item = {
        "00080100": {"vr": "SH", "Value": [value]},
        "00080102": {"vr": "SH", "Value": [scheme]},
        "00080104": {"vr": "LO", "Value": [meaning]},
    }
    return {"vr": "SQ", "Value": [item]}


@pytest.fixture(scope="session")
def performed() -> dict[str, Any]:
    """What a performer sets before it completes a step."""
    item = {
        "00404028": code("WS1", "A workstation", "99TEST"),
        "00404019": code("110005", "Interpretation"),
        "00404050": {"vr": "DT", "Value": ["20260302103000"]},
        "00404051": {"vr": "DT", "Value": ["20260302104000"]},
        "00404033": {"vr": "SQ"},
    }
    return {"00741216": {"vr": "SQ", "Value": [item]}}


@pytest.fixture(scope="session")
def state() -> Callable[[str, str], dict[str, Any]]:
    """Write the payload of a change of state."""

    def write(state: str, lock: str = "") -> dict[str, Any]:
        lock_value = {"Value": [lock]} if lock else {}
        return {
            "00741000": {"vr": "CS", "Value": [state]},
            "00081195": {"vr": "UI", **lock_value},
        }

    return write
