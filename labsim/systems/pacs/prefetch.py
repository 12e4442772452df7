"""Prefetch of priors: what an order makes the archive send ahead of the examination.

An order (IHE RAD-4) says who will come and for what. The rules choose among the
earlier studies of that patient, and send them to the reader's workstation, so
that they are there when the new images are.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import timedelta
from fnmatch import fnmatchcase

from labsim.systems.facility import System
from labsim.systems.order_messages import priority_of, study_of
from labsim.systems.pacs import prefetch_rules
from labsim.systems.pacs.announced import Announced
from labsim.systems.pacs.entities import Entities
from labsim.systems.pacs.prefetch_rules import PrefetchRule, PrefetchRules
from labsim.systems.pacs.send_queue import SendQueue
from labsim.systems.pacs.visibility import Visibility
from labsim.table import Table
from labsim.wire.hl7 import Message

SCHEMA = (
    prefetch_rules.SCHEMA
    + """
CREATE TABLE IF NOT EXISTS prefetches (
    id          INTEGER PRIMARY KEY,
    rule        TEXT NOT NULL,
    study_uid   TEXT NOT NULL,      -- that was ordered
    accession   TEXT NOT NULL,
    patient_id  TEXT NOT NULL,
    prior_uid   TEXT NOT NULL,      -- empty: none was found
    destination TEXT NOT NULL,
    why         TEXT NOT NULL,      -- why this one, or why none
    ordered_at  TEXT NOT NULL
);
"""
)
# Objects about images are no examination of their own.
_NOT_IMAGES = ("KO", "PR", "SR")


class Prefetch(PrefetchRules):
    """What the prefetch rules do with an order.

    Parameters
    ----------
    system : System
        The PACS.
    own_title : str
        Its AE title.
    entities, queue, visibility, announced
        Parts of it.
    follow : list of callables
        Each is called with the UID of a prior that was chosen, to bring it from
        slow storage.
    """

    def __init__(
        self,
        system: System,
        own_title: str,
        entities: Entities,
        queue: SendQueue,
        visibility: Visibility,
        announced: Announced,
        follow: list[Callable[[str], None]],
    ) -> None:
        super().__init__(system, own_title, entities)
        self._queue = queue
        self._visibility = visibility
        self._announced = announced
        self._follow = follow

    def ordered(self, message: Message, patient_id: str, issuer: str) -> None:
        """Choose the priors for an order, and send them.

        Parameters
        ----------
        message : Message
            ORM^O01 or OMI^O23, as of IHE RAD-4.
        patient_id, issuer : str
            Who will come.
        """
        numbers = study_of(message)
        study_uid, accession = numbers.study_uid, numbers.accession
        modality, part = self._announced.examination(message["OBR-4.1"])
        modality = message["OBR-24"] or modality
        stat = priority_of(message) == "S"
        done = "SELECT 1 FROM prefetches WHERE study_uid = ? AND rule = ?"
        for rule in self.all():
            wanted = fnmatchcase(modality, rule.modality) and fnmatchcase(part, rule.body_part)
            if not rule.enabled or not wanted or self._system.db.row(done, study_uid, rule.name):
                continue
            priors, why = self._choose(rule, patient_id, issuer, modality, part, study_uid)
            for prior in priors or [""]:
                self._system.db.insert(
                    "prefetches",
                    rule=rule.name,
                    study_uid=study_uid,
                    accession=accession,
                    patient_id=patient_id,
                    prior_uid=prior,
                    destination=rule.destination,
                    why=why,
                    ordered_at=self._system.now(),
                )
            for prior in priors:
                self._bring(rule, prior, "HIGH" if stat else rule.priority)
            text = f"prefetch {rule.name}: {why}"
            self._system.note(text, accession=accession, study_uid=study_uid, patient_id=patient_id)

    def prefetches(self) -> Table:
        """Return what each order has brought, how far it went, and if nothing, why."""
        rows = self._system.db.rows(
            "SELECT f.*, COALESCE(st.accession, '') AS prior, COALESCE(st.study_date, '') AS date "
            "FROM prefetches f LEFT JOIN studies st ON st.study_uid = f.prior_uid ORDER BY f.id"
        )
        columns = ("accession", "patient ID", "rule", "prior", "of", "to", "state", "why")
        shown = [
            (
                *(row["accession"], row["patient_id"], row["rule"], row["prior"], row["date"]),
                *(row["destination"], self._state(row), row["why"]),
            )
            for row in rows
        ]
        return Table(columns, shown, "Priors that orders have brought")

    def _bring(self, rule: PrefetchRule, prior: str, priority: str) -> None:
        for follow in self._follow:
            follow(prior)
        if rule.destination:
            shown = self._visibility.index("").instances("STUDY", {"st.study_uid": [prior]})
            self._queue.add(
                f"prefetch {rule.name}",
                rule.destination,
                [(prior, instance.sop_uid) for instance in shown],
                priority=priority,
            )

    def _choose(
        self,
        rule: PrefetchRule,
        patient_id: str,
        issuer: str,
        modality: str,
        part: str,
        ordered_uid: str,
    ) -> tuple[list[str], str]:
        """Return the priors that a rule wants, newest first, and why these."""
        studies = self._studies(patient_id, issuer, ordered_uid)
        if not studies:
            return [], "the patient has no earlier study here"
        first = self._system.facility.clock.now() - timedelta(days=rule.max_age_days)
        young = [study for study in studies if study["study_date"] >= first.strftime("%Y%m%d")]
        if not young:
            return [], f"{len(studies)} earlier, none in {rule.max_age_days} days"
        fitting = [study["study_uid"] for study in young if self._fits(rule, study, modality, part)]
        if not fitting:
            return (
                [],
                f"{len(young)} earlier, none of {part or 'an unknown part'} or what is like it",
            )
        chosen = fitting[: rule.at_most]
        return chosen, f"{len(chosen)} of {len(studies)} earlier"

    def _studies(self, patient_id: str, issuer: str, ordered_uid: str) -> list[sqlite3.Row]:
        marks = ", ".join("?" * len(_NOT_IMAGES))
        shown = self._visibility.database("")
        return shown.rows(
            "SELECT st.study_uid, st.study_date, GROUP_CONCAT(DISTINCT se.modality) AS modalities, "
            "GROUP_CONCAT(DISTINCT se.body_part) AS parts FROM studies st "
            "JOIN patients p ON p.id = st.patient JOIN series se ON se.study = st.id "
            "WHERE p.patient_id = ? AND p.issuer = ? AND st.study_uid != ? "
            f"AND se.modality NOT IN ({marks}) GROUP BY st.id "
            "ORDER BY st.study_date DESC, st.study_time DESC",
            *self._announced.kept(patient_id, issuer),
            ordered_uid,
            *_NOT_IMAGES,
        )

    def _fits(self, rule: PrefetchRule, study: sqlite3.Row, modality: str, part: str) -> bool:
        parts = set(filter(None, (study["parts"] or "").split(",")))
        wanted = {"same": {part}, "related": {part} | self._like(part), "any": parts or {""}}
        alike = rule.parts == "any" or bool(parts & wanted[rule.parts])
        return alike and (rule.modalities == "any" or modality in study["modalities"].split(","))

    def _like(self, part: str) -> set[str]:
        rows = self._system.db.rows("SELECT related FROM related_parts WHERE part = ?", part)
        return {row["related"] for row in rows}

    def _state(self, row: sqlite3.Row) -> str:
        if not row["prior_uid"]:
            return "no prior"
        if not row["destination"]:
            return "staged"
        counted = self._system.db.rows(
            "SELECT state, COUNT(*) AS images FROM send_queue "
            "WHERE rule = ? AND destination = ? AND study_uid = ? GROUP BY state ORDER BY state",
            *(f"prefetch {row['rule']}", row["destination"], row["prior_uid"]),
        )
        return ", ".join(f"{each['images']} {each['state']}" for each in counted)
