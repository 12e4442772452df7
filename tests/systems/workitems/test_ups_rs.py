"""Work items over the web, asked for by plain requests: the rules of PS3.18 chapter 11."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydicom.uid import generate_uid

from labsim import Hospital

Ask = Callable[..., httpx.Response]
Step = dict[str, Any]
State = Callable[..., Step]
LOCK, OTHER = "2.25.111", "2.25.222"


@pytest.fixture
def made(ask: Ask, step: Callable[..., Step]) -> str:
    """A step that is SCHEDULED; its UID."""
    uid = generate_uid()
    answer = ask("POST", f"/workitems?{uid}", step())
    assert answer.status_code == 201, answer.text
    return uid


def warning(answer: httpx.Response) -> str:
    return answer.headers.get("Warning", "")


def content(ask: Ask, uid: str) -> Step:
    answer = ask("GET", f"/workitems/{uid}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/dicom+json"
    (found,) = answer.json()
    return dict(found)


def state_of(ask: Ask, uid: str) -> str:
    return str(content(ask, uid)["00741000"]["Value"][0])


def test_a_step_is_created_and_read_back(ask: Ask, step: Callable[..., Step]) -> None:
    uid = generate_uid()
    answer = ask("POST", f"/workitems?{uid}", step())
    assert answer.status_code == 201
    assert answer.headers["Location"].endswith(f"/dicom-web/workitems/{uid}")
    assert "Warning" not in answer.headers
    found = content(ask, uid)
    assert found["00080018"]["Value"] == [uid]
    assert found["00080016"]["Value"] == ["1.2.840.10008.5.1.4.34.6.1"]
    assert found["00100010"]["Value"] == [{"Alphabetic": "Silva^Ines"}]
    assert "00404010" in found  # Scheduled Procedure Step Modification DateTime is the SCP's
    assert "00081195" not in found


def test_without_a_uid_it_gets_one(ask: Ask, step: Callable[..., Step]) -> None:
    location = ask("POST", "/workitems", step()).headers["Location"]
    assert state_of(ask, location.rsplit("/", 1)[1]) == "SCHEDULED"


def test_empty_attributes_that_were_left_out_are_added_and_that_is_said(
    ask: Ask, step: Callable[..., Step]
) -> None:
    short = step()
    del short["00741216"], short["00380010"]
    answer = ask("POST", "/workitems", short)
    assert answer.status_code == 201
    assert warning(answer).endswith('"The Workitem was created with modifications."')


def test_a_uid_is_taken_once(ask: Ask, made: str, step: Callable[..., Step]) -> None:
    assert ask("POST", f"/workitems?workitem={made}", step()).status_code == 409


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"t00741000": {"vr": "CS", "Value": ["IN PROGRESS"]}}, "not SCHEDULED"),
        ({"t00741204": {"vr": "LO"}}, "ProcedureStepLabel has no value"),
        ({"t00741200": {"vr": "CS", "Value": ["URGENT"]}}, "HIGH, MEDIUM, LOW"),
        ({"t00081195": {"vr": "UI", "Value": [LOCK]}}, "must be empty"),
        ({"t00404005": {"vr": "DT", "Value": ["soon"]}}, "00404005"),
        ({"t00741204": {"vr": "SQ", "Value": ["x"]}}, "not LO"),
        ({"t00404021": {"vr": "SQ", "Value": ["x"]}}, "00404021"),
        ({"t00741204": {"vr": "LO", "BulkDataURI": "http://elsewhere"}}, "bulk data"),
    ],
)
def test_what_makes_no_step_is_refused(
    ask: Ask, step: Callable[..., Step], change: Step, words: str
) -> None:
    answer = ask("POST", "/workitems", step(**change))
    assert (answer.status_code, words in answer.text) == (400, True), answer.text


def test_only_json_is_spoken(ask: Ask, made: str, step: Callable[..., Step]) -> None:
    headers = {"Content-Type": "application/dicom+xml"}
    assert ask("POST", "/workitems", step(), **headers).status_code == 415
    answer = ask("GET", f"/workitems/{made}", Accept="application/dicom+xml")
    assert answer.status_code == 406


def test_a_step_goes_through_its_life(
    community: Hospital, ask: Ask, made: str, state: State, performed: Step
) -> None:
    assert ask("PUT", f"/workitems/{made}/state", state("IN PROGRESS", LOCK)).status_code == 200
    assert state_of(ask, made) == "IN PROGRESS"
    assert "00081195" not in content(ask, made)
    assert ask("POST", f"/workitems/{made}?{LOCK}", performed).status_code == 200
    assert ask("PUT", f"/workitems/{made}/state", state("COMPLETED", LOCK)).status_code == 200
    assert state_of(ask, made) == "COMPLETED"
    for transaction in ("RAD-80", "RAD-82", "RAD-83", "RAD-84", "RAD-85"):
        assert community.journal.wait_for(lambda e, t=transaction: e.transaction == t, 5)


def test_the_second_claim_is_refused(ask: Ask, made: str, state: State) -> None:
    path = f"/workitems/{made}/state"
    ask("PUT", path, state("IN PROGRESS", LOCK))
    other = ask("PUT", path, state("IN PROGRESS", OTHER))
    assert (other.status_code, "UID is incorrect." in warning(other)) == (400, True)
    again = ask("PUT", path, state("IN PROGRESS", LOCK))
    assert again.status_code == 409
    assert "inconsistent with the state" in warning(again)


def test_without_the_lock_nothing_of_a_claimed_step_is_changed(
    ask: Ask, made: str, state: State, performed: Step
) -> None:
    path = f"/workitems/{made}"
    missing = ask("PUT", f"{path}/state", state("IN PROGRESS"))
    assert (missing.status_code, "is missing" in warning(missing)) == (400, True)
    ask("PUT", f"{path}/state", state("IN PROGRESS", LOCK))
    for lock, words in (("", "is missing"), (f"?{OTHER}", "is incorrect")):
        answer = ask("POST", path + lock, performed)
        assert (answer.status_code, words in warning(answer)) == (400, True)
    assert ask("PUT", f"{path}/state", state("CANCELED", OTHER)).status_code == 400
    assert state_of(ask, made) == "IN PROGRESS"
    assert not content(ask, made)["00741216"].get("Value")


def test_a_step_that_nobody_has_claimed_cannot_end(ask: Ask, made: str, state: State) -> None:
    for wanted in ("COMPLETED", "CANCELED"):
        answer = ask("PUT", f"/workitems/{made}/state", state(wanted, LOCK))
        assert answer.status_code == 409
        assert "did not reference a claimed Workitem" in warning(answer)
    assert state_of(ask, made) == "SCHEDULED"


def test_it_is_not_completed_before_it_says_what_was_done(
    ask: Ask, made: str, state: State, performed: Step
) -> None:
    path = f"/workitems/{made}"
    ask("PUT", f"{path}/state", state("IN PROGRESS", LOCK))
    answer = ask("PUT", f"{path}/state", state("COMPLETED", LOCK))
    assert answer.status_code == 409
    assert "Performed Procedure Sequence is empty" in answer.text
    (item,) = performed["00741216"]["Value"]
    without_end = {tag: value for tag, value in item.items() if tag != "00404051"}
    ask("POST", f"{path}?{LOCK}", {"00741216": {"vr": "SQ", "Value": [without_end]}})
    assert "EndDateTime" in ask("PUT", f"{path}/state", state("COMPLETED", LOCK)).text


def test_a_canceled_step_says_when_and_why(ask: Ask, made: str, state: State) -> None:
    path = f"/workitems/{made}"
    ask("PUT", f"{path}/state", state("IN PROGRESS", LOCK))
    assert ask("PUT", f"{path}/state", state("CANCELED", LOCK)).status_code == 200
    (told,) = content(ask, made)["00741002"]["Value"]
    assert "Value" in told["00404052"]
    assert told["0074100E"]["Value"][0]["00080100"]["Value"] == ["110513"]
    again = ask("PUT", f"{path}/state", state("CANCELED", LOCK))
    assert again.status_code == 200
    assert "already in the requested state of CANCELED." in warning(again)
    assert ask("PUT", f"{path}/state", state("COMPLETED", LOCK)).status_code == 409
    assert ask("POST", f"{path}?{LOCK}", {}).status_code == 400


def test_a_step_does_not_become_scheduled_again(ask: Ask, made: str, state: State) -> None:
    assert ask("PUT", f"/workitems/{made}/state", state("SCHEDULED", LOCK)).status_code == 409
    assert ask("PUT", f"/workitems/{made}/state", state("DONE", LOCK)).status_code == 400


def test_an_unknown_step_is_not_found(ask: Ask, state: State) -> None:
    assert ask("GET", "/workitems/1.2.3").status_code == 404
    assert ask("POST", "/workitems/1.2.3", {}).status_code == 404
    assert ask("PUT", "/workitems/1.2.3/state", state("IN PROGRESS", LOCK)).status_code == 404
    assert ask("POST", "/workitems/1.2.3/cancelrequest").status_code == 404


def test_whose_step_it_is_cannot_be_changed(ask: Ask, made: str) -> None:
    answer = ask("POST", f"/workitems/{made}", {"00100020": {"vr": "LO", "Value": ["OTHER"]}})
    assert (answer.status_code, "PatientID" in answer.text) == (400, True)
    label = {"00741204": {"vr": "LO", "Value": ["Look twice"]}}
    assert ask("POST", f"/workitems/{made}", label).status_code == 200
    assert content(ask, made)["00741204"]["Value"] == ["Look twice"]
    # Only a step that is claimed has a lock.
    answer = ask("POST", f"/workitems/{made}?{LOCK}", label)
    assert (answer.status_code, "claimed Workitem" in warning(answer)) == (409, True)


def test_a_step_that_waits_is_canceled_on_request(ask: Ask, made: str) -> None:
    why = {
        "00741238": {"vr": "LT", "Value": ["Ordered twice"]},
        "0074100A": {"vr": "UR", "Value": ["tel:100"]},
        "0074100C": {"vr": "LO", "Value": ["Reading room"]},
    }
    answer = ask("POST", f"/workitems/{made}/cancelrequest", why)
    assert (answer.status_code, warning(answer)) == (202, "")
    assert state_of(ask, made) == "CANCELED"
    (told,) = content(ask, made)["00741002"]["Value"]
    assert told["00741238"]["Value"] == ["Ordered twice"]
    assert told["00741008"]["Value"][0]["0074100A"]["Value"] == ["tel:100"]
    again = ask("POST", f"/workitems/{made}/cancelrequest")
    assert (again.status_code, "state of CANCELED" in warning(again)) == (202, True)


def test_another_performer_cannot_be_told_to_cancel(
    ask: Ask, made: str, state: State, performed: Step
) -> None:
    path = f"/workitems/{made}"
    ask("PUT", f"{path}/state", state("IN PROGRESS", LOCK))
    answer = ask("POST", f"{path}/cancelrequest")
    assert (answer.status_code, "cannot be contacted" in answer.text) == (409, True)
    ask("POST", f"{path}?{LOCK}", performed)
    ask("PUT", f"{path}/state", state("COMPLETED", LOCK))
    assert ask("POST", f"{path}/cancelrequest").status_code == 409


def test_steps_are_found_by_what_they_say(ask: Ask, step: Callable[..., Step]) -> None:
    label = {"vr": "LO", "Value": ["FOUND"]}
    station = {"vr": "SQ", "Value": [{"00080100": {"vr": "SH", "Value": ["WS7"]}}]}
    first, second = generate_uid(), generate_uid()
    ask("POST", f"/workitems?{first}", step(t00741202=label))
    ask("POST", f"/workitems?{second}", step(t00741202=label, t00404025=station))

    def found(query: str) -> list[str]:
        answer = ask("GET", f"/workitems?WorklistLabel=FOUND&{query}")
        return [item["00080018"]["Value"][0] for item in answer.json()] if answer.content else []

    assert found("00741000=SCHEDULED") == [first, second]
    assert found("ProcedureStepLabel=Look*&limit=1&offset=1") == [second]
    assert found("ScheduledStationNameCodeSequence.CodeValue=WS7") == [second]
    assert found(f"SOPInstanceUID={first}") == [first]
    assert found("StudyInstanceUID=1.2.3") == []
    assert found("PatientName=Silva*&ScheduledProcedureStepStartDateTime=20260302-") != []
    assert ask("GET", "/workitems?WorklistLabel=NONE").status_code == 204
    assert ask("GET", "/workitems?Colour=red").status_code == 400


def test_the_lock_is_not_found_by_a_search(ask: Ask, made: str, state: State) -> None:
    ask("PUT", f"/workitems/{made}/state", state("IN PROGRESS", LOCK))
    assert ask("GET", f"/workitems?TransactionUID={LOCK}").status_code == 204
    answer = ask("GET", f"/workitems?SOPInstanceUID={made}&includefield=TransactionUID")
    assert LOCK not in answer.text


def test_events_are_said_not_to_be_offered(ask: Ask, made: str) -> None:
    assert ask("POST", f"/workitems/{made}/subscribers/TOOLS").status_code == 501


def test_only_who_holds_a_token_that_may_write_can_schedule(
    community: Hospital, ask: Ask, made: str, step: Callable[..., Step]
) -> None:
    assert ask("POST", "/workitems", step(), Authorization="Bearer guessed").status_code == 401
    reader = community.ai.tokens.issue("reader")
    answer = ask("POST", "/workitems", step(), Authorization=f"Bearer {reader}")
    assert (answer.status_code, "insufficient_scope" in answer.headers["WWW-Authenticate"]) == (
        403,
        True,
    )
    answer = ask("GET", f"/workitems/{made}", Authorization=f"Bearer {reader}")
    assert answer.status_code == 200
    # Both refusals are in the audit trail.
    assert community.wait_until(
        lambda: len(community.audit.search(source="ai", outcome="failure")) == 2
    )


def test_pages_of_an_allowed_origin_may_claim(community: Hospital, ask: Ask) -> None:
    community.ai.web.origins.allow("http://board.example")
    answer = ask("OPTIONS", "/workitems/1.2.3/state", Origin="http://board.example")
    assert answer.headers["Access-Control-Allow-Origin"] == "http://board.example"
    assert "PUT" in answer.headers["Access-Control-Allow-Methods"]
    answer = ask("GET", "/workitems/1.2.3", Origin="http://board.example")
    assert "Warning" in answer.headers["Access-Control-Expose-Headers"]
