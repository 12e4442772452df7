"""A workstation: where a radiologist finds studies, fetches them and looks at them.

IHE actors: Image Display, Evidence Creator.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pydicom.dataset import Dataset

from labsim.errors import AssociationFailed, ConfigurationError, NotFound
from labsim.ids import make_uid
from labsim.imaging.presentation import make
from labsim.site import Site, WorkstationSite
from labsim.systems.audit.trail import AuditTrail, Study
from labsim.systems.facility import Facility
from labsim.systems.workstation import protocol_table, screen
from labsim.systems.workstation.cache import CacheFull
from labsim.systems.workstation.fetching import Fetching, is_uid
from labsim.systems.workstation.hanging import Shown
from labsim.systems.workstation.key_images import SERIES_NUMBER, encoded, note_about, wanted_of
from labsim.systems.workstation.opening import Opening
from labsim.systems.workstation.protocol_table import Protocols
from labsim.systems.workstation.reading import Reading
from labsim.systems.workstation.screen import Screen
from labsim.systems.workstation.seeing import Seen, newest_first, see


class Workstation(Fetching):
    """Finds studies in the archive, fetches them into its cache, and shows them.

    Parameters
    ----------
    site : Site
        Where the archive and the audit repository are.
    own : WorkstationSite
        Its own entry.
    facility : Facility
        What it shares with the others.

    Attributes
    ----------
    protocols : Protocols
        How studies hang.
    screen : Screen
        Its monitor.
    reading : Reading or None
        What is open.
    trail : AuditTrail
        Its audit trail.
    """

    def __init__(self, site: Site, own: WorkstationSite, facility: Facility) -> None:
        super().__init__(site, own, facility, protocol_table.SCHEMA + screen.SCHEMA)
        self.trail = AuditTrail(self, site.audit, ae_title=own.ae_title, host=own.host)
        self.protocols = Protocols(self)
        # A backlight ages whatever the clock of its host shows.
        self.screen = Screen(self, facility.journal.now)
        self.reading: Reading | None = None
        self._opening = Opening(self._asking, self.cache, self.protocols, self._fetch_to_show)

    def start(self) -> None:
        """Listen for images."""
        self._listen()
        self.trail.application(started=True)

    def resume(self) -> None:
        """Send what waits for the audit repository."""
        self.trail.resume()

    def stop(self) -> None:
        """Stop listening; what was received stays on disk."""
        ran = bool(self._services)
        self._close_services()
        if ran:
            self.trail.application(started=False)
        self.trail.close()
        super().stop()

    def open(self, study: str, *, user: str = "radiologist") -> Reading:
        """Open a study: fetch it and its priors, and hang them.

        Priors are earlier studies of the same patient (number and issuer), part of
        the body and kind of images, the most recent first. What was corrected or
        rejected at the archive since it came is fetched anew, or gone. Audited as
        DICOM Instances Accessed (PS3.15 A.5.3.6).

        Parameters
        ----------
        study : str
            Accession number or Study Instance UID.
        user : str
            Who opens it, for the audit trail.

        Returns
        -------
        Reading
            What hangs where, and what the reader should know.

        Raises
        ------
        NotFound
            If the archive has no such study, or no image of it can be shown.
        ConfigurationError
            If several studies have the accession number.
        AssociationFailed, DimseFailed
            If the archive does not answer, and nothing of it is here.
        """
        try:
            answer = self._study(study)
        except AssociationFailed as error:
            known = [study] if is_uid(study) else self.cache.studies(study)
            if len(known) != 1 or not self.cache.uids(known[0]):
                raise
            reading = self._opening.from_cache(known[0], error.what)
        else:
            reading = self._opening.open(answer, int(self.setting("priors")))
        self._accessed("R", user, reading.study, *reading.priors)
        self.note(
            f"study opened by {user}: hangs by {reading.hanging.protocol.name!r}, "
            f"{len(reading.priors)} priors",
            study_uid=reading.study.study_uid,
            accession=reading.study.accession,
            patient_id=reading.study.patient.patient_id,
        )
        self.reading = reading
        return reading

    def see(self, sop_uid: str) -> Seen:
        """Show an image of what is open on the monitor, as an eye gets it.

        The newest presentation state that refers to it is applied (PS3.4 N.2), else
        its own first window; then the monitor, with its calibration, its age and
        the light of its room (PS3.14).

        Parameters
        ----------
        sop_uid : str
            SOP Instance UID.

        Raises
        ------
        ConfigurationError
            If nothing is open.
        NotFound
            If the image does not hang.
        LabError
            If its pixels cannot be read.
        """
        reading = self._require_open()
        for study in (reading.study, *reading.priors):
            if sop_uid in {str(header.SOPInstanceUID) for header in study.headers}:
                states = newest_first(study.documents)
                return see(self.cache.image(sop_uid), states, self.screen.monitor)
        raise NotFound(
            f"The image {sop_uid} does not hang.",
            "reading.hanging.boxes has those that do.",
        )

    def mark_key_images(
        self, *sop_uids: str, title: str = "interest", text: str = "", user: str = "radiologist"
    ) -> Reading:
        """Point out images of the open study: write a key image note and store it (C-STORE).

        A Key Object Selection document (PS3.3 A.35.4). Whoever opens the study
        afterwards sees it.

        Parameters
        ----------
        *sop_uids : str
            SOP Instance UIDs.
        title : str
            ``"interest"``, ``"referrer"``, ``"surgery"``, ``"teaching"``, ``"conference"``.
        text : str
            In the reader's own words (Key Object Description).
        user : str
            Who marks them, for the audit trail.

        Returns
        -------
        Reading
            What is open, with the note.

        Raises
        ------
        ConfigurationError
            If nothing is open, no image is named, or there is no such title.
        NotFound
            If the open study has no such image.
        AssociationFailed, DimseFailed
            If the archive does not take the note; then there is none.
        """
        study, number = self._require_open().study, self.db.next("note")
        note = note_about(
            study,
            sop_uids,
            title,
            text,
            names=("key images", self.facility.seed, self.name, number),
            number=number,
            now=self.facility.clock.now(),
            facility=self.facility,
        )
        return self._add(note, f"{len(sop_uids)} key images marked", user)

    def save_presentation(
        self, *sop_uids: str, label: str = "READING", user: str = "radiologist", **looks: Any
    ) -> Reading:
        """Keep how images of the open study are to be seen: make a presentation state, store it.

        IHE Consistent Presentation of Images (RAD-9): whoever opens the study afterwards
        sees these images that way, here or at another workstation.

        Parameters
        ----------
        *sop_uids : str
            SOP Instance UIDs of images of one size; all that hang if left out.
        label : str
            Content Label (0070,0080), capitals.
        user : str
            Content Creator's Name, and for the audit trail.
        **looks
            Of `labsim.imaging.presentation.make`: ``window=(centre, width)``, ``inverse``,
            ``rotation``, ``flip``, ``area``, ``shutter``, ``annotations``.

        Returns
        -------
        Reading
            What is open; `see` applies the state.

        Raises
        ------
        ConfigurationError
            If nothing is open, or there can be no such state.
        NotFound
            If the open study has no such image.
        AssociationFailed, DimseFailed
            If the archive does not take it; then there is none.
        """
        study, number = self._require_open().study, self.db.next("state")
        names = ("presentation", self.facility.seed, self.name, number)
        images = [self.cache.image(uid) for uid in wanted_of(study, sop_uids)]
        try:
            state = make(
                images,
                series_uid=make_uid("series", *names),
                sop_uid=make_uid(*names),
                now=self.facility.clock.now(),
                label=label,
                creator=user if "^" in user else f"{user}^",  # a family name alone
                institution=self.facility.institution,
                series_number=SERIES_NUMBER + 100 + number,
                **looks,
            )
        except TypeError as error:
            raise ConfigurationError(
                f"A presentation state has no such value: {error}.",
                "Use window, inverse, rotation, flip, area, shutter or annotations.",
            ) from error
        return self._add(state, f"presentation state {label} for {len(images)} images saved", user)

    def _add(self, document: Dataset, what: str, user: str) -> Reading:
        """Store an object about the open study, here and in the archive."""
        reading = self._require_open()
        study = reading.study
        self._asking.store(document)
        try:
            self.cache.keep(encoded(document), document)
        except (CacheFull, OSError) as error:  # the archive has it
            self.note(f"{what}, and not kept here: {error}", kind="error")
        self._accessed("C", user, replace(study, headers=[], documents=[document]))
        self.note(
            f"{what} by {user}",
            study_uid=study.study_uid,
            accession=study.accession,
            patient_id=study.patient.patient_id,
            sop_uid=str(document.SOPInstanceUID),
        )
        shown = replace(study, documents=[*study.documents, document])
        self.reading = replace(reading, study=shown)
        return self.reading

    def close(self) -> None:
        """Close what is open; its images stay in the cache while there is room."""
        if self.reading is not None:
            self.note(f"study closed: {self.reading.study.accession}")
        self.reading = None
        self.cache.hold([])

    def _require_open(self) -> Reading:
        if self.reading is None:
            raise ConfigurationError(
                f"Nothing is open at {self.name}.", "Use open(…) with an accession number first."
            )
        return self.reading

    def _accessed(self, action: str, user: str, *studies: Shown) -> None:
        """Report that somebody read or made instances (PS3.15 A.5.3.6)."""
        about = [
            Study(each.study_uid, each.accession, each.description, each.sop_classes())
            for each in studies
        ]
        who = [self.trail.person(user), self.trail.itself()]
        self.trail.about("110103", action, who, studies[0].patient, about)
