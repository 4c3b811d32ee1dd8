"""The same requests for the same files to nginx and to us: the same status, telling fields and bytes.

nginx answers over HTTP/1.1 and HTTP/2, Sterna over all three versions. What differs on purpose is in `DIFFERENT`, with its
reason; a row there that no longer differs fails as well.
"""

import gzip
import os
import random
from dataclasses import dataclass

import pytest
from curl_cffi import CurlHttpVersion

from against import Aioquic, Libcurl, Request
from nginx import Nginx

VERSIONS = {
    "HTTP/1.1": CurlHttpVersion.V1_1,
    "HTTP/2": CurlHttpVersion.V2_0,
    "HTTP/3": CurlHttpVersion.V3ONLY,
}
TEXT = bytes(range(32, 127)) * 1000
TOTAL = len(TEXT)
PACKED = gzip.compress(TEXT, mtime=0)
#: When the files were last changed, and a second before and after.
CHANGED = 1_700_000_000
BEFORE, THEN, AFTER = (
    "Tue, 14 Nov 2023 22:13:19 GMT",
    "Tue, 14 Nov 2023 22:13:20 GMT",
    "Tue, 14 Nov 2023 22:13:21 GMT",
)
OTHER = '"another"'


def row(name, path="/text.txt", method="GET", **fields):
    fields = {key.replace("_", "-"): value for key, value in fields.items()}
    return pytest.param(name, Request(path, method, fields), id=name)


