"""`tls.retire_after`: connections that began with another certificate are told to go, and nothing on them is cut."""

import http.client
import http.server
import re
import socket
import ssl
import threading

import h2.config
import h2.connection
import pytest

from conftest import make_certificate
from h3raw import Peer, request_frame
from origins import Handler
from running import Running, until
from test_drain import goaways

MORE = """
[[site.route]]
path = "/held"
proxy = "http://127.0.0.1:%d"

[tls]
retire_after = "%s"
"""


# Frames of HTTP/2 (RFC 9113 §6) and their flags.
DATA, RST_STREAM, SETTINGS, PING, GOAWAY_FRAME = 0x0, 0x3, 0x4, 0x6, 0x7
END_STREAM = ACK = 0x1


class Origin(http.server.ThreadingHTTPServer):
    """Answers when it is let."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Held)
        self.asked, self.let = threading.Semaphore(0), threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Held(Handler):
    def do_GET(self):
        self.server.asked.release()
        assert self.server.let.wait(100)
        try:
            self.answer(b"at last")
        except BrokenPipeError:
            pass  # Whoever asked has gone.


@pytest.fixture
def origin():
    with Origin() as origin:
        yield origin
        origin.let.set()
        origin.shutdown()


class Retiring(Running):
    """A server that retires connections, if it is told after how long."""

    def __init__(self, folder, certificate, origin):
        super().__init__(folder, certificate)
        self.origin, self.number = origin, 1

    def serve(self, retire_after):
        """As before, but for this; the certificate is the same."""
        self.number += 1
        self.write(self.number, more=MORE % (self.origin.server_port, retire_after))
        self.reload()

    def replace_certificate(self):
        folder = self.folder / f"pair-{self.number}"
        folder.mkdir()
        self.use(make_certificate(folder))
        assert any("certificates" in change for change in self.reload()["changes"])

    def retired(self):
        text = self.admin.get("/metrics").text
        return int(re.search(r"^sterna_retired_connections_total (\d+)$", text, re.MULTILINE)[1])


@pytest.fixture
def retiring(tmp_path, certificate, origin):
    one = Retiring(tmp_path, certificate, origin)
    yield one
    one.server.kill()


def over_tls(address, alpn):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([alpn])
    tls = context.wrap_socket(socket.create_connection(address, timeout=60), server_hostname="localhost")
    assert tls.selected_alpn_protocol() == alpn
    return tls


class Http1:
    """Two connections: on one a request is under way, on the other nothing."""

    def __init__(self, address):
        self.idle, self.busy = (over_tls(address, "http/1.1") for _ in range(2))
        self.idle.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        self.idle.recv(65536)
        self.busy.sendall(b"GET /held HTTP/1.1\r\nhost: localhost\r\n\r\n")

    def is_told(self):
        # It sees the end; the other one sees it in its answer.
        assert self.idle.recv(1) == b""

    def finish(self):
        response = http.client.HTTPResponse(self.busy)
        response.begin()
        assert (response.status, response.getheader("connection")) == (200, "close")
        assert response.read() == b"at last"
        assert self.busy.recv(1) == b"", "it ends behind its last answer"

    def close(self):
        self.idle.close()
        self.busy.close()

    connections = 2


class Http2:
    """A connection with a request under way. Its frames are read by hand: h2 takes nothing behind a GOAWAY."""

    def __init__(self, address):
        self.tls = over_tls(address, "h2")
        http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        http.initiate_connection()
        fields = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/held")]
        http.send_headers(1, fields, end_stream=True)
        self.tls.sendall(http.data_to_send())
        self.stream, self.frames = self.tls.makefile("rb"), []

    def read(self):
        """One frame; whether there was one."""
        head = self.stream.read(9)
        if len(head) < 9:
            return False
        kind, flags, payload = head[3], head[4], self.stream.read(int.from_bytes(head[:3], "big"))
        self.frames.append((kind, flags, payload))
        if kind in (SETTINGS, PING) and not flags & ACK:
            answer = payload if kind == PING else b""
            self.tls.sendall(len(answer).to_bytes(3, "big") + bytes([kind, ACK]) + bytes(4) + answer)
        return True

    def of(self, wanted):
        return [payload for kind, _, payload in self.frames if kind == wanted]

    def is_told(self):
        while not self.of(GOAWAY_FRAME):
            assert self.read()
        assert self.of(GOAWAY_FRAME)[0][4:8] == bytes(4), "NO_ERROR"

    def finish(self):
        while self.read():
            pass
        assert b"".join(self.of(DATA)) == b"at last" and not self.of(RST_STREAM)
        assert any(kind == DATA and flags & END_STREAM for kind, flags, _ in self.frames)

    def close(self):
        self.stream.close()
        self.tls.close()

    connections = 1


class Http3:
    """Likewise."""

    def __init__(self, address):
        self.peer = Peer(address).connect(timeout=60)
        self.peer.open_h3()
        self.held = self.peer.open_bidi(request_frame(path="/held"), fin=True)

    def is_told(self):
        control = self.peer.stream(3).received
        # The first allows every request, the second none after those that were seen (RFC 9114 §5.2).
        assert self.peer.pump(lambda: goaways(control) == [(1 << 62) - 4, 4], 60), goaways(control)

    def finish(self):
        response = self.peer.response(self.held, timeout=60)
        assert (response.status, response.body) == (200, b"at last")
        closed = self.peer.wait_closed(60)
        assert (closed.application, closed.code) == (True, 0x100)

    def close(self):
        self.peer.close()

    connections = 1


@pytest.mark.parametrize("version", [Http1, Http2, Http3])
def test_connections_of_another_certificate_are_told_to_go_and_finish_what_they_began(retiring, version):
    retiring.serve("0s")
    before = version(retiring.server.address)
    assert retiring.origin.asked.acquire(timeout=60)
    # A reload with the same certificate tells nobody to go.
    retiring.serve("1s")
    assert retiring.retired() == 0
    retiring.replace_certificate()
    after = version(retiring.server.address)
    assert retiring.origin.asked.acquire(timeout=60)
    before.is_told()
    until(lambda: retiring.retired() == before.connections)
    retiring.origin.let.set()
    before.finish()
    if version is Http3:
        assert after.peer.response(after.held, timeout=60).body == b"at last"
        assert after.peer.request("/", timeout=60).status == 200
        assert goaways(after.peer.stream(3).received) == []
    assert retiring.retired() == before.connections, "who began with the new one stays"
    after.close()
    retiring.server.stop()


def test_a_retired_connection_that_holds_back_its_request_is_cut_by_the_clocks_that_it_had(retiring):
    retiring.serve("0s")
    stuck = over_tls(retiring.server.address, "http/1.1")
    # The head has ten seconds. Nothing but that ends it: there is no answer after which the connection could close.
    stuck.sendall(b"GET / HTTP/1.1\r\nhost: local")
    retiring.replace_certificate()
    until(lambda: retiring.retired() == 1)
    until(lambda: retiring.admin.get("/status").json()["counters"]["active_tcp_connections"] == 0)
    retiring.server.stop()
