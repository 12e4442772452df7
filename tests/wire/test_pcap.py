"""The bytes of a capture, read back by hand."""

from __future__ import annotations

import struct
from datetime import datetime
from pathlib import Path

from labsim.wire.packets import SEGMENT, End, Wire, checksum
from labsim.wire.pcap import PcapngWriter

CALLER, CALLED = bytes([10, 0, 0, 11]), bytes([10, 0, 0, 12])
NOON = datetime(2026, 3, 2, 12, 0, 0, 250_001)


def blocks_of(path: Path) -> list[tuple[int, bytes]]:
    data, found = path.read_bytes(), []
    while data:
        kind, length = struct.unpack("<II", data[:8])
        assert length % 4 == 0
        assert struct.unpack("<I", data[length - 4 : length]) == (length,)
        found.append((kind, data[8 : length - 4]))
        data = data[length:]
    return found


def spoken() -> tuple[Wire, list[bytes]]:
    frames: list[bytes] = []
    return Wire(End(CALLER, 40000), End(CALLED, 104), frames.append), frames


def tcp_of(frame: bytes) -> tuple[int, int, int, bytes]:
    """Return sequence and acknowledgment number, flags and data."""
    segment = frame[34:]
    sequence, acknowledged = struct.unpack("!II", segment[4:12])
    return sequence, acknowledged, segment[13], segment[segment[12] >> 4 << 2 :]


def test_a_file_begins_with_its_section_and_its_interface(tmp_path: Path) -> None:
    writer = PcapngWriter(tmp_path / "a.pcapng", "hospital", "ct1 and pacs")
    writer.close()
    (section, head), (interface, described) = blocks_of(tmp_path / "a.pcapng")
    assert (section, interface) == (0x0A0D0D0A, 1)
    assert head[:4] == b"\x4d\x3c\x2b\x1a"
    assert struct.unpack("<H", described[:2]) == (1,)  # Ethernet
    assert b"hospital" in described
    assert b"ct1 and pacs" in described


def test_a_packet_keeps_its_time_to_the_microsecond_and_its_bytes(tmp_path: Path) -> None:
    writer = PcapngWriter(tmp_path / "a.pcapng", "hospital", "")
    writer.packet(NOON, b"12345")
    writer.close()
    kind, body = blocks_of(tmp_path / "a.pcapng")[-1]
    interface, high, low, length, original = struct.unpack("<5I", body[:20])
    assert (kind, interface, length, original) == (6, 0, 5, 5)
    assert datetime.fromtimestamp(((high << 32) + low) / 1e6) == NOON
    assert body[20:] == b"12345\0\0\0"


def test_what_comes_after_the_end_is_left_out(tmp_path: Path) -> None:
    writer = PcapngWriter(tmp_path / "a.pcapng", "hospital", "")
    writer.close()
    writer.packet(NOON, b"late")
    assert len(blocks_of(tmp_path / "a.pcapng")) == 2


def test_a_connection_counts_its_bytes_and_acknowledges_them() -> None:
    wire, frames = spoken()
    wire.open()
    wire.data(b"hello", from_caller=True)
    wire.finish(from_caller=True)
    told = [tcp_of(frame) for frame in frames]
    assert [flags for _, _, flags, _ in told] == [0x02, 0x12, 0x10, 0x18, 0x10, 0x11, 0x10]
    first = told[0][0]
    assert [told[place][0] - first for place in (2, 3, 5)] == [1, 1, 6]
    assert [told[place][1] - first for place in (1, 4, 6)] == [1, 6, 7]
    assert told[3][3] == b"hello"


def test_a_large_message_goes_in_segments_that_fit_a_frame() -> None:
    wire, frames = spoken()
    wire.data(bytes(SEGMENT) + b"rest", from_caller=False)
    assert [len(tcp_of(frame)[3]) for frame in frames] == [SEGMENT, 4, 0]
    assert max(map(len, frames)) == 1514
    assert frames[0][26:30] == CALLED


def test_every_checksum_is_right() -> None:
    wire, frames = spoken()
    wire.open()
    wire.data(b"odd", from_caller=True)
    for frame in frames:
        head, segment = frame[14:34], frame[34:]
        pseudo = frame[26:34] + struct.pack("!HH", 6, len(segment))
        # A sum over all with the checksum in it is nothing (RFC 1071).
        assert checksum(head) in (b"\0\0", b"\xff\xff")
        assert checksum(pseudo + segment) in (b"\0\0", b"\xff\xff")


def test_the_checksum_of_the_example_in_rfc_1071() -> None:
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == bytes.fromhex("220d")
