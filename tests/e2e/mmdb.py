"""A database of countries in the format of MaxMind (version 2.0), of a few networks of IPv4."""

import ipaddress
import struct


def write(path, countries, kind="Test-Country"):
    """Writes `countries`, a dict of networks and codes, to `path`."""
    data = b""
    nodes = [[None, None]]
    for network, code in countries.items():
        network = ipaddress.IPv4Network(network)
        bits = f"{int(network.network_address):032b}"[: network.prefixlen]
        at = 0
        for bit in bits[:-1]:
            if nodes[at][int(bit)] is None:
                nodes.append([None, None])
                nodes[at][int(bit)] = len(nodes) - 1
            at = nodes[at][int(bit)]
        # Behind the nodes and 16 empty bytes; their number is not known yet.
        nodes[at][int(bits[-1])] = ("data", len(data))
        data += _map({"country": _map({"iso_code": _text(code)})})

    def record(value):
        if value is None:
            value = len(nodes)
        elif isinstance(value, tuple):
            value = len(nodes) + 16 + value[1]
        return struct.pack(">I", value)[1:]

    tree = b"".join(record(side) for node in nodes for side in node)
    facts = {
        "binary_format_major_version": _u16(2),
        "binary_format_minor_version": _u16(0),
        "build_epoch": bytes([8, 2]) + struct.pack(">Q", 1),
        "database_type": _text(kind),
        "description": _map({}),
        "ip_version": _u16(4),
        "languages": bytes([0, 4]),
        "node_count": bytes([0b11000100]) + struct.pack(">I", len(nodes)),
        "record_size": _u16(24),
    }
    path.write_bytes(tree + bytes(16) + data + b"\xab\xcd\xefMaxMind.com" + _map(facts))


def _map(entries):
    pairs = b"".join(_text(key) + value for key, value in entries.items())
    return bytes([0b11100000 | len(entries)]) + pairs


def _text(text):
    content = text.encode()
    assert len(content) < 29
    return bytes([0b01000000 | len(content)]) + content


def _u16(value):
    return bytes([0b10100010]) + struct.pack(">H", value)
