"""Small servers to stand behind the proxy: Python's own over HTTP/1.1, and one on the `h2` package over HTTP/2 in the clear."""

import http.server
import socket
import socketserver
import threading

import h2.config
import h2.connection
import h2.events


def counted_bytes(count):
    pattern = bytes((index * 13 + 5) % 256 for index in range(256))
    return (pattern * (count // 256 + 1))[:count]


class Answering(http.server.BaseHTTPRequestHandler):
    """HTTP/1.1 without a log; what it answers, each origin says by `do_GET` and its like."""

    protocol_version = "HTTP/1.1"

    def answer(self, content=b"", status=200, fields=()):
        """One response, whole; `fields` are pairs."""
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        if status != 204:
            self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def content(self):
        """What came with the request, in pieces."""
        if self.headers.get("transfer-encoding") != "chunked":
            yield self.rfile.read(int(self.headers.get("content-length", 0)))
            return
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def log_message(self, *_):
        pass


class Origin:
    """Python's server at a free port, with a thread for each connection, until `stop`."""

    def __init__(self, handler):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.port = self.server.server_port
        self.address = f"127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Handler(Answering):
    """`/bytes/N` has N bytes, `/echo` what was sent, `/head` the head of the request as it came."""

    def do_GET(self):
        if self.path.startswith("/bytes/"):
            return self.answer(counted_bytes(int(self.path.removeprefix("/bytes/"))))
        if self.path == "/early":
            self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nlink: </app.css>; rel=preload\r\n\r\n")
        head = [self.requestline, *(f"{name}: {value}" for name, value in self.headers.items())]
        self.answer("\n".join(head).encode())

    def do_POST(self):
        self.answer(b"".join(self.content()))

    def address_string(self):
        return "client"


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class Http1:
    """Python's server, at a port or at a unix socket."""

    def __init__(self, socket_path=None, tls=None):
        if socket_path is None:
            self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            self.address = f"127.0.0.1:{self._server.server_address[1]}"
            if tls is not None:
                self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
                self.address = f"https://{self.address}"
        else:
            self._server = UnixServer(str(socket_path), Handler)
            self.address = f"unix:{socket_path}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


class Http2:
    """HTTP/2 with prior knowledge. Each piece of a request comes back as it came; the trailers are those of gRPC."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"h2c://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests = []
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        self._listener.close()

    def _accept(self):
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(stream,), daemon=True).start()

    def _serve(self, stream):
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        http = h2.connection.H2Connection(config)
        http.initiate_connection()
        waiting, ending = {}, set()
        with stream:
            stream.sendall(http.data_to_send())
            while data := stream.recv(1 << 16):
                for event in http.receive_data(data):
                    self._handle(http, event, waiting, ending)
                for each in list(waiting):
                    self._send(http, each, waiting, ending)
                stream.sendall(http.data_to_send())

    def _handle(self, http, event, waiting, ending):
        if isinstance(event, h2.events.RequestReceived):
            self.requests.append(dict(event.headers))
            waiting[event.stream_id] = bytearray()
            head = dict(event.headers)
            if head[":path"].startswith("/bytes/"):
                waiting[event.stream_id] += counted_bytes(int(head[":path"].removeprefix("/bytes/")))
            kind = head.get("content-type", "application/octet-stream")
            http.send_headers(event.stream_id, [(":status", "200"), ("content-type", kind)])
        elif isinstance(event, h2.events.DataReceived):
            waiting[event.stream_id] += event.data
            http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            ending.add(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            waiting.pop(event.stream_id, None)

    def _send(self, http, stream_id, waiting, ending):
        content = waiting[stream_id]
        while content and (window := http.local_flow_control_window(stream_id)):
            size = min(window, http.max_outbound_frame_size, len(content))
            http.send_data(stream_id, bytes(content[:size]))
            del content[:size]
        if not content and stream_id in ending:
            http.send_headers(stream_id, [("grpc-status", "0"), ("grpc-message", "fine")], end_stream=True)
            del waiting[stream_id]
