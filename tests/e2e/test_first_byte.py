"""How many round trips the first byte takes, over a link that has one: P4, as far as a busy machine can tell. Needs root."""

import json
import os
import subprocess

from conftest import binary

ROUND_TRIP = 0.4
TRIES = 3

CLIENT = """set -e
for try in $(seq "$TRIES"); do
  for way in --http3 --0rtt --http1.1; do
    "$STERNA_BIN" get $way --insecure --no-memory --json "https://$LINK_A:4433/small.txt"
  done
done"""


def test_a_client_that_returns_waits_one_round_trip_and_others_two_or_three(site, tmp_path):
    server = f'"$STERNA_BIN" files {site.root} --listen "$LINK_A:4433" --workers 1 --no-access-log'
    link = [binary("STERNA_LINK"), "--rtt", f"{ROUND_TRIP * 1000:.0f}ms", "--ready", "4433"]
    ran = subprocess.run(
        [*link, "--server", server, "--", "sh", "-c", CLIENT],
        env={**os.environ, "STERNA_DATA": str(tmp_path), "TRIES": str(TRIES)},
        capture_output=True,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stderr.decode()
    best = {}
    for told in objects(ran.stdout.decode()):
        way = told["protocol"], told["early_data"]
        round_trips = told["timings"]["first_byte_ns"] / 1e9 / ROUND_TRIP
        best[way] = min(best.get(way, round_trips), round_trips)
    assert set(best) == {("HTTP/3", "accepted"), ("HTTP/3", "not_offered"), ("HTTP/1.1", "not_offered")}
    # What is above the whole number is the machine's.
    assert 1 <= best["HTTP/3", "accepted"] < 1.5, best
    assert 2 <= best["HTTP/3", "not_offered"] < 2.5, best
    assert 3 <= best["HTTP/1.1", "not_offered"] < 3.5, best


def objects(text):
    """One behind the other."""
    decoder = json.JSONDecoder()
    while text := text.lstrip():
        found, end = decoder.raw_decode(text)
        yield found
        text = text[end:]
