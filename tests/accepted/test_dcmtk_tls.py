"""DCMTK by TLS: who may call, what is agreed on, and whom our systems trust (PS3.15 B.12)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dcmtk
import pytest
from pydicom import dcmread

from labsim import Hospital
from labsim.errors import AssociationFailed, DimseFailed
from labsim.wire.certificates import SiteCa
from labsim.wire.network import Address
from labsim.wire.tls import Credentials

DATASETS = Path(__file__).parents[2] / "datasets"
THORAX = [DATASETS / f"thorax-{number}.dcm" for number in range(1, 6)]
STUDY = str(dcmread(THORAX[0]).StudyInstanceUID)
RECEIVER = Address("films", 2762)
# BCP 195 as it was, with a way down, and as the standard says it now.
PROFILES = ("+py", "+px", "+pz")


@pytest.fixture(scope="module")
def university() -> Iterator[Hospital]:
    with Hospital(seed=7, site="university") as running:
        yield running


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> SiteCa:
    """An authority that nobody in the hospital trusts."""
    return SiteCa(tmp_path_factory.mktemp("stranger"), "Another Hospital")


def shown(own: Credentials, root: Path) -> list[str]:
    """Return the arguments that show a certificate, and say whom to trust."""
    return ["+tls", str(own.key), str(own.certificate), "+cf", str(root)]


def ours(hospital: Hospital, host: str = "desk") -> list[str]:
    return shown(hospital.ca.issue(host), hospital.ca.root)


def refusals(hospital: Hospital, system: str = "pacs") -> list[str]:
    events = hospital.journal.events(source=system, kind="error")
    return [event.summary for event in events]


# DCMTK calls


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("system", ["pacs", "archive"])
def test_echoscu_agrees_on_each_profile_of_bcp_195(
    university: Hospital, system: str, profile: str
) -> None:
    where = dcmtk.called(university, system, tls=True)
    dcmtk.run("echoscu", *ours(university), profile, *where)


def test_findscu_and_storescu_speak_tls(university: Hospital) -> None:
    where = dcmtk.called(university, "pacs", tls=True)
    dcmtk.run("storescu", *ours(university), *where, *THORAX)
    keys = dcmtk.keys("STUDY", StudyInstanceUID=STUDY, NumberOfStudyRelatedInstances="")
    said = dcmtk.run("findscu", *ours(university), "-S", *where, *keys)
    assert dcmtk.values(said, "NumberOfStudyRelatedInstances") == [str(len(THORAX))]


def test_who_shows_no_certificate_is_refused(university: Hospital) -> None:
    where = dcmtk.called(university, "pacs", tls=True)
    before = len(refusals(university))
    dcmtk.run("echoscu", "+tla", "+cf", university.ca.root, *where, good=False)
    assert university.wait_until(lambda: len(refusals(university)) > before)
    assert "no certificate" in refusals(university)[-1]


def test_a_certificate_of_another_authority_is_refused(
    university: Hospital, stranger: SiteCa
) -> None:
    where = dcmtk.called(university, "pacs", tls=True)
    before = len(refusals(university))
    own = stranger.issue("desk")
    dcmtk.run("echoscu", *shown(own, university.ca.root), *where, good=False)
    assert university.wait_until(lambda: len(refusals(university)) > before)
    assert "not trusted" in refusals(university)[-1]


def test_dcmtk_does_not_trust_a_pacs_of_another_authority(
    university: Hospital, stranger: SiteCa
) -> None:
    where = dcmtk.called(university, "pacs", tls=True)
    own = university.ca.issue("desk")
    said = dcmtk.run("echoscu", *shown(own, stranger.root), *where, good=False)
    assert "certificate verify failed" in said


def test_without_forward_secrecy_there_is_no_connection(university: Hospital) -> None:
    where = dcmtk.called(university, "pacs", tls=True)
    dcmtk.run("echoscu", *ours(university), "+pn", *where, good=False)


def test_who_speaks_no_tls_is_refused_at_the_port_of_tls(university: Hospital) -> None:
    dcmtk.run("echoscu", "-ta", "20", *dcmtk.called(university, "pacs", tls=True), good=False)
    assert university.tools.echoscu("pacs", tls=True) == "0x0000 Success"


def test_who_speaks_tls_is_no_association_at_the_plain_port(university: Hospital) -> None:
    before = set(threading.enumerate())
    dcmtk.run("echoscu", *ours(university), *dcmtk.called(university, "pacs"), good=False)
    assert university.tools.echoscu("pacs") == "0x0000 Success"
    # What is no PDU is waited for until the ARTIM timer ends it (PS3.8 9.1.5).
    for thread in acceptors() - before:
        thread.join(20)
        assert not thread.is_alive()
    said = [event.summary for event in university.journal.events(source="pacs")]
    assert any("ended without an association request" in text for text in said)


def acceptors() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if each.name.startswith("AcceptorThread")}


# DCMTK listens


@contextmanager
def receiver(
    hospital: Hospital, folder: Path, own: Credentials, root: Path, *options: str
) -> Iterator[None]:
    """Run storescp by TLS on a host of the hospital's network."""
    port = dcmtk.free_port()
    arguments = ["-aet", "DCMTK", "-od", folder, *shown(own, root), *options]
    network = hospital.network
    with dcmtk.listening("storescp", folder, *arguments, port=port):
        network.publish(RECEIVER, port)
        try:
            yield
        finally:
            network.withdraw(RECEIVER)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_pacs_moves_by_tls_to_storescp(
    university: Hospital, tmp_path: Path, profile: str
) -> None:
    university.tools.storescu(THORAX)
    own = university.ca.issue(RECEIVER.host)
    university.pacs.register_ae("DCMTK", host=RECEIVER.host, port=RECEIVER.port, tls=True)
    with receiver(university, tmp_path, own, university.ca.root, profile):
        assert university.tools.movescu(STUDY, destination="DCMTK") == []
        came = {dcmread(path).SOPInstanceUID for path in dcmtk.files(tmp_path)}
    assert came == {dcmread(path).SOPInstanceUID for path in THORAX}


