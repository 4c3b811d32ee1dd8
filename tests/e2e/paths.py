"""A client with several addresses, which says where each datagram claims to come from and sees where each arrives."""

import select
import socket
import time

from h3client import Client
from h3raw import Connection

PATH_CHALLENGE, PATH_RESPONSE = b"\x1a", b"\x1b"
OWN, OTHER, THIRD = "127.0.0.1", "127.0.0.2", "127.0.0.3"


class Watched(Connection):
    """Notes every challenge and every answer with the address at which it arrived."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.at = OWN
        # As (address, data).
        self.challenges, self.answers = [], []
        # What the next packets hold in the place of what they would.
        self.instead = None
        # Challenges are noted, and not answered.
        self.is_mute = False

    def _handle_path_challenge_frame(self, context, frame_type, buf):
        start = buf.tell()
        self.challenges.append((self.at, buf.pull_bytes(8)))
        if not self.is_mute:
            buf.seek(start)
            super()._handle_path_challenge_frame(context, frame_type, buf)

    def _handle_path_response_frame(self, context, frame_type, buf):
        start = buf.tell()
        self.answers.append((self.at, buf.pull_bytes(8)))
        buf.seek(start)
        super()._handle_path_response_frame(context, frame_type, buf)

    def edit_packet(self, header, payload, packet_number):
        if self.instead is not None and not header[0] & 0x80:
            payload = self.instead
        return header, payload


class Mover(Client):
    """A client on loopback that owns several addresses."""

    def __init__(self, address, **options):
        super().__init__(address, connection=Watched, **options)
        self.sockets = {OWN: self.socket}
        # Bytes of each datagram that arrived, as (address, bytes).
        self.arrived = []

    def close(self):
        super().close()
        for bound in self.sockets.values():
            bound.close()

    def at(self, place):
        """The socket at an address of loopback; a pair of address and number stands for more of them at one address."""
        if place not in self.sockets:
            ip = place if isinstance(place, str) else place[0]
            bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            bound.bind((ip, 0))
            bound.setblocking(False)
            self.sockets[place] = bound
        return self.sockets[place]

    def move(self, place):
        """Everything is sent from there and read there from now on."""
        self.socket = self.at(place)
        self.quic.at = place

    def say_from(self, place, payload=b"\x01", size=0):
        """Sends one packet with these frames from there, and nothing else: by itself a PING. How many bytes that were."""
        self._transmit()
        self.quic.instead = payload + bytes(max(0, max(size, 8) - len(payload)))
        self.quic.send_ping(uid=0)
        datagrams = self.quic.datagrams_to_send(time.monotonic())
        for data, address in datagrams:
            self.at(place).sendto(data, address)
        self.quic.instead = None
        return sum(len(data) for data, _ in datagrams)

    def listen(self, *places, until=lambda: False, seconds=10.0):
        """Reads at all these addresses, and answers from the first of them, until `until()`; what that says."""
        deadline = time.monotonic() + seconds
        home = self.quic.at
        while not (done := until()) and time.monotonic() < deadline:
            self.socket = self.at(places[0])
            self._transmit()
            timer = self.quic.get_timer()
            if timer is not None and time.monotonic() >= timer:
                self.quic.handle_timer(time.monotonic())
            sockets = {self.at(place): place for place in places}
            for ready in select.select(list(sockets), [], [], 0.02)[0]:
                self._read(ready, sockets[ready])
            self._events()
        self.socket, self.quic.at = self.at(home), home
        return done

    def overhear(self, place):
        """The sizes of the datagrams that come there in a moment, the first of them in half a minute; nobody reads them."""
        sizes = []
        while select.select([self.at(place)], [], [], 0.3 if sizes else 30)[0]:
            sizes.append(len(self.at(place).recv(65536)))
        return sizes

    def _read(self, bound, place):
        self.quic.at = place
        for _ in range(64):
            try:
                data, address = bound.recvfrom(65536)
            except (BlockingIOError, ConnectionRefusedError):
                return
            self.arrived.append((place, len(data)))
            self.quic.receive_datagram(data, address, time.monotonic())

    def challenged(self, place):
        """The data of the challenges that arrived there, in order."""
        return [data for at, data in self.quic.challenges if at == place]

    def answered(self, place):
        return [data for at, data in self.quic.answers if at == place]
