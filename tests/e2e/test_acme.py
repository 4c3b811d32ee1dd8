"""Certificates by ACME (RFC 8555) from a real authority: Pebble, as `pebble.py` starts it."""

import datetime
import json
import os
import socket
import ssl
import stat
import subprocess
import time

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from curl_cffi import CurlHttpVersion
from curl_cffi import requests as curl

from clientcerts import Authority
from conftest import binary
from h3client import Client
from ordering import PATIENCE, World, until
from pebble import Door
from running import Loads

# `STERNA_RENEWALS=100` is the long run.
RENEWALS = int(os.environ.get("STERNA_RENEWALS", 5))


@pytest.fixture
def world(tmp_path, monkeypatch):
    one = World(tmp_path, monkeypatch)
    yield one
    one.close()


def test_a_certificate_is_obtained_kept_and_shown_on_every_version(world):
    world.start("a.example", "b.example")
    root = world.root()
    for host in ["a.example", "b.example"]:
        world.wait_issued(host)
        for version in [CurlHttpVersion.V1_1, CurlHttpVersion.V2_0, CurlHttpVersion.V3ONLY]:
            assert world.get(host, version, root) == host
    row = world.row("a.example")
    assert (row["names"], row["failures"], row["error"], row["orders"]) == (["a.example"], 0, None, 1)
    assert "Pebble" in row["issuer"]
    # Renewed at two thirds of its 90 days, or as the authority advises.
    assert 30 * 86400 < row["next_renewal"] - time.time() < 82 * 86400
    assert world.rows()["*"]["source"] == "local"
    [folder] = (world.folder / "acme").iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for file in ["account.json", "a.example.pem", "b.example.pem", "lock"]:
        assert stat.S_IMODE((folder / file).stat().st_mode) == 0o600, file
    metrics = world.admin.get("/metrics").text
    assert 'sterna_acme_orders_total{result="succeeded"} 2' in metrics
    # A restart orders nothing: what is kept is shown from the first handshake on.
    before = world.shown("a.example")
    world.server.stop()
    world.directory.shut()
    world.start_server()
    assert world.shown("a.example") == before
    assert world.row("a.example")["orders"] == 0
    world.server.stop()


def test_a_renewal_is_shown_over_tcp_and_quic_and_open_connections_go_on(world):
    world.start("a.example")
    first, root = world.wait_issued("a.example"), world.root()
    url = world.server.url()
    clients = [httpx.Client(verify=False, http2=http2, http1=not http2) for http2 in [False, True]]
    with Client(world.server.address).connect() as http3:
        assert [client.get(url).text for client in clients] == ["any", "any"]
        renewed = world.cert("renew", "a.example")
        assert renewed.returncode == 0, renewed.stderr
        assert world.shown("a.example").serial_number != first.serial_number
        assert world.get("a.example", CurlHttpVersion.V3ONLY, root) == "a.example"
        before = world.counters()
        assert [client.get(url).text for client in clients] == ["any", "any"]
        assert http3.finish(http3.start("GET", "/"))[0].body == b"any"
        after = world.counters()
    for client in clients:
        client.close()
    # They went over the connections that were there before.
    for name in ["tcp_connections", "quic_connections", "tls_failures"]:
        assert after[name] == before[name], name
    world.server.stop()


def test_renewals_under_handshakes_fail_none(world):
    world.start("a.example", environment={"PEBBLE_WFE_NONCEREJECT": "10"})
    world.wait_issued("a.example")
    loads = Loads(world, rate=50, flags=["--reconnect", "1", "--connect-timeout", "60s"])
    shown = {world.shown("a.example").serial_number}
    for _ in range(RENEWALS):
        renewed = world.cert("renew", "a.example")
        assert renewed.returncode == 0, renewed.stderr
        shown.add(world.shown("a.example").serial_number)
    # Before the clients end, in the middle of a handshake for all they know.
    counters = world.counters()
    loads.finish()
    assert len(shown) == RENEWALS + 1
    assert [counters[name] for name in ["tls_failures", "service_errors", "panics", "protocol_errors"]] == [0] * 4
    world.server.stop()