TABLE = [
    # Files and their types.
    row("a file"),
    row("its head", method="HEAD"),
    row("an empty file", "/empty.txt"),
    row("a file of 3 MB", "/large.bin"),
    row("a query says nothing to a file", "/text.txt?v=1&w=%2f"),
    row("a style", "/style.css"),
    row("a script", "/app.js"),
    row("a picture", "/logo.svg"),
    row("a film", "/film.mp4"),
    row("an unknown ending", "/unknown.zzz"),
    row("no ending", "/README"),
    row("a space in the name", "/a%20b.txt"),
    row("a plus is a plus", "/a+b.txt"),
    row("a percent sign in the name", "/100%25.txt"),
    row("a name beyond ASCII", "/%C3%BC.txt"),
    row("an encoded letter", "/t%65xt.txt"),
    # Directories, and what is not there.
    row("the index of the root", "/"),
    row("the index of a directory", "/sub/"),
    row("the head of an index", "/sub/", "HEAD"),
    row("a directory without its slash", "/sub"),
    row("the same with a query", "/sub?a=b"),
    row("a directory without an index", "/bare/"),
    row("a missing file", "/missing.txt"),
    row("the head of a missing file", "/missing.txt", "HEAD"),
    row("a missing directory", "/missing/"),
    row("a file as if it were a directory", "/text.txt/"),
    row("below a file", "/text.txt/x"),
    row("another case", "/TEXT.TXT"),
    row("an encoded form by its own name", "/packed.txt.gz"),
    # Methods.
    row("POST", method="POST"),
    row("PUT", method="PUT"),
    row("DELETE", method="DELETE"),
    row("PATCH", method="PATCH"),
    row("OPTIONS", method="OPTIONS"),
    # Ranges.
    row("the first byte", range="bytes=0-0"),
    row("a part", range="bytes=100-199"),
    row("from a byte on", range="bytes=94990-"),
    row("from the last byte on", range=f"bytes={TOTAL - 1}-"),
    row("the last bytes", range="bytes=-7"),
    row("a suffix longer than the file", range="bytes=-200000"),
    row("a part beyond the end", range="bytes=94990-200000"),
    row("all of it as a part", range="bytes=0-"),
    row("behind the end", range=f"bytes={TOTAL}-"),
    row("far behind the end", range="bytes=200000-300000"),
    row("no last bytes", range="bytes=-0"),
    row("a range of an empty file", "/empty.txt", range="bytes=0-"),
    row("the head of a part", method="HEAD", range="bytes=0-9"),
    row("a part of a large file", "/large.bin", range="bytes=1000000-2000000"),
    row("the end before the start", range="bytes=9-1"),
    row("no range at all", range="bytes="),
    row("no number", range="bytes=a-b"),
    row("half a set is wrong", range="bytes=0-1,x"),
    row("another unit", range="lines=0-9"),
    row("a unit in capitals", range="BYTES=0-9"),
    row("spaces around", range="bytes= 0-1 , 3-4"),
    row("two parts", range="bytes=0-9,100-109"),
    row("three parts, one from the end", range="bytes=0-9,100-109,-5"),
    row("parts in another order", range="bytes=1000-1009,0-9"),
    row("parts that overlap", range="bytes=0-99,50-149"),
    row("one of two is satisfiable", range="bytes=0-9,200000-"),
    row("none of two is satisfiable", range="bytes=200000-,300000-"),
    row("a hundred times the whole", range="bytes=" + ",".join(["0-"] * 100)),
    # Conditions, alone and against each other.
    row("If-None-Match: the tag", if_none_match="{etag}"),
    row("If-None-Match: the tag, weak", if_none_match="W/{etag}"),
    row("If-None-Match: another", if_none_match=OTHER),
    row("If-None-Match: in a list", if_none_match=OTHER + ", {etag}"),
    row("If-None-Match: any", if_none_match="*"),
    row("If-None-Match of a HEAD", method="HEAD", if_none_match="{etag}"),
    row("If-None-Match of a missing file", "/missing.txt", if_none_match="*"),
    row("If-Match: the tag", if_match="{etag}"),
    row("If-Match: the tag, weak", if_match="W/{etag}"),
    row("If-Match: another", if_match=OTHER),
    row("If-Match: in a list", if_match=OTHER + ", {etag}"),
    row("If-Match: any", if_match="*"),
    row("If-Modified-Since: then", if_modified_since=THEN),
    row("If-Modified-Since: before", if_modified_since=BEFORE),
    row("If-Modified-Since: after", if_modified_since=AFTER),
    row("If-Modified-Since: no date", if_modified_since="yesterday"),
    row("If-Unmodified-Since: then", if_unmodified_since=THEN),
    row("If-Unmodified-Since: before", if_unmodified_since=BEFORE),
    row("If-Unmodified-Since: after", if_unmodified_since=AFTER),
    row("If-Unmodified-Since: no date", if_unmodified_since="yesterday"),
    row("the tag goes before the date", if_none_match=OTHER, if_modified_since=THEN),
    row("If-Match goes before its date", if_match="{etag}", if_unmodified_since=BEFORE),
    row("If-Match goes before If-None-Match", if_match=OTHER, if_none_match="{etag}"),
    row("If-Match holds, and so does If-None-Match", if_match="{etag}", if_none_match="{etag}"),
    row("If-Range: the tag", range="bytes=0-9", if_range="{etag}"),
    row("If-Range: the tag, weak", range="bytes=0-9", if_range="W/{etag}"),
    row("If-Range: another", range="bytes=0-9", if_range=OTHER),
    row("If-Range: then", range="bytes=0-9", if_range=THEN),
    row("If-Range: before", range="bytes=0-9", if_range=BEFORE),
    row("If-Range: after", range="bytes=0-9", if_range=AFTER),
    row("If-Range: no date", range="bytes=0-9", if_range="yesterday"),
    row("If-Range of a range behind the end", range="bytes=200000-", if_range="{etag}"),
    row("a condition goes before the range", range="bytes=0-9", if_none_match="{etag}"),
    row("a condition goes before a wrong range", range="bytes=200000-", if_match=OTHER),
    # Encoded forms.
    row("gzip is accepted", "/packed.txt", accept_encoding="gzip"),
    row("gzip among others", "/packed.txt", accept_encoding="deflate, gzip;q=0.5"),
    row("gzip is refused", "/packed.txt", accept_encoding="gzip;q=0"),
    row("any coding", "/packed.txt", accept_encoding="*"),
    row("no coding", "/packed.txt"),
    row("the head of an encoded form", "/packed.txt", "HEAD", accept_encoding="gzip"),
    row("a part of an encoded form", "/packed.txt", accept_encoding="gzip", range="bytes=0-9"),
    row("a file without an encoded form", accept_encoding="gzip"),
    # Paths that climb, hide, or are written in a second way.
    row("a path that climbs", "/../etc/passwd"),
    row("an encoded climb", "/%2e%2e/%2e%2e/etc/passwd"),
    row("a climb behind an encoded slash", "/..%2f..%2fetc/passwd"),
    row("up and down within", "/sub/../text.txt"),
    row("a dot segment", "/./text.txt"),
    row("an encoded slash", "/sub%2findex.html"),
    row("two slashes", "//text.txt"),
    row("two slashes within", "/sub//index.html"),
    row("a backslash", "/sub%5cindex.html"),
    row("a hidden file", "/.hidden"),
    row("a file of a hidden folder", "/.git/config"),
    row("a well-known file", "/.well-known/security.txt"),
    row("a link that leads outside", "/escape.txt"),
    row("a link within", "/link.txt"),
    row("a NUL", "/text.txt%00.html"),
    row("a broken encoding", "/text%zz.txt"),
]

