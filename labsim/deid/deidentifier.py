"""De-identify a data set by the profile of PS3.15 Annex E: a new instance, as the standard says."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from pydicom.charset import convert_encodings
from pydicom.datadict import dictionary_has_tag, repeater_has_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.filewriter import correct_ambiguous_vr
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    KeyObjectSelectionDocumentStorage,
)

from labsim.deid.burned_in import may_be_burned_in
from labsim.deid.content import (
    describes_subject,
    is_published,
    only_references,
    without_drawings,
)
from labsim.deid.private import SAFE_PRIVATE, SafePrivate, safe_elements
from labsim.deid.profile import BASIC_PROFILE, Action, Option, Profile, rule_of
from labsim.deid.pseudonyms import Pseudonyms
from labsim.deid.record import Record
from labsim.deid.values import REMOVED, TEXTS, dummy, each, safe_text, shifted
from labsim.errors import ConfigurationError
from labsim.imaging.common import IMPLEMENTATION_NAME, IMPLEMENTATION_UID

PixelCleaner = Callable[[Dataset], Dataset]
# What codes are made of, beside the meaning: nothing of it is prose.
_OF_CODES = {"CodeValue", "LongCodeValue", "CodingSchemeDesignator", "CodingSchemeVersion"}


@dataclass(frozen=True)
class _Case:
    """Whose data it is, and in what they are."""

    sop_class: str
    pseudonym: str
    days: int
    parent: str = ""
    path: str = ""
    prose: Action = Action.KEEP  # what to do with text of which the table says nothing

    def inside(self, keyword: str, prose: Action) -> _Case:
        path = f"{self.path}{keyword}."
        return _Case(self.sop_class, self.pseudonym, self.days, keyword, path, prose)


class Deidentifier:
    """Makes de-identified instances of instances.

    Parameters
    ----------
    options : iterable of Option or str
        Beside the Basic Profile, such as ``"retain_modified_dates"``.
    pseudonyms : Pseudonyms, optional
        The key of the project; without one it lives as long as this object.
    safe_words : collection of str
        Words that descriptions may keep, in lower case; all others are left out of what the
        options clean_descriptors and clean_structured_content keep.
    safe_private : collection of SafePrivate
        What the option retain_safe_private keeps.
    pixel_cleaner : callable, optional
        Blanks burned-in text: gets a copy of an image, returns it clean.

    Raises
    ------
    ConfigurationError
        If the options exclude each other, or clean_pixel_data has no cleaner.
    """

    def __init__(
        self,
        options: Iterable[Option | str] = (),
        *,
        pseudonyms: Pseudonyms | None = None,
        safe_words: Collection[str] = (),
        safe_private: Collection[SafePrivate] = SAFE_PRIVATE,
        pixel_cleaner: PixelCleaner | None = None,
    ) -> None:
        self.profile = Profile(options)
        self.pseudonyms = pseudonyms or Pseudonyms()
        self.record = Record()
        self._basic = Profile()
        self._words = frozenset(safe_words)
        keeps = Option.RETAIN_SAFE_PRIVATE in self.profile.options
        self._safe_private = safe_private if keeps else ()
        self._pixel_cleaner = pixel_cleaner
        if Option.CLEAN_PIXEL_DATA in self.profile.options and pixel_cleaner is None:
            raise ConfigurationError(
                "The option clean_pixel_data needs what cleans pixels.",
                "Give a pixel_cleaner, which blanks burned-in text.",
            )

    def dataset(self, original: Dataset) -> FileDataset:
        """Return a de-identified instance; the original stays as it is.

        Parameters
        ----------
        original : Dataset
            An image, document or presentation state, as read or received.

        Returns
        -------
        FileDataset
            With file meta information of its own, and with (0012,0062), (0012,0064) and
            (0028,0303) that say what was done (PS3.15 E.1.1, PS3.3 C.7.1.1 and C.12.1).

        Raises
        ------
        ConfigurationError
            If text may be burned into the pixels and there is no pixel cleaner.
        """
        image, cleaned = self._clean_pixels(original)
        who = str(image.get("PatientID") or ""), str(image.get("IssuerOfPatientID") or "")
        case = _Case(
            str(image.get("SOPClassUID", "")),
            self.pseudonyms.patient(*who),
            self.pseudonyms.days(*who),
        )
        clean = self._copy(image, case)
        self._say_so(clean, image, cleaned)
        meta = _file_meta(image, clean)
        # What was made and never written may not know yet whether its values are bytes or words.
        correct_ambiguous_vr(clean, meta.TransferSyntaxUID.is_little_endian)
        result = FileDataset("", clean, preamble=b"\0" * 128, file_meta=meta)
        # Which bytes those of the pixels are: as in the original.
        result.set_original_encoding(
            meta.TransferSyntaxUID.is_implicit_VR,
            meta.TransferSyntaxUID.is_little_endian,
            convert_encodings(clean.get("SpecificCharacterSet") or "ISO_IR 6"),
        )
        return result

    def _clean_pixels(self, original: Dataset) -> tuple[Dataset, bool]:
        wanted = Option.CLEAN_PIXEL_DATA in self.profile.options and "PixelData" in original
        if not wanted and not may_be_burned_in(original):
            return original, False
        if self._pixel_cleaner is None:
            what = f"{original.get('Modality', 'An')} image {original.get('SOPInstanceUID', '')}"
            raise ConfigurationError(
                f"{what} may have the patient's name in its pixels, and nothing here blanks it.",
                "Give a pixel_cleaner, or look at it and set Burned In Annotation (0028,0301) "
                "to NO.",
            )
        meta = getattr(original, "file_meta", None)
        copy = FileDataset("", deepcopy(original), file_meta=deepcopy(meta))
        image = self._pixel_cleaner(copy)
        image.BurnedInAnnotation = "NO"
        return image, True

    def _copy(self, source: Dataset, case: _Case) -> Dataset:
        result = Dataset()
        for element in source:
            if element.tag.group == 0x0002 or element.tag.is_private:
                continue
            changed = self._element(element, source, case)
            if changed is not None:
                result.add(changed)
        for tag in [e.tag for e in result if e.tag.group >> 8 == 0x60]:
            if Tag(tag.group, 0x3000) not in result:
                del result[tag]  # an overlay plane is not without its picture
        self._copy_private(source, result, case)
        return result

    def _copy_private(self, source: Dataset, result: Dataset, case: _Case) -> None:
        for element in safe_elements(source, self._safe_private):
            result.add(deepcopy(element))
        for element in source:
            if element.tag.is_private and element.tag not in result:
                group, number = element.tag.group, element.tag.element
                self.record.note(f"{case.path}private ({group:04X},{number:04X})", "removed")

    def _element(self, element: DataElement, source: Dataset, case: _Case) -> DataElement | None:
        """Return what becomes of an attribute, None if it goes."""
        rule = rule_of(element.tag)
        if rule is None:
            return self._unlisted(element, source, case)
        action = self.profile.action(element.tag, case.sop_class, case.parent)
        if element.keyword in ("PatientName", "PatientID") and not case.parent:
            return self._made(element, case.pseudonym, "pseudonym", case)
        if action is Action.CLEAN:
            value = self._cleaned(element, case)
            if value is not None:
                return self._made(element, value, "cleaned", case)
            action = self._basic.action(element.tag, case.sop_class, case.parent)
        if action is Action.REMOVE:
            self.record.note(case.path + (element.keyword or rule.keyword), "removed")
            return None
        if action is Action.EMPTY:
            return self._made(element, element.empty_value, "emptied", case)
        if action is Action.DUMMY:
            return self._made(element, self._dummy(element, case), "replaced by a dummy", case)
        if action is Action.UID:
            return self._made(element, self._new_uids(element, case), "new UID", case)
        if element.VR == "SQ":
            return self._made(element, self._items(element, case, Action.KEEP), "kept", case)
        self.record.note(case.path + element.keyword, "kept")
        return deepcopy(element)

    def _unlisted(self, element: DataElement, source: Dataset, case: _Case) -> DataElement | None:
        """Keep what the table does not name: a sequence after a look inside, prose as the case is.

        What is not in the dictionary nobody knows, so it goes.
        """
        tag = element.tag
        if not dictionary_has_tag(tag) and not repeater_has_tag(int(tag)):
            self.record.note(f"{case.path}unknown ({tag.group:04X},{tag.element:04X})", "removed")
            return None
        if element.VR == "SQ":
            return DataElement(tag, "SQ", self._items(element, case, case.prose))
        if element.VR == "PN":
            return self._made(element, dummy("PN"), "replaced by a dummy", case)
        known = element.keyword in _OF_CODES or (
            element.keyword == "CodeMeaning" and is_published(source)
        )
        if case.prose is Action.KEEP or element.VR not in TEXTS - {"CS"} or known:
            return deepcopy(element)
        if case.prose is Action.DUMMY:
            return self._made(element, dummy(element.VR), "replaced by a dummy", case)
        return self._made(element, each(element, self._prose), "cleaned", case)

    def _cleaned(self, element: DataElement, case: _Case) -> Any:
        """Return a value known to tell nothing of a person, None if there is none (action C)."""
        if element.VR == "SQ":
            return self._items(element, case, Action.CLEAN)
        if element.VR in ("DA", "DT"):
            return each(element, lambda text: shifted(text, case.days))
        if element.VR == "TM":
            return element.value  # the day has moved by whole days
        if element.VR in TEXTS:
            value = each(element, lambda text: safe_text(text, self._words))
            return value if isinstance(value, str) and value else None
        return None

    def _dummy(self, element: DataElement, case: _Case) -> Any:
        if element.keyword == "ContentSequence":
            inner = case.inside("ContentSequence", Action.KEEP)
            return [self._copy(item, inner) for item in only_references(element.value)]
        if element.keyword == "GraphicAnnotationSequence":
            inner = case.inside("GraphicAnnotationSequence", Action.KEEP)
            return [self._copy(item, inner) for item in without_drawings(element.value)]
        if element.VR == "SQ":
            return self._items(element, case, Action.DUMMY)
        return self._new_uids(element, case) if element.VR == "UI" else dummy(element.VR)

    def _new_uids(self, element: DataElement, case: _Case) -> Any:
        if element.VR == "SQ":
            return self._items(element, case, Action.KEEP)
        return each(element, self.pseudonyms.uid)

    def _items(self, element: DataElement, case: _Case, prose: Action) -> list[Dataset]:
        inner = case.inside(element.keyword, prose)
        items = element.value
        if element.keyword == "ContentSequence":
            retained = Option.RETAIN_PATIENT_CHARACTERISTICS in self.profile.options
            items = [i for i in items if not describes_subject(i, characteristics=retained)]
        return [self._copy(item, inner) for item in items]

    def _prose(self, text: str) -> str:
        return safe_text(text, self._words) or REMOVED

    def _made(self, element: DataElement, value: Any, outcome: str, case: _Case) -> DataElement:
        self.record.note(case.path + (element.keyword or f"{element.tag}"), outcome)
        return DataElement(
            element.tag, element.VR, Sequence(value) if element.VR == "SQ" else value
        )

    def _say_so(self, clean: Dataset, original: Dataset, pixels_cleaned: bool) -> None:
        """Say what was done, after what had been done before."""
        structured = Option.CLEAN_STRUCTURED_CONTENT in self.profile.options
        if not structured and clean.get("SOPClassUID") != KeyObjectSelectionDocumentStorage:
            clean.pop("ContentTemplateSequence", None)  # the content no longer follows it
        options = set(self.profile.options)
        if pixels_cleaned:
            options.add(Option.CLEAN_PIXEL_DATA)
        codes = [BASIC_PROFILE, *sorted((option.value, option.meaning) for option in options)]
        before = original.get("DeidentificationMethodCodeSequence") or []
        earlier = [item for item in before if item.get("CodeValue") not in dict(codes)]
        clean.PatientIdentityRemoved = "YES"
        clean.DeidentificationMethod = "PS3.15 Annex E"
        clean.DeidentificationMethodCodeSequence = Sequence(
            [*deepcopy(earlier), *(_code(*code) for code in codes)]
        )
        if Option.RETAIN_FULL_DATES in options:
            clean.LongitudinalTemporalInformationModified = "UNMODIFIED"
        else:
            modified = Option.RETAIN_MODIFIED_DATES in options
            clean.LongitudinalTemporalInformationModified = "MODIFIED" if modified else "REMOVED"


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def _file_meta(original: Dataset, clean: Dataset) -> FileMetaDataset:
    """Return file meta information of our own: the original's names who sent and wrote it."""
    before = getattr(original, "file_meta", None) or Dataset()
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = UID(str(clean.get("SOPClassUID", "")))
    meta.MediaStorageSOPInstanceUID = UID(str(clean.get("SOPInstanceUID", "")))
    meta.TransferSyntaxUID = UID(str(before.get("TransferSyntaxUID") or ExplicitVRLittleEndian))
    meta.ImplementationClassUID = UID(IMPLEMENTATION_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_NAME
    return meta
