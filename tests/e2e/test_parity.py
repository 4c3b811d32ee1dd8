"""Each policy has the same outcome over HTTP/1.1, HTTP/2 and HTTP/3: one table, whose rows are the keys of the schema.

A key of a site, of a route or of the limits without a row fails the test, and so does one that says it is proved elsewhere
when it is not.
"""

import json
import subprocess
from pathlib import Path

import pytest

import parity_limits  # its rows
from conftest import binary
from parity import RAW, VERSIONS, Worlds, proxy_line
from parity_rows import ROWS

assert parity_limits

# What one version cannot have, and what has no version in it.
ELSEWHERE = {
    "slow_start": "crates/gateway/src/upstream: a share of requests, whatever carried them",
    "tls": "tests/e2e/test_reload.py: the certificate, over TCP and QUIC",
    "acme": "tests/e2e/test_acme.py: the certificate, over TCP and QUIC",
    "client_ca": "tests/e2e/test_client_auth.py: over each version",
    "client_auth": "tests/e2e/test_client_auth.py: over each version",
    "early_data": "tests/e2e/test_early_data.py: HTTP/3 alone, TLS over TCP takes none",
    "upstream_pool": "tests/e2e/test_upstream_pool.py: connections of a worker, whatever carried the requests",
    "host": "tests/e2e/test_path_bypass.py: the site by its host, over each version",
    "route": "the rows of this table",
    "limits.max_lag": "crates/net/src: it looks at the worker, which has all versions",
    "limits.memory": "HTTP/3 alone: the kernel holds what comes over TCP; tests/e2e/test_memory.py",
    "limits.tcp_connections": "TCP alone; `connections_per_ip` is for all",
    "limits.http2_streams": "HTTP/2 alone",
    "limits.http3_streams": "HTTP/3 alone",
    "limits.upload_buffer": "HTTP/3 alone: the kernel holds what comes over TCP",
    "limits.upload_buffer_total": "HTTP/3 alone",
    "timeouts.handshake": "crates/net/src: of TCP and TLS, and of QUIC",
    "timeouts.header": "docs/guide.md: over HTTP/2 it is that of an idle connection",
    "timeouts.keep_alive": "TCP alone; HTTP/3 has `quic.idle_timeout`",
    "timeouts.write": "tests/e2e/test_tcp.py: over TCP; `quic.idle_timeout` and `min_rate` over HTTP/3",
}


@pytest.fixture(scope="module")
def worlds(certificate, tmp_path_factory):
    worlds = Worlds(tmp_path_factory.mktemp("parity"), certificate)
    yield worlds
    worlds.stop()


def test_every_policy_has_the_same_outcome_over_every_version(worlds, capsys):
    table, differences = {}, []
    for version in VERSIONS:
        world = worlds.new(version)
        for key, (probe, expected) in ROWS.items():
            try:
                outcome = probe(world)
            except Exception as error:  # the table has all rows, whatever one of them does
                outcome = f"{type(error).__name__}: {error}"
            is_so = outcome == expected[version]
            table.setdefault(key, []).append("as told" if is_so and expected[version] != expected["HTTP/1.1"] else is_so)
            if not is_so:
                differences.append(f"{key} over {version}: {outcome}, not {expected[version]}")
        world.server.assert_alive()
    with capsys.disabled():
        print_table(table)
    assert not differences, "\n".join(differences)


def print_table(table):
    words = {True: "same", False: "DIFFERS"}
    print(f"\n\n{'policy':26}" + "".join(f"{version:12}" for version in VERSIONS))
    for key, cells in table.items():
        print(f"{key:26}" + "".join(f"{words.get(cell, cell):12}" for cell in cells))


def test_every_key_of_a_site_of_a_route_and_of_the_limits_has_a_row():
    schema = json.loads(subprocess.run([binary("STERNA_BIN"), "schema"], capture_output=True, check=True).stdout)
    site = schema["properties"]["site"]["items"]["properties"]
    keys = {*site, *site["route"]["items"]["properties"], *schema["properties"]["defaults"]["properties"]}
    assert "basic_auth" in keys, "the schema has another form"
    for table in ("limits", "timeouts"):
        keys |= {f"{table}.{key}" for key in schema["properties"][table]["properties"]}
    assert not keys - {*ROWS, *ELSEWHERE}, "keys without a row"
    assert not {*ELSEWHERE} & {*ROWS}
    root = Path(__file__).parents[2]
    places = [where.split(":")[0] for where in ELSEWHERE.values() if where.startswith(("crates/", "docs/", "tests/"))]
    assert all((root / place).exists() for place in places)


def test_the_proxy_protocol_names_the_client_over_tcp_and_is_refused_over_udp(worlds):
    text = worlds.head().replace('trusted_proxies = "127.0.0.1"', 'proxy_protocol = "127.0.0.1"')
    route = '\n[[site.route]]\npath = "/who"\nclient = "203.0.113.0/24"\nrespond = { status = 202 }\n'
    server = worlds.serve(text + route, "proxied")
    for version in ("HTTP/1.1", "HTTP/2"):
        assert RAW[version](server.address, proxy_line("203.0.113.5")).get("/who") == 202
        assert RAW[version](server.address, proxy_line("198.51.100.5")).get("/who") == 200
    assert RAW["HTTP/3"](server.address).get("/who") == 0
    server.assert_alive()
