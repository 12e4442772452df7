"""The tools of the desk that speak DICOMweb (PS3.18): search, retrieve and store over HTTP.

Each goes through the hospital's network with a bearer token, and its answer
says which command of curl does the same from outside.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import responses
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from labsim.errors import ConfigurationError, HttpFailed, NotFound
from labsim.journal import Journal
from labsim.outside import Outside
from labsim.systems.facility import Endpoint
from labsim.systems.web.multipart_reading import Part, media_type_of, read_parts
from labsim.systems.web.service import BASE
from labsim.table import Table
from labsim.wire.http_client import HttpClient
from labsim.wire.network import Network
from labsim.wire.status import describe_status

if TYPE_CHECKING:
    import httpx

_JSON = "application/dicom+json"
_FILE = 'multipart/related; type="application/dicom"'
_UNSHOWN = ("SpecificCharacterSet", "RetrieveAETitle", "RetrieveURL")
_PATIENCE = 60.0  # seconds: an archive writes each image to disk before it answers


@dataclass(frozen=True)
class Found(Table):
    """What a search has found.

    Parameters
    ----------
    datasets : list of Dataset
        The answers, one for each row.
    """

    datasets: list[Dataset] = field(default_factory=list)


@dataclass(frozen=True)
class Retrieved(Table):
    """What was retrieved.

    Parameters
    ----------
    parts : list of Part
        Media type and content of each, one for each row.
    """

    parts: list[Part] = field(default_factory=list)

    @property
    def datasets(self) -> list[Dataset]:
        """The parts that are DICOM files, and what is in those of metadata."""
        return [dataset for part in self.parts for dataset in _datasets_in(part)]


class WebTools(Outside):
    """What the desk does over HTTP.

    Parameters
    ----------
    journal, network
        The hospital's.
    endpoints : callable
        Returns where the systems listen.
    """

    def __init__(
        self, journal: Journal, network: Network, endpoints: Callable[[], Sequence[Endpoint]]
    ) -> None:
        super().__init__(endpoints)
        self._network = network
        self._http = HttpClient("desk", journal, network)

    def qido(self, path: str, token: str = "", *, system: str = "pacs") -> Found:
        """Search over the web (QIDO-RS, PS3.18 10.6).

        The same with curl: ``curl -H "Authorization: Bearer $TOKEN"
        "http://127.0.0.1:PORT/dicom-web/studies?PatientName=…"``.

        Parameters
        ----------
        path : str
            What to search, and by what, such as
            ``"/studies?PatientName=Silva*&includefield=StudyDescription"``.
        token : str
            As `hospital.pacs.tokens.issue` made it, with the right to read.
        system : str
            ``"pacs"`` or ``"archive"``, or what the desk was told to `know`.

        Returns
        -------
        Found
            A table of the matches; ``datasets`` has them as data sets.

        Raises
        ------
        HttpFailed
            If the search is refused.
        Unreachable
            If nothing answers.
        """
        answer = self._request("GET", path, token, system, "RAD-129", {"Accept": _JSON})
        items = answer.json() if answer.status_code == 200 else []
        datasets = [Dataset.from_json(item) for item in items]
        columns = _columns(datasets)
        rows = [[_shown(dataset, keyword) for keyword in columns] for dataset in datasets]
        command = self.curl(system, path)
        return Found(columns or ["match"], rows, f"{len(rows)} found, as by {command}", datasets)

    def wado(
        self, path: str, token: str = "", *, accept: str = "*/*", system: str = "pacs"
    ) -> Retrieved:
        """Retrieve over the web (WADO-RS, PS3.18 10.4).

        The same with curl: ``curl -H "Authorization: Bearer $TOKEN" -H "Accept: …"
        "http://127.0.0.1:PORT/dicom-web/studies/UID"``.

        Parameters
        ----------
        path : str
            What to retrieve: ``"/studies/UID"`` or what is below it, also as
            ``"…/metadata"``, ``"…/frames/1"`` or ``"…/rendered"``.
        token : str
            As `hospital.pacs.tokens.issue` made it, with the right to read.
        accept : str
            The media types to have it in; the archive chooses if left out.
        system : str
            ``"pacs"`` or ``"archive"``, or what the desk was told to `know`.

        Returns
        -------
        Retrieved
            A table of the parts; ``parts`` has their content, and ``datasets``
            the instances among them.

        Raises
        ------
        HttpFailed
            If it is refused, or not there.
        Unreachable
            If nothing answers, or the answer was cut off.
        """
        answer = self._request("GET", path, token, system, "RAD-107", {"Accept": accept})
        kind, parameters = media_type_of(answer.headers.get("Content-Type", ""))
        parts = [Part(kind, answer.content)]
        if kind.startswith("multipart/"):
            boundary = parameters.get("boundary", "").encode()
            parts = read_parts(answer.content, boundary, parameters.get("type", ""))
        rows = [
            (number, part.media_type, len(part.content), _described(part))
            for number, part in enumerate(parts, 1)
        ]
        command = self.curl(system, path, f"-H 'Accept: {accept}'")
        partial = f"; {warning}" if (warning := answer.headers.get("Warning")) else ""
        caption = f"Retrieved, as by {command}{partial}"
        return Retrieved(("part", "media type", "octets", "what"), rows, caption, parts)

    def stow(
        self,
        files: Iterable[Path | str],
        token: str = "",
        *,
        study_uid: str = "",
        system: str = "pacs",
    ) -> Table:
        """Store files over the web (STOW-RS, PS3.18 10.5).

        The same with curl: ``curl -H "Authorization: Bearer $TOKEN"
        -H 'Content-Type: multipart/related; type="application/dicom"'
        -F "file=@FILE;type=application/dicom" http://127.0.0.1:PORT/dicom-web/studies``.

        Parameters
        ----------
        files : iterable of Path or str
            DICOM files.
        token : str
            As `hospital.pacs.tokens.issue` made it, with the right to write.
        study_uid : str
            The study to which all of them must belong, if that is to be made sure.
        system : str
            ``"pacs"`` or ``"archive"``, or what the desk was told to `know`.

        Returns
        -------
        Table
            Of each file its SOP Instance UID, and what the archive says of it.

        Raises
        ------
        ConfigurationError
            If there is no such file, or none at all.
        HttpFailed
            If the whole request is refused.
        Unreachable
            If nothing answers.
        """
        taken = [_Sent(Path(file)) for file in files]
        sent = [file for file in taken if file.sop_uid]
        if not sent:
            raise ConfigurationError("There is no DICOM file to store.", "Name some.")
        boundary = uuid.uuid4().hex
        path = f"/studies/{study_uid}" if study_uid else "/studies"
        headers = {"Accept": _JSON, "Content-Type": f"{_FILE}; boundary={boundary}"}
        body = _body([file.content for file in sent], boundary)
        answer = self._request("POST", path, token, system, "RAD-108", headers, body)
        said = _said(Dataset.from_json(answer.json()))
        rows = [(file.name, file.sop_uid, said.get(file.sop_uid, file.problem)) for file in taken]
        form = f"-H 'Content-Type: {_FILE}'", '-F "file=@FILE;type=application/dicom"'
        command = self.curl(system, path, *form)
        return Table(("file", "instance", "answer"), rows, f"Stored, as by {command}")

    def _request(
        self,
        method: str,
        path: str,
        token: str,
        system: str,
        transaction: str,
        headers: Mapping[str, str],
        content: bytes | None = None,
    ) -> httpx.Response:
        """Send one request, and return its answer if it is not an error without details."""
        bearer = {"Authorization": f"Bearer {token}"} if token else {}
        answer = self._http.request(
            method,
            self._web_endpoint(system).address,
            _below_base(path),
            headers={**headers, **bearer},
            content=content,
            transaction=transaction,
            timeout=_PATIENCE,
        )
        told = answer.headers.get("Content-Type") == _JSON  # what became of each instance
        if answer.status_code >= 400 and not told:
            status = f"{answer.status_code} {responses.get(answer.status_code, '')}".strip()
            raise HttpFailed(
                f"{system} answered {method} {path} with {status}: {answer.text.strip()}",
                status=answer.status_code,
            )
        return answer

    def _web_endpoint(self, system: str) -> Endpoint:
        offered = [e for e in self._endpoints() if e.protocol.removesuffix("-tls") == "dicomweb"]
        for endpoint in offered:
            if endpoint.system == system:
                return endpoint
        names = ", ".join(sorted(e.system for e in offered))
        raise NotFound(f"No system {system!r} speaks DICOMweb.", f"Use {names}.")

    def curl(self, system: str, path: str, *words: str) -> str:
        """Return the command line that asks for the same from this machine.

        Parameters
        ----------
        system, path : str
            As for `qido`.
        *words : str
            What else belongs on it, such as ``-H "Accept: …"``.
        """
        endpoint = self._web_endpoint(system)
        place, scheme = str(endpoint.local), "http"
        bearer = '-H "Authorization: Bearer $TOKEN"'
        if endpoint.tls and (own := self._network.credentials):
            # The name in the certificate is the host's; it is reached by the port on this machine.
            place, scheme = str(endpoint.address), "https"
            shown = f'--cert "{own.certificate}" --key "{own.key}" --cacert "{own.root}"'
            bearer = f"{bearer} {shown} --connect-to ::{endpoint.local}"
        return " ".join(("curl", bearer, *words, f'"{scheme}://{place}{_below_base(path)}"'))


def _below_base(path: str) -> str:
    """Return a path below the base, with what a URL has no place for written as ``%…``."""
    return f"{BASE}/{quote(path.lstrip('/'), safe='/?&=%*,^.-:()+')}"


def _columns(datasets: Sequence[Dataset]) -> list[str]:
    """Return the keywords of which any answer has a value, in the order of their tags."""
    filled = {e.tag: e.keyword for dataset in datasets for e in dataset if not e.is_empty}
    return [keyword for _, keyword in sorted(filled.items()) if keyword not in _UNSHOWN]


def _shown(dataset: Dataset, keyword: str) -> str:
    if keyword not in dataset or dataset[keyword].is_empty:
        return ""
    element = dataset[keyword]
    return "\\".join(map(str, element.value)) if element.VM > 1 else str(element.value)


def _datasets_in(part: Part) -> list[Dataset]:
    if part.media_type == "application/dicom":
        return [dcmread(BytesIO(part.content))]
    if part.media_type == _JSON:
        # Bulk data stay where they are, and are retrieved by their own address.
        return [Dataset.from_json(item, lambda *where: None) for item in json.loads(part.content)]
    return []


def _described(part: Part) -> str:
    """Return what a part is, in a few words."""
    datasets = _datasets_in(part)
    if part.media_type == _JSON:
        return f"metadata of {len(datasets)} instances"
    return ", ".join(str(dataset.SOPInstanceUID) for dataset in datasets)


class _Sent:
    """A file to be stored, and which instance it is."""

    def __init__(self, file: Path) -> None:
        self.name = file.name
        self.sop_uid, self.problem = "", "not sent: not a DICOM file"
        try:
            self.content = file.read_bytes()
            header = dcmread(BytesIO(self.content), specific_tags=["SOPInstanceUID"])
            self.sop_uid, self.problem = str(header.SOPInstanceUID), "not answered for"
        except OSError as error:
            raise ConfigurationError(f"{file} cannot be read: {error.strerror}.") from error
        except (InvalidDicomError, EOFError, AttributeError):
            return


def _body(contents: Iterable[bytes], boundary: str) -> bytes:
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return b"".join(head + content + b"\r\n" for content in contents) + (
        f"--{boundary}--\r\n".encode()
    )


def _said(answer: Dataset) -> dict[str, str]:
    """Return by SOP Instance UID what a Store Instances Response says (PS3.18 annex I)."""
    said = {
        str(item.ReferencedSOPInstanceUID): "stored, with data elements changed (0xB000)"
        if item.get("WarningReason")
        else "stored"
        for item in answer.get("ReferencedSOPSequence") or []
    }
    for item in answer.get("FailedSOPSequence") or []:
        said[str(item.ReferencedSOPInstanceUID)] = describe_status(int(item.FailureReason))
    return said
