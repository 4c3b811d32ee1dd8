"""RFC 9218 on the wire: which response comes first, and what an update changes."""

from aioquic.quic.connection import Limit
from aioquic.quic.events import StreamDataReceived

from h3raw import EMPTY_SETTINGS, Peer, request_frame
from test_h3_extensions import update

# What a client lets be under way at once. Without it the network's loss on a busy machine decides what comes last: the
# client doubles its window with each that is used up.
WINDOW = 200_000
# What may have come out of order: a few windows, for the end of a response may be lost and sent again.
IN_FLIGHT = 3 * WINDOW
SIZE = 3_000_000


class Steady(Limit):
    """Credit of a whole connection that stays as wide as it was."""

    @property
    def value(self):
        return self.used + WINDOW

    @value.setter
    def value(self, _):
        pass


class Watching(Peer):
    """A client which remembers in which order bytes came."""

    def __init__(self, address):
        super().__init__(address, max_data=4 * SIZE)
        before = self.quic._local_max_data
        self.quic._local_max_data = Steady(before.frame_type, before.name, WINDOW)
        self.order = []

    def on_event(self, event):
        super().on_event(event)
        if isinstance(event, StreamDataReceived):
            self.order.append((event.stream_id, len(event.data)))

    def ask(self, *headers, size=SIZE):
        return self.open_bidi(request_frame(path=f"/bytes/{size}", headers=headers), fin=True)

    def take(self, *streams):
        """Waits for all of them; how much of the others had come when each of them was whole."""
        for stream in streams:
            assert self.response(stream, timeout=60).status == 200
        sums, at_end = dict.fromkeys(streams, 0), {}
        last = {stream: index for index, (stream, _) in enumerate(self.order)}
        for index, (stream, length) in enumerate(self.order):
            if stream in sums:
                sums[stream] += length
                if last[stream] == index:
                    at_end[stream] = dict(sums)
        return at_end


# req: 9218-10-schedule
def test_responses_of_one_urgency_come_one_after_the_other(axum):
    with Watching(axum.address).connect() as peer:
        peer.open_h3()
        first, second = peer.ask(), peer.ask()
        assert peer.take(first, second)[first][second] < IN_FLIGHT


# req: 9218-10-schedule, 9218-4.1-urgency
def test_a_more_urgent_request_overtakes(axum):
    with Watching(axum.address).connect() as peer:
        peer.open_h3()
        first, urgent = peer.ask(("priority", "u=5")), peer.ask(("priority", "u=1"))
        assert peer.take(first, urgent)[urgent][first] < IN_FLIGHT


# req: 9218-7-update-wins, 9218-7-newest-wins
def test_an_update_of_a_queued_response_takes_effect(axum):
    with Watching(axum.address).connect() as peer:
        control, _, _ = peer.open_h3()
        # Long enough that what is under way when the update comes is a small part.
        first, queued = peer.ask(size=4 * SIZE), peer.ask(("priority", "u=6"))
        assert peer.pump(lambda: len(peer.stream(first).received) > 100_000)
        peer.send(control, update(queued, b"u=7") + update(queued, b"u=0"))
        assert peer.take(first, queued)[queued][first] < 2 * SIZE


# req: 9218-7-update-wins, 9218-7.2-buffer-bounded
def test_an_update_that_came_before_its_request_counts(axum):
    with Watching(axum.address).connect() as peer:
        peer.open_h3(EMPTY_SETTINGS + update(4, b"u=0"))
        assert peer.request("/").status == 200
        stream, other = peer.ask(("priority", "u=7")), peer.ask(("priority", "u=2"))
        assert stream == 4
        assert peer.take(stream, other)[stream][other] < IN_FLIGHT


# req: 9218-10-schedule
def test_incremental_responses_share(axum):
    with Watching(axum.address).connect() as peer:
        peer.open_h3()
        streams = [peer.ask(("priority", "i")) for _ in range(3)]
        at_end = peer.take(*streams)
        for sums in at_end.values():
            assert min(sums.values()) > SIZE - IN_FLIGHT, at_end
