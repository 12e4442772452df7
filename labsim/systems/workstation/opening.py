"""Opening a study: what is shown is what the archive says at that moment.

The cache may hold what was rejected, moved to another patient or renamed
since it came. So the archive is asked each time, and what has changed is
fetched anew; if it cannot be asked, that is said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydicom.dataset import Dataset

from labsim.errors import AssociationFailed, DimseFailed, NotFound
from labsim.systems.facility import text_of
from labsim.systems.records import Patient
from labsim.systems.workstation.asking import Asking
from labsim.systems.workstation.cache import Cache
from labsim.systems.workstation.hanging import NOT_IMAGES, Shown, hang
from labsim.systems.workstation.priors import earlier, patient_of
from labsim.systems.workstation.protocol_table import Protocols
from labsim.systems.workstation.reading import Reading

_ANSWER = ("AccessionNumber", "StudyDate", "StudyTime", "StudyDescription")


class Opening:
    """Brings a study and its priors onto the screens.

    Parameters
    ----------
    asking : Asking
        The requests to the archive.
    cache : Cache
        The images that are here.
    protocols : Protocols
        How studies hang.
    fetch : callable
        Fetches what is missing of a study that the archive has; returns the UIDs that
        the archive has of it, and what is not right.
    """

    def __init__(
        self,
        asking: Asking,
        cache: Cache,
        protocols: Protocols,
        fetch: Callable[[Dataset], tuple[set[str], str]],
    ) -> None:
        self._asking = asking
        self._cache = cache
        self._protocols = protocols
        self._fetch = fetch

    def open(self, answer: Dataset, most: int) -> Reading:
        """Open a study that the archive has, with at most so many priors.

        Raises
        ------
        NotFound
            If no image of it can be shown.
        """
        remarks: list[str] = []
        current = self._shown(answer, remarks)
        found = earlier(self._asking, current)
        remarks += found.remarks
        priors: list[Shown] = []
        for prior in found.relevant:
            if len(priors) < most:
                priors += self._prior(prior, current, remarks)
        return self._hung(current, priors, remarks)

    def from_cache(self, study_uid: str, why: str) -> Reading:
        """Open what is here of a study, when the archive cannot be asked.

        Raises
        ------
        NotFound
            If nothing of it is here.
        """
        remarks = [
            f"The archive could not be asked: {why}",
            "What is shown came earlier. It may be incomplete, or corrected since; no priors "
            "were looked for.",
        ]
        headers = self._headers(self._cache.uids(study_uid))
        if not headers:
            raise NotFound(
                f"Nothing of {study_uid} is here, and the archive cannot be asked. {why}"
            )
        return self._hung(_study(headers[0], patient_of(headers[0]), headers), [], remarks)

    def _hung(self, current: Shown, priors: list[Shown], remarks: list[str]) -> Reading:
        hanging = hang(self._protocols.enabled(), current, priors)
        remarks += [
            f"No image for {box.image_set.label!r}." for box in hanging.boxes if not box.headers
        ]
        self._cache.hold([current.study_uid, *(prior.study_uid for prior in priors)])
        return Reading(current, priors, hanging, remarks, self._cache.image)

    def _prior(self, answer: Dataset, current: Shown, remarks: list[str]) -> list[Shown]:
        """Return a prior that can be compared with, or nothing and say why."""
        name = text_of(answer.AccessionNumber)
        try:
            prior = self._shown(answer, remarks)
        except (AssociationFailed, DimseFailed, NotFound) as error:
            remarks.append(f"The prior {name} is not shown: {error.what}")
            return []
        sides = {current.laterality, prior.laterality}
        if len(sides) == 2 and "" not in sides:
            remarks.append(f"{name} is of the other side: not shown as a prior.")
            return []
        return [prior]

    def _shown(self, answer: Dataset, remarks: list[str]) -> Shown:
        """Fetch a study and return what may be shown of it."""
        uid, person = str(answer.StudyInstanceUID), patient_of(answer)
        before = self._headers(self._cache.uids(uid))
        stale = {str(header.SOPInstanceUID) for header in before if not _current(header, answer)}
        self._cache.drop(stale)
        listed, problem = self._fetch(answer)
        here = self._cache.uids(uid)
        gone = here - listed
        self._cache.drop(gone)
        name = text_of(answer.AccessionNumber)
        if stale:
            remarks.append(f"{name}: {len(stale)} images were fetched anew, as corrected since.")
        if gone:
            remarks.append(f"{name}: {len(gone)} images that the archive no longer gives are gone.")
        if problem:
            remarks.append(f"{name}: {problem}")
        headers = self._headers(here & listed)
        own = [header for header in headers if _belongs(header, person)]
        if len(own) < len(headers):
            remarks.append(
                f"{name}: {len(headers) - len(own)} images name another patient than the archive "
                "does: not shown."
            )
        shown = _study(answer, person, own)
        if not shown.headers:
            raise NotFound(
                f"Of study {name or uid} there is no image to show.",
                *(remarks[-1:] if problem or len(own) < len(headers) else []),
            )
        return shown

    def _headers(self, sop_uids: set[str]) -> list[Dataset]:
        headers = [self._cache.image(uid, pixels=False) for uid in sop_uids]
        return sorted(headers, key=_place)


def _study(answer: Dataset, person: Patient, headers: Sequence[Dataset]) -> Shown:
    accession, date, time, description = (text_of(answer.get(keyword)) for keyword in _ANSWER)
    return Shown(
        *(str(answer.StudyInstanceUID), accession, date, time, description, person),
        [header for header in headers if header.get("Modality") not in NOT_IMAGES],
        [header for header in headers if header.get("Modality") in NOT_IMAGES],
    )


def _belongs(header: Dataset, person: Patient) -> bool:
    """Tell whether an image is of the patient that the archive names."""
    named = patient_of(header)
    # An image need not say who gave the number.
    return named.patient_id == person.patient_id and named.issuer in ("", person.issuer)


def _current(header: Dataset, answer: Dataset) -> bool:
    """Tell whether a cached image says of patient and order what the archive says now."""
    keywords = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber")
    return all(text_of(header.get(word)) == text_of(answer.get(word)) for word in keywords)


def _place(header: Dataset) -> tuple[int, str, int, str]:
    series, number = header.get("SeriesNumber"), header.get("InstanceNumber")
    return (
        int(series or 0),
        str(header.SeriesInstanceUID),
        int(number or 0),
        str(header.SOPInstanceUID),
    )
