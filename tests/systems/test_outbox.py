from __future__ import annotations

from pathlib import Path

import pytest

from labsim import Hospital
from labsim.errors import DeliveryFailed
from labsim.wire.hl7 import Message, segment
from labsim.wire.network import Address

RIS = Address("ris", 2575)


def states(hospital: Hospital) -> list[str]:
    return [row[3] for row in hospital.his.outbox.table()]


def received_by_ris(hospital: Hospital) -> list[str]:
    """Return the control IDs of the messages that came to the RIS, in order."""
    return [
        event.keys["control_id"]
        for event in hospital.journal.events(source="ris", kind="hl7")
        if event.detail["direction"] == "received" and event.detail.get("request")
    ]


def fill(hospital: Hospital) -> None:
    """Register a patient and place two orders while nobody takes them."""
    with pytest.raises(DeliveryFailed, match="waits in the outbox"):
        hospital.his.register_patient()
    for _ in range(2):
        with pytest.raises(DeliveryFailed):
            hospital.his.place_order("P000001")


def test_what_was_delivered_is_marked_with_its_answer(hospital: Hospital) -> None:
    hospital.his.register_patient()
    (row,) = hospital.his.outbox.table()
    assert list(row) == ["HIS00000001", "ADT^A04", "ris:2575", "delivered", "AA"]


def test_what_waited_is_sent_in_order_when_the_receiver_is_back(hospital: Hospital) -> None:
    local = hospital.network.resolve(RIS).port
    hospital.network.withdraw(RIS)
    fill(hospital)
    assert states(hospital) == ["waiting"] * 3
    hospital.network.publish(RIS, local)
    assert hospital.his.outbox.resend() == 3
    assert states(hospital) == ["delivered"] * 3
    assert received_by_ris(hospital) == ["HIS00000001", "HIS00000002", "HIS00000003"]
    assert len(hospital.ris.orders()) == 2


def test_a_new_message_does_not_overtake_what_waits(hospital: Hospital) -> None:
    local = hospital.network.resolve(RIS).port
    hospital.network.withdraw(RIS)
    fill(hospital)
    hospital.network.publish(RIS, local)
    hospital.his.place_order("P000001")
    assert received_by_ris(hospital) == [f"HIS0000000{n}" for n in (1, 2, 3, 4)]
    assert states(hospital) == ["delivered"] * 4


def test_resend_tells_that_the_receiver_is_still_away(hospital: Hospital) -> None:
    hospital.network.withdraw(RIS)
    fill(hospital)
    with pytest.raises(DeliveryFailed, match=r"ADT\^A04 to RIS \(ris:2575\) was not delivered"):
        hospital.his.outbox.resend()
    assert states(hospital) == ["waiting"] * 3


def test_resend_of_nothing_sends_nothing(hospital: Hospital) -> None:
    assert hospital.his.outbox.resend() == 0


def test_a_receiver_that_never_answers_leaves_the_message_waiting(
    hospital: Hospital, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labsim.wire.mllp.TIMEOUT", 0.2)
    hospital.network.publish(RIS, silent_port)
    with pytest.raises(DeliveryFailed, match=r"no acknowledgment within 0\.2 s"):
        hospital.his.register_patient()
    assert states(hospital) == ["waiting"]


def test_a_refused_message_is_kept_as_refused_and_blocks_nobody(hospital: Hospital) -> None:
    outbox = hospital.his.outbox
    broken = Message.build(outbox.header("ADT^A04", "RIS"), segment("PID", {1: "1", 3: "P9"}))
    with pytest.raises(DeliveryFailed, match=r"RIS refused ADT\^A04 HIS00000001: AE PID-3"):
        outbox.send(broken, RIS, "RAD-1")
    hospital.his.register_patient()
    assert states(hospital) == ["refused", "delivered"]
    assert outbox.resend() == 0


def test_what_waited_is_sent_after_a_restart(tmp_path: Path) -> None:
    with Hospital(path=tmp_path) as hospital:
        hospital.network.withdraw(RIS)
        fill(hospital)
    with Hospital(path=tmp_path) as hospital:
        hospital.his.outbox.resend()  # takes its turn behind what the restart sends
        assert states(hospital) == ["delivered"] * 3
        assert received_by_ris(hospital) == ["HIS00000001", "HIS00000002", "HIS00000003"]


def test_control_ids_go_on_after_a_restart(tmp_path: Path) -> None:
    for _ in range(2):
        with Hospital(path=tmp_path) as hospital:
            hospital.his.register_patient()
            ids = [row[0] for row in hospital.his.outbox.table()]
    assert ids == ["HIS00000001", "HIS00000002"]
