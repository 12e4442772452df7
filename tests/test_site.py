"""Site descriptions: what is read, and what is refused with words."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest

from labsim.errors import ConfigurationError
from labsim.site import Site, site_names

Describe = Callable[..., Path]


@pytest.fixture
def describe(tmp_path: Path) -> Describe:
    """Write the clinic's description with pieces of text replaced."""

    def write(*changes: tuple[str, str]) -> Path:
        text = (files("labsim.sites") / "clinic.toml").read_text(encoding="utf-8")
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / "mine.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def problem(path: str | Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        Site.load(path)
    return str(caught.value)


@pytest.mark.parametrize("name", site_names())
def test_every_site_that_comes_with_the_lab_can_be_read(name: str) -> None:
    assert Site.load(name).name == name


def test_the_clinic_comes_with_the_lab() -> None:
    assert "clinic" in site_names()


def test_a_site_of_your_own_is_a_file(describe: Describe) -> None:
    site = Site.load(describe(('"Riverside Clinic"', '"Høyland Sykehus"')))
    assert site.institution == "Høyland Sykehus"


def test_a_missing_site_is_named_with_those_there_are() -> None:
    text = problem("clinik")
    assert "'clinik'" in text
    assert "clinic" in text.replace("clinik", "")


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("name = clinic", encoding="utf-8")
    assert "mine.toml is not TOML" in problem(path)


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes('institution = "Høyland"'.encode("iso8859-1"))
    assert "mine.toml" in problem(path)


def test_a_misspelt_entry_is_named_with_its_place(describe: Describe) -> None:
    assert "pacs.ae_titel" in problem(describe(('ae_title = "PACS"', 'ae_titel = "PACS"')))


def test_all_mistakes_are_named_at_once(describe: Describe) -> None:
    text = problem(
        describe(('issuer = "RIVERSIDE"', ""), ("dicom_port = 11112", "dicom_port = 70000"))
    )
    assert "issuer" in text
    assert "desk.dicom_port" in text


def test_a_number_where_a_name_belongs_is_a_mistake(describe: Describe) -> None:
    assert "pacs.ae_title" in problem(describe(('ae_title = "PACS"', "ae_title = 7")))


@pytest.mark.parametrize("title", ["", "A" * 17, "   ", "CT\\\\1"])
def test_an_ae_title_that_cannot_be_is_named(describe: Describe, title: str) -> None:
    text = problem(describe(('ae_title = "CT1"', f'ae_title = "{title}"')))
    assert "modalities.0.ae_title" in text


def test_a_system_that_is_not_there_cannot_be_sent_to(describe: Describe) -> None:
    text = problem(describe(('orders_to = "pacs"', 'orders_to = "archive"')))
    assert "ris.orders_to" in text
    assert "Input should be 'pacs'" in text


def test_two_systems_cannot_share_an_ae_title(describe: Describe) -> None:
    assert "'PACS'" in problem(describe(('ae_title = "CT1"', 'ae_title = "PACS"')))


@pytest.mark.parametrize("name", ["his", "ris", "pacs", "desk"])
def test_a_scanner_cannot_have_the_name_of_another_system(describe: Describe, name: str) -> None:
    assert f"'{name}'" in problem(describe(('name = "ct1"', f'name = "{name}"')))


def test_two_systems_cannot_listen_at_the_same_place(describe: Describe) -> None:
    assert "pacs:104" in problem(describe(('host = "ct1"', 'host = "pacs"')))


def test_two_systems_may_share_a_host(describe: Describe) -> None:
    together = describe(
        ('host = "ct1"\ndicom_port = 104', 'host = "pacs"\ndicom_port = 105'),
    )
    assert Site.load(together).modalities[0].host == "pacs"


def test_a_hospital_has_a_scanner(describe: Describe) -> None:
    start = '[[modalities]]\nname = "ct1"'
    assert "modalities" in problem(describe((start, '[desk2]\nname = "ct1"')))


def test_a_description_does_not_change_while_the_hospital_runs() -> None:
    site = Site.load("clinic")
    with pytest.raises(ValueError, match="frozen"):
        site.pacs.host = "elsewhere"


