"""Users, roles and sessions at the PACS: who may do what, and what is said of who may not."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from labsim import Hospital
from labsim.clock import ManualClock
from labsim.errors import AccessDenied, ConfigurationError, NotFound
from labsim.systems.pacs.users import RIGHTS

SECRET = "correct horse"


def errors(hospital: Hospital) -> list[str]:
    return [e.summary for e in hospital.journal.events(source="pacs", kind="error")]


def test_the_console_is_the_administrators(archive: Hospital) -> None:
    assert archive.pacs.session.role == "administrator"
    archive.pacs.register_ae("NEW", host="new", port=104)
    assert archive.pacs.known_ae("NEW") is not None


def test_a_viewer_changes_nothing(archive: Hospital) -> None:
    archive.pacs.act_as("viewer")
    with pytest.raises(AccessDenied, match="register_ae is denied: admin is viewer"):
        archive.pacs.register_ae("NEW", host="new", port=104)
    with pytest.raises(AccessDenied):
        archive.pacs.remove_ae("CT1")
    with pytest.raises(AccessDenied):
        archive.pacs.storage.configure(high=0.5)
    with pytest.raises(AccessDenied):
        archive.pacs.users.add("eve", "administrator", SECRET)
    with pytest.raises(AccessDenied):
        archive.pacs.delete_study("1.2.3", "I want to")
    assert archive.pacs.known_ae("NEW") is None
    assert archive.pacs.known_ae("CT1") is not None
    assert archive.pacs.storage.policy.high == 0.9
    assert len(archive.pacs.sql("SELECT * FROM users")) == 0
    assert len(errors(archive)) == 5


def test_a_role_is_laid_down_again(archive: Hospital) -> None:
    with archive.pacs.act_as("viewer"):
        assert archive.pacs.session.role == "viewer"
    assert archive.pacs.session.role == "administrator"
    archive.pacs.register_ae("NEW", host="new", port=104)


def test_somebody_signs_in_and_out(archive: Hospital) -> None:
    archive.pacs.users.add("anna", "technologist", SECRET, "Anna Nowak")
    with archive.pacs.login("anna", SECRET) as session:
        assert (session.user, session.role, session.signed_in) == ("anna", "technologist", True)
        assert session.rights == {"query", "retrieve", "correct"}
        with pytest.raises(AccessDenied):
            archive.pacs.register_ae("NEW", host="new", port=104)
    assert archive.pacs.session.user == "admin"


def test_ending_an_outer_session_ends_the_inner_ones(archive: Hospital) -> None:
    archive.pacs.users.add("anna", "administrator", SECRET)
    outer = archive.pacs.login("anna", SECRET)
    archive.pacs.act_as("viewer")
    outer.logout()
    assert archive.pacs.session.user == "admin"
    outer.logout()  # once is enough
    assert archive.pacs.session.role == "administrator"


def test_nothing_of_a_password_is_kept_in_the_clear(archive: Hospital) -> None:
    archive.pacs.users.add("anna", "viewer", SECRET)
    archive.pacs.users.add("bert", "viewer", SECRET)
    kept = archive.pacs.sql("SELECT name, salt, digest FROM users")
    digests = [row[2] for row in kept]
    assert digests[0] != digests[1]  # each has a salt of its own
    assert SECRET.encode() not in (archive.pacs.folder / "pacs.sqlite").read_bytes()
    assert SECRET not in archive.journal.path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["anna", "nobody", "admin"])
def test_a_wrong_login_says_the_same_for_every_name(archive: Hospital, name: str) -> None:
    archive.pacs.users.add("anna", "viewer", SECRET)
    with pytest.raises(AccessDenied, match=f"^{name} could not sign in. "):
        archive.pacs.login(name, "wrong")
    assert archive.pacs.session.user == "admin"


def test_wrong_passwords_lock_an_account_for_a_while(archive: Hospital, clock: ManualClock) -> None:
    archive.pacs.users.add("anna", "viewer", SECRET)
    archive.pacs.users.configure(attempts=3, lock_minutes=10)
    for _ in range(3):
        with pytest.raises(AccessDenied):
            archive.pacs.login("anna", "wrong")
    with pytest.raises(AccessDenied):
        archive.pacs.login("anna", SECRET)
    assert "account anna locked for 10 minutes" in errors(archive)
    clock.advance(timedelta(minutes=11))
    with archive.pacs.login("anna", SECRET) as session:
        assert session.user == "anna"


def test_the_right_password_forgets_the_wrong_ones(archive: Hospital) -> None:
    archive.pacs.users.add("anna", "viewer", SECRET)
    archive.pacs.users.configure(attempts=2)
    for _ in range(3):
        with pytest.raises(AccessDenied):
            archive.pacs.login("anna", "wrong")
        archive.pacs.login("anna", SECRET).logout()


def test_the_administrator_unlocks(archive: Hospital) -> None:
    archive.pacs.users.add("anna", "viewer", SECRET)
    archive.pacs.users.configure(attempts=1)
    with pytest.raises(AccessDenied):
        archive.pacs.login("anna", "wrong")
    assert archive.pacs.users.table().rows[0][4] != ""
    archive.pacs.users.unlock("anna")
    archive.pacs.login("anna", SECRET).logout()


def test_a_session_that_is_not_used_ends(archive: Hospital, clock: ManualClock) -> None:
    archive.pacs.users.add("anna", "administrator", SECRET)
    with archive.pacs.login("anna", SECRET):
        clock.advance(timedelta(minutes=20))
        archive.pacs.register_ae("NEW", host="new", port=104)  # counts as use
        clock.advance(timedelta(minutes=20))
        archive.pacs.remove_ae("NEW")
        clock.advance(timedelta(minutes=31))
        with pytest.raises(AccessDenied, match="has been idle"):
            archive.pacs.register_ae("NEW", host="new", port=104)
    assert archive.pacs.known_ae("NEW") is None


def test_the_built_in_administrator_has_no_password_until_one_is_set(archive: Hospital) -> None:
    with pytest.raises(AccessDenied):
        archive.pacs.login("admin", "")
    archive.pacs.users.set_password("admin", SECRET)
    with archive.pacs.login("admin", SECRET) as session:
        assert session.role == "administrator"


def test_roles_are_data(archive: Hospital) -> None:
    archive.pacs.users.define_role("student", ["query"])
    archive.pacs.users.add("sam", "viewer", SECRET)
    archive.pacs.users.set_role("sam", "student")
    with archive.pacs.login("sam", SECRET) as session:
        assert session.rights == {"query"}
    archive.pacs.users.define_role("student", [])
    with archive.pacs.login("sam", SECRET), pytest.raises(AccessDenied):
        archive.pacs.sql("SELECT 1")
    assert archive.pacs.users.roles().columns == ("role", *RIGHTS)


def test_what_cannot_be_is_refused(archive: Hospital) -> None:
    with pytest.raises(ConfigurationError, match="too short"):
        archive.pacs.users.add("anna", "viewer", "short")
    with pytest.raises(NotFound, match="no role"):
        archive.pacs.users.add("anna", "queen", SECRET)
    with pytest.raises(ConfigurationError, match="no login"):
        archive.pacs.users.add("anna nowak", "viewer", SECRET)
    with pytest.raises(ConfigurationError, match="is no right"):
        archive.pacs.users.define_role("viewer", ["fly"])
    with pytest.raises(ConfigurationError, match="shuts himself out"):
        archive.pacs.users.define_role("administrator", ["query"])
    with pytest.raises(NotFound, match="no user"):
        archive.pacs.users.remove("anna")
    with pytest.raises(ConfigurationError, match="no policy"):
        archive.pacs.users.configure(attempts=0)
    archive.pacs.users.add("anna", "viewer", SECRET)
    with pytest.raises(ConfigurationError, match="already"):
        archive.pacs.users.add("anna", "viewer", SECRET)
    assert [row[:3] for row in archive.pacs.users.table()] == [("anna", "anna", "viewer")]


def test_users_outlive_a_restart_and_sessions_do_not(tmp_path: Path) -> None:
    with Hospital(path=tmp_path) as hospital:
        hospital.pacs.users.add("anna", "viewer", SECRET)
        hospital.pacs.login("anna", SECRET)
    with Hospital(path=tmp_path) as hospital:
        assert hospital.pacs.session.user == "admin"
        hospital.pacs.login("anna", SECRET).logout()


def test_rules_and_decisions_are_not_for_everybody(archive: Hospital) -> None:
    pacs = archive.pacs
    with pacs.act_as("viewer"):
        for forbidden in (
            lambda: pacs.routes.add("ct", "TOOLS", Modality="CT"),
            lambda: pacs.prefetch.add("priors", "TOOLS"),
            lambda: pacs.prefetch.relate("HAND", "WRIST"),
            lambda: pacs.qc.set_rule("laterality", enabled=True),
            lambda: pacs.qc.release("1.2.3"),
            lambda: pacs.visibility.grant("TOOLS"),
        ):
            with pytest.raises(AccessDenied):
                forbidden()
    assert len(pacs.routes.table()) == len(pacs.prefetch.table()) == 0
    pacs.routes.add("ct", "TOOLS", Modality="CT")  # the console again
