"""Clients that write what no browser would: any target, any authority, a request without its end. One request at a time, on one
connection while it lasts; a status of 0 is an end, or a reset, without an answer."""

import re
import socket
import ssl

import h2.config
import h2.connection
import h2.events

from h3client import Client


class Http1:
    """Writes the head of a request as it is given."""

    def __init__(self, address, prelude=b""):
        self.address, self.prelude, self.stream = address, prelude, None
        self.interim = []

    def get(self, path, authority="localhost", fields=()):
        return self.send(self._head("GET", path, authority, fields))

    def begin(self, path):
        """A POST whose content never comes."""
        return self.send(self._head("POST", path, "localhost", [("content-length", "100")]))

    def _head(self, method, path, authority, fields):
        lines = [f"{method} {path} HTTP/1.1", f"host: {authority}", *(f"{name}: {value}" for name, value in fields)]
        return "\r\n".join(lines) + "\r\n\r\n"

    def send(self, head):
        if self.stream is None:
            self.stream = tls(self.address, "http/1.1", self.prelude)
        self.stream.sendall(head.encode("latin-1"))
        answer, status = b"", 100
        while status < 200:
            while b"\r\n\r\n" not in answer:
                data = self.stream.recv(65536)
                if not data:
                    self.close()
                    return 0
                answer += data
            head, _, answer = answer.partition(b"\r\n\r\n")
            status = int(head.split()[1])
            if status < 200:
                self.interim.append(status)
        length = re.search(rb"content-length: (\d+)", head.lower())
        left = int(length[1]) - len(answer) if length else 0
        while left > 0 and (data := self.stream.recv(left)):
            left -= len(data)
        if b"connection: close" in head.lower():
            self.close()
        return status

    def close(self):
        if self.stream is not None:
            self.stream.close()
            self.stream = None


class Http2:
    """The h2 package, told not to look at what it sends."""

    def __init__(self, address, prelude=b""):
        self.address, self.prelude, self.stream = address, prelude, None
        self.interim = []

    def get(self, path, authority="localhost", fields=()):
        return self._ask("GET", path, authority, fields, True)

    def begin(self, path):
        """A POST whose content never comes."""
        return self._ask("POST", path, "localhost", [("content-length", "100")], False)

    def _ask(self, method, path, authority, fields, ends):
        if self.stream is None:
            self.stream = tls(self.address, "h2", self.prelude)
            config = h2.config.H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False)
            self.http = h2.connection.H2Connection(config)
            self.http.initiate_connection()
        number = self.http.get_next_available_stream_id()
        pseudo = [(":method", method), (":scheme", "https"), (":path", path)]
        pseudo += [(":authority", authority)] if authority is not None else []
        self.http.send_headers(number, [*pseudo, *fields], end_stream=ends)
        status = None
        while True:
            self.stream.sendall(self.http.data_to_send())
            data = self.stream.recv(65536)
            if not data:
                self.close()
                return status or 0
            for event in self.http.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived) and event.stream_id == number:
                    status = int(dict(event.headers)[b":status"])
                elif isinstance(event, h2.events.InformationalResponseReceived):
                    self.interim.append(int(dict(event.headers)[b":status"]))
                elif isinstance(event, h2.events.DataReceived):
                    self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)) and event.stream_id == number:
                    self.stream.sendall(self.http.data_to_send())
                    return status or 0
                elif isinstance(event, h2.events.ConnectionTerminated):
                    self.close()
                    return status or 0

    def close(self):
        if self.stream is not None:
            self.stream.close()
            self.stream = None


class Http3:
    """aioquic's HTTP/3."""

    def __init__(self, address, prelude=b""):
        self.address, self.client = address, None

    def get(self, path, authority="localhost", fields=()):
        return self._ask("GET", path, authority, fields, True)

    def begin(self, path):
        """A POST whose content never comes."""
        return self._ask("POST", path, "localhost", [("content-length", "100")], False)

    def _ask(self, method, path, authority, fields, ends):
        if self.client is None:
            self.client = Client(self.address).connect().__enter__()
        number = self.client.quic.get_next_available_stream_id()
        pseudo = [(":method", method), (":scheme", "https"), (":path", path)]
        pseudo += [(":authority", authority)] if authority is not None else []
        head = [(name.encode(), value.encode("latin-1")) for name, value in [*pseudo, *fields]]
        self.client.http.send_headers(number, head, end_stream=ends)
        exchange = self.client.exchanges[number]
        self.client._transmit()
        stream = self.client.stream(number)
        self.client.pump(lambda: exchange.ended or stream.reset is not None or self.client.terminated, 20)
        status = exchange.status if exchange.headers else 0
        if self.client.terminated:
            self.close()
        return status

    def close(self):
        if self.client is not None:
            self.client.__exit__(None, None, None)
            self.client = None


def tls(address, alpn, prelude=b""):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([alpn])
    plain = socket.create_connection(address, timeout=20)
    plain.sendall(prelude)
    return context.wrap_socket(plain, server_hostname="localhost")
