"""How a workstation is set up: whom it knows, and its settings."""

from __future__ import annotations

from collections.abc import Iterable

from labsim.errors import ConfigurationError, NotFound
from labsim.ids import is_ae_title
from labsim.site import DeskSite, PacsSite
from labsim.systems.facility import Facility, System
from labsim.table import Table
from labsim.wire.dimse import Call, Peer, Rejection
from labsim.wire.status import CALLING_TITLE_UNKNOWN

_SCHEMA = """
CREATE TABLE IF NOT EXISTS peers (
    ae_title TEXT PRIMARY KEY,      -- whose associations are accepted
    host     TEXT NOT NULL,
    port     INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
"""
_SETTINGS = {
    "archive": "AE title of the peer that is asked for studies",
    "destination": "AE title that a C-MOVE names: its own, as the archive knows it",
    "priors": "how many priors are fetched when a study is opened, at most",
}


class Configured(System):
    """A system that knows some application entities, and asks one of them for studies.

    Parameters
    ----------
    name : str
        Its name in the hospital.
    facility : Facility
        What it shares with the others.
    schema : str
        Its other tables.
    """

    ae_title: str

    def __init__(self, name: str, facility: Facility, schema: str) -> None:
        super().__init__(name, facility, _SCHEMA + schema)

    def _begin(self, own_title: str, known: Iterable[PacsSite | DeskSite]) -> None:
        """Set up what a new workstation knows; the first one it knows is its archive."""
        first, *others = known
        for part in (first, *others):
            self._know(part.ae_title, part.host, part.dicom_port)
        for name, value in (
            ("archive", first.ae_title),
            ("destination", own_title),
            ("priors", "2"),
        ):
            self._set(name, value)

    def register_ae(self, ae_title: str, *, host: str, port: int) -> None:
        """Let an application entity store images here, and be asked for studies.

        Parameters
        ----------
        ae_title : str
            As it calls, letter for letter.
        host, port
            Where it listens.

        Raises
        ------
        ConfigurationError
            If title or port cannot be right.
        """
        if not is_ae_title(ae_title) or not 1 <= port <= 65535:
            raise ConfigurationError(
                f"{ae_title!r} at {host}:{port} is no application entity.",
                "Give a title of 1 to 16 characters, a host name and a port 1 to 65535.",
            )
        self._know(ae_title, host, port)
        self.note(f"AE title {ae_title} registered at {host}:{port}")

    def remove_ae(self, ae_title: str) -> None:
        """Let an application entity in no longer.

        Raises
        ------
        NotFound
            If it is not registered.
        """
        if not self.db.run("DELETE FROM peers WHERE ae_title = ?", ae_title):
            raise NotFound(
                f"{self.name} does not know the AE title {ae_title!r}.",
                "peers() lists those that it knows.",
            )
        self.note(f"AE title {ae_title} removed")

    def peers(self) -> Table:
        """Return the application entities that it knows."""
        archive = self.setting("archive")
        rows = [
            (*row, "is asked for studies" if row["ae_title"] == archive else "")
            for row in self.db.rows("SELECT ae_title, host, port FROM peers ORDER BY ae_title")
        ]
        columns = ("AE title", "host", "port", "archive")
        return Table(columns, rows, f"Known to {self.ae_title}")

    def configure(self, name: str, value: str) -> None:
        """Change a setting.

        Parameters
        ----------
        name : str
            ``"archive"``, ``"destination"`` or ``"priors"``, as `settings` explains them.
        value : str
            An AE title, or a number.

        Raises
        ------
        ConfigurationError
            If there is no such setting, or it cannot have that value.
        """
        if name not in _SETTINGS:
            raise ConfigurationError(
                f"A workstation has no setting {name!r}.", f"Use {', '.join(_SETTINGS)}."
            )
        if name == "priors" and not value.isdecimal():
            raise ConfigurationError(f"{value!r} is no number of priors.", "For example 2.")
        if name != "priors" and not is_ae_title(value):
            raise ConfigurationError(f"{value!r} is no AE title.", "1 to 16 characters.")
        self._set(name, value)
        self.note(f"{name} set to {value}")

    def settings(self) -> Table:
        """Return the settings, with what each is."""
        rows = [(name, self.setting(name), words) for name, words in _SETTINGS.items()]
        return Table(("setting", "value", "what it is"), rows, f"Settings of {self.name}")

    def setting(self, name: str) -> str:
        """Return the value of a setting."""
        return str(self.db.value("SELECT value FROM settings WHERE name = ?", name))

    def _admit(self, call: Call) -> Rejection | None:
        known = self.db.row("SELECT 1 FROM peers WHERE ae_title = ?", call.calling)
        if known is not None:
            return None
        self.note(f"association of {call.calling} rejected: not registered here", kind="error")
        return CALLING_TITLE_UNKNOWN

    def _archive(self) -> Peer:
        title = self.setting("archive")
        row = self.db.row("SELECT host, port FROM peers WHERE ae_title = ?", title)
        if row is None:
            raise ConfigurationError(
                f"{self.name} does not know where {title} is.",
                "Use register_ae(…) for it, or configure('archive', …) for another one.",
            )
        return Peer(title, row["host"], row["port"])

    def _know(self, ae_title: str, host: str, port: int) -> None:
        self.db.upsert("peers", "ae_title", ae_title=ae_title, host=host, port=port)

    def _set(self, name: str, value: str) -> None:
        self.db.upsert("settings", "name", name=name, value=value)
