"""The archive by TLS, beside the plain service: who may call, and what is written down."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydicom.dataset import FileDataset

from labsim import Hospital
from labsim.__main__ import describe
from labsim.errors import AssociationFailed, LabError


@pytest.fixture(scope="module")
def university() -> Iterator[Hospital]:
    with Hospital(seed=7, site="university") as running:
        yield running


def port_of(hospital: Hospital) -> int:
    return next(
        e.local.port
        for e in hospital.endpoints()
        if (e.system, e.protocol) == ("pacs", "dicom-tls")
    )


def test_the_desk_calls_by_tls(university: Hospital) -> None:
    assert university.tools.echoscu("pacs", tls=True) == "0x0000 Success"
    assert university.tools.echoscu("pacs") == "0x0000 Success"


def test_a_site_without_tls_says_so(hospital: Hospital) -> None:
    with pytest.raises(LabError, match="by TLS"):
        hospital.tools.echoscu("pacs", tls=True)
    assert len(hospital.ca.certificates()) == 0
    assert describe(hospital)["ca"] == ""


def test_up_says_what_speaks_tls_and_whom_to_trust(university: Hospital) -> None:
    told = describe(university)
    tls = {(s["name"], s["protocol"]) for s in told["systems"] if s["tls"]}
    assert ("pacs", "dicom-tls") in tls
    assert ("pacs", "dicom") not in tls
    assert "BEGIN CERTIFICATE" in Path(told["ca"]).read_text()


def test_a_scanner_sends_by_tls(university: Hospital, small_scans: None) -> None:
    university.ct.configure("store", ae_title="PACS", host="pacs", port=2762, tls=True)
    try:
        assert university.ct.echo("store") == "0x0000 Success"
        exam = university.exam()
    finally:
        university.ct.configure("store", ae_title="PACS", host="pacs", port=104)
    assert exam.problem == ""


def test_an_expired_certificate_is_refused_journaled_and_audited(university: Hospital) -> None:
    university.ct.configure("store", ae_title="PACS", host="pacs", port=2762, tls=True)
    university.ca.issue("ct1", days=-1)
    try:
        with pytest.raises(AssociationFailed, match="our certificate has expired"):
            university.ct.echo("store")
    finally:
        university.ca.renew("ct1")
    assert university.ct.echo("store") == "0x0000 Success"
    university.ct.configure("store", ae_title="PACS", host="pacs", port=104)
    errors = [
        e.summary for e in university.journal.all() if (e.source, e.kind) == ("pacs", "error")
    ]
    assert any("the certificate of the caller has expired" in text for text in errors)
    assert university.wait_until(
        lambda: len(university.audit.search(event="Node Authentication", source="pacs")) > 0
    )


def test_a_renewed_certificate_is_shown_when_the_service_starts_again() -> None:
    with Hospital(seed=7, site="university") as hospital:
        hospital.ca.issue("pacs", days=-1)
        again(hospital)
        with pytest.raises(AssociationFailed, match="the certificate of pacs has expired"):
            hospital.tools.echoscu("pacs", tls=True)
        hospital.ca.renew("pacs")
        again(hospital)
        assert hospital.tools.echoscu("pacs", tls=True) == "0x0000 Success"


def again(hospital: Hospital) -> None:
    hospital.pacs.stop_service("dicom-tls")
    hospital.pacs.start_service("dicom-tls")


def test_an_entity_called_by_tls_is_kept_as_such(university: Hospital) -> None:
    university.pacs.register_ae("FAR", host="far", port=2762, tls=True)
    entity = university.pacs.known_ae("FAR")
    university.pacs.remove_ae("FAR")
    assert entity is not None
    assert entity.peer.tls


def test_storescu_stores_by_tls(
    university: Hospital,
    peer: Callable[[str], Path],
    image: Callable[..., FileDataset],
    tmp_path: Path,
) -> None:
    sent, desk = image(), university.ca.issue("desk")
    sent.save_as(tmp_path / "image.dcm", enforce_file_format=True)
    files = ["+tls", str(desk.key), str(desk.certificate), "+cf", str(university.ca.root)]
    titles = ["-aet", "TOOLS", "-aec", "PACS", "127.0.0.1", str(port_of(university))]
    done = subprocess.run(
        [str(peer("storescu")), *files, *titles, str(tmp_path / "image.dcm")],
        capture_output=True,
        text=True,
        timeout=20,
        env={**os.environ, "TCP_NODELAY": "1"},
    )
    assert done.returncode == 0, done.stderr
    found = university.tools.findscu("pacs", StudyInstanceUID=sent.StudyInstanceUID)
    assert len(found) == 1
