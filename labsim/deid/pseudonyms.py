"""Who is who: pseudonyms, new UIDs and days of shift, the same in every run of one project."""

from __future__ import annotations

import hmac
import secrets
import uuid
from base64 import b32encode
from pathlib import Path

from labsim.database import Database
from labsim.errors import ConfigurationError, NotFound
from labsim.table import Table

_SCHEMA = """
CREATE TABLE IF NOT EXISTS project (name TEXT PRIMARY KEY, secret BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS replaced (
    kind TEXT NOT NULL, original TEXT NOT NULL, replacement TEXT NOT NULL,
    PRIMARY KEY (kind, original));
"""
_MOST_DAYS = 5 * 365


class Pseudonyms:
    """The key of a project, by which the same original has always the same replacement.

    Every replacement is made of the original with the project's secret (HMAC-SHA256), so files
    and runs agree without a list, and nobody without the secret can tell or try them out.
    In a file the list is kept as well: with it the site can find a patient again.

    Parameters
    ----------
    path : Path or str, optional
        SQLite file that stays at the site. Without one nothing is kept: once this object
        is gone, nobody can say who was who.
    secret : str, optional
        Of the project; made up if left out. A file keeps its own.

    Raises
    ------
    ConfigurationError
        If the file cannot be used, or is of a project with another secret.
    """

    def __init__(self, path: Path | str | None = None, *, secret: str = "") -> None:
        given = secret.encode()
        self._db = None if path is None else Database(Path(path), _SCHEMA)
        self._kept: dict[tuple[str, str], str] = {}
        kept = self._db and self._db.value("SELECT secret FROM project")
        if self._db and kept and given and not hmac.compare_digest(kept, given):
            self._db.close()
            raise ConfigurationError(
                f"{path} belongs to a project with another secret.",
                "Leave the secret out, or name a new file.",
            )
        self._secret: bytes = kept or given or secrets.token_bytes(32)
        self._keep_secret()

    def patient(self, patient_id: str, issuer: str = "") -> str:
        """Return the pseudonym of a patient: ``"P-"`` and ten letters and digits."""
        who = f"{patient_id}^^^{issuer}" if issuer else patient_id
        code = b32encode(self._digest("patient", who))[:10].decode()
        return self._keep("patient", who, f"P-{code}")

    def uid(self, original: str) -> str:
        """Return another UID for a UID, under the root 2.25 (PS3.5 B.2)."""
        number = uuid.UUID(bytes=self._digest("uid", original)[:16], version=5).int
        return self._keep("uid", original, f"2.25.{number}")

    def days(self, patient_id: str, issuer: str = "") -> int:
        """Return by how many days the dates of a patient are off: always into the past."""
        digest = self._digest("days", f"{patient_id}^^^{issuer}")
        return -(1 + int.from_bytes(digest[:4], "big") % _MOST_DAYS)

    def original(self, replacement: str) -> str:
        """Return whom or what a pseudonym or a UID stands for.

        Raises
        ------
        NotFound
            If the list does not have it, or was thrown away.
        """
        for _, original, found in self._rows():
            if found == replacement:
                return original
        raise NotFound(
            f"Nobody knows what {replacement} stands for.",
            "Only the list of the project that made it can tell.",
        )

    def forget(self) -> None:
        """Throw the list and the secret away: no way back, and other replacements from now on."""
        self._kept.clear()
        self._secret = secrets.token_bytes(32)
        if self._db:
            self._db.run("DELETE FROM replaced")
            self._keep_secret()
            self._db.run("VACUUM")  # or the old pages stay in the file
            self._db.run("PRAGMA wal_checkpoint(TRUNCATE)")

    def table(self) -> Table:
        """Return who is who. It belongs to the site, never to who receives the images."""
        return Table(("what", "original", "replacement"), self._rows(), "Who is who")

    def close(self) -> None:
        """Close the file."""
        if self._db:
            self._db.close()

    def _digest(self, kind: str, original: str) -> bytes:
        return hmac.digest(self._secret, f"{kind}/{original}".encode(), "sha256")

    def _keep(self, kind: str, original: str, replacement: str) -> str:
        if (kind, original) not in self._kept:
            self._kept[kind, original] = replacement
            if self._db:
                self._db.run(
                    "INSERT OR IGNORE INTO replaced VALUES (?, ?, ?)", kind, original, replacement
                )
        return replacement

    def _keep_secret(self) -> None:
        if self._db:
            self._db.upsert("project", "name", name="secret", secret=self._secret)

    def _rows(self) -> list[tuple[str, str, str]]:
        if self._db:
            return [tuple(row) for row in self._db.rows("SELECT * FROM replaced ORDER BY 1, 2")]
        return [(kind, original, new) for (kind, original), new in sorted(self._kept.items())]
