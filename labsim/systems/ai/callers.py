"""Who may call the AI node: AE titles, as its database has them."""

from __future__ import annotations

from collections.abc import Iterable

from labsim.errors import ConfigurationError, NotFound
from labsim.ids import is_ae_title
from labsim.sop_classes import VERIFICATION
from labsim.systems.facility import System
from labsim.table import Table
from labsim.wire.dimse import Call, Rejection
from labsim.wire.status import CALLING_TITLE_UNKNOWN

SCHEMA = "CREATE TABLE IF NOT EXISTS callers (ae_title TEXT PRIMARY KEY);\n"


class Callers:
    """The AE titles that may call.

    Parameters
    ----------
    system : System
        Its database has the table of `SCHEMA`.
    at_first : iterable of str
        Who may before anybody has configured it.
    """

    def __init__(self, system: System, at_first: Iterable[str]) -> None:
        self._system = system
        if system.db.next("callers configured") == 1:
            for title in at_first:
                self._add(title)

    def add(self, ae_title: str) -> None:
        """Let an application entity call.

        Raises
        ------
        ConfigurationError
            If that is no AE title.
        """
        if not is_ae_title(ae_title):
            raise ConfigurationError(
                f"{ae_title!r} is no AE title.", "1 to 16 characters, no backslash (PS3.5 6.2)."
            )
        self._add(ae_title)
        self._system.note(f"{ae_title} may call")

    def remove(self, ae_title: str) -> None:
        """Let an application entity call no more.

        Raises
        ------
        NotFound
            If it might not before.
        """
        if not self._system.db.run("DELETE FROM callers WHERE ae_title = ?", ae_title):
            raise NotFound(
                f"{ae_title!r} may not call {self._system.name}.", "See callers.table()."
            )
        self._system.note(f"{ae_title} may call no more")

    def table(self) -> Table:
        """Return who may call."""
        rows = self._system.db.rows("SELECT ae_title FROM callers ORDER BY 1")
        return Table(("AE title",), rows, f"Who may call {self._system.name}")

    def admit(self, call: Call) -> Rejection | None:
        """Let anybody verify, and for the rest those who are known (PS3.8 9.3.4)."""
        known = "SELECT 1 FROM callers WHERE ae_title = ?"
        if call.sop_classes <= {VERIFICATION} or self._system.db.row(known, call.calling):
            return None
        return CALLING_TITLE_UNKNOWN

    def _add(self, ae_title: str) -> None:
        self._system.db.run("INSERT OR IGNORE INTO callers VALUES (?)", ae_title)