def test_two_systems_cannot_share_an_hl7_application(describe: Describe) -> None:
    assert "'RIS'" in problem(describe(('application = "PACS"', 'application = "RIS"')))


ENGINE = """
[engine]
host = "engine"
hl7_port = 2575
application = "ENGINE"
channels = "standard"

[desk]"""


def test_channels_are_named_or_held(describe: Describe, tmp_path: Path) -> None:
    named = describe(("[desk]", ENGINE))
    engine = Site.load(named).engine
    assert engine is not None
    community = Site.load("community").engine
    assert community is not None
    assert [c.name for c in engine.channels] == [c.name for c in community.channels]
    one = """
[[engine.channels]]
name = "in"
messages = { "ADT^*" = "" }
destinations = [{ name = "ris", host = "ris", port = 2575 }]
"""
    without = ENGINE.replace('channels = "standard"', "")
    held = Site.load(describe(("[desk]", without.replace("[desk]", one + "\n[desk]")))).engine
    assert held is not None
    assert [channel.name for channel in held.channels] == ["in"]
    (tmp_path / "own.toml").write_text(one.replace("engine.", ""), encoding="utf-8")
    beside = describe(("[desk]", ENGINE.replace("standard", "own.toml")))
    assert Site.load(beside).engine == held


def test_an_archive_hears_what_the_pacs_hears_where_there_is_one(describe: Describe) -> None:
    ways = [
        {destination.name for channel in engine.channels for destination in channel.destinations}
        for engine in (
            Site.load("community").engine,
            Site.load(describe(("[desk]", ENGINE))).engine,
        )
        if engine is not None
    ]
    assert ways == [{"his", "ris", "pacs", "archive"}, {"his", "ris", "pacs"}]


def test_a_mistake_in_a_channel_is_named_with_its_place(describe: Describe, tmp_path: Path) -> None:
    text = (files("labsim.sites") / "channels" / "standard.toml").read_text(encoding="utf-8")
    (tmp_path / "own.toml").write_text(text.replace("port = 2575", "port = 0"), encoding="utf-8")
    found = problem(describe(("[desk]", ENGINE.replace("standard", "own.toml"))))
    assert "engine.channels.0.destinations.0.port" in found
    (tmp_path / "own.toml").write_text(text.replace('table = "ex', 'table = "x'), encoding="utf-8")
    found = problem(describe(("[desk]", ENGINE.replace("standard", "own.toml"))))
    assert "uses a table 'xaminations' that is not there" in found


def test_channels_that_are_nowhere_are_named(describe: Describe) -> None:
    assert "'own.toml'" in problem(describe(("[desk]", ENGINE.replace("standard", "own.toml"))))


def test_nothing_is_sent_to_an_engine_that_is_not_there(describe: Describe) -> None:
    found = problem(describe(('results_to = "his"', 'results_to = "engine"')))
    assert "sent to the engine, and the site has none" in found


def test_an_engine_shares_no_title_and_no_place(describe: Describe) -> None:
    assert "'RIS'" in problem(describe(("[desk]", ENGINE.replace('"ENGINE"', '"RIS"'))))
    assert "ris:2575" in problem(describe(("[desk]", ENGINE.replace('= "engine"', '= "ris"'))))


def test_a_system_knows_where_it_sends_to() -> None:
    community, clinic = Site.load("community"), Site.load("clinic")
    assert community.hl7_place(community.his.orders_to) == ("engine", 2575)
    assert clinic.hl7_place(clinic.ris.orders_to) == ("pacs", 2575)


def test_a_site_may_have_an_audit_repository_or_none() -> None:
    assert Site.load("clinic").audit is None
    audit = Site.load("community").audit
    assert audit is not None
    assert (audit.host, audit.syslog_port, audit.transport) == ("audit", 514, "tcp")


def test_a_standby_must_not_want_a_port_that_the_pacs_brings_along(describe: Describe) -> None:
    own = '[standby]\nhost = "standby"\nhttp_port = {port}\n\n[desk]'
    assert Site.load(describe(("[desk]", own.format(port=8090)))).standby is not None
    assert "the PACS needs" in problem(describe(("[desk]", own.format(port=8080))))
