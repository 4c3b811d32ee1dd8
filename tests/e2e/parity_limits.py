"""The rows of the table for what a whole process allows: each has a server of its own."""

import threading

from parity_rows import held, row


def get(client, path="/"):
    """The status, or 0 where the connection is refused, cut or closed."""
    try:
        return client.get(path)
    except (OSError, AssertionError):
        return 0


@row("limits.requests_per_ip", [200, 200, 0])
def _(world):
    limited = world.limited("limits.requests_per_ip = '2/h, burst 2'")
    client = limited.raw()
    return [get(client) for _ in range(3)]


@row("limits.streams_per_ip", (0, 200))
def _(world):
    limited = world.limited("limits.streams_per_ip = 1")
    first = []
    world.origin.held.clear()
    world.origin.go_on.clear()
    thread = threading.Thread(target=lambda: first.append(get(limited.raw(), "/hold")))
    thread.start()
    assert world.origin.held.wait(20)
    second = get(limited.raw())
    world.origin.go_on.set()
    thread.join()
    return second, first[0]


@row("limits.connections_per_ip", [200, 0])
def _(world):
    limited = world.limited("limits.connections_per_ip = 1")
    # Both stay open.
    clients = [limited.raw(), limited.raw()]
    return [get(client) for client in clients]


# Over QUIC a client proves its address by a Retry first, and has a rate of its own then.
@row("limits.handshakes_per_ip", [200, 200, 0], but={"HTTP/3": [200, 200, 200]})
def _(world):
    limited = world.limited("limits.handshakes_per_ip = '2/h, burst 2'")
    return [get(limited.raw()) for _ in range(3)]


@row("limits.in_flight", ((503, "1"), [200]))
def _(world):
    limited = world.limited("limits.in_flight = { max = 1, queue = 0 }")

    def probe():
        answer = limited.ask("/x")
        return answer.status_code, answer.headers.get("retry-after")

    return held(limited, "/hold", probe)


@row("limits.min_rate", 408)
def _(world):
    return world.limited('limits.min_rate = "1MB/s after 500ms"').raw().begin("/x")


@row("timeouts.body_idle", 408)
def _(world):
    return world.limited('timeouts.body_idle = "500ms"').raw().begin("/x")
