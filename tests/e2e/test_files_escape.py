"""Nothing outside the served folder comes over the wire, whatever the path says."""

import socket
import ssl

import pytest

from h3raw import Peer, request_frame

PATHS = [
    "/../secret.txt",
    "/assets/../../secret.txt",
    "/%2e%2e/secret.txt",
    "/%2e%2e%2fsecret.txt",
    "/..%2fsecret.txt",
    "/assets/%2e%2e/%2e%2e/secret.txt",
    "/..%5csecret.txt",
    "/..\\secret.txt",
    "/%252e%252e/secret.txt",
    "//etc/passwd",
    "/%2fetc/passwd",
    "/%00/../secret.txt",
    "/secret.txt%00.html",
    "/./../secret.txt",
    "/escape.txt",
    "/escape/secret.txt",
    "/escape/public/../secret.txt",
]
every_path = pytest.mark.parametrize("path", PATHS)


def assert_nothing_escapes(status, body):
    assert status in (400, 403, 404), (status, body)
    assert b"outside the root" not in body
    assert b"root:" not in body


@every_path
def test_a_path_cannot_leave_the_folder_over_h1(files, path):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(files.address, timeout=10) as tcp:
        with context.wrap_socket(tcp, server_hostname="localhost") as tls:
            head = f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
            tls.sendall(head.encode())
            answer = b""
            while chunk := tls.recv(65536):
                answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    assert_nothing_escapes(int(head.split()[1]), body)


@every_path
def test_a_path_cannot_leave_the_folder_over_h3(files, path):
    with Peer(files.address).connect() as peer:
        peer.open_h3()
        stream = peer.open_bidi(request_frame(path=path), fin=True)
        state = peer.stream(stream)
        peer.pump(lambda: state.settled or peer.closed)
        if state.reset is None:
            response = peer.response(stream)
            assert_nothing_escapes(response.status, response.body)
        assert peer.request("/").status == 200