@dataclass(frozen=True)
class Difference:
    """What a row gets from each, as far as it differs, and why."""

    nginx: dict
    sterna: dict
    why: str


NOT_FOUND = {"status": 404}
BAD = {"status": 400}
WHOLE = {"status": 200, "body": TEXT}
CLIMBS = "a dot segment, which clients take out and a filter in front may not: refused, whatever route it would take"
A_SECOND_WAY = "a second way to write a path, which a filter in front has read in the first: refused"
HIDDEN = "a name that begins with a dot is for the machine, but for /.well-known/"
IGNORED = "a Range that cannot be read is ignored (RFC 9110 §14.2)"
ALLOW = "405 says what is allowed (RFC 9110 §15.5.6)"

DIFFERENT = {
    "a style": Difference(
        {"content-type": "text/css"},
        {"content-type": "text/css; charset=utf-8"},
        "all text is UTF-8; nginx's list of types leaves styles out",
    ),
    "a script": Difference(
        {"content-type": "application/javascript; charset=utf-8"},
        {"content-type": "text/javascript; charset=utf-8"},
        "the type of RFC 9239; Debian's nginx has the older one",
    ),
    "a file without an encoded form": Difference(
        {"content-encoding": None, "etag": "strong", "accept-ranges": "bytes"},
        {"content-encoding": "gzip", "etag": "weak", "accept-ranges": None},
        "what compresses is encoded without being asked for; its tag is a weak one, and it has no ranges",
    ),
    "an encoded form by its own name": Difference(
        {"content-type": "application/octet-stream"},
        {"content-type": "application/gzip"},
        "its type is known",
    ),
    "a directory without an index": Difference(
        {"status": 403}, NOT_FOUND, "what is not served does not say that it is there"
    ),
    **{
        method: Difference({"allow": None}, {"allow": "GET, HEAD"}, ALLOW)
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS")
    },
    "a range of an empty file": Difference(
        {"status": 200},
        {"status": 416, "content-range": "bytes */0"},
        "no byte of an empty file can be sent (RFC 9110 §14.1.2)",
    ),
    "the head of a part": Difference(
        {"status": 206},
        {"status": 200, "content-length": str(TOTAL), "content-range": None},
        "Range is for GET alone (RFC 9110 §14.2)",
    ),
    "the end before the start": Difference({"status": 416}, WHOLE, IGNORED),
    "no number": Difference({"status": 416}, WHOLE, IGNORED),
    "half a set is wrong": Difference({"status": 416}, WHOLE, IGNORED),
    "parts that overlap": Difference(
        {"content-type": "multipart/byteranges", "content-range": None},
        {"content-range": f"bytes 0-149/{TOTAL}", "body": TEXT[:150]},
        "ranges that overlap become one, so that no byte is sent twice (RFC 9110 §15.3.7.2)",
    ),
    "a hundred times the whole": Difference(
        {"status": 200},
        {"status": 206, "content-range": f"bytes 0-{TOTAL - 1}/{TOTAL}", "body": TEXT},
        "the same: they become one",
    ),
    "If-Unmodified-Since: no date": Difference(
        {"status": 412}, WHOLE, "what is no date is ignored (RFC 9110 §13.1.4)"
    ),
    "If-Match goes before its date": Difference(
        {"status": 412}, WHOLE, "the date counts only without a tag (RFC 9110 §13.2.2)"
    ),
    "any coding": Difference(
        {"content-encoding": None, "body": TEXT},
        {"content-encoding": "gzip", "body": PACKED},
        "`*` names every coding that is not named (RFC 9110 §12.5.3)",
    ),
    "a part of an encoded form": Difference(
        {"status": 200, "body": PACKED},
        {"status": 206, "body": PACKED[:10], "content-range": f"bytes 0-9/{len(PACKED)}"},
        "an encoded form has ranges of its own, so that a download of it can go on",
    ),
    "up and down within": Difference(WHOLE, BAD, CLIMBS),
    "a dot segment": Difference(WHOLE, BAD, CLIMBS),
    "an encoded slash": Difference(WHOLE, NOT_FOUND, A_SECOND_WAY),
    "two slashes": Difference(WHOLE, NOT_FOUND, A_SECOND_WAY),
    "two slashes within": Difference(WHOLE, NOT_FOUND, A_SECOND_WAY),
    "a hidden file": Difference(WHOLE, NOT_FOUND, HIDDEN),
    "a file of a hidden folder": Difference(WHOLE, NOT_FOUND, HIDDEN),
    "a link that leads outside": Difference(
        WHOLE, NOT_FOUND, "nothing outside the directory is served, whoever made the link"
    ),
}

