"""One request over each version of HTTP by foreign clients, and what of its response two servers should have alike."""

import re
from dataclasses import dataclass, field, replace

from curl_cffi import CurlOpt
from curl_cffi import requests as curl

from h3client import Client

# What tells a client or a cache what it got. `Server`, `Date` and the connection's own fields are no business of files.
TELLING = (
    "accept-ranges",
    "allow",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "etag",
    "last-modified",
    "location",
    "vary",
)


@dataclass(frozen=True)
class Request:
    """One row: what is asked for. `{etag}` in a field is the server's own tag of the path."""

    path: str
    method: str = "GET"
    fields: dict = field(default_factory=dict)

    def resolved(self, etag):
        return replace(self, fields={k: v.replace("{etag}", etag) for k, v in self.fields.items()})


@dataclass(frozen=True)
class Response:
    status: int
    fields: dict
    body: bytes

    def shown(self):
        """What is compared: the status, the telling fields, and the content of a file."""
        fields = {name: self.fields[name] for name in TELLING if name in self.fields}
        if "etag" in fields:
            # Each server makes its own; that it is strong is what they share.
            fields["etag"] = "weak" if fields["etag"].startswith("W/") else "strong"
        if "vary" in fields:
            fields["vary"] = fields["vary"].lower()
        body = self.body
        boundary = re.fullmatch(
            r"multipart/byteranges; boundary=([\w-]+)", fields.get("content-type", "")
        )
        if boundary:
            fields["content-type"] = "multipart/byteranges"
            fields.pop("content-length")  # it holds the boundary's length
            body = parts(body, boundary[1].encode())
        if self.status >= 300:
            # A page for people, in each server's own words.
            body = None
            of_the_page = ("content-length", "content-type", "vary")
            for name in of_the_page if self.status != 304 else ():
                fields.pop(name, None)
        return {"status": self.status, **fields, "body": body}


def parts(body, boundary):
    """The heads and contents of a multipart body."""
    pieces = body.split(b"\r\n--" + boundary)
    assert (pieces[0], pieces[-1].rstrip()) == (b"", b"--"), body[:200]
    found = []
    for piece in pieces[1:-1]:
        head, _, content = piece.partition(b"\r\n\r\n")
        lines = sorted(line.lower().replace(b": ", b":") for line in head.strip().split(b"\r\n"))
        found.append((tuple(lines), content))
    return tuple(found)


class Libcurl:
    """libcurl in one version of HTTP; its HTTP/3 is ngtcp2 and nghttp3."""

    def __init__(self, version, port, certificate):
        self._session = curl.Session(
            http_version=version,
            verify=str(certificate.cert),
            curl_options={CurlOpt.PATH_AS_IS: 1},
        )
        self._origin = f"https://localhost:{port}"

    def send(self, request):
        """The response with its content as it came: nothing is decoded, no redirect followed."""
        response = self._session.request(
            request.method,
            self._origin + request.path,
            headers=dict(request.fields),
            allow_redirects=False,
            default_headers=False,
            accept_encoding=None,
            quote=False,
        )
        return Response(response.status_code, dict(response.headers), response.content)

    def close(self):
        self._session.close()


class Aioquic:
    """aioquic: HTTP/3 in Python. HEAD is not for it: it takes `Content-Length` for that of what came."""

    def __init__(self, port):
        self._client = Client(("127.0.0.1", port)).connect()

    def send(self, request):
        got = self._client.fetch(request.path, request.method, list(request.fields.items()))
        fields = {name.decode(): value.decode() for name, value in got.headers}
        return Response(int(fields.pop(":status")), fields, bytes(got.body))

    def close(self):
        self._client.close()