def test_a_challenge_that_fails_leaves_what_was_shown_and_is_tried_again_later(world):
    world.start("a.example")
    first = world.wait_issued("a.example")
    world.http.shut()
    failed = world.cert("renew", "a.example")
    assert failed.returncode == 1
    assert "the authority has not seen that `a.example` is ours" in failed.stderr, failed.stderr
    assert world.shown("a.example") == first
    row = world.row("a.example")
    assert (row["failures"], row["orders"]) == (1, 2)
    assert row["next_renewal"] - time.time() < 80, "a minute, but for a quarter by chance"
    assert "WARN audit: no certificate obtained: what was shown before is shown on" in world.server.stderr()
    assert 'sterna_acme_orders_total{result="failed"} 1' in world.admin.get("/metrics").text
    world.find_plain()
    renewed = world.cert("renew", "a.example")
    assert renewed.returncode == 0, renewed.stderr
    assert world.shown("a.example") != first
    assert (world.row("a.example")["failures"], world.row("a.example")["error"]) == (0, None)
    world.server.stop()


def test_an_authority_that_is_not_there_at_the_start_is_waited_for_by_serving(world):
    world.write("a.example")
    world.directory.shut()
    world.start_server()
    assert "a.example is shown by the local authority until a certificate is obtained" in world.server.stderr()
    assert "Sterna local authority" in world.shown("a.example").issuer.rfc4514_string()
    until(lambda: world.row("a.example")["error"])
    assert "the authority refused, or was not reached" in world.row("a.example")["error"]
    world.start_authority()
    world.directory.lead_to(world.pebble.port)
    assert world.cert("renew", "a.example").returncode == 0, world.told()
    assert world.get("a.example", CurlHttpVersion.V3ONLY, world.root()) == "a.example"
    world.server.stop()


# req: 8555-6.5-bad-nonce-again
def test_nonces_that_the_authority_refuses_are_replaced(world):
    world.start("a.example", environment={"PEBBLE_WFE_NONCEREJECT": "25"})
    world.wait_issued("a.example")

    def has_refused():
        # Once for each certificate, but for what was refused.
        once = ["/order-plz", "/chalZ/", "/finalize-order/", "/certZ/"]
        return sum(world.pebble.log().count(f"POST {path}") for path in once) > len(once) * world.issued()

    while not has_refused():
        renewed = world.cert("renew", "a.example")
        assert renewed.returncode == 0, renewed.stderr
    world.server.stop()


def test_a_certificate_is_renewed_by_itself_before_it_ends(world):
    world.start("a.example", lifetime=20)
    first = world.wait_issued("a.example")
    row = world.row("a.example")
    # At nine tenths of its time at the latest.
    assert row["next_renewal"] < row["not_after"] - 1.5
    until(lambda: world.shown("a.example") != first, world.told)
    world.server.stop()


# req: 9773-4.2-past-at-once
# req: 9773-5-replaces
def test_the_authority_says_when_it_wants_a_certificate_to_be_renewed(world):
    world.start("a.example")
    first = world.wait_issued("a.example")
    world.server.stop()
    now, day = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(days=1)
    pem = first.public_bytes(serialization.Encoding.PEM).decode()
    world.pebble.advise(pem, now - 2 * day, now - day)
    # It asks at the start: here the certificate is replaced 60 days early.
    world.start_server()
    until(lambda: world.shown("a.example") != first, world.told)
    assert "is a replacement of" in world.pebble.log()
    world.server.stop()


def test_an_account_that_the_authority_has_lost_is_made_again(world):
    world.start("a.example")
    first = world.wait_issued("a.example")
    world.pebble.kill()
    world.start_authority()
    world.directory.lead_to(world.pebble.port)
    renewed = world.cert("renew", "a.example")
    assert renewed.returncode == 0, renewed.stderr
    assert world.shown("a.example") != first
    world.server.stop()