def test_a_scanner_echoes_and_sends_by_tls_to_storescp(
    university: Hospital, small_scans: None, tmp_path: Path
) -> None:
    own = university.ca.issue(RECEIVER.host)
    with receiver(university, tmp_path, own, university.ca.root):
        university.ct.configure(
            "store", ae_title="DCMTK", host=RECEIVER.host, port=RECEIVER.port, tls=True
        )
        try:
            assert university.ct.echo("store") == "0x0000 Success"
            exam = university.exam("CTHEAD")
        finally:
            university.ct.configure("store", ae_title="PACS", host="pacs", port=104)
        came = [dcmread(path) for path in dcmtk.files(tmp_path)]
    assert len(came) >= 4
    assert {image.AccessionNumber for image in came} == {exam.accession}


def test_a_storescp_of_another_authority_gets_nothing(
    university: Hospital, stranger: SiteCa, tmp_path: Path
) -> None:
    university.tools.storescu(THORAX)
    university.pacs.register_ae("DCMTK", host=RECEIVER.host, port=RECEIVER.port, tls=True)
    own = stranger.issue(RECEIVER.host)
    with receiver(university, tmp_path, own, university.ca.root):
        with pytest.raises((AssociationFailed, DimseFailed), match=f"{len(THORAX)} images failed"):
            university.tools.movescu(STUDY, destination="DCMTK")
        assert dcmtk.files(tmp_path) == []
    assert any("not trusted" in text for text in refusals(university))


def test_a_storescp_that_does_not_trust_us_gets_nothing(
    university: Hospital, stranger: SiteCa, tmp_path: Path
) -> None:
    university.tools.storescu(THORAX)
    university.pacs.register_ae("DCMTK", host=RECEIVER.host, port=RECEIVER.port, tls=True)
    own = university.ca.issue(RECEIVER.host)
    stranger.issue("desk")
    with receiver(university, tmp_path, own, stranger.root):
        with pytest.raises((AssociationFailed, DimseFailed), match=f"{len(THORAX)} images failed"):
            university.tools.movescu(STUDY, destination="DCMTK")
        assert dcmtk.files(tmp_path) == []


def test_a_name_that_is_not_the_certificates_is_refused(
    university: Hospital, tmp_path: Path
) -> None:
    university.tools.storescu(THORAX)
    university.pacs.register_ae("DCMTK", host=RECEIVER.host, port=RECEIVER.port, tls=True)
    own = university.ca.issue("mr1")
    with receiver(university, tmp_path, own, university.ca.root):
        with pytest.raises((AssociationFailed, DimseFailed), match=f"{len(THORAX)} images failed"):
            university.tools.movescu(STUDY, destination="DCMTK")
        assert dcmtk.files(tmp_path) == []
