"""Who gets in from outside: nobody but by the loopback, and only with a name or a token."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import httpx
import psutil
import pytest
from pydicom.uid import CTImageStorage
from pynetdicom.association import Association

from labsim import Hospital

Dial = Callable[..., AbstractContextManager[Association]]


@pytest.mark.parametrize("site", ["clinic", "community", "university"])
def test_every_socket_that_listens_is_on_the_loopback(site: str) -> None:
    with Hospital(site=site, seed=7) as hospital:
        found = psutil.Process().net_connections(kind="inet")
        listening = {c.laddr.port: c.laddr.ip for c in found if c.status == psutil.CONN_LISTEN}
        ports = {e.local.port for e in hospital.endpoints() if e.protocol != "syslog"}
        assert ports <= set(listening)
        assert {listening[port] for port in ports} == {"127.0.0.1"}
        assert all(c.laddr.ip.startswith("127.") for c in found if c.laddr and not c.raddr)


def test_a_stranger_stores_at_no_archive(clinic: Hospital, dial: Dial) -> None:
    with dial(clinic, "pacs", CTImageStorage, calling="STRANGER") as association:
        assert association.is_rejected
        answer = association.acceptor.primitive
        assert answer is not None
        # Calling AE title not recognized (PS3.8 9.3.4)
        assert (answer.result, answer.result_source, answer.diagnostic) == (1, 1, 3)


@pytest.mark.parametrize("token", ["", "Bearer ../../secret", "Bearer x", "Basic eDp4"])
def test_the_web_is_shut_without_a_token_that_was_issued(clinic: Hospital, token: str) -> None:
    for place in clinic.endpoints():
        if place.protocol == "dicomweb":
            answer = httpx.get(
                f"http://{place.local}/dicom-web/studies",
                headers={"Authorization": token} if token else {},
                trust_env=False,
                timeout=30,
            )
            assert answer.status_code == 401
