"""Images leave the hospital on a disc.

IHE actor: Portable Media Creator (PDI, RAD-47).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from pydicom.dataset import FileDataset

from labsim.errors import ConfigurationError, NotFound
from labsim.ids import make_uid
from labsim.media.creator import Disc, write_disc
from labsim.systems.facility import System
from labsim.systems.pacs.index import Index, Instance


class Exporting:
    """Writes discs of what the archive holds.

    Parameters
    ----------
    system : System
        The PACS.
    index : Index
        Its index.
    outgoing : callable
        Returns an instance as it is sent: under the patient's data as corrected.
    """

    def __init__(
        self, system: System, index: Index, outgoing: Callable[[Instance], FileDataset]
    ) -> None:
        self._system = system
        self._index = index
        self._outgoing = outgoing

    def export(
        self,
        path: Path | str,
        *,
        study_uids: Sequence[str] = (),
        patient_id: str = "",
        profile: str = "STD-GEN-CD",
        web: bool = True,
        allow_many_patients: bool = False,
    ) -> Disc:
        """Write a disc; `Pacs.export` says how."""
        instances = self._wanted(study_uids, patient_id)
        patients = dict.fromkeys(instance.patient for instance in instances)
        names = ", ".join(f"{patient.patient_id}^^^{patient.issuer}" for patient in patients)
        if len(patients) > 1 and not allow_many_patients:
            raise ConfigurationError(
                f"The disc would hold images of {len(patients)} patients: {names}.",
                "Write one disc for each patient; allow_many_patients=True is for a transfer "
                "of the whole archive.",
            )
        if len({patient.patient_id for patient in patients}) < len(patients):
            raise ConfigurationError(
                f"Two patients have one number, of different issuers: {names}.",
                "A DICOMDIR tells patients by their number alone: write a disc for each.",
            )
        number = self._system.db.next("disc")
        facility = self._system.facility
        disc = write_disc(
            path,
            [(instance.sop_uid, partial(self._outgoing, instance)) for instance in instances],
            institution=facility.institution,
            uid=make_uid("disc", facility.issuer, facility.seed, number),
            created=facility.clock.now(),
            label=f"DISC{number:06d}",
            profile=profile,
            web=web,
        )
        self._note(disc, instances)
        return disc

    def _wanted(self, study_uids: Sequence[str], patient_id: str) -> list[Instance]:
        if bool(study_uids) == bool(patient_id):
            raise ConfigurationError(
                "A disc is of studies or of a patient.", "Give study_uids=[…] or patient_id=…."
            )
        uids = [study_uids] if isinstance(study_uids, str) else list(study_uids)
        if patient_id:
            uids = self._studies_of(patient_id)
        instances = self._index.instances("STUDY", {"st.study_uid": uids})
        missing = sorted(set(uids) - {instance.study_uid for instance in instances})
        if missing or not instances:
            what = f"study {missing[0]}" if missing else f"images of patient {patient_id}"
            raise NotFound(f"The PACS has no {what}.", "hospital.pacs.table() lists what it has.")
        return instances

    def _studies_of(self, patient_id: str) -> list[str]:
        number, _, issuer = patient_id.partition("^^^")
        rows = self._system.db.rows(
            "SELECT st.study_uid FROM studies st JOIN patients p ON p.id = st.patient "
            "WHERE p.patient_id = ? AND p.issuer = ? "
            "AND EXISTS (SELECT 1 FROM series se JOIN instances i ON i.series = se.id "
            "WHERE se.study = st.id) ORDER BY st.id",
            number,
            issuer or self._system.facility.issuer,
        )
        return [row["study_uid"] for row in rows]

    def _note(self, disc: Disc, instances: Sequence[Instance]) -> None:
        """Say for each study who left the hospital on which disc."""
        written = {uid for _, uid in disc.files}
        studies = dict.fromkeys(
            (i.study_uid, i.patient.patient_id) for i in instances if i.sop_uid in written
        )
        for study_uid, patient_id in studies:
            count = sum(i.study_uid == study_uid and i.sop_uid in written for i in instances)
            self._system.note(
                f"{count} images of patient {patient_id} exported to {disc.path.name}",
                study_uid=study_uid,
                patient_id=patient_id,
            )
