"""The oracle of the desync battery finds what it is there to find: each fault, put into a log by hand."""

import pytest

from desync_http1 import Case, chunked, request
from desync_oracle import judge, judge_answers
from desync_origin import Record
from desync_wire import EVIL, Answer, next_answer
from strict_http1 import Fault, Strict, careless_requests, readings

HEAD = b"POST /m1z HTTP/1.1\r\nhost: localhost\r\n"


def record_of(*writes):
    """What an origin makes of these bytes."""
    strict = Strict()
    record = Record(strict.log)
    try:
        for data in writes:
            record.requests += strict.feed(data)
    except Fault as fault:
        record.fault = str(fault)
    return record


def case(whole, must=False):
    return Case("family", "name", b"", [(b"POST", b"m1z")], whole, must)


def test_whole_requests_are_read_however_they_are_cut_into_pieces():
    log = request(b"m1z", b"content-length: 5\r\n", b"hello") + request(b"m2z", b"transfer-encoding: chunked\r\n", chunked(b"he", b"llo"))
    for at in range(len(log)):
        record = record_of(log[:at], log[at:])
        assert [found.body for found in record.requests] == [b"hello", b"hello"] and not record.fault
    assert judge([case({b"m1z": b"hello", b"m2z": b"hello"}, True)], [record]) == []


@pytest.mark.parametrize(
    "log",
    [
        HEAD + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        HEAD + b"content-length: 5\r\ncontent-length: 5\r\n\r\n",
        HEAD + b"content-length: +5\r\n\r\n",
        HEAD + b"content-length: 05\r\n\r\n",
        HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n",
        HEAD + b"transfer-encoding : chunked\r\n\r\n",
        HEAD + b"host: evil\r\n\r\n",
        HEAD + b"x: a\nb: c\r\n\r\n",
        HEAD + b"x: a\rb\r\n\r\n",
        HEAD + b"x: a\0\r\n\r\n",
        HEAD + b"x: a\r\n folded\r\n\r\n",
        HEAD + b"x y: a\r\n\r\n",
        HEAD + b"connection: close\r\n\r\n",
        HEAD + b"keep-alive: timeout=5\r\n\r\n",
        HEAD + b"te: gzip\r\n\r\n",
        b"POST /m1z HTTP/1.1\r\n\r\n",
        b"POST /m1z HTTP/1.1\r\nhost: a b\r\n\r\n",
        b"POST /m1z x HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST /m1z#x HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST http://a/m1z HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST * HTTP/1.1\r\nhost: a\r\n\r\n",
        b"P\rST /m1z HTTP/1.1\r\nhost: a\r\n\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\n5;a\r\nhello\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nhelloXX",
        HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\nhost: evil\r\n\r\n",
    ],
)
def test_what_is_no_strict_request_is_a_fault(log):
    record = record_of(log)
    assert record.fault and judge([case({b"m1z": b""})], [record])


def test_request_that_nobody_has_sent_is_found():
    record = record_of(request(b"m1z", b"content-length: 0\r\n") + EVIL)
    found = judge([case({b"m1z": b""})], [record])
    assert len(found) == 1 and "smuggled" in found[0]


def test_request_that_was_cut_and_is_shown_as_whole_is_found():
    assert judge([case({})], [record_of(request(b"m1z", b"content-length: 2\r\n", b"he"))])
    assert judge([case({})], [record_of(request(b"m1z", b"content-length: 5\r\n", b"he"))]) == []


def test_other_content_two_of_one_and_none_of_one_are_found():
    hello = request(b"m1z", b"content-length: 5\r\n", b"hello")
    assert judge([case({b"m1z": b"other"})], [record_of(hello)])
    assert judge([case({b"m1z": b"hello"})], [record_of(hello), record_of(hello)])
    assert judge([case({b"m1z": b"hello"}, must=True)], [record_of()])


@pytest.mark.parametrize(
    "reader, log",
    [
        ("bare LF ends a line", HEAD + b"x: a\ncontent-length: 5\r\n\r\n"),
        ("bare CR ends a line", HEAD + b"x: a\rcontent-length: 5\r\n\r\n"),
        ("NUL ends a value", HEAD + b"transfer-encoding: chunked\0x\r\n\r\n0\r\n\r\n"),
        ("content-length goes before", HEAD + b"content-length: 30\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        ("any coding with chunked in it", HEAD + b"content-length: 5\r\ntransfer-encoding: xchunked\r\n\r\n5\r\nhello"),
        ("the last field counts", HEAD + b"content-length: 0\r\ncontent-length: 5\r\n\r\n"),
        ("underscores are dashes", HEAD + b"content_length: 5\r\n\r\n"),
    ],
)
def test_careless_origins_read_what_strict_ones_do_not(reader, log):
    log += request(b"m2z", b"content-length: 0\r\n")
    assert readings(log)[reader] != careless_requests(log)


def test_answer_that_belongs_to_another_request_is_found():
    right = Answer(200, {b"x-marker": b"m1z"}, b"m1z", True)
    assert judge_answers(case({b"m1z": b""}, True), [right]) == []
    for wrong in [
        Answer(200, {b"x-marker": b"m2z"}, b"m2z", True),
        Answer(200, {b"x-marker": b"m1z"}, b"m2z", True),
        Answer(200, {}, b"evil", True),
        Answer(400, {}, b"", True),
    ]:
        assert judge_answers(case({b"m1z": b""}, True), [wrong])
    assert judge_answers(case({b"m1z": b""}), [right, right])


def test_answer_that_was_cut_is_not_whole():
    whole = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunked(b"hello")
    for at in range(whole.index(b"\r\n\r\n") + 4, len(whole)):
        answer, _ = next_answer(whole[:at], b"GET", True)
        assert not answer.is_whole, at
    assert next_answer(whole, b"GET", True)[0].body == b"hello"
