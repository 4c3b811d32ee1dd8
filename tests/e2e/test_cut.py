"""What was cut is never shown as whole: requests cut by clients, responses cut by origins, at any byte, in every version.

`STERNA_CUTS=10000` takes that many instead of some hundreds. See docs/conformance.md.
"""

import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import desync_http1 as http1
import desync_messages as messages
from desync_origin import Http1Origin, Http2Origin, marker_of
from desync_wire import Http1, Http2, Http3, Message
from desync_oracle import judge
from figures import figure
from test_proxy import Proxies

CLIENTS = {"1": Http1, "2": Http2, "3": Http3}
COUNT = int(os.environ.get("STERNA_CUTS", "540"))
THREADS = 6


@pytest.fixture(scope="module")
def proxies(certificate, tmp_path_factory):
    proxies = Proxies(tmp_path_factory.mktemp("cut"), certificate)
    yield proxies
    proxies.stop()


def in_threads(version, address, play, count):
    """`play(client, random)` so many times; what it returned."""
    local, clients = threading.local(), []

    def run(index):
        if not hasattr(local, "client"):
            local.client = CLIENTS[version](address)
            clients.append(local.client)
        return play(local.client, random.Random(index))

    with ThreadPoolExecutor(THREADS) as pool:
        found = list(pool.map(run, range(count)))
    for client in clients:
        client.close()
    return found


def content_of(chance):
    """Sizes of one packet, of several, and of more than a window of the sender's buffer."""
    size = chance.choice([1, 5, 100, 1000, 5000, 20_000, 70_000])
    return chance.randbytes(size)


def arrival(origin, client, mark, chance):
    """Waits until the origin has heard of the request, and then a moment that is as long as chance has it.

    It need not hear of it: so little may have been sent. Without the wait it never would, since who cuts at once is seen
    to be gone before anybody asks for the content.
    """
    for _ in range(40):
        if mark in origin.heard:
            break
        client.linger(0.001)
    client.linger(chance.choice([0, 0, 0.001, 0.004]))


def cut_http1(origin, client, chance):
    """A request that ends at any byte but its last, with FIN or RST."""
    mark, content = http1.marker(), content_of(chance)
    if chance.random() < 0.5:
        wire = http1.request(mark, b"Content-Length: %d\r\n" % len(content), content)
    else:
        at = chance.randrange(len(content)) + 1
        pieces = [piece for piece in (content[:at], content[at:]) if piece]
        last = chance.choice([b"0\r\n\r\n", b"0\r\nx-t: y\r\n\r\n"])
        wire = http1.request(mark, b"Transfer-Encoding: chunked\r\n", http1.chunked(*pieces, last=last))
    # Half of them near an end: of the head, or of the whole.
    end = chance.choice([len(wire), len(wire), wire.index(b"\r\n\r\n") + 8])
    cut = chance.randrange(max(1, end - 12), end) if chance.random() < 0.5 else chance.randrange(1, len(wire))
    cut = min(cut, len(wire) - 1)
    is_heard = b"\r\n\r\n" in wire[:cut]
    wait = (lambda: arrival(origin, client, mark, chance)) if is_heard else (lambda: None)
    client.cut(wire[:cut], hard=chance.random() < 0.3, wait=wait)
    return mark


def cut_message(origin, client, chance):
    """A message whose stream or connection ends before it: at any byte of its content, or after all of it."""
    mark, content = http1.marker(), content_of(chance)
    fields = [(b"content-length", b"%d" % len(content))] if chance.random() < 0.5 else []
    sent = content[: chance.choice([len(content), chance.randrange(len(content) + 1)])]
    at = chance.randrange(len(sent) + 1)
    pieces = [piece for piece in (sent[:at], sent[at:]) if piece]
    number = client.send(messages.message(mark, fields, pieces, end="open"))
    arrival(origin, client, mark, chance)
    if fields and len(sent) < len(content) and chance.random() < 0.3:
        # The end comes, but too early.
        client.finish(number, "empty")
        answer = client.wait(number)
        assert answer is None or answer.status >= 400, answer
    else:
        client.finish(number, chance.choice(["reset", "reset", "cut"]))
    return mark


@pytest.mark.parametrize("to", ["http", "h2c"])
@pytest.mark.parametrize("version", CLIENTS)
def test_request_that_was_cut_is_never_shown_as_whole(proxies, version, to, capsys):
    origin = Http1Origin() if to == "http" else Http2Origin()
    server = proxies.to(origin.address)
    cut = cut_http1 if version == "1" else cut_message
    play = lambda client, chance: cut(origin, client, chance)
    marks = in_threads(version, server.address, play, COUNT // 6)
    server.assert_alive()
    server.stop()
    origin.stop()
    with capsys.disabled():
        figure(f"requests-heard-of-{version}-{to}", len(origin.heard), f"of-{len(marks)}", "> a third")
    wrong = judge([], origin.records)
    with capsys.disabled():
        figure(f"requests-shown-whole-{version}-{to}", len(wrong), f"of-{len(marks)}", "0")
    assert wrong == []
    assert len(origin.heard) > len(marks) // 3, "the origin has not heard of most of them"


class Cuts:
    """Responses that end before their end, by what stands behind the marker in the path: seed and way of framing."""

    @staticmethod
    def answer(transport, request):
        chance = random.Random(request.target)
        content = content_of(chance)
        if chance.random() < 0.5:
            head = b"content-length: %d\r\n\r\n" % len(content)
            body = content
        else:
            head = b"transfer-encoding: chunked\r\n\r\n"
            at = chance.randrange(len(content)) + 1
            body = http1.chunked(*(piece for piece in (content[:at], content[at:]) if piece))
        transport.write(b"HTTP/1.1 200 OK\r\nx-marker: %s\r\n" % marker_of(request.target) + head)
        transport.write(body[: chance.randrange(len(body))])
        transport.abort() if chance.random() < 0.3 else transport.close()


def ask_for_cut(version):
    def play(client, _):
        mark = http1.marker()
        path = b"/" + mark + b"?r=cut"
        if version == "1":
            wire = http1.request(mark, b"Connection: close\r\n", line=b"GET %s HTTP/1.1" % path)
            answers, _ = client.exchange(wire, [b"GET"], 10.0)
            answer = answers[0] if answers else None
        else:
            answer = client.ask(messages.message(mark, method=b"GET", path=path))
        return answer is None or not answer.is_whole or answer.status == 502

    return play


@pytest.mark.parametrize("version", CLIENTS)
def test_response_that_was_cut_is_never_shown_as_whole(proxies, version, capsys):
    origin = Http1Origin({"cut": Cuts.answer})
    # Passive ejection would have no backend asked.
    server = proxies.to(origin.address, EVERY_ATTEMPT)
    told = in_threads(version, server.address, ask_for_cut(version), COUNT // 3)
    with capsys.disabled():
        figure(f"responses-shown-whole-{version}", told.count(False), f"of-{len(told)}", "0")
    assert all(told), f"{told.count(False)} of {len(told)} were shown as whole"
    assert sum(len(record.requests) for record in origin.records) >= len(told)
    origin.stop()


EVERY_ATTEMPT = "eject = false"
