"""How long studies are kept: rules as data, holds, and what is due."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from labsim.errors import ConfigurationError, LabError, NotFound
from labsim.systems.audit.trail import AuditTrail
from labsim.systems.facility import System
from labsim.systems.pacs.access import Access, needs
from labsim.systems.pacs.removal import Removal
from labsim.systems.pacs.storage import Storage
from labsim.systems.records import Record
from labsim.table import Table

SCHEMA = """
CREATE TABLE IF NOT EXISTS retention_rules (
    id        INTEGER PRIMARY KEY,
    modality  TEXT NOT NULL UNIQUE,  -- empty: every modality without a rule of its own
    years     REAL NOT NULL,
    minor_age REAL NOT NULL          -- of those who were under age: kept until they are so old
);
CREATE TABLE IF NOT EXISTS holds (
    study_uid TEXT PRIMARY KEY,
    reason    TEXT NOT NULL,
    held_by   TEXT NOT NULL,
    since     TEXT NOT NULL
);
"""
_OF_AGE = 18
_DAYS = 365.2425  # of a year, over the centuries


@dataclass(frozen=True)
class Rule(Record):
    """How long studies of one modality are kept.

    Parameters
    ----------
    modality : str
        Such as ``"MG"``; empty for those without a rule of their own.
    years : float
        After the study.
    minor_age : float
        Studies of patients who were not of age are kept until they reach this
        age, if that is longer; German radiation law says 28 (StrlSchG § 85).
    """

    modality: str
    years: float
    minor_age: float = 0


@dataclass(frozen=True)
class Due:
    """A study and the day until which it is kept.

    Parameters
    ----------
    study_uid, accession, patient_id : str
        Which.
    study_date : date
        When it was made; the day it came, if it does not say.
    keep_until : date
        The last day on which no rule lets it go.
    why : str
        The rule.
    hold : str
        The reason of a hold, empty for none.
    """

    study_uid: str
    accession: str
    patient_id: str
    study_date: date
    keep_until: date
    why: str
    hold: str


class Retention:
    """Says what is due, and deletes it when somebody confirms.

    Parameters
    ----------
    system : System
        The PACS.
    access : Access
        Who is asking.
    removal : Removal
        Deletes.
    storage : Storage
        Whose lock keeps deleting and moving apart.
    trail : AuditTrail
        Hears of rules and holds.
    """

    def __init__(
        self, system: System, access: Access, removal: Removal, storage: Storage, trail: AuditTrail
    ) -> None:
        self._system = system
        self.access = access
        self._removal = removal
        self._storage = storage
        self._trail = trail

    # Rules and holds

    @needs("configure")
    def set_rule(self, modality: str, *, years: float, minor_age: float = 0) -> Rule:
        """Keep studies of a modality for some years; without any rule nothing is ever due.

        Parameters
        ----------
        modality, years, minor_age
            As in `Rule`; a rule of the same modality is replaced.

        Raises
        ------
        ConfigurationError
            If the years are not more than zero.
        """
        if years <= 0 or minor_age < 0:
            raise ConfigurationError(
                f"{years:g} years, minors until {minor_age:g}: that keeps nothing.",
                "More than 0 years.",
            )
        self._system.db.upsert(
            "retention_rules", "modality", modality=modality, years=years, minor_age=minor_age
        )
        minors = f", minors until they are {minor_age:g}" if minor_age else ""
        self._changed(f"{modality or 'other studies'} kept for {years:g} years{minors}")
        return Rule(modality, years, minor_age)

    @needs("configure")
    def remove_rule(self, modality: str) -> None:
        """Have no rule for a modality any more.

        Raises
        ------
        NotFound
            If there is none.
        """
        if not self._system.db.run("DELETE FROM retention_rules WHERE modality = ?", modality):
            raise NotFound(
                f"There is no retention rule for {modality!r}.", "pacs.retention.rules() has all."
            )
        self._changed(f"no rule for {modality or 'other studies'} any more")

    def rules(self) -> Table:
        """Return the rules."""
        rows = [(r.modality or "(others)", r.years, r.minor_age or "") for r in self._rules()]
        return Table(("modality", "years", "minors until age"), rows, "Retention rules")

    @needs("delete")
    def hold(self, study_uid: str, reason: str) -> None:
        """Keep a study whatever the rules say, such as for a law suit.

        Raises
        ------
        ConfigurationError
            If no reason is given.
        NotFound
            If there is no such study.
        """
        if not reason.strip():
            raise ConfigurationError("A hold has a reason.", "Say who asked for it, and why.")
        if not self._system.db.value("SELECT 1 FROM studies WHERE study_uid = ?", study_uid):
            raise NotFound(f"The PACS has no study {study_uid}.", "pacs.table() lists them.")
        self._system.db.upsert(
            "holds",
            "study_uid",
            study_uid=study_uid,
            reason=reason,
            held_by=self.access.session.user,
            since=self._system.now(),
        )
        self._changed(f"study {study_uid} on hold: {reason}")

    @needs("delete")
    def release(self, study_uid: str, reason: str) -> None:
        """Let the rules say again how long a study is kept.

        Raises
        ------
        NotFound
            If it is not on hold.
        """
        if not self._system.db.run("DELETE FROM holds WHERE study_uid = ?", study_uid):
            raise NotFound(f"Study {study_uid} is not on hold.", "pacs.retention.holds() has all.")
        self._changed(f"hold of study {study_uid} released: {reason}")

    def holds(self) -> Table:
        """Return what is on hold."""
        rows = self._system.db.rows("SELECT * FROM holds ORDER BY since, study_uid")
        return Table(("study", "reason", "by", "since"), list(map(tuple, rows)), "Studies on hold")

    # What is due

    def due(self, on: date | None = None) -> Table:
        """Return the studies whose time is over; nothing is deleted.

        Parameters
        ----------
        on : date, optional
            As of which day; today if left out.
        """
        found = self._due(on or self._today())
        rows = [
            (d.study_uid, d.accession, d.patient_id, d.study_date, d.keep_until, d.why, d.hold)
            for d in found
        ]
        free = sum(not d.hold for d in found)
        columns = ("study", "accession", "patient ID", "date", "keep until", "rule", "on hold")
        return Table(columns, rows, f"{free} studies due, {len(found) - free} of them kept by hold")

    @needs("delete")
    def run(self, confirm: int) -> int:
        """Delete what is due and not on hold.

        Parameters
        ----------
        confirm : int
            How many studies that is, as `due` says: so that nobody deletes
            what he has not looked at.

        Returns
        -------
        int
            How many were deleted.

        Raises
        ------
        ConfigurationError
            If it is another number.
        """
        by = self.access.session.user
        with self._storage.moving:
            found = [due for due in self._due(self._today()) if not due.hold]
            if confirm != len(found):
                raise ConfigurationError(
                    f"{len(found)} studies are due and not on hold, not {confirm}.",
                    "Look at pacs.retention.due() and confirm that number.",
                )
            done = 0
            for due in found:
                try:
                    self._removal.delete(due.study_uid, f"retention: {due.why}", by)
                    done += 1
                except LabError as error:  # a rejection note that could not be written
                    keys = {"study_uid": due.study_uid}
                    self._system.note(f"study not deleted: {error.what}", kind="error", **keys)
        return done

    def _due(self, today: date) -> list[Due]:
        return [due for due in self._all() if due.keep_until < today]

    def _all(self) -> Iterator[Due]:
        rules = {rule.modality: rule for rule in self._rules()}
        rows = self._system.db.rows(
            "SELECT st.study_uid, st.accession, st.study_date, p.patient_id, p.birth_date, "
            "MIN(i.received_at) AS came, GROUP_CONCAT(DISTINCT se.modality) AS modalities, "
            "h.reason AS hold FROM studies st JOIN patients p ON p.id = st.patient "
            "JOIN series se ON se.study = st.id JOIN instances i ON i.series = se.id "
            "LEFT JOIN holds h ON h.study_uid = st.study_uid GROUP BY st.id ORDER BY st.id"
        )
        for row in rows:
            made = _date(row["study_date"]) or date.fromisoformat(row["came"][:10])
            kept = [
                _keep_until(rules.get(modality) or rules.get(""), made, _date(row["birth_date"]))
                for modality in row["modalities"].split(",")
            ]
            if None in kept:  # a part of it that no rule speaks of keeps it all
                continue
            until, why = max(each for each in kept if each is not None)
            yield Due(
                row["study_uid"], row["accession"], row["patient_id"], made, until, why,
                row["hold"] or "",
            )  # fmt: skip

    def _rules(self) -> list[Rule]:
        rows = self._system.db.rows(
            "SELECT modality, years, minor_age FROM retention_rules ORDER BY modality DESC"
        )
        return [Rule(**dict(row)) for row in rows]

    def _today(self) -> date:
        return self._system.facility.clock.now().date()

    def _changed(self, text: str) -> None:
        self._system.note(f"retention: {text}")
        by = self._trail.person(self.access.session.user)
        self._trail.alert("110131", f"retention: {text}", by=by, about="retention")


def _keep_until(rule: Rule | None, made: date, born: date | None) -> tuple[date, str] | None:
    """Return until when a rule keeps a study, and why; None if no rule speaks of it."""
    if rule is None:
        return None
    until = _years_after(made, rule.years)
    why = f"{rule.modality or 'others'}: {rule.years:g} years"
    # Somebody whose birth date nobody knows may have been a child that day.
    known = born or made
    if rule.minor_age and _years_after(known, _OF_AGE) > made:
        grown = _years_after(known, rule.minor_age)
        if grown > until:
            return grown, f"{rule.modality or 'others'}: a minor, until {rule.minor_age:g}"
    return until, why


def _years_after(day: date, years: float) -> date:
    whole = int(years)
    try:
        later = day.replace(year=day.year + whole)
    except ValueError:  # 29 February
        later = date(day.year + whole, 3, 1)
    return later + timedelta(days=(years - whole) * _DAYS)


def _date(text: str) -> date | None:
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:8]))
    except ValueError:
        return None
