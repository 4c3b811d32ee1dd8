"""Downloads one file over HTTP/2 and HTTP/3 in turns, and prints a line of JSON for each: `cargo xtask bench link`.

Usage: download.py LENGTH ROUNDS, at the end `b` of a link whose `a` serves /file on port 4433. Every download has a
connection of its own. A wrong length or another version than the one asked for ends the run.
"""

import json
import os
import socket
import sys
import time

from curl_cffi import Curl, CurlHttpVersion, CurlInfo, CurlOpt

HOST = os.environ["LINK_A"]
PORT = 4433
# libcurl's request and answer for each version.
VERSIONS = {2: (CurlHttpVersion.V2_0, 3), 3: (CurlHttpVersion.V3ONLY, 30)}


def wait_for_server() -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection((HOST, PORT), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def missed_datagrams() -> int:
    """Those that found a socket's buffer full, in this network namespace."""
    with open("/proc/net/snmp") as table:
        names, values = (line.split() for line in table if line.startswith("Udp:"))
    return int(dict(zip(names, values))["RcvbufErrors"])


def download(version: int, length: int) -> dict:
    asked, answered = VERSIONS[version]
    received = 0

    def take(data: bytes) -> int:
        nonlocal received
        received += len(data)
        return len(data)

    curl = Curl()
    curl.setopt(CurlOpt.URL, f"https://{HOST}:{PORT}/file".encode())
    curl.setopt(CurlOpt.SSL_VERIFYPEER, 0)
    curl.setopt(CurlOpt.SSL_VERIFYHOST, 0)
    curl.setopt(CurlOpt.HTTP_VERSION, asked)
    curl.setopt(CurlOpt.WRITEFUNCTION, take)
    missed = missed_datagrams()
    start = time.perf_counter()
    curl.perform()
    seconds = time.perf_counter() - start
    used = curl.getinfo(CurlInfo.HTTP_VERSION)
    curl.close()
    if (used, received) != (answered, length):
        sys.exit(f"asked for HTTP/{version} and {length} bytes, got {used} of libcurl and {received}")
    return {"version": version, "seconds": seconds, "missed": missed_datagrams() - missed}


def main() -> None:
    length, rounds = int(sys.argv[1]), int(sys.argv[2])
    wait_for_server()
    for _ in range(rounds):
        for version in VERSIONS:
            print(json.dumps(download(version, length)), flush=True)


if __name__ == "__main__":
    main()
