"""A site where everything goes by TLS: DICOM, HL7, DICOMweb and replication."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

import httpx
import pytest

from labsim import Hospital
from labsim.__main__ import describe
from labsim.errors import ConfigurationError, DeliveryFailed, Unreachable
from labsim.journal import Event
from labsim.site import Site
from labsim.systems.facility import Endpoint
from labsim.wire.network import Address

pytestmark = pytest.mark.usefixtures("small_scans")
Write = Callable[..., Path]
ALL = ("dicom_calls", "mllp", "http")


def write(folder: Path, *switches: str) -> Path:
    """Write the site of a university whose TLS has some more switches on."""
    text = (files("labsim.sites") / "university.toml").read_text(encoding="utf-8")
    for switch in switches:
        assert f"{switch} = false" in text
        text = text.replace(f"{switch} = false", f"{switch} = true")
    path = folder / "secured.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Hospital]:
    """A university of its own where everything goes by TLS."""
    with Hospital(seed=7, site=write(tmp_path, *ALL)) as running:
        running.settle()
        yield running


def endpoint(hospital: Hospital, system: str, protocol: str) -> Endpoint:
    return next(e for e in hospital.endpoints() if (e.system, e.protocol) == (system, protocol))


def errors(hospital: Hospital, system: str) -> str:
    found = [e.summary for e in hospital.journal.all() if (e.source, e.kind) == (system, "error")]
    return "\n".join(found)


def audited(hospital: Hospital, system: str) -> bool:
    return hospital.wait_until(
        lambda: len(hospital.audit.search(event="Node Authentication", source=system)) > 0
    )


def again(hospital: Hospital, system: str, protocol: str) -> None:
    """Let a service show its new certificate."""
    hospital.systems[system].stop_service(protocol)
    hospital.systems[system].start_service(protocol)


def test_an_exam_from_registration_to_report_goes_by_tls_alone(secured: Hospital) -> None:
    exam = secured.exam("CTTHORAX")
    assert secured.settle()
    assert exam.problem == ""
    spoken = [e for e in secured.journal.all() if is_spoken(e)]
    assert {e.kind for e in spoken} == {"hl7", "association", "http"}
    assert [e for e in spoken if not e.detail.get("tls")] == []


def is_spoken(event: Event) -> bool:
    """Tell whether two systems spoke; the desk calls by TLS when it is told to."""
    desk = "TOOLS" in event.summary or "desk" in (event.source, event.peer)
    return event.kind in ("hl7", "http", "association") and not desk


def test_the_outside_is_told(secured: Hospital) -> None:
    places = {(s["name"], s["protocol"]): s for s in describe(secured)["systems"]}
    for system in ("his", "ris", "engine", "pacs", "archive"):
        assert places[system, "mllp-tls"]["tls"]
        assert (system, "mllp") not in places
    assert places["pacs", "dicomweb-tls"]["url"].startswith("https://127.0.0.1:")
    assert places["standby", "replication-tls"]["tls"]
    assert places["ris", "mwl-tls"]["ae_title"] == "RIS"
    # A monitor has no certificate.
    assert places["pacs", "metrics"]["url"].startswith("http://")


def test_who_is_called_by_tls_is_in_the_tables(secured: Hospital) -> None:
    assert {row[4] for row in secured.ct.peers()} == {"yes"}
    assert {row[4] for row in secured.importer.peers()} == {"yes"}
    titles = {row[0]: row[-1] for row in secured.pacs.ae_titles()}
    assert (titles["CT1"], titles["RIS"], titles["TOOLS"]) == ("yes", "yes", "no")


def test_fixed_ports_keep_their_names(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    site = write(tmp_path, *ALL)
    with Hospital(seed=7, site=site, ports={"ris.mllp": port}) as hospital:
        assert endpoint(hospital, "ris", "mllp-tls").local.port == port


# HL7


@pytest.mark.parametrize(
    ("wrong", "cause"),
    [
        ({"days": -1}, "the certificate of engine has expired"),
        ({"stranger": True}, "signed by an authority that is not trusted"),
        ({"name": "pacs"}, "the certificate is not of the name engine"),
    ],
)
def test_an_order_waits_while_the_engine_cannot_prove_itself(
    secured: Hospital, wrong: dict[str, object], cause: str
) -> None:
    patient = secured.his.register_patient()
    secured.ca.issue("engine", **wrong)  # type: ignore[arg-type]
    again(secured, "engine", "mllp-tls")
    with pytest.raises(DeliveryFailed, match=cause):
        secured.his.place_order(patient.patient_id, "CTTHORAX")
    assert cause in errors(secured, "his")
    assert audited(secured, "his")
    secured.ca.renew("engine")
    again(secured, "engine", "mllp-tls")
    assert secured.his.outbox.resend() == 1
    assert secured.settle()
    assert len(secured.ris.orders()) == 1


def test_the_engine_cannot_deliver_with_a_certificate_that_expired(secured: Hospital) -> None:
    channel = secured.engine.channel("ris-to-pacs")
    expected = "SELECT accession FROM expected_studies"
    channel.stop()
    accession = ordered(secured)
    secured.ca.issue("engine", days=-1)
    channel.start()
    assert secured.wait_until(lambda: "it hung up on our TLS" in errors(secured, "engine"))
    expired = "the certificate of the caller has expired"
    assert secured.wait_until(lambda: expired in errors(secured, "pacs"))
    assert audited(secured, "pacs")
    assert secured.pacs.sql(expected).rows == []
    channel.stop()
    secured.ca.renew("engine")
    channel.start()
    assert secured.wait_until(lambda: secured.pacs.sql(expected).rows == [(accession,)])


def ordered(hospital: Hospital) -> str:
    hospital.ris.schedules_at_once = True
    patient = hospital.his.register_patient()
    hospital.his.place_order(patient.patient_id, "CTTHORAX")
    assert hospital.wait_until(lambda: len(hospital.ris.procedures()) == 1)
    return hospital.ris.procedures()[0].accession


# HTTP


def test_dicomweb_wants_a_certificate_and_a_token(secured: Hospital) -> None:
    url = describe_url(secured)
    token = secured.pacs.tokens.issue("viewer")
    head = {"Authorization": f"Bearer {token}", "Accept": "application/dicom+json"}
    sni = {"sni_hostname": "pacs"}
    context = secured.ca.of("desk").client()
    with httpx.Client(verify=context, trust_env=False) as client:
        found = client.get(f"{url}/dicom-web/studies", headers=head, extensions=sni)
        assert found.status_code in (200, 204)
        assert client.get(f"{url}/dicom-web/studies", extensions=sni).status_code == 401
    nobody = secured.ca.of("desk").client(anonymous=True)
    with httpx.Client(verify=nobody, trust_env=False) as client, pytest.raises(httpx.HTTPError):
        client.get(f"{url}/dicom-web/studies", headers=head, extensions=sni)
    assert secured.wait_until(lambda: "the caller showed no certificate" in errors(secured, "pacs"))
    assert audited(secured, "pacs")


def describe_url(hospital: Hospital) -> str:
    return next(
        s["url"]
        for s in describe(hospital)["systems"]
        if (s["name"], s["protocol"]) == ("pacs", "dicomweb-tls")
    )


def test_plain_http_is_not_answered_and_written_down(secured: Hospital) -> None:
    place = endpoint(secured, "pacs", "dicomweb-tls").local
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://{place}/dicom-web/studies", trust_env=False)
    assert secured.wait_until(lambda: "does not speak TLS" in errors(secured, "pacs"))


def test_no_replica_goes_to_a_standby_that_cannot_prove_itself(secured: Hospital) -> None:
    secured.ca.issue("standby", days=-1)
    again(secured, "standby", "replication-tls")
    with pytest.raises(Unreachable, match="the certificate of standby has expired"):
        secured.pacs.replication.run()
    assert (
        "the certificate of standby has expired"
        in dict(secured.pacs.replication.table())["last problem"]
    )
    assert audited(secured, "pacs")


def test_after_a_failover_the_standby_proves_that_it_is_the_pacs(secured: Hospital) -> None:
    secured.pacs.replication.run()
    secured.fail_over()
    assert secured.ct.echo("store") == "0x0000 Success"
    assert secured.tools.echoscu("pacs", tls=True) == "0x0000 Success"
    assert secured.exam("CTTHORAX").problem == ""


# The site


def test_calls_by_tls_need_archives_that_listen(tmp_path: Path) -> None:
    path = write(tmp_path, "dicom_calls")
    path.write_text(path.read_text().replace("dicom = true", "dicom = false"), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="dicom must be true"):
        Site.load(path)


def test_two_on_one_host_need_two_ports_for_tls(tmp_path: Path) -> None:
    text = write(tmp_path).read_text(encoding="utf-8")
    shared = text.replace('host = "ct2"\ndicom_port = 104', 'host = "ct1"\ndicom_port = 105')
    path = tmp_path / "shared.toml"
    path.write_text(shared, encoding="utf-8")
    assert Site.load(path).modalities[1].host == "ct1"
    path.write_text(shared.replace("calls = false", "calls = true"), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="address 'ct1:2762'"):
        Site.load(path)


def test_a_place_is_called_by_tls_only_where_the_site_says_so(tmp_path: Path) -> None:
    plain, secured = Site.load("university"), Site.load(write(tmp_path, "dicom_calls"))
    assert plain.dicom_place(plain.pacs) == ("PACS", "pacs", 104, False)
    assert secured.dicom_place(secured.pacs) == ("PACS", "pacs", 2762, True)
    assert secured.dicom_place(secured.desk) == ("TOOLS", "desk", 11112, False)
    assert Address("desk", 11112).port == secured.desk.dicom_port
