"""Rendered images and thumbnails over the web (PS3.18 10.4.1.3, 10.4.1.4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydicom.dataset import FileDataset

from labsim.errors import LabError
from labsim.imaging.presentation_applying import is_presentation_state
from labsim.systems.pacs.index import Instance
from labsim.systems.web.frames import frames_of, numbers_of, require
from labsim.systems.web.media_types import MediaRange
from labsim.systems.web.multipart_writing import Part
from labsim.systems.web.presented import Presented
from labsim.systems.web.rendering import (
    GIF,
    KINDS,
    Look,
    Viewport,
    delay_of,
    encoded,
    look_of,
    picture,
)
from labsim.systems.web.retrieve import Retrieve
from labsim.systems.web.written import KINDS as TEXTS
from labsim.systems.web.written import is_document, written
from labsim.wire.http import HttpError

_UNDRAWABLE = (ValueError, RuntimeError, AttributeError, NotImplementedError, KeyError)
_THUMBNAIL = 128  # pixels of the longer side
_OFFERED = "image/jpeg, image/png or image/gif, of several images as multipart/related"


class Drawing(Retrieve):
    """What rendered images and thumbnails have in common."""

    def look(self) -> Look:
        """Return how to render, as the request says it."""
        asked = {name: self.get_query_argument(name, "") for name in self.request.query_arguments}
        if ignored := sorted({"annotation", "iccprofile"} & asked.keys()):
            only = f"not supported, and ignored: {', '.join(ignored)}"
            self.set_header("Warning", f'299 {self.request.host}: "{only}"')
        return look_of(asked)

    def opened(self, instance: Instance) -> tuple[FileDataset, int]:
        """Return an image that can be drawn, and how many frames it has."""
        dataset = self.holdings.encoded(instance)
        return dataset, len(frames_of(dataset))

    def drawn(self, image: FileDataset, numbers: Sequence[int], kind: str, look: Look) -> bytes:
        """Return frames of an image as a file."""
        try:
            pictures = [picture(image, number, look) for number in numbers]
            return encoded(pictures, kind, look.quality, delay=delay_of(image))
        except _UNDRAWABLE as error:
            raise HttpError(406, f"The image cannot be rendered: {error}.") from error


class Rendered(Drawing):
    """Gives pictures of a study, a series, an instance or some frames."""

    async def get(self, *path: str) -> None:
        """Answer with a picture, or with one part for each frame."""
        uids, asked = path[:3], path[3] if len(path) > 3 else ""
        numbers = numbers_of(asked) if asked else []
        look = self.look()
        found = await self.wanted(*uids)
        if len(uids) < 3:
            kind = _kind(self.accepted(), multipart=True)
            if not kind:
                raise self.not_acceptable(_OFFERED)
            await self.stream(kind, self._of(await self.within_reach(found), kind, look))
        else:
            (instance,) = await self.within_reach(found)
            await self._instance(instance, numbers, look)

    async def _instance(self, instance: Instance, asked: list[int], look: Look) -> None:
        try:
            image, count = await self.in_thread(self.opened, instance)
        except LabError as error:
            raise HttpError(406, f"The image cannot be rendered: {error.what}.") from error
        if is_presentation_state(image) and not asked:
            await self._state(image, look)
            return
        if is_document(image) and not asked:
            await self._document(instance)
            return
        if not count and not asked:
            raise HttpError(406, "This instance is no image: it cannot be rendered here.")
        numbers = asked or list(range(1, count + 1))
        require(numbers, count)
        several = len(numbers) > 1
        # A GIF shows an image of several frames as a whole.
        kind, parted = self._chosen((GIF,) if several and not asked else () if several else KINDS)
        if parted:
            await self.stream(kind, self._frames(instance, image, numbers, kind, look))
        elif kind:
            await self.answer(
                await self.made(lambda: Part(kind, self.drawn(image, numbers, kind, look)))
            )
        elif several:
            raise self.not_acceptable(f"image/gif, or a frame of its {count}: …/frames/1/rendered")
        else:
            raise self.not_acceptable(_OFFERED)

    def _chosen(self, alone: Sequence[str]) -> tuple[str, bool]:
        """Return the best media type, of those that may go alone, or whether in parts."""
        for one in self.accepted():
            if kind := _kind([one], multipart=False, kinds=alone):
                return kind, False
            if kind := _kind([one], multipart=True):
                return kind, True
        return "", False

    async def _state(self, state: FileDataset, look: Look) -> None:
        """Answer for a presentation state with the images it is about, as it shows them."""
        presented = Presented(self.holdings, state)
        targets = await self.in_thread(presented.targets)
        if not targets:
            raise HttpError(404, "The images that the presentation state is about are not here.")
        self._instances += [target.instance for target in targets]
        kind, parted = self._chosen(KINDS if len(targets) == 1 else ())
        if not kind:
            raise self.not_acceptable(_OFFERED)
        parts = (Part(kind, presented.drawn(target, kind, look)) for target in targets)
        if parted:
            await self.stream(kind, parts)
        else:
            await self.answer(await self.made(lambda: next(parts)))

    async def _document(self, instance: Instance) -> None:
        """Answer for a structured report with its text."""
        kind = _kind(self.accepted(), multipart=False, kinds=TEXTS)
        if not kind:
            raise self.not_acceptable("text/html or text/plain: it is a document")

        def write() -> Part:
            return Part(f"{kind}; charset=utf-8", written(self.holdings.described(instance), kind))

        await self.answer(await self.made(write))

    def _of(self, found: Sequence[Instance], kind: str, look: Look) -> Iterator[Part]:
        given = 0
        for instance in found:
            image, count = self.opened(instance)
            for part in self._frames(instance, image, range(1, count + 1), kind, look):
                given += 1
                yield part
        if not given:
            raise HttpError(406, "There is no image in it: it cannot be rendered here.")

    def _frames(
        self,
        instance: Instance,
        image: FileDataset,
        numbers: Sequence[int],
        kind: str,
        look: Look,
    ) -> Iterator[Part]:
        for number in numbers:
            place = self.address(instance, "frames", str(number), "rendered")
            yield Part(kind, self.drawn(image, [number], kind, look), place)


class Thumbnail(Drawing):
    """Gives one small picture that stands for a study, a series, an instance or a frame."""

    async def get(self, *path: str) -> None:
        """Answer with the picture: of several images or frames the one in the middle."""
        uids, asked = path[:3], path[3] if len(path) > 3 else ""
        number = numbers_of(asked)[0] if asked else 0
        look = self.look()
        found = await self.within_reach(await self.wanted(*uids))
        kind = _kind(self.accepted(), multipart=False)
        if not kind:
            raise self.not_acceptable("image/jpeg, image/png or image/gif")
        await self.answer(await self.made(lambda: self._of(found, number, kind, look)))

    def _of(self, found: Sequence[Instance], number: int, kind: str, look: Look) -> Part:
        middle = len(found) // 2
        for place in sorted(range(len(found)), key=lambda each: abs(each - middle)):
            image, count = self.opened(found[place])
            if count:
                self._instances = [found[place]]
                require([number or 1], count)
                small = Look(look.window, look.viewport or _small(image), look.quality)
                return Part(kind, self.drawn(image, [number or count // 2 + 1], kind, small))
        raise HttpError(404, "There is no image in it to make a thumbnail of.")


def _small(image: Any) -> Viewport:
    longest = min(_THUMBNAIL, max(image.Rows, image.Columns))
    return Viewport(longest, longest)


def _kind(ranges: Sequence[MediaRange], *, multipart: bool, kinds: Sequence[str] = KINDS) -> str:
    """Return the best media type that is wanted, empty if there is none."""
    wanted = (kind for one in ranges for kind in kinds if one.takes(kind, multipart=multipart))
    return next(wanted, "")