def test_hosts_come_and_go_with_reloads_and_others_are_never_ordered_for(world):
    world.start("a.example")
    world.wait_issued("a.example")
    world.write("a.example", "b.example")
    assert world.admin.post("/reload").status == 200
    world.wait_issued("b.example")
    assert world.row("a.example")["orders"] == 1, "what there was is kept"
    # Whatever clients ask for.
    assert "Sterna local authority" in world.shown("c.example").issuer.rfc4514_string()
    refused = world.cert("renew", "c.example")
    assert refused.returncode == 1 and "no certificate is ordered for c.example" in refused.stderr
    world.write("b.example")
    assert world.admin.post("/reload").status == 200
    assert [row["names"] for row in world.rows().values() if row["source"] == "acme"] == [["b.example"]]
    assert world.issued() == 2
    world.server.stop()


def test_another_authority_takes_over_when_it_has_issued_and_not_before(world):
    world.start("a.example")
    first = world.wait_issued("a.example")
    door = Door()
    door.shut()
    world.write("a.example", directory=door)
    assert world.admin.post("/reload").status == 200
    until(lambda: world.row("a.example")["error"], world.told)
    assert world.shown("a.example") == first
    door.lead_to(world.pebble.port)
    assert world.cert("renew", "a.example").returncode == 0, world.told()
    assert world.shown("a.example") != first
    assert len(list((world.folder / "acme").iterdir())) == 2, "each has a directory of its own"
    door.close()
    world.server.stop()


def test_servers_that_share_a_storage_order_once(world):
    world.start_authority()
    world.write("a.example", acme=world.hook())
    world.start_server(find_authority=False)
    until(lambda: list(world.folder.glob("acme/*/lock")))
    other = world.start_another("other")
    world.directory.lead_to(world.pebble.port)
    until(lambda: "Pebble" in world.shown("a.example").issuer.rfc4514_string(), world.told)
    until(lambda: world.shown("a.example", other) == world.shown("a.example"), other.stderr)
    assert world.issued() == 1
    for server in [world.server, other]:
        server.stop()


def test_a_certificate_that_cannot_be_kept_is_shown_all_the_same(world):
    (world.folder / f"acme/localhost-{world.directory.port}-dir/a.example.pem").mkdir(parents=True)
    world.start("a.example")
    world.wait_issued("a.example")
    assert world.get("a.example", CurlHttpVersion.V3ONLY, world.root()) == "a.example"
    assert "ERROR sterna_cli::acme::keeper: a certificate is shown, and lost with the process" in world.server.stderr()
    world.server.stop()


def test_certificates_are_listed_with_what_comes_next(world):
    world.start("a.example")
    world.wait_issued("a.example")
    listed = world.cert("ls")
    assert listed.returncode == 0, listed.stderr
    head, local, ordered = listed.stdout.splitlines()
    assert head.split() == ["NAMES", "ISSUER", "ENDS", "FROM", "RENEWED"]
    assert local.startswith("*") and "local" in local
    assert ordered.startswith("a.example") and "acme" in ordered and "in 89 days" in ordered
    as_json = json.loads(world.cert("ls", "--json").stdout)["certificates"]
    assert [row["source"] for row in as_json] == ["local", "acme"]
    world.server.stop()
    # Without a server: what it would show.
    config = ["-c", world.folder / "sterna.toml", "--json"]
    kept = json.loads(world.cert("ls", *config).stdout)["certificates"]
    assert [(row["names"], row["source"]) for row in kept] == [(["*"], "local"), (["a.example"], "acme")]
    assert kept[1]["not_after"] == as_json[1]["not_after"]
    refused = world.cert("renew", "a.example")
    assert refused.returncode == 1 and "no server answers at" in refused.stderr, refused.stderr


