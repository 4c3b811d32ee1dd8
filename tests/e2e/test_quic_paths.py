"""Hostile paths on the wire: whoever writes an address on a datagram, or copies a client's, is not taken for the client."""

import os
import re
import subprocess

import pytest

from admin import Admin
from conftest import binary
from paths import OTHER, OWN, PATH_CHALLENGE, PATH_RESPONSE, THIRD, Mover
from relay import Router
from server import Server

CONFIG = """
listen = ["127.0.0.1:0"]
http = "off"
workers = %(workers)d
admin = { listen = "unix:%(admin)s" }

[quic]
%(quic)s

[defaults]
tls = { cert = "%(cert)s", key = "%(key)s" }

[[site]]
root = "%(root)s"

[[site.route]]
path = "/who"
respond = "nobody known"

[[site.route]]
path = "/who"
client = "127.0.0.1"
respond = "127.0.0.1"

[[site.route]]
path = "/who"
client = "127.0.0.2"
respond = "127.0.0.2"

[[site.route]]
path = "/office"
allow = "127.0.0.1"
respond = "in"

[[site.route]]
path = "/few"
rate_limit = "3/m per ip"
respond = "in"
"""


class Place(Server):
    """A server, and its operator's interface."""

    def __init__(self, argv, folder, admin):
        super().__init__(argv, folder)
        self.admin = Admin(admin)

    def count(self, name):
        text = self.admin.get("/metrics").text
        return int(float(re.search(rf"^sterna_quic_{name}_total (\S+)$", text, re.M)[1]))


@pytest.fixture
def serve(tmp_path, certificate, site):
    started = []

    def serve(workers=2, quic=""):
        file, admin = tmp_path / "sterna.toml", tmp_path / "admin.sock"
        values = {"cert": certificate.cert, "key": certificate.key, "root": site.root}
        file.write_text(CONFIG % {**values, "admin": admin, "workers": workers, "quic": quic})
        argv = [binary("STERNA_BIN"), "run", "-c", file]
        started.append(Place(argv, tmp_path / f"server{len(started)}", admin))
        return started[-1]

    yield serve
    for server in started:
        server.stop()


@pytest.fixture
def server(serve):
    return serve()


@pytest.fixture
def mover(server):
    with Mover(server.address).connect() as mover:
        assert mover.fetch("/who").body == b"127.0.0.1"
        yield mover


def ask(mover, path, place=OWN):
    """A whole request from there; its answer may come to the client's own address as well."""
    mover.move(place)
    stream = mover.start("GET", path)
    exchange = mover.exchanges[stream]
    places = dict.fromkeys((place, OWN))
    assert mover.listen(*places, until=lambda: exchange.ended, seconds=30), "no answer"
    return exchange


def settle(server, mover, count=1):
    """Waits until the server has seen so many addresses succeed or fail."""
    seen = lambda: server.count("paths_validated") + server.count("paths_failed") >= count
    assert mover.listen(OWN, until=seen, seconds=60)


def test_a_request_with_a_forged_source_is_the_clients_that_has_the_keys(server, mover):
    for _ in range(3):
        mover.socket = mover.at(OTHER)
        stream = mover.start("GET", "/who")
        office = mover.start("GET", "/office")
        mover.socket = mover.at(OWN)
        both = [mover.exchanges[stream], mover.exchanges[office]]
        assert mover.listen(OWN, until=lambda: all(one.ended for one in both), seconds=30)
        assert [bytes(one.body) for one in both] == [b"127.0.0.1", b"in"]
    assert (server.count("paths_validated"), server.count("connections_opened")) == (0, 1)
    assert server.count("migrations") >= 2
    assert "127.0.0.2" not in server.stdout(), "the access log knows the client's own address alone"


# req: 9000-9.3-validates
# req: 9000-9.3.2-back-to-the-last-one
def test_who_answers_with_other_data_has_proved_nothing(server, mover):
    mover.quic.is_mute = True
    mover.say_from(OTHER, size=1100)
    assert mover.listen(OTHER, until=lambda: mover.challenged(OTHER))
    challenge = mover.challenged(OTHER)[0]
    wrong = [bytes(8), os.urandom(8), challenge[::-1], bytes([challenge[0] ^ 1]) + challenge[1:]]
    for data in wrong:
        mover.say_from(OTHER, PATH_RESPONSE + data, size=1100)
    assert ask(mover, "/who", OTHER).body == b"127.0.0.1"
    mover.move(OWN)
    settle(server, mover)
    assert ask(mover, "/who").body == b"127.0.0.1"
    assert (server.count("paths_validated"), server.count("connections_closed")) == (0, 0)


