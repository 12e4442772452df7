"""What goes out of the archive: each instance under its patient as corrected, in a syntax agreed.

For C-MOVE and C-GET, and for whatever else sends stored instances.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from pydicom.dataset import FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import build_context
from pynetdicom.presentation import PresentationContext

from labsim.errors import LabError
from labsim.sop_classes import VERIFICATION
from labsim.systems.pacs.entities import Entity
from labsim.systems.pacs.files import FileStore
from labsim.systems.pacs.index import Instance
from labsim.systems.pacs.transcoding import (
    UNCOMPRESSED,
    CannotTranscode,
    candidates,
    encoded_as,
)
from labsim.wire.charset import readable
from labsim.wire.retrieve import Outgoing, Prepare

_MOST_CONTEXTS = 128  # their IDs are the odd numbers of one byte (PS3.8 9.3.2.2)


class CannotSend(LabError):
    """An instance that does not go out: its file is gone, or nothing fits the receiver."""


class Sending:
    """Makes stored instances ready for a receiver.

    Parameters
    ----------
    files : FileStore
        The files of the archive.
    """

    def __init__(self, files: FileStore) -> None:
        self._files = files

    def prepared(
        self, instances: Sequence[Instance], receiver: Entity
    ) -> list[tuple[str, Prepare]]:
        """Return each instance with what makes it ready once the receiver is known."""
        return [
            (instance.sop_uid, functools.partial(self.outgoing, instance, receiver))
            for instance in instances
        ]

    def outgoing(
        self, instance: Instance, receiver: Entity, accepted: Sequence[PresentationContext]
    ) -> Outgoing:
        """Return an instance in the best of what a receiver has accepted.

        Parameters
        ----------
        instance : Instance
            Which.
        receiver : Entity
            Its entry says whether to transcode, and into what.
        accepted : sequence of PresentationContext
            What it takes, of all SOP classes.

        Raises
        ------
        CannotSend
            If the file cannot be read, or nothing that fits was accepted.
        CannotTranscode
            If something was accepted, and no codec gets there.
        """
        contexts = {
            context.transfer_syntax[0]: context
            for context in reversed(accepted)
            if context.abstract_syntax == instance.sop_class
        }
        try:
            stored, data = self._files.encoded(instance.file)
            syntaxes = candidates(
                stored, list(contexts), receiver.preferred_syntax, transcode=receiver.transcode
            )
            if not syntaxes:
                taken = ", ".join(syntax.name for syntax in contexts) or "no such SOP class"
                raise CannotSend(f"stored as {stored.name}, and the receiver takes {taken}")
            failed: CannotTranscode | None = None
            for syntax in syntaxes:
                try:
                    if syntax != stored or instance.corrected:
                        data = encoded_as(self.dataset(instance), syntax)
                except CannotTranscode as error:
                    failed = failed or error
                else:
                    return Outgoing(instance.sop_class, instance.sop_uid, contexts[syntax], data)
        except (OSError, InvalidDicomError, AttributeError) as error:
            raise CannotSend(f"file cannot be read: {error}") from error
        raise failed or CannotSend("nothing fits")

    def dataset(self, instance: Instance) -> FileDataset:
        """Return the data set of a file, under its patient as the index has them.

        Raises
        ------
        CannotSend
            If the file cannot be read.
        """
        try:
            dataset = self._files.read(instance.file)
        except (OSError, InvalidDicomError) as error:
            raise CannotSend(f"file cannot be read: {error}") from error
        if instance.corrected:
            readable(dataset)  # all text, in sequences too, before its character set changes
            dataset.decode()
            dataset.SpecificCharacterSet = "ISO_IR 192"
            dataset.PatientID = instance.patient.patient_id
            dataset.IssuerOfPatientID = instance.patient.issuer
            dataset.PatientName = instance.patient.name
            dataset.PatientBirthDate = instance.patient.birth_date
            dataset.PatientSex = instance.patient.sex
        return dataset


def sending_contexts(
    instances: Sequence[Instance], receiver: Entity | None = None
) -> list[PresentationContext]:
    """Return what to propose for sending.

    Parameters
    ----------
    instances : sequence of Instance
        Each SOP class is proposed in the syntaxes its instances have, each in
        a context of its own, so that the receiver can take all of them, and
        uncompressed.
    receiver : Entity, optional
        Its entry may prefer another syntax, or forbid to transcode.
    """
    kinds: dict[str, list[str]] = {}
    for instance in instances:
        kinds.setdefault(instance.sop_class, []).append(instance.transfer_syntax)
    contexts = []
    for sop_class, stored in kinds.items():
        wished = [receiver.preferred_syntax] if receiver and receiver.preferred_syntax else []
        contexts += [build_context(sop_class, uid) for uid in dict.fromkeys([*wished, *stored])]
        if receiver is None or receiver.transcode or set(stored) & set(UNCOMPRESSED):
            contexts.append(
                build_context(sop_class, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
            )
    return contexts[:_MOST_CONTEXTS] or [build_context(VERIFICATION)]
