"""Pictures for tests, as bytes: the smallest of each type, and a hostile one."""

from __future__ import annotations

import struct
import zlib

SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 48 48" width="48" height="48">'
    b'<circle cx="24" cy="24" r="24" fill="#c2410c"/></svg>'
)
# What a document would do that runs on its own.
HOSTILE_SVG = (
    b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9" onload="document.title=1">'
    b'<script>document.documentElement.setAttribute("data-run", "1")</script>'
    b'<image href="/_matrix/client/versions" width="9" height="9"/>'
    b'<rect width="9" height="9"/></svg>'
)
JPEG = b"\xff\xd8\xff\xe0" + bytes(16)
WEBP = b"RIFF\x24\0\0\0WEBPVP8 " + bytes(24)


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + checksum


# One pixel.
PNG = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    + _chunk(b"IDAT", zlib.compress(b"\0\0"))
    + _chunk(b"IEND", b"")
)
