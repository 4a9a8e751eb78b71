"""A WebM video, made by code: a picture a second, and an index of where each is.

Source: RFC 8794 (EBML) and RFC 9559 (Matroska), of which WebM is a part.
"""

import io
import random
import struct

from PIL import Image

__all__ = ["make_webm"]


def make_webm(*, seconds: int, width: int, height: int) -> bytes:
    """Make a silent video, which may be entered at each second: all its frames are key frames.

    Args:
        seconds: How long it is.
        width: Of the picture, in pixels. A second of 320 x 240 takes about 65 KB.
        height: Of the picture, in pixels.
    """
    frame = _make_key_frame(width, height)
    # Of track 1, at the cluster's own time, "key frame".
    block = _element("A3", b"\x81\0\0\x80" + frame)
    clusters = [
        _element("1F43B675", _number("E7", 1000 * second) + block) for second in range(seconds)
    ]
    before = _make_info(1000 * seconds) + _make_track(width, height)
    # The numbers in the index have a fixed width, so its size is known before they are.
    first = len(before) + len(_make_index([0] * seconds))
    positions = [first + second * len(clusters[0]) for second in range(seconds)]
    content = before + _make_index(positions) + b"".join(clusters)
    doc_type = _element("4282", b"webm") + _number("4287", 4) + _number("4285", 2)
    return _element("1A45DFA3", doc_type) + _element("18538067", content)


def _make_key_frame(width: int, height: int) -> bytes:
    """Compress noise by VP8. A lossy WebP is a VP8 key frame in a RIFF container (RFC 9649)."""
    noise = random.Random(0).randbytes(3 * width * height)
    file = io.BytesIO()
    Image.frombytes("RGB", (width, height), noise).save(file, "webp", quality=90)
    riff = file.getvalue()
    assert riff[12:16] == b"VP8 "
    (size,) = struct.unpack("<I", riff[16:20])
    return riff[20 : 20 + size]


def _make_info(milliseconds: int) -> bytes:
    return _element(
        "1549A966",
        _number("2AD7B1", 1_000_000)  # nanoseconds in a tick: all times are in milliseconds
        + _element("4489", struct.pack(">d", milliseconds))
        + _element("4D80", b"tests")
        + _element("5741", b"tests"),
    )


def _make_track(width: int, height: int) -> bytes:
    picture = _element("E0", _number("B0", width) + _number("BA", height))
    track = _number("D7", 1) + _number("73C5", 1) + _number("83", 1) + _element("86", b"V_VP8")
    return _element("1654AE6B", _element("AE", track + picture))


def _make_index(positions: list[int]) -> bytes:
    """Write the cues: at which byte of the segment each second begins."""
    return _element(
        "1C53BB6B",
        b"".join(
            _element(
                "BB",
                _number("B3", 1000 * second)
                + _element("B7", _number("F7", 1) + _number("F1", position)),
            )
            for second, position in enumerate(positions)
        ),
    )


def _number(element_id: str, value: int) -> bytes:
    return _element(element_id, struct.pack(">Q", value))


def _element(element_id: str, content: bytes) -> bytes:
    # A leading 1 in the eighth bit from the left says: the size has seven bytes.
    return bytes.fromhex(element_id) + b"\x01" + len(content).to_bytes(7, "big") + content