# req: 9000-8.2.3-data-of-a-challenge
def test_the_answer_from_another_address_than_was_challenged_proves_nothing(server, mover):
    mover.quic.is_mute = True
    # Large enough for a full challenge, which is for the new address alone.
    mover.say_from(OTHER, size=1100)
    assert mover.listen(OTHER, until=lambda: mover.challenged(OTHER))
    challenge = mover.challenged(OTHER)[0]
    # Somebody at the other address has handed the client the challenge. It answers from its own, with what moves no path.
    mover.say_from(OWN, PATH_RESPONSE + challenge, size=1100)
    mover.say_from(OTHER)
    assert ask(mover, "/who", OTHER).body == b"127.0.0.1"
    assert server.count("paths_validated") == 0
    # From there it proves it.
    mover.quic.is_mute = False
    mover.move(OTHER)
    mover.say_from(OTHER, size=1100)
    assert mover.listen(OTHER, until=lambda: server.count("paths_validated") == 1, seconds=30)
    assert ask(mover, "/who", OTHER).body == b"127.0.0.2"


# req: 9000-8.2.3-no-acknowledgement
def test_the_acknowledgement_of_a_challenge_proves_nothing(server, mover):
    mover.quic.is_mute = True
    for _ in range(5):
        # The client takes the challenge and acknowledges it, from there.
        assert ask(mover, "/who", OTHER).body == b"127.0.0.1"
    assert mover.challenged(OTHER)
    assert server.count("paths_validated") == 0


def test_policies_go_by_the_new_address_once_it_is_proved_and_not_before(server, mover):
    assert ask(mover, "/office").status == 200
    mover.move(OTHER)
    mover.say_from(OTHER)
    assert mover.listen(OTHER, until=lambda: server.count("paths_validated") == 1, seconds=30)
    assert ask(mover, "/who", OTHER).body == b"127.0.0.2"
    assert ask(mover, "/office", OTHER).status == 403
    assert [ask(mover, "/few", OTHER).status for _ in range(4)] == [200, 200, 200, 429]
    mover.say_from(OWN)
    assert mover.listen(OWN, until=lambda: server.count("paths_validated") == 2, seconds=30)
    assert [ask(mover, path).status for path in ("/office", "/few")] == [200, 200]
    assert "127.0.0.2" in server.stdout()


# req: 9000-9.3.3-old-path
def test_the_address_that_was_left_is_challenged_too_and_gets_the_connection_back(server, mover):
    stream = mover.start("GET", "/big.bin")
    exchange = mover.exchanges[stream]
    assert mover.listen(OWN, until=lambda: len(exchange.body) > 200_000)
    # A copy of one packet, from an address where nobody answers.
    mover.say_from(OTHER)
    before = len(exchange.body)
    assert mover.listen(OWN, until=lambda: len(exchange.body) > before + 2_000_000, seconds=60)
    assert mover.challenged(OWN), "it was asked whether it is still there"
    assert server.count("paths_validated") == 0
    mover.reset(stream, 0x10C)


# req: 9000-8.2.1-unpredictable
def test_no_two_challenges_are_alike(server, mover):
    for turn in range(12):
        mover.move((OTHER, turn))
        mover.quic.send_ping(uid=0)
        wanted = turn + 1
        seen = lambda: server.count("paths_validated") >= wanted
        assert mover.listen((OTHER, turn), until=seen, seconds=30)
    there = [mover.challenged((OTHER, turn))[0] for turn in range(12)]
    assert len(set(there)) == 12
    assert len({data[:4] for data in there}) == 12


# req: 9000-8.2.1-expand
# req: 9000-9.3-limit
def test_a_challenge_has_1200_bytes_where_three_times_what_came_are_as_many(server, mover):
    stream = mover.start("GET", "/big.bin")
    exchange = mover.exchanges[stream]
    assert mover.listen(OWN, until=lambda: len(exchange.body) > 200_000)
    mover.quic.is_mute = True
    for place, size, is_short in ((OTHER, 8, True), (THIRD, 1100, False)):
        sent = mover.say_from(place, size=size)
        sizes = mover.overhear(place)
        print(f"{sent} bytes from a new address: {sizes} to it")
        assert sum(sizes) <= 3 * sent
        assert (max(sizes) < 100) if is_short else (min(sizes) >= 1200)
        before = len(exchange.body)
        assert mover.listen(OWN, until=lambda: len(exchange.body) > before + 500_000, seconds=60)
    assert server.count("path_challenges_short") >= 1
    mover.reset(stream, 0x10C)


