"""The language of the channels: what can be said in it, and what is refused with words."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from labsim.channels import ChannelSpec, Condition, require_consistent


def channel(**values: Any) -> dict[str, Any]:
    ris = {"name": "ris", "host": "ris", "port": 2575}
    return {"name": "in", "messages": {"ADT^*": ""}, "destinations": [ris]} | values


def problem(**values: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        ChannelSpec.model_validate(channel(**values))
    return "; ".join(f"{error['loc']}: {error['msg']}" for error in caught.value.errors())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('PV1-2 != "E"', ("PV1-2", "!=", ("E",))),
        ('MSH-9 in ["ADT^A04", "ADT^A08"]', ("MSH-9", "in", ("ADT^A04", "ADT^A08"))),
        ("OBR-18 is not empty", ("OBR-18", "is not empty", ())),
        ('PID-5.1 starts with "Doe = in"', ("PID-5.1", "starts with", ("Doe = in",))),
        ('PID-8 not in ["U"]', ("PID-8", "not in", ("U",))),
    ],
)
def test_a_condition_is_read(text: str, expected: tuple[str, str, tuple[str, ...]]) -> None:
    condition = Condition.parse(text)
    assert (condition.place, condition.verb, condition.values) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PV1-2",
        "PV1 == 'E'",
        "PV1-2 == E",
        "PV1-2 == 'E'",
        'PV1-2 = "E"',
        'PV1-2 in "E"',
        'PV1-2 == ["E"]',
        "PV1-2 in [1]",
        'PV1-2 is empty "E"',
        "PV1-2 ==",
        'MSH-1 == "|"',
        '__import__("os") == "x"',
    ],
)
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"condition|text|compare|list"):
        Condition.parse(text)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"steps": [{"set": "PID-5"}]}, "steps', 0, 'set', 'to'"),
        ({"steps": [{"set": "PID-5", "delete": "ZDS"}]}, "exactly one of"),
        ({"steps": [{"set": "PID 5", "to": "x"}]}, "no field of a message"),
        ({"steps": [{"delete": "MSH"}]}, "can be deleted"),
        ({"messages": {}}, "messages"),
        ({"destinations": []}, "destinations"),
        (
            {"destinations": [{"name": "ris", "host": "ris", "port": 0}]},
            "'destinations', 0, 'port'",
        ),
        ({"destinations": [{"name": "ris", "host": "r", "port": 1}] * 2}, "two destinations"),
        ({"filter": ["x"]}, "'filter', 0"),
        ({"unknown": 1}, "unknown"),
        ({"compare": "nothing"}, "compare"),
    ],
)
def test_a_mistake_is_named_with_its_place(values: dict[str, Any], words: str) -> None:
    assert words in problem(**values)


def test_the_first_type_that_fits_counts() -> None:
    spec = ChannelSpec.model_validate(
        channel(messages={"ADT^A04": "RAD-1", "ADT^*": "RAD-12", "ORM^O01": ""})
    )
    assert spec.transaction("ADT^A04") == "RAD-1"
    assert spec.transaction("ADT^A08") == "RAD-12"
    assert spec.transaction("ORM^O01") == ""
    assert spec.transaction("ORU^R01") is None


def test_a_channel_is_the_same_after_it_was_written_and_read() -> None:
    steps = [{"set": "PID-8", "to": "O"}, {"map": "OBR-4", "table": "codes", "default": "x"}]
    spec = ChannelSpec.model_validate(channel(steps=steps, filter=['PV1-2 != "E"']))
    assert ChannelSpec.model_validate_json(spec.model_dump_json(by_alias=True)) == spec


def test_channels_have_names_of_their_own_and_tables_that_are_there() -> None:
    steps = [{"map": "OBR-4", "table": "codes"}]
    spec = ChannelSpec.model_validate(channel(steps=steps))
    require_consistent([spec], {"codes": {}})
    with pytest.raises(ValueError, match="table 'codes' that is not there"):
        require_consistent([spec], {})
    with pytest.raises(ValueError, match="two channels are called 'in'"):
        require_consistent([spec, spec], {"codes": {}})
