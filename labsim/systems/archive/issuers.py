"""Issuer mapping: patient IDs of another assigning authority become those of this one."""

from __future__ import annotations

from io import BytesIO

from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence

from labsim.errors import ConfigurationError, LabError, NotFound
from labsim.systems.archive.morphing import written
from labsim.systems.facility import System, text_of
from labsim.systems.pacs.access import Access, needs
from labsim.systems.pacs.overlay import Amendment, amend
from labsim.table import Table
from labsim.wire.association_log import dicom_keys

SCHEMA = """
CREATE TABLE IF NOT EXISTS issuer_map (
    issuer TEXT PRIMARY KEY,
    "to"   TEXT NOT NULL,
    prefix TEXT NOT NULL,
    UNIQUE ("to", prefix)
);
"""
_LONGEST = 64  # characters of a Patient ID (VR LO)


class Issuers:
    """The table of issuers, and what it does with an image.

    A patient ID is unique only together with its issuer (PS3.3 C.7.1.1), so
    two numbers of different patients must not become one: each mapping has a
    prefix of its own.

    Parameters
    ----------
    system : System
        The archive.
    own_title : str
        Its AE title, named as the Modifying System.
    access : Access
        Who is asking.
    """

    def __init__(self, system: System, own_title: str, access: Access) -> None:
        self._system = system
        self._own_title = own_title
        self.access = access

    @needs("configure")
    def map(self, issuer: str, *, to: str, prefix: str) -> None:
        """Let the patient IDs of one issuer become those of another.

        Parameters
        ----------
        issuer : str
            As images name it in Issuer of Patient ID (0010,0021).
        to : str
            Whose they become.
        prefix : str
            What is put in front of each number.

        Raises
        ------
        ConfigurationError
            If two patients could get one number by it.
        """
        if not issuer or not to or issuer == to:
            raise ConfigurationError(
                f"{issuer!r} cannot become {to!r}.", "Name two different issuers."
            )
        if not prefix:
            raise ConfigurationError(
                f"Without a prefix a number of {issuer} could be that of somebody else at {to}.",
                f'For example prefix="{issuer[:3]}-".',
            )
        other = self._system.db.value(
            'SELECT issuer FROM issuer_map WHERE "to" = ? AND prefix = ? AND issuer != ?',
            *(to, prefix, issuer),
        )
        if other is not None:
            raise ConfigurationError(
                f"The prefix {prefix!r} is that of {other} already.", "Choose another prefix."
            )
        self._system.db.run(
            "INSERT OR REPLACE INTO issuer_map VALUES (?, ?, ?)", issuer, to, prefix
        )
        self._system.note(f"patient IDs of {issuer} become {prefix}… of {to}")

    @needs("configure")
    def remove(self, issuer: str) -> None:
        """Leave the patient IDs of an issuer as they are from now on.

        Raises
        ------
        NotFound
            If they are left already.
        """
        if not self._system.db.run("DELETE FROM issuer_map WHERE issuer = ?", issuer):
            raise NotFound(f"Patient IDs of {issuer!r} are not mapped.", "archive.issuers.table()")
        self._system.note(f"patient IDs of {issuer} stay as they are")

    def table(self) -> Table:
        """Return whose patient IDs become whose."""
        rows = self._system.db.rows('SELECT issuer, "to", prefix FROM issuer_map ORDER BY issuer')
        return Table(("issuer", "becomes", "prefix"), rows, f"Issuers at {self._own_title}")

    def change(self, data: bytes, header: FileDataset, calling: str) -> bytes | None:
        """Return the file of an image under its new patient ID, None if that stays.

        The old one is kept in the Other Patient IDs Sequence (0010,1002; PS3.3
        C.7.1.1), and the change is told in the Original Attributes Sequence.

        Raises
        ------
        LabError
            If the new number is too long.
        """
        number = text_of(header.get("PatientID"))
        issuer = text_of(header.get("IssuerOfPatientID"))
        row = self._system.db.row('SELECT "to", prefix FROM issuer_map WHERE issuer = ?', issuer)
        if row is None or not number:
            return None
        new = f"{row['prefix']}{number}"
        if len(new) > _LONGEST:
            raise LabError(f"Patient ID {new} would have more than {_LONGEST} characters.")
        dataset = dcmread(BytesIO(data))
        changes = {"PatientID": new, "IssuerOfPatientID": row["to"]}
        amend(dataset, Amendment(changes, self._system.now(), self._own_title, calling, "COERCE"))
        old = Dataset()
        old.PatientID, old.IssuerOfPatientID, old.TypeOfPatientID = number, issuer, "TEXT"
        others = dataset.get("OtherPatientIDsSequence") or []
        dataset.OtherPatientIDsSequence = Sequence([*others, old])
        what = f"patient ID {number} of {issuer} became {new} of {row['to']}"
        self._system.note(what, **dicom_keys(header))
        return written(dataset)