def test_a_client_whose_nat_forgets_it_is_asked_by_what_little_it_said(server, mover, site):
    """All of its datagrams from the new port are small until it is asked, and it waits for the rest."""
    stream = mover.start("GET", "/medium.bin")
    exchange = mover.exchanges[stream]
    assert mover.listen(OWN, until=lambda: len(exchange.body) > 1_000_000)
    moved = (OWN, "elsewhere")
    sent = mover.say_from(moved)
    assert sent < 100
    mover.move(moved)
    assert mover.listen(moved, until=lambda: exchange.ended, seconds=60)
    assert exchange.body == site.content("medium.bin")
    assert server.count("paths_validated") == 1


# req: 9000-8.2.2-same-path
def test_a_challenge_is_answered_where_it_came_from_and_moves_nothing(server, mover):
    data = [os.urandom(8) for _ in range(3)]
    for place, one in zip((OTHER, THIRD, OWN), data):
        mover.say_from(place, PATH_CHALLENGE + one, size=1150)
    all_there = lambda: len(mover.quic.answers) == 3
    assert mover.listen(OWN, OTHER, THIRD, until=all_there)
    assert sorted(mover.quic.answers) == sorted(zip((OTHER, THIRD, OWN), data))
    assert server.count("migrations") == 0


# req: 9000-8.2.2-limit
def test_a_small_challenge_with_a_forged_source_has_nothing_large_sent_to_it(server, mover):
    # Three times all of them is less than one answer, should they come at once.
    sent = sum(mover.say_from(THIRD, PATH_CHALLENGE + os.urandom(8)) for _ in range(5))
    assert 3 * sent < 1200
    assert ask(mover, "/who").body == b"127.0.0.1"
    held = lambda: server.count("path_answers_held") >= 1
    assert mover.listen(OWN, until=held, seconds=30)
    mover.listen(OWN, THIRD, seconds=0.3)
    assert not any(place == THIRD for place, _ in mover.arrived)
    assert server.count("connections_closed") == 0


def test_a_flood_of_challenges_gets_no_more_answers_than_questions_and_takes_no_memory(server, mover):
    before = server.rss_kib()
    sent = 0
    places = [(OTHER, number) for number in range(40)]
    for turn in range(10):
        for place in places:
            # A hundred in each packet.
            many = b"".join(PATH_CHALLENGE + os.urandom(8) for _ in range(100))
            mover.say_from(place, many)
            sent += len(many)
        mover.listen(OWN, *places, seconds=0.1)
    assert ask(mover, "/who").body == b"127.0.0.1"
    answers = len(mover.quic.answers)
    received = sum(size for place, size in mover.arrived if place != OWN)
    print(f"40000 challenges in 400 packets of {sent} bytes: {answers} answers, {received} bytes")
    assert 0 < answers <= 400, "one for a packet at most"
    assert received <= 3 * sent
    assert server.rss_kib() < before + 8192
    assert server.count("connections_closed") == 0


# req: 9000-9-move-though-disabled
def test_a_server_that_wants_nobody_to_move_keeps_a_client_behind_a_nat(serve, site):
    server = serve(quic="migration = false")
    with Mover(server.address).connect() as mover:
        stream = mover.start("GET", "/medium.bin")
        exchange = mover.exchanges[stream]
        assert mover.listen(OWN, until=lambda: len(exchange.body) > 1_000_000)
        mover.move((OWN, 1))
        mover.quic.send_ping(uid=0)
        assert mover.listen((OWN, 1), until=lambda: exchange.ended, seconds=60)
        assert exchange.body == site.content("medium.bin")
    assert (server.count("paths_validated"), server.count("rebinds")) == (1, 1)


def fetch(server, port, certificate, tmp_path, *argv):
    url = f"https://localhost:{port}/medium.bin"
    argv = [binary("STERNA_BIN"), "get", "--cacert", certificate.cert, "-o", tmp_path / "out", *argv, url]
    return subprocess.run(list(map(str, argv)), capture_output=True, text=True, timeout=100)


# req: 9000-9.5-another-id
def test_our_client_moves_under_another_connection_id(server, certificate, site, tmp_path):
    relay = Router(server.address)
    try:
        done = fetch(server, relay.address[1], certificate, tmp_path, "--migrate")
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "out").read_bytes() == site.content("medium.bin")
    finally:
        relay.close()
    before, after = relay.ids.values()
    assert before and after and not before & after


# req: 9000-9-no-move-if-disabled
def test_our_client_does_not_go_on_from_another_port_where_it_must_stay(serve, certificate, tmp_path):
    server = serve(quic="migration = false")
    done = fetch(server, server.port, certificate, tmp_path, "--migrate")
    assert done.returncode != 0
    assert "survive" in done.stderr, done.stderr
    assert server.count("migrations") <= 1, "the close alone came from there"
