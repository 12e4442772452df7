"""One study goes from one archive to another, and is counted and compared there."""

from __future__ import annotations

from dataclasses import dataclass, field

from labsim.systems.archive.source import Kind, Source
from labsim.systems.archive.target import Target


@dataclass
class Brought:
    """How far one study has come.

    Parameters
    ----------
    wanted : dict of str to Kind
        What the source has of it, by SOP Instance UID.
    arrived : dict of str to (Kind, str)
        What the target has of that, with the SHA-256 of its pixel data.
    same : set of str
        What has the pixel data that it has at the source.
    """

    wanted: dict[str, Kind] = field(default_factory=dict)
    arrived: dict[str, tuple[Kind, str]] = field(default_factory=dict)
    same: set[str] = field(default_factory=set)

    def bring(self, source: Source, target: Target, study_uid: str, place: str) -> str:
        """Have it sent and look at what came; return what keeps it from being done.

        Parameters
        ----------
        source, target
            From where, and where to.
        study_uid : str
            Which study.
        place : str
            The target in words.

        Raises
        ------
        AssociationFailed, DimseFailed
            If one of the two does not answer.
        OSError
            If a file here cannot be read.
        """
        self.wanted = source.instances(study_uid)
        why = source.move(study_uid, target.ae_title)
        self.arrived = target.arrived(study_uid, self.wanted)
        theirs = self._at(source, study_uid)
        compared = {uid for uid, (_, digest) in self.arrived.items() if digest and uid in theirs}
        self.same = {uid for uid in compared if self.arrived[uid][1] == theirs[uid]}
        found = [why] if why else []
        if not self.wanted:
            found.append("the source has nothing of it")
        if missing := len(self.wanted) - len(self.arrived):
            found.append(f"{missing} of {len(self.wanted)} instances are missing {place}")
        if unproven := len(self.arrived) - len(compared):
            found.append(f"{unproven} could not be compared")
        if changed := len(compared) - len(self.same):
            found.append(f"{changed} have other pixel data {place}")
        return "; ".join(found)

    def _at(self, source: Source, study_uid: str) -> dict[str, str]:
        """Return the SHA-256 of the pixel data at the source, in the syntax of what has arrived.

        One syntax at a time, so that the source cannot choose another for an image.
        """
        kinds = {kind for kind, _ in self.arrived.values()}
        found: dict[str, str] = {}
        for syntax in {syntax for _, syntax in kinds}:
            came = source.checksums(study_uid, {kind for kind in kinds if kind[1] == syntax})
            for uid, (kind, digest) in came.items():
                if uid in self.arrived and self.arrived[uid][0] == kind:
                    found[uid] = digest
        return found
