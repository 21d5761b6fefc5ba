"""A profile of printing inks, made here, for there is none in CMYK that may be given away: for fuzz.py and the tests."""

from __future__ import annotations

import numpy as np


def ink_profile(space: bytes = b"CMYK") -> bytes:
    """An ICC profile (version 2) of inks that nobody prints with: cyan ink looks orange, L 65, a 45, b 70; no ink is white,
    and all others are black. See ICC.1:2001-04, 6.1 (header), 6.5.7 (lut8Type)."""
    colours = np.zeros((2, 2, 2, 2, 3), np.uint8)  # by the amounts of C, M, Y, K, as L 0 to 255 and a, b + 128
    colours[..., 1:] = 128
    colours[0, 0, 0, 0, 0] = 255
    colours[1, 0, 0, 0] = round(65 * 2.55), 45 + 128, 70 + 128
    ramp = np.arange(256, dtype=np.uint8).tobytes()
    table = b"mft1\0\0\0\0\4\3\2\0" + np.eye(3).ravel().astype(">i4").__mul__(65536).astype(">i4").tobytes()
    table += 4 * ramp + colours.tobytes() + 3 * ramp
    name = b"desc\0\0\0\0" + (10).to_bytes(4, "big") + b"odd inks\0\0" + bytes(78)
    white = b"XYZ \0\0\0\0" + b"".join(round(value * 65536).to_bytes(4, "big") for value in (0.9642, 1.0, 0.8249))
    tags, body = b"", b""
    for tag, data in ((b"desc", name), (b"wtpt", white), (b"A2B0", table)):
        tags += tag + (128 + 4 + 36 + len(body)).to_bytes(4, "big") + len(data).to_bytes(4, "big")
        body += data + bytes(-len(data) % 4)
    size = (128 + 4 + 36 + len(body)).to_bytes(4, "big")
    header = size + bytes(4) + b"\x02\x20\0\0" + b"prtr" + space + b"Lab " + bytes(12) + b"acsp"
    header += bytes(28) + white[8:] + bytes(48)
    return header + (3).to_bytes(4, "big") + tags + body
