"""For tests of the web interface: plain requests, and dicomweb-client as an independent peer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from email import message_from_bytes
from typing import Any

import httpx
import pytest
import requests
from dicomweb_client.api import DICOMwebClient
from pydicom.dataset import FileDataset
from pynetdicom import build_context
from pynetdicom.association import Association

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


@pytest.fixture(scope="session")
def parts_of() -> Callable[[httpx.Response], list[Any]]:
    """Take an answer in parts apart, with what Python has for that."""

    def take(answer: httpx.Response) -> list[Any]:
        head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
        return list(message_from_bytes(head + answer.content).get_payload())

    return take


@pytest.fixture(scope="session")
def keep(
    dial: Callable[..., AbstractContextManager[Association]],
) -> Callable[[Hospital, FileDataset], str]:
    """Store an image as it is encoded; return its path on the web."""

    def store(hospital: Hospital, stored: FileDataset) -> str:
        context = build_context(stored.SOPClassUID, stored.file_meta.TransferSyntaxUID)
        with dial(hospital, "pacs", context) as association:
            assert association.send_c_store(stored).Status == 0x0000
        series = f"/studies/{stored.StudyInstanceUID}/series/{stored.SeriesInstanceUID}"
        return f"{series}/instances/{stored.SOPInstanceUID}"

    return store
