"""How fuzz.py damages a file: bits, bytes, sizes, cuts, copies, parts of others, by a seed; most checksums are mended."""

from __future__ import annotations

import random
import zlib
from functools import cache

from fuzz_seeds import SEEDS


@cache
def files(kind: str) -> list[bytes]:
    """The good files of a kind."""
    return SEEDS[kind]()


def mutate(kind: str, seed: int) -> bytes:
    """Return the damaged file number ``seed`` of ``kind``."""
    good = files(kind)
    choose = random.Random(f"{kind} {seed}")
    data = bytearray(choose.choice(good))
    for _ in range(choose.choice([1, 1, 1, 2, 4, 16])):
        if not data:
            break
        # Half the time in the first bytes, where sizes and types are.
        at = choose.randrange(min(len(data), 200) if choose.random() < 0.5 else len(data))
        what = choose.randrange(8)
        if what == 0:
            data[at] ^= 1 << choose.randrange(8)
        elif what == 1:
            data[at] = choose.randrange(256)
        elif what == 2:
            value = choose.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1, 65535, 100_000, choose.randrange(2**32)])
            data[at : at + 4] = value.to_bytes(4, choose.choice(["big", "little"]))
        elif what == 3:
            end = len(data) if choose.random() < 0.3 else at + choose.randrange(1, 50)
            del data[at:end]
        elif what == 4:
            data[at:at] = choose.randbytes(choose.randrange(1, 50))
        elif what == 5:
            data[at:at] = data[at : at + choose.randrange(1, 200)] * choose.choice([1, 1, 2, 100])
        elif what == 6:
            other = choose.choice(good)
            start = choose.randrange(len(other))
            data[at : at + choose.randrange(1, 500)] = other[start : start + choose.randrange(1, 500)]
        else:
            length = choose.randrange(1, 50)
            data[at : at + length] = bytes([choose.choice([0, 255, choose.randrange(256)])]) * length
    if choose.random() < 0.7:  # else nearly all that is tested is the checksum
        if kind == "png":
            _mend_png(data)
        elif kind in {"matrix.npz", "ckpt"}:
            _mend_zip(data)
    return bytes(data)


def _mend_zip(data: bytearray) -> None:
    start = 0
    while (start := data.find(b"PK\3\4", start)) >= 0 and start + 30 <= len(data):
        name, extra = (int.from_bytes(data[start + at : start + at + 2], "little") for at in (26, 28))
        entry = data.find(b"PK\1\2")
        while entry >= 0 and int.from_bytes(data[entry + 42 : entry + 46], "little") != start:
            entry = data.find(b"PK\1\2", entry + 4)
        if entry < 0 or entry + 46 > len(data):
            break
        method, size = data[entry + 10], int.from_bytes(data[entry + 20 : entry + 24], "little")
        body = bytes(data[start + 30 + name + extra :][:size])
        if method == 8:
            try:
                body = zlib.decompress(body, -15)
            except zlib.error:
                body = b""
        data[entry + 16 : entry + 20] = zlib.crc32(body).to_bytes(4, "little")
        start += 4


def _mend_png(data: bytearray) -> None:
    start = 8
    while start + 12 <= len(data):
        end = start + 8 + int.from_bytes(data[start : start + 4], "big")
        if end + 4 > len(data):
            break
        data[end : end + 4] = zlib.crc32(data[start + 4 : end]).to_bytes(4, "big")
        start = end + 4