# req: 8737-3-challenge-certificate-alone
# req: 8737-3-handshake-alone
def test_a_host_is_proved_in_a_handshake_that_serves_nothing(world):
    world.start("a.example", acme='challenge = "tls-alpn-01"')
    # Nobody comes by plain HTTP.
    world.http.shut()
    first = world.wait_issued("a.example")
    assert world.get("a.example", CurlHttpVersion.V3ONLY, world.root()) == "a.example"
    # Without a challenge nobody is shown anything by that protocol, and others are served as ever.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["acme-tls/1"])
    with socket.create_connection(world.server.address) as stream, pytest.raises(ssl.SSLError):
        context.wrap_socket(stream, server_hostname="a.example")
    context.set_alpn_protocols(["acme-tls/1", "http/1.1"])
    with socket.create_connection(world.server.address) as stream:
        with context.wrap_socket(stream, server_hostname="a.example") as tls:
            assert tls.selected_alpn_protocol() == "http/1.1"
            assert x509.load_der_x509_certificate(tls.getpeercert(binary_form=True)) == first
    # The authority came, and again for a renewal; a challenge that it cannot see fails.
    visits = world.tls.visits
    assert visits > 0
    assert world.cert("renew", "a.example").returncode == 0, world.told()
    assert world.tls.visits > visits
    world.tls.shut()
    assert world.cert("renew", "a.example").returncode == 1
    world.server.stop()


# req: 8555-8.4-taken-away
def test_a_wildcard_is_proved_by_a_record_that_a_program_publishes_and_takes_away(world):
    world.start("*.w.example", acme=world.hook())
    world.wait_issued("*.w.example")
    for version in [CurlHttpVersion.V2_0, CurlHttpVersion.V3ONLY]:
        assert world.get("x.w.example", version, world.root()) == "*.w.example"
    present, cleanup = (line.split() for line in (world.folder / "hook.log").read_text().splitlines())
    assert present[:2] == ["present", "_acme-challenge.w.example"]
    assert cleanup == ["cleanup", *present[1:]]
    assert list((world.folder / "records").iterdir()) == []
    first = world.shown("x.w.example")
    hook = world.folder / "hook"
    hook.write_text("#!/bin/sh\nexit 3\n")
    failed = world.cert("renew", "*.w.example")
    assert failed.returncode == 1 and f"{hook} failed with exit status: 3" in failed.stderr, failed.stderr
    assert world.shown("x.w.example") == first
    world.server.stop()


def test_a_site_with_certificates_of_clients_is_proved_without_one_and_opened_to_nobody(world):
    ours = Authority(world.folder, "ours")
    alice = ours.client("alice")
    world.start("a.example", acme='challenge = "tls-alpn-01"', site=f'client_ca = "{ours.file}"')
    world.wait_issued("a.example")
    root = world.root()
    for version in [CurlHttpVersion.V1_1, CurlHttpVersion.V2_0, CurlHttpVersion.V3ONLY]:
        assert world.get("a.example", version, root, alice) == "a.example"
        with pytest.raises(curl.exceptions.RequestException):
            world.get("a.example", version, root)
    world.server.stop()


@pytest.mark.parametrize("verb", ["files", "proxy"])
def test_a_verb_orders_for_the_host_that_it_is_told(world, monkeypatch, verb):
    world.start_authority()
    monkeypatch.setenv("SSL_CERT_FILE", str(world.files.root))
    (world.folder / "index.html").write_text("a file")
    what = {
        "files": [world.folder, "--domain", "a.example"],
        "proxy": ["--to", "127.0.0.1:9", "--from", "a.example"],
    }
    place = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--admin", f"unix:{world.folder}/admin.sock"]
    order = [f"--acme=https://localhost:{world.directory.port}/dir", "--email", "ops@a.example"]
    world.start_server(argv=[verb, *what[verb], *place, *order])
    world.wait_issued("a.example")
    told = world.get("a.example", CurlHttpVersion.V3ONLY, world.root())
    assert told == "a file" if verb == "files" else "502" in told
    assert list((world.folder / "data/acme").glob("*/a.example.pem")), "beside the local authority"
    world.server.stop()


def test_a_verb_orders_for_no_host_that_an_authority_could_not_name(world):
    for words in [[], ["--domain", "localhost"], ["--domain", "*.a.example"]]:
        argv = [binary("STERNA_BIN"), "files", world.folder, "--acme", *words]
        refused = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE)
        assert refused.returncode == 1 and "error: no certificate can be ordered for" in refused.stderr, refused.stderr