#: What differs in many rows, as (nginx, Sterna).
ALWAYS = {
    # An encoded form may appear beside a file later: a cache that was not told would give it to those who cannot read it.
    "vary": (None, "accept-encoding"),
    # RFC 9110 §14.3 lets a response say so whose ranges are served; nginx leaves it out of a 206.
    "accept-ranges": (None, "bytes"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("against") / "root"
    for directory in ("sub", "bare", ".git", ".well-known"):
        (root / directory).mkdir(parents=True)
    names = ["text.txt", "packed.txt", "style.css", "app.js", "logo.svg", "film.mp4", "unknown.zzz"]
    names += ["README", "a b.txt", "a+b.txt", "100%.txt", "ü.txt", ".hidden", ".git/config"]
    names += ["index.html", "sub/index.html", ".well-known/security.txt"]
    for name in names:
        (root / name).write_bytes(TEXT)
    (root / "packed.txt.gz").write_bytes(PACKED)
    (root / "empty.txt").write_bytes(b"")
    (root / "large.bin").write_bytes(random.Random(5).randbytes(3_000_000))
    (root.parent / "outside.txt").write_bytes(TEXT)
    for found in [*root.rglob("*"), root.parent / "outside.txt"]:
        os.utime(found, (CHANGED, CHANGED))
    (root / "escape.txt").symlink_to(root.parent / "outside.txt")
    (root / "link.txt").symlink_to("text.txt")
    return root


@pytest.fixture(scope="module")
def reference(folder, certificate, tmp_path_factory):
    nginx = Nginx(tmp_path_factory.mktemp("nginx") / "run", folder, certificate)
    clients = {name: Libcurl(VERSIONS[name], nginx.port, certificate) for name in VERSIONS}
    del clients["HTTP/3"]  # Debian's nginx has none
    yield clients
    for client in clients.values():
        client.close()
    nginx.stop()


@pytest.fixture(scope="module")
def ours(folder, shared, certificate):
    port = shared.files(folder, workers=1).port
    clients = {name: Libcurl(VERSIONS[name], port, certificate) for name in VERSIONS}
    clients["HTTP/3, aioquic"] = Aioquic(port)
    yield clients
    for client in clients.values():
        client.close()


def ask(client, request):
    """What this server shows for the request, with its own tag in it."""
    if any("{etag}" in value for value in request.fields.values()):
        request = request.resolved(client.send(Request(request.path)).fields["etag"])
    return client.send(request).shown()


@pytest.mark.parametrize("name, asked", TABLE)
def test_the_answer_is_that_of_nginx_or_differs_for_a_reason(name, asked, reference, ours):
    expected, again = (ask(client, asked) for client in reference.values())
    assert again == expected, "nginx agrees with itself"
    answers = {
        way: ask(client, asked)
        for way, client in ours.items()
        if not (asked.method == "HEAD" and isinstance(client, Aioquic))
    }
    first = answers["HTTP/1.1"]
    assert answers == {way: first for way in answers}, "one answer, whatever the version"
    keys = sorted(expected.keys() | first.keys())
    both = {key: (expected.get(key), first.get(key)) for key in keys}
    differing = {key: pair for key, pair in both.items() if pair[0] != pair[1]}
    differing = {key: pair for key, pair in differing.items() if ALWAYS.get(key) != pair}
    if name not in DIFFERENT:
        assert differing == {}
        return
    told = DIFFERENT[name]
    assert {key: expected.get(key) for key in told.nginx} == told.nginx
    assert {key: first.get(key) for key in told.sterna} == told.sterna, told.why
    if "status" not in differing:
        assert differing.keys() <= told.nginx.keys() | told.sterna.keys() | {"content-length", "body"}
    assert differing, "it is alike now"


def test_what_always_differs_differs_in_a_part(reference, ours):
    asked = Request("/text.txt", fields={"range": "bytes=0-0"})
    expected, answer = (ask(server["HTTP/2"], asked) for server in (reference, ours))
    assert {key: (expected.get(key), answer.get(key)) for key in ALWAYS} == ALWAYS


def test_every_difference_is_of_a_row():
    names = {row.id for row in TABLE}
    assert DIFFERENT.keys() <= names and len(names) == len(TABLE) >= 60
