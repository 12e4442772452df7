"""A mutation fuzzer: valid octets in, broken octets out, the same for the same seed."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence

# How much longer than in CI: `FUZZ=50 pytest tests/hard_to_kill/fuzz`.
FACTOR = float(os.environ.get("FUZZ", "1"))
SEED = int(os.environ.get("FUZZ_SEED", "20260302"))

_AWKWARD = (0, 1, 0x7F, 0x80, 0xFF)
_LENGTHS = (0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)


def rounds(count: int) -> int:
    """Return how many inputs to try: so many in CI."""
    return max(1, int(count * FACTOR))


class Mutator:
    """Breaks octets in one to four places.

    Parameters
    ----------
    name : str
        Of the campaign; with `SEED` it decides everything.
    tokens : sequence of bytes
        What has a meaning in the format, to be put in or to be taken out.
    others : sequence of bytes
        Other valid inputs, for pieces of them.
    """

    def __init__(self, name: str, tokens: Sequence[bytes] = (), others: Sequence[bytes] = ()):
        self.random = random.Random(f"{name} {SEED}")
        self._tokens = tokens or (b"\0",)
        self._others = others
        self._ways: list[Callable[[bytearray], None]] = [
            self._flip,
            self._overwrite,
            self._truncate,
            self._insert,
            self._delete,
            self._repeat,
            self._length,
            self._put_token,
            self._swap_token,
        ]
        if others:
            self._ways.append(self._splice)

    def mutate(self, data: bytes) -> bytes:
        """Return the octets, broken."""
        broken = bytearray(data)
        for _ in range(self.random.choice((1, 1, 1, 2, 2, 3, 4))):
            if broken:
                self.random.choice(self._ways)(broken)
        return bytes(broken)

    def stream(self, inputs: Sequence[bytes], count: int) -> Iterator[bytes]:
        """Return so many broken inputs, made of one valid one after the other."""
        for number in range(count):
            yield self.mutate(inputs[number % len(inputs)])

    def _place(self, data: bytearray) -> int:
        # Most of what decides stands at the beginning.
        whole = self.random.random() < 0.5
        return self.random.randrange(len(data) if whole else min(len(data), 200))

    def _flip(self, data: bytearray) -> None:
        data[self._place(data)] ^= 1 << self.random.randrange(8)

    def _overwrite(self, data: bytearray) -> None:
        data[self._place(data)] = self.random.choice((*_AWKWARD, self.random.randrange(256)))

    def _truncate(self, data: bytearray) -> None:
        del data[self._place(data) :]

    def _insert(self, data: bytearray) -> None:
        place = self._place(data)
        data[place:place] = self.random.randbytes(self.random.choice((1, 2, 4, 16)))

    def _delete(self, data: bytearray) -> None:
        place = self._place(data)
        del data[place : place + self.random.choice((1, 2, 4, 16, 64))]

    def _repeat(self, data: bytearray) -> None:
        place = self._place(data)
        piece = data[place : place + self.random.choice((1, 4, 32, 128))]
        data[place:place] = piece * self.random.choice((1, 2, 50))

    def _length(self, data: bytearray) -> None:
        """Write a number over some octets, as if it were a length."""
        size, order = self.random.choice((2, 4)), self.random.choice(("big", "little"))
        place, mask = self._place(data), (1 << 8 * size) - 1
        data[place : place + size] = (self.random.choice(_LENGTHS) & mask).to_bytes(size, order)

    def _put_token(self, data: bytearray) -> None:
        place = self._place(data)
        data[place:place] = self.random.choice(self._tokens)

    def _swap_token(self, data: bytearray) -> None:
        """Take one of the tokens out, and another one in."""
        there = [token for token in self._tokens if token in data]
        if there:
            token = self.random.choice(there)
            places = data.count(token)
            place = -1
            for _ in range(self.random.randint(1, min(places, 20))):
                place = data.find(token, place + 1)
            if place >= 0:
                data[place : place + len(token)] = self.random.choice((b"", *self._tokens))

    def _splice(self, data: bytearray) -> None:
        other = self.random.choice(self._others)
        data[self._place(data) :] = other[self.random.randrange(len(other)) :]
