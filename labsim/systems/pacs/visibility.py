"""What an ordinary application entity sees of the archive: nothing rejected, nothing held.

The four tables of the index hold everything. For ordinary callers the same
queries run on a connection of its own, where views of the same names leave out
rejected instances with the notes that reject them, held studies, and the series
and studies in which nothing is left. So counts, queries and retrieves agree, whatever is asked.
"""

from __future__ import annotations

from labsim.database import Database
from labsim.errors import ConfigurationError, NotFound
from labsim.systems.pacs.access import Access, needs
from labsim.systems.pacs.entities import Entities
from labsim.systems.pacs.index import Index, Instance
from labsim.table import Table

SCHEMA = """
CREATE TABLE IF NOT EXISTS hidden_readers (
    ae_title TEXT PRIMARY KEY       -- may see what is rejected or held
);
"""
# Names without a schema are looked up in "temp" first, so these stand before the tables.
_VIEWS = """
CREATE TEMP VIEW instances AS SELECT * FROM main.instances i
WHERE NOT EXISTS (
    SELECT 1 FROM main.rejections JOIN main.rejection_policies USING (title)
    WHERE sop_uid = i.sop_uid AND state = 'rejected' AND hide = 1)
AND NOT EXISTS (
    SELECT 1 FROM main.rejections JOIN main.rejection_policies USING (title)
    WHERE note_uid = i.sop_uid AND hide = 1)
AND series NOT IN (
    SELECT se.id FROM main.qc_items q JOIN main.studies st ON st.study_uid = q.study_uid
    JOIN main.series se ON se.study = st.id WHERE q.state = 'held');
CREATE TEMP VIEW series AS SELECT * FROM main.series
WHERE EXISTS (SELECT 1 FROM temp.instances i WHERE i.series = main.series.id);
CREATE TEMP VIEW studies AS SELECT * FROM main.studies
WHERE EXISTS (SELECT 1 FROM temp.series s WHERE s.study = main.studies.id);
PRAGMA query_only = ON;
"""


class Visibility:
    """Decides who sees what.

    Parameters
    ----------
    db : Database
        The index, with rejections and the quality-control queue.
    index : Index
        All of it.
    entities : Entities
        Who is registered.
    """

    access: Access  # who is at the console decides what may be changed

    def __init__(self, db: Database, index: Index, entities: Entities) -> None:
        self._db = db
        self._index = index
        self._entities = entities
        self._shown = Database(db.path, _VIEWS)
        self._shown_index = Index(self._shown)

    def close(self) -> None:
        """Close the connection of the views."""
        self._shown.close()

    @needs("configure")
    def grant(self, ae_title: str) -> None:
        """Let an application entity see what is rejected or held, such as a QC workstation.

        Raises
        ------
        ConfigurationError
            If it is not registered.
        """
        if self._entities.get(ae_title) is None:
            raise ConfigurationError(
                f"No AE title {ae_title!r} is registered at the PACS.",
                "Register it with hospital.pacs.register_ae(…) first.",
            )
        self._db.run("INSERT OR IGNORE INTO hidden_readers VALUES (?)", ae_title)

    @needs("configure")
    def revoke(self, ae_title: str) -> None:
        """Take that right back.

        Raises
        ------
        NotFound
            If it does not have it.
        """
        if not self._db.run("DELETE FROM hidden_readers WHERE ae_title = ?", ae_title):
            raise NotFound(f"{ae_title} may not see hidden images anyway.")

    def readers(self) -> Table:
        """Return the application entities that see what is hidden."""
        rows = self._db.rows("SELECT ae_title FROM hidden_readers ORDER BY ae_title")
        return Table(("AE title",), rows, "Who sees rejected and held images")

    def sees_all(self, ae_title: str) -> bool:
        """Tell whether an application entity sees what is hidden."""
        found = self._db.row("SELECT 1 FROM hidden_readers WHERE ae_title = ?", ae_title)
        return found is not None

    def database(self, ae_title: str) -> Database:
        """Return the database to query for a caller."""
        return self._db if self.sees_all(ae_title) else self._shown

    def index(self, ae_title: str) -> Index:
        """Return the index to retrieve from for a caller."""
        return self._index if self.sees_all(ae_title) else self._shown_index

    def sendable(self, sop_uid: str) -> Instance | None:
        """Return an instance that may be sent on: what is shown, and notes about what is not."""
        note = self._db.row("SELECT 1 FROM rejections WHERE note_uid = ?", sop_uid)
        return (self._shown_index if note is None else self._index).find(sop_uid)

    def held(self, study_uid: str) -> bool:
        """Tell whether quality control holds a study."""
        held = "SELECT 1 FROM qc_items WHERE study_uid = ? AND state = 'held'"
        return self._db.row(held, study_uid) is not None
