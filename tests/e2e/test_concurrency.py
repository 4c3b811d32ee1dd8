"""Many requests at once on one connection.

The server allows 100 at first, and more to a client that has used them and was answered. So a battery that begins 200
requests holds 100 at a time; here the raise is earned first, and then 200 are open at the same moment.
"""

from h3raw import DATA, Peer, frame, request_frame

AT_ONCE = 200


def test_two_hundred_requests_are_open_at_the_same_moment(axum):
    with Peer(axum.address).connect() as peer:
        peer.open_h3()
        assert peer.stream_limit == 100
        peer.earn_streams(AT_ONCE)
        first, last = frame(DATA, b"first "), frame(DATA, b"last")
        head = request_frame("POST", "/echo")
        streams = [peer.open_bidi(head + first) for _ in range(AT_ONCE)]
        states = [peer.stream(stream) for stream in streams]
        # Each has its response begun, and none can have ended.
        assert peer.pump(lambda: all(state.received.endswith(b"first ") for state in states), 20)
        assert not any(state.settled for state in states)
        for stream in reversed(streams):
            peer.send(stream, last, fin=True)
        assert [peer.response(stream).body for stream in streams] == [b"first last"] * AT_ONCE


def test_a_client_that_is_never_answered_keeps_its_first_limit(axum):
    with Peer(axum.address).connect() as peer:
        peer.open_h3()
        streams = [peer.open_bidi(request_frame("POST", "/sha256")) for _ in range(100)]
        peer.pump_for(0.5)
        assert (peer.stream_limit, peer.free_streams) == (100, 0)
        for stream in streams:
            peer.send(stream, b"", fin=True)
        assert {peer.response(stream).status for stream in streams} == {200}
        assert peer.pump(lambda: peer.free_streams > 0)
