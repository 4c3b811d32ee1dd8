"""Files over every version alike: parts, encoded forms, conditions and what stands for a file that is not there."""

import gzip
import os
import re

import pytest
from curl_cffi import CurlHttpVersion
from curl_cffi import requests as curl

VERSIONS = {
    "HTTP/1.1": CurlHttpVersion.V1_1,
    "HTTP/2": CurlHttpVersion.V2_0,
    "HTTP/3": CurlHttpVersion.V3ONLY,
}
TEXT = bytes(range(32, 127)) * 1000
PAGE = b"<!doctype html><title>app</title>"
PACKED = gzip.compress(TEXT, mtime=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("files")
    (root / "text.txt").write_bytes(TEXT)
    (root / "text.txt.gz").write_bytes(PACKED)
    (root / "stale.txt").write_bytes(b"now")
    (root / "stale.txt.gz").write_bytes(gzip.compress(b"before"))
    os.utime(root / "stale.txt.gz", (1000, 1000))
    (root / "index.html").write_bytes(PAGE)
    (root / "listed").mkdir()
    (root / "listed" / "<b>.txt").write_bytes(b"")
    return root


@pytest.fixture(scope="module")
def server(shared, folder):
    return shared.files(folder, workers=1, flags=["--spa", "--listing"])


@pytest.fixture(params=VERSIONS)
def fetch(request, server, certificate):
    """Sends a request with these fields alone: nothing is decoded, no redirect followed."""
    version = VERSIONS[request.param]
    with curl.Session(http_version=version, verify=str(certificate.cert)) as session:

        def get(path, method="GET", **headers):
            fields = {name.replace("_", "-"): value for name, value in headers.items()}
            fields.setdefault("accept-encoding", "identity")
            return session.request(
                method,
                server.url(path),
                headers=fields,
                allow_redirects=False,
                default_headers=False,
                accept_encoding=None,
            )

        yield get


def parts(response):
    """The ranges and bytes of a multipart response."""
    boundary = re.fullmatch(
        r"multipart/byteranges; boundary=([\w-]{1,70})", response.headers["content-type"]
    )[1].encode()
    pieces = response.content.split(b"\r\n--" + boundary)
    assert (pieces[0], pieces[-1]) == (b"", b"--\r\n")
    found = []
    for piece in pieces[1:-1]:
        head, _, content = piece.partition(b"\r\n\r\n")
        found.append((re.search(rb"Content-Range: bytes (\S+)", head)[1].decode(), content))
    return found


def test_several_ranges_are_parts(fetch):
    total = len(TEXT)
    response = fetch("/text.txt", range="bytes=10-19,-5,70000-70009,15-29")
    # req: 9110-15.3.7.2-type
    # req: 9110-15.3.7.2-part-content-range
    # req: 9110-15.3.7.2-no-content-range
    # req: 9110-15.3.7.2-order
    assert response.status_code == 206
    assert "content-range" not in response.headers
    assert int(response.headers["content-length"]) == len(response.content)
    assert parts(response) == [
        (f"10-29/{total}", TEXT[10:30]),
        (f"{total - 5}-{total - 1}/{total}", TEXT[-5:]),
        (f"70000-70009/{total}", TEXT[70000:70010]),
    ]


@pytest.mark.parametrize(
    "field, status, length",
    [
        ("bytes=0-0,0-0", 206, 1),
        ("bytes=" + ",".join(["0-"] * 1000), 200, len(TEXT)),
        ("bytes=" + ",".join(f"{at}-{at}" for at in range(0, 34, 2)), 200, len(TEXT)),
        ("bytes=0-1,x", 200, len(TEXT)),
        (f"bytes={len(TEXT)}-,-0", 416, None),
    ],
)
def test_a_set_of_ranges_never_costs_more_than_the_file(fetch, field, status, length):
    response = fetch("/text.txt", range=field)
    assert response.status_code == status
    # req: 9110-15.5.17-length
    if length is None:
        assert response.headers["content-range"] == f"bytes */{len(TEXT)}"
    else:
        assert len(response.content) == length


def test_an_encoded_form_has_its_own_tag_and_ranges(fetch):
    plain = fetch("/text.txt")
    packed = fetch("/text.txt", method="HEAD", accept_encoding="br;q=1, gzip;q=0.5")
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) == len(PACKED)
    # req: 9110-12.5.5-vary
    assert packed.headers["vary"] == plain.headers["vary"] == "accept-encoding"
    assert packed.headers["etag"] != plain.headers["etag"]
    again = fetch("/text.txt", accept_encoding="gzip", if_none_match=packed.headers["etag"])
    # req: 9110-15.4.5-validators
    assert (again.status_code, again.headers["etag"]) == (304, packed.headers["etag"])
    other = fetch("/text.txt", if_none_match=packed.headers["etag"])
    assert (other.status_code, other.content) == (200, TEXT)


def test_a_stale_form_is_not_sent(fetch):
    response = fetch("/stale.txt", accept_encoding="gzip")
    assert (response.status_code, response.content) == (200, b"now")
    assert "content-encoding" not in response.headers


def test_what_is_missing_is_the_application_or_404(fetch):
    response = fetch("/users/7")
    assert (response.status_code, response.content) == (200, PAGE)
    assert fetch("/app.js").status_code == 404
    assert fetch("/.env", accept="text/html").status_code == 404


def test_an_error_is_json_for_those_who_ask_for_it(fetch):
    for path, method, status in [("/missing.js", "GET", 404), ("/text.txt", "POST", 405)]:
        response = fetch(path, method, accept="application/json, */*;q=0.5")
        assert response.status_code == response.json()["status"] == status
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["vary"] == "accept"
        page = fetch(path, method, accept="text/html, application/json;q=0.5")
        assert page.headers["content-type"] == "text/html; charset=utf-8"


def test_a_listing_is_escaped(fetch):
    response = fetch("/listed/")
    assert response.status_code == 200
    assert '<a href="%3Cb%3E.txt">&lt;b&gt;.txt</a>' in response.text
