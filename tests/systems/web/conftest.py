"""For tests of the web interface: plain requests, and dicomweb-client as an independent peer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import httpx
import pytest
import requests
from dicomweb_client.api import DICOMwebClient

from labsim import Hospital


def url_of(hospital: Hospital, system: str = "pacs") -> str:
    place = next(e for e in hospital.endpoints() if (e.system, e.protocol) == (system, "dicomweb"))
    return f"http://{place.local.host}:{place.local.port}/dicom-web"


@pytest.fixture(scope="session")
def browse() -> Callable[..., AbstractContextManager[DICOMwebClient]]:
    """Open dicomweb-client on a system, with a token of its own."""

    @contextmanager
    def run(hospital: Hospital, system: str = "pacs") -> Iterator[DICOMwebClient]:
        holder = getattr(hospital, system)
        with requests.Session() as session:
            session.trust_env = False
            session.headers["Authorization"] = f"Bearer {holder.tokens.issue('browser')}"
            client = DICOMwebClient(url_of(hospital, system), session=session)
            client.set_http_retry_params(retry=False)
            yield client

    return run


@pytest.fixture(scope="session")
def get() -> Callable[..., httpx.Response]:
    """Ask for a path as somebody whose token may read."""

    def ask(hospital: Hospital, path: str, accept: str = "*/*", **headers: str) -> httpx.Response:
        token = hospital.pacs.tokens.issue("viewer")
        named = {"Authorization": f"Bearer {token}", "Accept": accept, **headers}
        return httpx.get(url_of(hospital) + path, headers=named, trust_env=False)

    return ask
