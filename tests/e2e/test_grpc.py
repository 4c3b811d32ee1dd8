"""gRPC's own implementation on both sides of the proxy: HTTP/2 in, HTTP/2 in the clear out."""

import threading
from concurrent import futures

import grpc
import pytest

from conftest import binary
from server import Server


class Echo(grpc.GenericRpcHandler):
    """Calls of bytes, which come back."""

    def __init__(self):
        self.cancelled = threading.Event()
        self._calls = {
            "/echo.Echo/Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "/echo.Echo/Both": grpc.stream_stream_rpc_method_handler(lambda questions, _: questions),
            "/echo.Echo/Fails": grpc.unary_unary_rpc_method_handler(self.fails),
            "/echo.Echo/Hangs": grpc.unary_unary_rpc_method_handler(self.hangs),
        }

    def service(self, details):
        return self._calls.get(details.method)

    def unary(self, question, context):
        context.set_trailing_metadata([("x-trail", "yes")])
        return question

    def fails(self, _, context):
        context.abort(grpc.StatusCode.NOT_FOUND, "nothing here")

    def hangs(self, _, context):
        context.add_callback(self.cancelled.set)
        self.cancelled.wait(20)
        return b""


@pytest.fixture(scope="module")
def echo():
    return Echo()


@pytest.fixture(scope="module")
def channel(echo, certificate, tmp_path_factory):
    origin = grpc.server(futures.ThreadPoolExecutor(8))
    origin.add_generic_rpc_handlers((echo,))
    port = origin.add_insecure_port("127.0.0.1:0")
    origin.start()
    argv = [binary("STERNA_BIN"), "proxy", "--to", f"h2c://127.0.0.1:{port}", "--http", "off"]
    argv += ["--listen", "127.0.0.1:0", "--cert", certificate.cert, "--key", certificate.key]
    server = Server(argv, tmp_path_factory.mktemp("grpc"))
    credentials = grpc.ssl_channel_credentials(certificate.cert.read_bytes())
    with grpc.secure_channel(f"localhost:{server.port}", credentials) as channel:
        yield channel
    server.stop()
    origin.stop(0)


@pytest.mark.parametrize("size", [0, 5, 3_000_000])
def test_call_comes_back_with_its_trailers(channel, size):
    answer, call = channel.unary_unary("/echo.Echo/Unary").with_call(b"x" * size, timeout=20)
    assert answer == b"x" * size
    assert ("x-trail", "yes") in call.trailing_metadata()


def test_streams_go_both_ways_at_once(channel):
    asked = threading.Semaphore(1)

    def questions():
        for number in range(5):
            assert asked.acquire(timeout=10), "the answer before has not come"
            yield b"%d" % number

    answers = []
    for answer in channel.stream_stream("/echo.Echo/Both")(questions(), timeout=20):
        answers.append(answer)
        asked.release()
    assert answers == [b"0", b"1", b"2", b"3", b"4"]


def test_status_of_a_call_that_fails_comes_through(channel):
    with pytest.raises(grpc.RpcError) as failed:
        channel.unary_unary("/echo.Echo/Fails")(b"", timeout=10)
    assert (failed.value.code(), failed.value.details()) == (grpc.StatusCode.NOT_FOUND, "nothing here")


def test_call_that_is_given_up_is_given_up_behind_the_proxy(channel, echo):
    with pytest.raises(grpc.RpcError) as failed:
        channel.unary_unary("/echo.Echo/Hangs")(b"", timeout=1)
    assert failed.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert echo.cancelled.wait(10)
