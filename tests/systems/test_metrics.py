"""What a monitor reads at each system, over HTTP."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import suppress

import pytest
from prometheus_client.parser import text_string_to_metric_families

from labsim import Hospital
from labsim.__main__ import describe
from labsim.errors import DeliveryFailed
from labsim.exam import Exam

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scraped(hospital: Hospital, system: str) -> Samples:
    """Return every sample by its name and labels."""
    entries = describe(hospital)["systems"]
    (entry,) = [e for e in entries if (e["name"], e["protocol"]) == (system, "metrics")]
    with urllib.request.urlopen(entry["url"], timeout=5) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        text = answer.read().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def messages(samples: Samples, **labels: str) -> float:
    """Return how many messages have all these labels."""
    return sum(
        value
        for (name, found), value in samples.items()
        if name == "labsim_messages_total" and labels.items() <= dict(found).items()
    )


@pytest.fixture
def exam(hospital: Hospital, small_scans: None) -> Exam:
    exam = hospital.exam()
    assert hospital.settle()
    return exam


def test_the_table_of_a_hospital_is_not_about_its_monitoring(hospital: Hospital) -> None:
    assert "metrics" not in str(hospital.table())
    assert "dicomweb" in str(hospital.table())


def test_the_archive_counts_what_it_keeps(hospital: Hospital, exam: Exam) -> None:
    samples = scraped(hospital, "pacs")
    assert samples["labsim_studies", ()] == 1
    assert samples["labsim_images", ()] == len(hospital.pacs.sql("SELECT 1 FROM instances"))
    assert samples["labsim_queue_length", (("queue", "send"),)] == 0
    assert samples["labsim_disk_used_bytes", ()] > len(exam.images) * 32 * 32 * 2


def test_messages_are_counted_by_transaction_and_outcome(hospital: Hospital, exam: Exam) -> None:
    archive, scanner = scraped(hospital, "pacs"), scraped(hospital, "ct1")
    stored = {"kind": "dimse", "transaction": "RAD-8", "outcome": "0x0000"}
    assert messages(archive, direction="sent", **stored) == len(exam.images)
    assert messages(scanner, direction="received", **stored) == len(exam.images)
    orders = scraped(hospital, "his")
    assert messages(orders, kind="hl7", direction="received", outcome="AA") > 0
    assert messages(archive, outcome="error") == 0


def test_a_message_that_waits_is_seen_in_the_queue(hospital: Hospital) -> None:
    outbox = ("labsim_queue_length", (("queue", "outbox"),))
    assert scraped(hospital, "his")[outbox] == 0
    hospital.ris.stop_service("mllp")
    with suppress(DeliveryFailed):
        patient = hospital.his.register_patient()
        hospital.his.place_order(patient.patient_id, "CTHEAD", reason="Fall")
    samples = scraped(hospital, "his")
    assert samples[outbox] >= 1
    assert messages(samples, outcome="error") > 0


def test_images_that_wait_and_the_worklist_are_seen(hospital: Hospital, small_scans: None) -> None:
    hospital.pacs.stop_service("dicom")
    assert hospital.exam().problem != ""
    assert scraped(hospital, "ct1")["labsim_queue_length", (("queue", "store"),)] > 0
    patient = hospital.his.register_patient()
    order = hospital.his.place_order(patient.patient_id, "CTHEAD", reason="Fall")
    hospital.ris.wait_for_order(order.placer_order)
    hospital.ris.schedule(order.placer_order)
    assert scraped(hospital, "ris")["labsim_worklist_length", ()] == 1


def test_an_archive_with_a_quota_says_how_full_it_is(hospital: Hospital, exam: Exam) -> None:
    assert ("labsim_disk_used_ratio", ()) not in scraped(hospital, "pacs")
    used = sum(row[0] for row in hospital.pacs.sql("SELECT bytes FROM instances"))
    hospital.pacs.storage.configure(online_quota=used * 2)
    assert scraped(hospital, "pacs")["labsim_disk_used_ratio", ()] == pytest.approx(0.5, abs=0.1)


def test_looking_leaves_nothing_in_the_journal(hospital: Hospital) -> None:
    before = len(hospital.journal.all())
    scraped(hospital, "his")
    assert len(hospital.journal.all()) == before


def test_a_system_made_anew_is_monitored_at_the_same_place(hospital: Hospital) -> None:
    places = {e.system: e.local for e in hospital.endpoints() if e.protocol == "metrics"}
    assert set(places) == set(hospital.systems)
    hospital.rebuild("pacs")
    assert places == {e.system: e.local for e in hospital.endpoints() if e.protocol == "metrics"}
    assert scraped(hospital, "pacs")["labsim_studies", ()] == 0


@pytest.fixture
def community() -> Iterator[Hospital]:
    with Hospital(seed=7, site="community") as running:
        yield running


def test_every_system_of_a_larger_site_answers(community: Hospital) -> None:
    for name in community.systems:
        assert ("labsim_disk_used_bytes", ()) in scraped(community, name)
