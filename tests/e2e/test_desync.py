"""No request reaches an origin that a client has not sent: the corpus over every version, against origins that keep each byte.

`STERNA_DESYNC_ALL=1` takes all 256 bytes in each place. See docs/conformance.md.
"""

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

import desync_http1 as http1
import desync_http1_syntax as syntax
import desync_messages as messages
import desync_responses as responses
from desync_oracle import judge, judge_answers
from desync_origin import Http1Origin, Http2Origin
from desync_wire import Http1, Http2, Http3
from test_proxy import Proxies

HTTP1 = [http1.codings, http1.lengths, http1.named_by_connection, http1.contents, syntax.chunks, syntax.lines, syntax.bytes_of_lines, syntax.hosts, syntax.old_versions, syntax.cuts]
MESSAGES = [messages.lengths, messages.of_connection, messages.trailers, messages.pseudo_headers, messages.injections, messages.targets, messages.bytes_of_fields]
CLIENTS = {"1": Http1, "2": Http2, "3": Http3}
# What no answer has to come to is not waited for long.
PATIENCE = 0.4
THREADS = 8


@pytest.fixture(scope="module")
def proxies(certificate, tmp_path_factory):
    proxies = Proxies(tmp_path_factory.mktemp("desync"), certificate)
    yield proxies
    proxies.stop()


def probe(version, client, mark):
    """A request that is as good as any; its answer, if the connection still takes one."""
    if version == "1":
        return client.ask_steadily(http1.request(mark, method=b"GET"), b"GET")
    return client.ask(messages.message(mark, method=b"GET"))


def run_one(version, client, case):
    """Plays a case and a good request behind it; what is wrong with what came back."""
    if version != "1":
        answers = [client.ask(case.wire)]
    elif case.asks:
        patience = 10.0 if case.must else PATIENCE
        answers, _ = client.exchange(case.wire, [method for method, _ in case.asks], patience)
    else:
        client.cut(case.wire)
        answers = []
    found = judge_answers(case, answers)
    mark = http1.marker()
    case.whole[mark] = b""
    # The case may have been told that the connection goes.
    answer = probe(version, client, mark) or probe(version, client, mark)
    if answer is None or answer.marker != mark:
        found.append(f"the request after it got {answer}")
    return found


def play(version, address, cases):
    """Plays them in as many threads as there are clients; what is wrong, by case."""
    local, clients = threading.local(), []

    def run(case):
        if not hasattr(local, "client"):
            local.client = CLIENTS[version](address)
            clients.append(local.client)
        try:
            return run_one(version, local.client, case)
        except Exception as error:
            local.client.close()
            return [f"{type(error).__name__}: {error}"]

    with ThreadPoolExecutor(THREADS) as pool:
        wrong = list(pool.map(run, cases))
    for client in clients:
        client.close()
    return [f"{case.family}: {case.name}: {what}" for case, found in zip(cases, wrong) for what in found]


@pytest.mark.parametrize("to", ["http", "h2c"])
@pytest.mark.parametrize("version", CLIENTS)
def test_no_request_reaches_an_origin_that_no_client_has_sent(proxies, version, to, capsys):
    origin = Http1Origin() if to == "http" else Http2Origin()
    server = proxies.to(origin.address)
    families = HTTP1 if version == "1" else MESSAGES
    cases = [case for family in families for case in family()]
    if to == "h2c" and not http1.EVERY_BYTE:
        # What is refused is refused before anybody asks where it goes.
        cases = cases[::3]
    began = time.monotonic()
    wrong = play(version, server.address, cases)
    server.assert_alive()
    server.stop()
    origin.stop()
    wrong += judge(cases, origin.records)
    counts = Counter(case.family for case in cases)
    with capsys.disabled():
        print(f"\nHTTP/{version} to {to}: {len(cases)} cases, {len(wrong)} wrong, {time.monotonic() - began:.1f} s")
        print("  " + ", ".join(f"{name} {count}" for name, count in counts.items()))
    assert not wrong, "\n".join(wrong[:150])


@pytest.mark.parametrize("version", CLIENTS)
def test_no_answer_of_an_origin_is_that_to_another_request(proxies, version, capsys):
    """Each bad answer to GET, HEAD and POST, and three good requests behind it."""
    origin = Http1Origin(responses.scripts())
    server = proxies.to(origin.address, 'eject = false\nupstream_timeouts = { first_byte = "1s", idle = "1s" }')
    client = CLIENTS[version](server.address)
    wrong, count, began = [], 0, time.monotonic()
    for index, name in enumerate(responses.ANSWERS):
        for method in [b"GET", b"HEAD", b"POST"]:
            count += 1
            mark = http1.marker()
            path = b"/%s?r=%d" % (mark, index)
            if version == "1":
                line = b"%s %s HTTP/1.1" % (method, path)
                answers, _ = client.exchange(http1.request(mark, b"Connection: close\r\n", line=line), [method], 10.0)
                answer = answers[0] if answers else None
            else:
                answer = client.ask(messages.message(mark, method=method, path=path))
            shown = answer and (b"evil" in answer.body or answer.marker not in (None, mark))
            for _ in range(3):
                after = http1.marker()
                got = probe(version, client, after)
                if got is None or (got.marker, got.body) != (after, after):
                    shown = f"then {got}"
            if shown:
                wrong.append(f"{name}, {method.decode()}: {answer} {shown}")
    with capsys.disabled():
        print(f"\nHTTP/{version}: {count} bad answers, {len(wrong)} wrong, {time.monotonic() - began:.1f} s")
    client.close()
    server.stop()
    origin.stop()
    assert not wrong, "\n".join(wrong)
