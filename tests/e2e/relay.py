"""UDP relays on loopback: one can change its upstream port, as a NAT does, one shows the server each client apart."""

import select
import socket
import threading


class Relay:
    """Passes datagrams between one client and the server; `rebind_after` gives the client a new address."""

    def __init__(self, server):
        self._server = server
        self._client = None
        self._down = self._bind()
        self._up = self._bind()
        self._running = True
        self._rebind_at = None
        self.passed = 0
        self.ports = [self._up.getsockname()[1]]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def address(self):
        return self._down.getsockname()

    def rebind_after(self, passed):
        """Once this many bytes have passed, the server sees another port, and the old one is gone."""
        self._rebind_at = passed

    def close(self):
        self._running = False
        self._thread.join()
        self._down.close()
        self._up.close()

    def _rebind(self):
        self._up.close()
        self._up = self._bind()
        self.ports.append(self._up.getsockname()[1])
        self._rebind_at = None

    @staticmethod
    def _bind():
        bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        bound.bind(("127.0.0.1", 0))
        bound.setblocking(False)
        return bound

    def _run(self):
        while self._running:
            if self._rebind_at is not None and self.passed >= self._rebind_at:
                self._rebind()
            ready, _, _ = select.select([self._down, self._up], [], [], 0.05)
            for source in ready:
                self._pass(source)

    def _pass(self, source):
        for _ in range(64):
            try:
                data, address = source.recvfrom(65536)
            except (BlockingIOError, ConnectionRefusedError):
                return
            self.passed += len(data)
            try:
                if source is self._down:
                    self._client = address
                    self._up.sendto(data, self._server)
                elif self._client:
                    self._down.sendto(data, self._client)
            except (BlockingIOError, ConnectionRefusedError):
                return


class Router:
    """Passes datagrams of any number of client addresses, each of which the server sees as one of its own."""

    def __init__(self, server):
        self._server = server
        self._down = Relay._bind()
        # The socket to the server of each client address, and the way back.
        self._ups, self._clients = {}, {}
        # Connection IDs of the short headers that each client address has sent.
        self.ids = {}
        self._running = True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def address(self):
        return self._down.getsockname()

    def close(self):
        self._running = False
        self._thread.join()
        for bound in (self._down, *self._clients):
            bound.close()

    def _run(self):
        while self._running:
            for source in select.select([self._down, *self._clients], [], [], 0.05)[0]:
                for _ in range(64):
                    try:
                        data, address = source.recvfrom(65536)
                        self._pass(source, data, address)
                    except (BlockingIOError, ConnectionRefusedError):
                        break

    def _pass(self, source, data, address):
        if source is not self._down:
            self._down.sendto(data, self._clients[source])
            return
        if address not in self._ups:
            self._ups[address] = Relay._bind()
            self._clients[self._ups[address]] = address
        if not data[0] & 0x80:
            self.ids.setdefault(address, set()).add(data[1:9])
        self._ups[address].sendto(data, self._server)
