"""Vendor neutral archive: a second store beside the PACS, set up in its own way.

IHE actors: Image Manager, Image Archive.
"""

from __future__ import annotations

from labsim.site import Site
from labsim.systems.archive import issuers, migration, morphing
from labsim.systems.archive.issuers import Issuers
from labsim.systems.archive.migration import Migration
from labsim.systems.archive.morphing import Morphing
from labsim.systems.archive.objects import ObjectFiles
from labsim.systems.facility import Facility
from labsim.systems.pacs import DicomPart, Pacs


class Archive(Pacs):
    """Keeps studies for good, whichever PACS they were made for.

    It speaks what the PACS speaks, and differs in how it is set up: at first
    it knows the PACS and the desk only, so no scanner stores here; it refuses a
    second content under a SOP Instance UID (0x0111), and insists on
    hierarchical queries (PS3.4 C.4.1.2.1).

    Parameters
    ----------
    site : Site
        With an archive.
    facility : Facility
        What it shares with the others.

    Attributes
    ----------
    morphing : Morphing
        Rules that change attributes on the way in.
    issuers : Issuers
        Whose patient IDs become whose.
    objects : ObjectFiles
        The object storage in which its files lie.
    migration : Migration
        Brings the studies of another archive here.
    """

    schema = Pacs.schema + morphing.SCHEMA + issuers.SCHEMA + migration.SCHEMA

    def __init__(self, site: Site, facility: Facility) -> None:
        super().__init__(site, facility, own=site.archive, name="archive")
        if self.db.next("set up") == 1:
            self._settings.set("duplicates", "reject")
            self._settings.set("strict_hierarchy", "yes")
        title = self._own.ae_title
        self.morphing = Morphing(self, title, self.access)
        self.issuers = Issuers(self, title, self.access)
        self._storing.on_the_way_in += [self.morphing.change, self.issuers.change]
        self.migration = Migration(
            *(self, self._dicom, self._index, self._files, self._entities, self.access)
        )

    def _store(self) -> ObjectFiles:
        self.objects = ObjectFiles(self.folder, self.facility.room)
        self.objects.now = self.now
        return self.objects

    def _known_at_first(self, site: Site) -> list[DicomPart]:
        return [site.pacs, site.desk]

    def wait_until_idle(self, timeout: float) -> bool:
        """Wait until the background work at hand is done, a migration too; tell whether."""
        return super().wait_until_idle(timeout) and self.migration.wait(timeout)

    def resume(self) -> None:
        """Take up what waited, a migration too."""
        super().resume()
        self.migration.take_up()

    def migrate(
        self, source: str = "PACS", *, into: str = "", images_per_second: float = 0.0, **keys: str
    ) -> Migration:
        """Begin to bring the studies of an archive here, or into another; see `Migration.start`.

        Returns
        -------
        Migration
            To pause, to wait for, and to ask how far it is.
        """
        self.migration.start(source, into=into, images_per_second=images_per_second, **keys)
        return self.migration

    def _close_services(self) -> None:
        self.migration.halt()
        super()._close_services()  # aborts its associations
        self.migration.close()
