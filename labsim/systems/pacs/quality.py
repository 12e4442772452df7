"""Quality control: what is wrong with a study is listed, and may keep it from the readers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pydicom.dataset import Dataset

from labsim.errors import ConfigurationError, NotFound
from labsim.systems.facility import System
from labsim.systems.pacs.access import Access, needs
from labsim.systems.pacs.announced import Announced
from labsim.systems.pacs.arrival import Arrival
from labsim.systems.pacs.checks import CHECKS, Seen
from labsim.systems.pacs.corrections import Corrections
from labsim.systems.pacs.files import FileStore
from labsim.systems.pacs.index import Index
from labsim.systems.pacs.ledger import Correction, Ledger
from labsim.systems.pacs.rejection import Rejections
from labsim.systems.pacs.routes import Routes
from labsim.systems.pacs.sending import Sending
from labsim.table import Table

SCHEMA = """
CREATE TABLE IF NOT EXISTS qc_rules (
    name    TEXT PRIMARY KEY,       -- a check, or "refused"
    hold    INTEGER NOT NULL,       -- 1: hidden until somebody has looked; 0: only listed
    enabled INTEGER NOT NULL,
    value   TEXT NOT NULL           -- what it compares with, if it does
);
CREATE TABLE IF NOT EXISTS qc_items (
    id         INTEGER PRIMARY KEY,
    study_uid  TEXT NOT NULL,
    sop_uid    TEXT NOT NULL,       -- the image it was first seen in
    rule       TEXT NOT NULL,
    why        TEXT NOT NULL,
    state      TEXT NOT NULL,       -- held, listed, released, rejected, fixed
    found_at   TEXT NOT NULL,
    decided_at TEXT NOT NULL DEFAULT '',
    decision   TEXT NOT NULL DEFAULT '',
    UNIQUE (study_uid, rule, why)
);
CREATE INDEX IF NOT EXISTS qc_items_held ON qc_items (study_uid) WHERE state = 'held';
"""
_REFUSED = "refused"  # by the index: a duplicate, or a study of another patient
# Those that compare with orders can only be right where orders come before the images.
_AT_FIRST = {"patient differs": 1, "accession differs": 1, _REFUSED: 1}


class QualityControl:
    """The quality-control queue, with the rules that fill it.

    Parameters
    ----------
    system : System
        The PACS.
    index, files, announced, corrections, ledger, rejections, sending, routes
        Parts of it.
    """

    access: Access  # who is at the console decides what may be changed

    def __init__(
        self,
        system: System,
        index: Index,
        files: FileStore,
        announced: Announced,
        corrections: Corrections,
        ledger: Ledger,
        rejections: Rejections,
        sending: Sending,
        routes: Routes,
    ) -> None:
        self._system = system
        self._index = index
        self._files = files
        self._announced = announced
        self._corrections = corrections
        self._ledger = ledger
        self._rejections = rejections
        self._sending = sending
        self._routes = routes
        system.db.run_many(
            "INSERT OR IGNORE INTO qc_rules VALUES (?, 0, ?, '')",
            [(name, _AT_FIRST.get(name, 0)) for name in (*CHECKS, _REFUSED)],
        )

    # Configuration

    def rules(self) -> Table:
        """Return every rule: whether it is in force, and whether it holds what it finds."""
        rows = [
            (
                row["name"],
                "yes" if row["enabled"] else "no",
                "hold" if row["hold"] else "list",
                row["value"],
            )
            for row in self._system.db.rows("SELECT * FROM qc_rules ORDER BY rowid")
        ]
        return Table(
            ("rule", "enabled", "does", "value"),
            rows,
            f"Quality-control rules of {self._system.name}",
        )

    @needs("configure")
    def set_rule(
        self,
        name: str,
        *,
        enabled: bool | None = None,
        hold: bool | None = None,
        value: str | None = None,
    ) -> None:
        """Change a rule; it is put into force if not said otherwise.

        Parameters
        ----------
        name : str
            One of `rules`.
        enabled : bool, optional
            Whether it is in force.
        hold : bool, optional
            Whether a study with such an image is kept from ordinary callers.
        value : str, optional
            For ``"sender"``: AE titles, with commas between them.

        Raises
        ------
        NotFound
            If there is no such rule.
        """
        row = self._system.db.row("SELECT * FROM qc_rules WHERE name = ?", name)
        if row is None:
            known = ", ".join(str(rule[0]) for rule in self.rules())
            raise NotFound(f"Quality control has no rule {name!r}.", f"There are: {known}.")
        self._system.db.run(
            "UPDATE qc_rules SET enabled = ?, hold = ?, value = ? WHERE name = ?",
            1 if enabled is None else int(enabled),
            row["hold"] if hold is None else int(hold),
            row["value"] if value is None else value,
            name,
        )
        self._system.note(f"quality-control rule {name} set")

    # The queue

    def table(self, *, decided: bool = False) -> Table:
        """Return what waits for somebody to look at it.

        Parameters
        ----------
        decided : bool
            With what was decided before.
        """
        rows = self._system.db.rows(
            "SELECT q.study_uid, COALESCE(st.accession, ''), COALESCE(p.patient_id, ''), q.rule, "
            "q.why, q.state, q.found_at, q.decision FROM qc_items q "
            "LEFT JOIN studies st USING (study_uid) LEFT JOIN patients p ON p.id = st.patient "
            "WHERE ? OR q.state IN ('held', 'listed') ORDER BY q.id",
            decided,
        )
        columns = ("study", "accession", "patient ID", "rule", "why", "state", "found", "decision")
        return Table(columns, rows, f"Quality control at {self._system.name}")

    def __repr__(self) -> str:
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def reasons(self, study_uid: str) -> list[str]:
        """Return what is wrong with a study, as far as nobody has decided on it."""
        return [row["why"] for row in self._open(study_uid)]

    @needs("correct")
    def release(self, study_uid: str, *, reason: str = "looked at") -> None:
        """Let a study through: it is seen, and sent on as the routes say.

        Raises
        ------
        NotFound
            If nothing of it waits.
        """
        items = self._require_open(study_uid)
        self._decide(items, "released", reason)
        self._pass_on(study_uid, items)

    @needs("correct")
    def reject(self, study_uid: str, *, reason: str = "quality", text: str = "") -> list[str]:
        """Reject a study; see `Pacs.reject`.

        Raises
        ------
        NotFound
            If nothing of it waits.
        """
        items = self._require_open(study_uid)
        notes = self._rejections.reject(study_uid, reason=reason, text=text)
        self._decide(items, "rejected", text or reason)
        return notes

    def fix(self, study_uid: str, *, reason: str, who: str = "administrator") -> Correction:
        """Correct a study to what its order says, and let it through if nothing else is wrong.

        Raises
        ------
        NotFound
            If nothing of it waits, or no order announced it.
        """
        self._require_open(study_uid)
        order = self._announced.study(study_uid)
        if order is None:
            raise NotFound(
                "No order has announced this study: nothing says what would be right.",
                "Use hospital.pacs.qc.correct(study_uid, patient_id=…, accession=…, reason=…).",
            )
        filed = self._filed(study_uid)
        ordered = self._announced.ordered(order)
        several = "\\" in order["accession"]
        right = ordered == (filed["patient_id"], filed["issuer"])
        return self.correct(
            study_uid,
            patient_id="" if right else "^^^".join(ordered),
            accession="" if several else order["accession"],
            reason=reason,
            who=who,
        )

    @needs("correct")
    def correct(
        self,
        uid: str,
        *,
        reason: str,
        who: str = "administrator",
        coded_reason: str = "CORRECT",
        dry_run: bool = False,
        patient_id: str = "",
        accession: str | None = None,
        **attributes: str,
    ) -> Correction:
        """Correct a study, a series or an image (see `Corrections.correct`), and look again."""
        correction = self._corrections.correct(
            uid,
            reason=reason,
            who=who,
            coded_reason=coded_reason,
            dry_run=dry_run,
            patient_id=patient_id,
            accession=accession,
            **attributes,
        )
        if correction.number:
            self.look_again(correction.study_uid)
        return correction

    def look_again(self, study_uid: str) -> None:
        """Close what is not wrong any more, and let the study through if nothing is."""
        items = self._open(study_uid)
        if not items:
            return
        instances = self._index.instances("STUDY", {"st.study_uid": [study_uid]})
        found = {
            finding
            for instance in instances
            if not self._rejections.is_rejected(instance.sop_uid)
            for finding in self._findings(
                self._sending.dataset(instance),
                self._files.path(instance.file).read_bytes(),
                self._sender(instance.sop_uid),
            )
        }
        mended = [i for i in items if i["rule"] != _REFUSED and (i["rule"], i["why"]) not in found]
        self._decide(mended, "fixed", "corrected")
        if len(mended) == len(items):
            self._pass_on(study_uid, items)

    # What comes in

    def arrived(self, arrival: Arrival) -> None:
        """Look at an image that has come."""
        if arrival.header.get("Modality") == "KO":
            return
        instance = self._index.find(str(arrival.header.SOPInstanceUID))
        assert instance is not None
        for rule, why in self._findings(arrival.header, arrival.data, arrival.calling):
            self._list(rule, why, instance.study_uid, instance.sop_uid)

    def refused(self, header: Dataset, calling: str, why: str) -> None:
        """List an image that the index has refused."""
        if self._rule(_REFUSED)["enabled"]:
            study_uid, sop_uid = str(header.StudyInstanceUID), str(header.SOPInstanceUID)
            self._list(_REFUSED, f"from {calling}: {why}", study_uid, sop_uid)

    def _findings(self, header: Dataset, data: bytes, calling: str) -> Iterable[tuple[str, str]]:
        seen = Seen(
            header, data, calling, self._filed(str(header.StudyInstanceUID)), self._announced
        )
        for rule in self._system.db.rows("SELECT * FROM qc_rules WHERE enabled = 1 ORDER BY rowid"):
            check = CHECKS.get(rule["name"])
            why = check(replace(seen, value=rule["value"])) if check else ""
            if why:
                yield rule["name"], why

    def _list(self, rule: str, why: str, study_uid: str, sop_uid: str) -> None:
        state = "held" if self._rule(rule)["hold"] else "listed"
        new = self._system.db.run(
            "INSERT OR IGNORE INTO qc_items (study_uid, sop_uid, rule, why, state, found_at) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            *(study_uid, sop_uid, rule, why, state, self._system.now()),
        )
        if new:
            self._ledger.note(f"quality control, {state}: {why}", study_uid)

    # Rows

    def _rule(self, name: str) -> dict[str, str]:
        row = self._system.db.row("SELECT * FROM qc_rules WHERE name = ?", name)
        assert row is not None
        return dict(row)

    def _open(self, study_uid: str) -> list[dict[str, str]]:
        rows = self._system.db.rows(
            "SELECT * FROM qc_items WHERE study_uid = ? AND state IN ('held', 'listed') "
            "ORDER BY id",
            study_uid,
        )
        return [dict(row) for row in rows]

    def _require_open(self, study_uid: str) -> list[dict[str, str]]:
        items = self._open(study_uid)
        if not items:
            raise NotFound(
                f"Nothing of study {study_uid!r} waits for quality control.",
                "print(hospital.pacs.qc) lists what does.",
            )
        return items

    def _decide(self, items: list[dict[str, str]], state: str, decision: str) -> None:
        if not decision.strip():
            raise ConfigurationError("A decision needs a reason.", "Say why.")
        self._system.db.run_many(
            "UPDATE qc_items SET state = ?, decision = ?, decided_at = ? WHERE id = ?",
            [(state, decision, self._system.now(), item["id"]) for item in items],
        )
        for item in items:
            self._ledger.note(
                f"quality control, {state}: {item['why']} ({decision})", item["study_uid"]
            )

    def _pass_on(self, study_uid: str, items: list[dict[str, str]]) -> None:
        if any(item["state"] == "held" for item in items):  # what was only listed has gone before
            self._routes.study(study_uid)

    def _filed(self, study_uid: str) -> dict[str, str]:
        row = self._system.db.row(
            "SELECT st.study_uid, st.accession, p.patient_id, p.issuer FROM studies st "
            "JOIN patients p ON p.id = st.patient WHERE st.study_uid = ?",
            study_uid,
        )
        if row is None:
            raise NotFound(f"The PACS has no study {study_uid!r}.")
        return dict(row)

    def _sender(self, sop_uid: str) -> str:
        return str(
            self._system.db.value("SELECT received_from FROM instances WHERE sop_uid = ?", sop_uid)
        )
