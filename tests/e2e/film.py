"""A film to seek in: a WebM of a minute and 30 MB, of four colours.

Each second is a cluster of one key frame, VP8, 160 × 90, of one colour. Half a megabyte of zeros, which no decoder reads,
makes it as large as one of a real film, so that a player which jumps has to ask for another part of the file.
"""

import base64
import struct

SECONDS = 60
#: What is shown in each quarter of a minute.
COLOURS = ("red", "green", "white", "blue")
FRAMES = {
    "red": "MAYAnQEqoABaAABHCIWFiJmEiAICAnWqA/gD+gIGypak569GXiOevRl4jnr0ZeI569GXiOevRl4jlAD+/W7z/+Rv4+dG/8jj"
    "//xKnuOJ4//8RoA=",
    "green": "MAYAnQEqoABaAABHCIWFiJmEiAICAnWqA/gD+gIGypWmGqpNdxDqqTXcQ6qk13EOqpNdxDqqTXcQ3gD+/W7z/+HH1GFB/4c"
    "p/9JUuIqq/9IAAA==",
    "blue": "8AUAnQEqoABaAABHCIWFiJmEiAICAnWqA/gCBpoWpOevRl4jnr0ZeI569GXiOevRl4jnr0ZeI5QA/v9NEv/8SqfxKp/Eqn/x"
    "Kp/9GH8MP4Yf3hA=",
    "white": "UAUAnQEqoABaAABHCIWFiJmEiAICAAYoDwh1VJruIdVSa7iHVUmu4h1VJruIdVSa7iG8AP7/o94A",
}
PADDING = 500_000
MILLISECOND = 1_000_000  # the unit of all times, in nanoseconds


def colour_at(second):
    return COLOURS[int(second) * len(COLOURS) // SECONDS]


def film():
    """The file."""
    head = element(0x1549A966, number(0x2AD7B1, MILLISECOND), real(0x4489, SECONDS * 1000))
    video = element(0xE0, number(0xB0, 160), number(0xBA, 90))
    track = [number(0xD7, 1), number(0x73C5, 1), number(0x83, 1), text(0x86, "V_VP8"), video]
    tracks = element(0x1654AE6B, element(0xAE, *track))
    clusters = [cluster(second) for second in range(SECONDS)]
    # Positions have one width, so the index is as long as it will be.
    start = len(head) + len(tracks) + len(index([0] * SECONDS))
    positions = [start + sum(map(len, clusters[:second])) for second in range(SECONDS)]
    segment = element(0x18538067, head, tracks, index(positions), *clusters)
    return element(0x1A45DFA3, text(0x4282, "webm"), number(0x4287, 2), number(0x4285, 2)) + segment


def cluster(second):
    """A second of the film: its time and its frame."""
    frame = base64.b64decode(FRAMES[colour_at(second)]) + bytes(PADDING)
    block = element(0xA3, b"\x81\0\0\x80" + frame)  # track 1, at the cluster's own time, a key frame
    return element(0x1F43B675, number(0xE7, second * 1000), block)


def index(positions):
    """Where in the segment each second begins."""
    points = [
        element(
            0xBB,
            number(0xB3, second * 1000),
            element(0xB7, number(0xF7, 1), number(0xF1, position)),
        )
        for second, position in enumerate(positions)
    ]
    return element(0x1C53BB6B, *points)


# -- EBML (RFC 8794): an identifier, a length, and content ---------------------------------------------------------


def element(identifier, *content):
    content = b"".join(content)
    length = (1 << 56 | len(content)).to_bytes(8, "big")
    return identifier.to_bytes((identifier.bit_length() + 7) // 8, "big") + length + content


def number(identifier, value):
    return element(identifier, value.to_bytes(8, "big"))


def real(identifier, value):
    return element(identifier, struct.pack(">d", value))


def text(identifier, value):
    return element(identifier, value.encode())
