"""Storage tiers of the PACS: what lies online, what is put away, and when there is no room."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from datetime import datetime, timedelta
from typing import Any

from labsim.errors import ConfigurationError, LabError
from labsim.systems.audit.trail import AuditTrail
from labsim.systems.facility import System
from labsim.systems.pacs.access import Access, needs
from labsim.systems.pacs.files import NEARLINE, ONLINE, FileStore, in_tier, tier_of
from labsim.systems.pacs.forecast import Forecast, forecast
from labsim.systems.pacs.index import Index, Instance
from labsim.systems.pacs.lossless import compressed, expanded
from labsim.systems.pacs.mover import FileChanged, Mover, as_it_is
from labsim.systems.pacs.storage_policy import StoragePolicy, policy_of
from labsim.table import Table

IN_NEARLINE = f"i.file LIKE '{NEARLINE}/%'"


class Storage:
    """Moves studies between the tiers, by a policy that is kept as data.

    Parameters
    ----------
    system : System
        The PACS.
    index : Index
        Its index.
    files : FileStore
        Its files.
    access : Access
        Who is asking.
    trail : AuditTrail
        Hears of changes of the policy.

    Attributes
    ----------
    moving : lock
        Held while files are moved or deleted; a backup holds it too.
    """

    def __init__(
        self, system: System, index: Index, files: FileStore, access: Access, trail: AuditTrail
    ) -> None:
        self._system = system
        self._index = index
        self._files = files
        self._mover = Mover(system, files)
        self.access = access
        self._trail = trail
        self.moving = threading.RLock()
        self._full = False  # whether the alarm was given
        kept = system.db.value("SELECT policy FROM storage_policy WHERE id = 1")
        self.policy = policy_of(json.loads(kept)) if kept else StoragePolicy()
        self._apply()
        self._settle()

    # Policy

    @needs("configure")
    def configure(self, **changes: Any) -> StoragePolicy:
        """Change the policy.

        Parameters
        ----------
        **changes
            Fields of `StoragePolicy`.

        Raises
        ------
        ConfigurationError
            If it has no such field, or the values cannot be right.
        """
        known = [field.name for field in fields(StoragePolicy)]
        for name in changes:
            if name not in known:
                raise ConfigurationError(
                    f"The storage policy has no {name!r}.", f"Use {', '.join(known)}."
                )
        policy = policy_of({**asdict(self.policy), **changes})
        if not 0 < policy.low <= policy.high <= 1:
            raise ConfigurationError(
                f"Watermarks {policy.low:g} and {policy.high:g} are not in order.",
                "0 < low <= high <= 1, as shares of the quota.",
            )
        if min(policy.online_quota, policy.nearline_quota, policy.idle_days) < 0:
            raise ConfigurationError("A quota or an age is below zero.", "Use 0 for no limit.")
        self.policy = policy
        self._system.db.upsert("storage_policy", "id", id=1, policy=json.dumps(asdict(self.policy)))
        self._apply()
        said = ", ".join(f"{name} {value}" for name, value in changes.items())
        self._system.note(f"storage policy changed: {said}")
        by = self._trail.person(self.access.session.user)
        self._trail.alert("110131", f"storage policy: {said}", by=by, about="storage")
        return policy

    def table(self) -> Table:
        """Return what each tier holds, and how full it is."""
        self._files.measure()
        rows = []
        quotas = {ONLINE: self.policy.online_quota, NEARLINE: self.policy.nearline_quota}
        for tier, quota in quotas.items():
            test = IN_NEARLINE if tier == NEARLINE else f"NOT {IN_NEARLINE}"
            row = self._system.db.row(
                "SELECT COUNT(DISTINCT se.study), COUNT(i.id) FROM instances i "
                f"JOIN series se ON se.id = i.series WHERE {test}"
            )
            assert row is not None
            used = self._files.used(tier)
            rows.append((tier, *row, used, quota or "", f"{used / quota:.0%}" if quota else ""))
        marks = f"high watermark {self.policy.high:.0%}, low {self.policy.low:.0%}"
        columns = ("tier", "studies", "images", "bytes", "quota", "full")
        return Table(columns, rows, f"Storage of {self._system.name}, {marks}")

    def forecast(self, days: int = 365) -> Forecast:
        """Say when the archive is full, from how it has grown.

        Parameters
        ----------
        days : int
            How far to look ahead.

        Returns
        -------
        Forecast
            With the days that it is based on; without a date if those are too few.
        """
        rows = self._system.db.rows(
            "SELECT SUBSTR(received_at, 1, 10) AS day, SUM(bytes) AS bytes FROM instances "
            "GROUP BY day ORDER BY day"
        )
        history = {datetime.fromisoformat(row["day"]).date(): int(row["bytes"]) for row in rows}
        # Without a quota nearline never fills: then it is the online tier that matters.
        tiers = (ONLINE, NEARLINE) if self.policy.nearline_quota else (ONLINE,)
        quota = sum(self._files.quotas[tier] for tier in tiers) if self.policy.online_quota else 0
        marks = {"high watermark": int(quota * self.policy.high), "quota": quota} if quota else {}
        used = sum(self._files.used(tier) for tier in tiers)
        return forecast(history, used, self._system.facility.clock.now().date(), marks, days)

    # Moving

    @needs("configure")
    def run(self) -> Table:
        """Put away what the policy says, in one pass.

        Returns
        -------
        Table
            The studies that were put away.
        """
        return self._run()

    def watch(self) -> None:
        """Put studies away if the high watermark is passed; for the PACS's worker."""
        if self._files.used(ONLINE) >= self.policy.high_mark:
            self._run()

    def _run(self) -> Table:
        with self.moving:
            self._files.measure()
            moved: list[tuple[str, str, int, int, int]] = []
            for study in self._candidates():
                idle = study["last"] <= self._idle_since()
                if not idle and not self._must_shrink(bool(moved)):
                    break
                moved += self._put_away(study)
        columns = ("study", "accession", "images", "bytes before", "bytes after")
        if moved:
            images = sum(row[2] for row in moved)
            self._system.note(f"{len(moved)} studies with {images} images put away nearline")
        self._alarm()
        return Table(columns, moved, f"{len(moved)} studies put away")

    def _must_shrink(self, begun: bool) -> bool:
        """Tell whether the online tier holds too much, by the mark that counts now."""
        used = self._files.used(ONLINE)
        shrinking = begun or used >= self.policy.high_mark
        low = self.policy.low * self.policy.online_quota
        return bool(self.policy.online_quota) and shrinking and used > low

    def _idle_since(self) -> str:
        """Return the time before which a study counts as idle; before all times for never."""
        if not self.policy.idle_days:
            return ""
        past = self._system.facility.clock.now() - timedelta(days=self.policy.idle_days)
        return past.isoformat(timespec="seconds")

    def _candidates(self) -> Sequence[Mapping[str, Any]]:
        """Return the studies that lie online, those not asked for longest first."""
        may = self.policy.modalities
        marks = ", ".join("?" * len(may))
        wanted = f"AND se.modality IN ({marks})" if may else ""
        rows = self._system.db.rows(
            "SELECT st.id, st.study_uid, st.accession, "
            "MAX(MAX(i.accessed_at, i.received_at)) AS last "
            "FROM instances i JOIN series se ON se.id = i.series JOIN studies st "
            f"ON st.id = se.study WHERE NOT {IN_NEARLINE} {wanted} GROUP BY st.id "
            "ORDER BY last, st.id",
            *may,
        )
        return [dict(row) for row in rows]

    def _put_away(self, study: Mapping[str, Any]) -> list[tuple[str, str, int, int, int]]:
        """Move one study; return what the table says of it."""
        may = self.policy.modalities
        rows = self._system.db.rows(
            "SELECT i.sop_uid, i.file, i.bytes, i.transfer_syntax, se.modality FROM instances i "
            f"JOIN series se ON se.id = i.series WHERE se.study = ? AND NOT {IN_NEARLINE}",
            study["id"],
        )
        change = compressed if self.policy.compress else as_it_is
        done, before, after = 0, 0, 0
        for row in map(dict, rows):
            if may and row["modality"] not in may:
                continue
            try:
                size = self._mover.move(row, NEARLINE, change)
            except (OSError, FileChanged) as error:
                why = error.what if isinstance(error, LabError) else error.strerror
                self._system.note(
                    f"{row['sop_uid']} not put away: {why}", kind="error", sop_uid=row["sop_uid"]
                )
                continue
            done, before, after = done + 1, before + row["bytes"], after + size
        return [(study["study_uid"], study["accession"], done, before, after)] if done else []

    # Asking for what was put away

    @needs("retrieve")
    def recall(self, study_uid: str) -> int:
        """Bring a study online before somebody asks for it, and return how many images came."""
        return self._bring(study_uid)

    def bring(self, study_uid: str) -> None:
        """Do what `recall` does, for the archive itself, as when a prior is prefetched."""
        self._bring(study_uid)

    def _bring(self, study_uid: str) -> int:
        wanted = self._index.instances("STUDY", {"st.study_uid": [study_uid]})
        far = [instance for instance in wanted if tier_of(instance.file) == NEARLINE]
        with self.moving:
            came = sum(self._recall(instance) for instance in far)
        self._touch([instance.sop_uid for instance in wanted])
        return came

    def fetched(self, instances: list[Instance]) -> list[Instance]:
        """Bring instances online that are about to be sent, and note that they were asked for.

        Parameters
        ----------
        instances : list of Instance
            What a retrieve is about.

        Returns
        -------
        list of Instance
            The same, as they are now. What cannot come back, for want of
            room, is sent from where it is.
        """
        far = [instance for instance in instances if tier_of(instance.file) == NEARLINE]
        if far and self.policy.recall:
            with self.moving:
                came = sum(self._recall(instance) for instance in far)
            keys = {"study_uid": far[0].study_uid}
            self._system.note(f"{came} of {len(far)} images recalled from nearline", **keys)
        self._touch([instance.sop_uid for instance in instances])
        if not far:
            return instances
        return [self._index.find(instance.sop_uid) or instance for instance in instances]

    def _recall(self, instance: Instance) -> bool:
        row = self._system.db.row(
            "SELECT sop_uid, file, bytes, transfer_syntax, original_syntax FROM instances "
            "WHERE sop_uid = ?",
            instance.sop_uid,
        )
        if row is None or tier_of(row["file"]) == ONLINE:  # somebody else was faster
            return row is not None
        try:
            self._mover.move(dict(row), ONLINE, expanded if row["original_syntax"] else as_it_is)
        except (OSError, FileChanged) as error:
            why = error.what if isinstance(error, LabError) else error.strerror
            self._system.note(f"{instance.sop_uid} not recalled: {why}", kind="error")
            return False
        return True

    def _touch(self, sop_uids: Sequence[str]) -> None:
        now = self._system.now()
        self._system.db.run_many(
            "UPDATE instances SET accessed_at = ? WHERE sop_uid = ?",
            [(now, uid) for uid in sop_uids],
        )

    # Order

    def _apply(self) -> None:
        quotas = {ONLINE: self.policy.online_quota, NEARLINE: self.policy.nearline_quota}
        self._files.quotas = quotas

    def _settle(self) -> None:
        """Remove what a killed process left of a move: the copy that the index does not name."""
        known = self._index.files()
        for name in self._files.names() - known:
            other = in_tier(name, ONLINE if tier_of(name) == NEARLINE else NEARLINE)
            if other in known and self._files.path(other).is_file():
                self._files.remove(name)
                self._system.note(f"file {name} removed: the index names {other}")

    def _alarm(self) -> None:
        """Say once that the online tier stays above its high watermark."""
        full = self._files.used(ONLINE) >= self.policy.high_mark
        if full and not self._full:
            self._system.note(
                f"online storage stays above its high watermark of {self.policy.high:.0%}: "
                "nothing more can be put away",
                kind="error",
            )
        self._full = full
