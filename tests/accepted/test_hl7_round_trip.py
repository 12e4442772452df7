"""python-hl7 reads every message that the systems send, and writes the same bytes again."""

from __future__ import annotations

import hl7
import pytest
from hl7_traffic import all_that_is_said

from labsim.wire.hl7 import Message


@pytest.fixture(scope="module", params=["clinic", "community"])
def messages(request: pytest.FixtureRequest) -> tuple[Message, ...]:
    return all_that_is_said(request.param)


def test_every_message_comes_out_as_it_went_in(messages: tuple[Message, ...]) -> None:
    for message in messages:
        data = message.encode()
        assert str(hl7.parse(data, encoding="utf-8")).encode() == data


def test_python_hl7_reads_the_same_values(messages: tuple[Message, ...]) -> None:
    texts = set()
    for message in messages:
        read = hl7.parse(message.text)
        assert str(read.segment("MSH")(10)) == message.control_id
        for place in ("PID-5", "OBR-31", "ORC-16", "OBX-5"):
            name, _, number = place.partition("-")
            if message[place]:
                field = read.segment(name)[int(number)][0]
                for component, text in enumerate([field] if isinstance(field, str) else field, 1):
                    ours = message[f"{place}.{component}"]
                    assert read.unescape(str(text)).replace("\r", "\n") == ours
                    texts.add(ours)
    assert {"Cough & fever | since 3 days^", "Inês"} <= texts
