"""Links for collaborators, served as the image serves them: opened by many at once, taken back at play.

    python -m benchmarks.links --data DATA [--openings 50] [--rounds 5]

gunicorn with 2 processes of 16 threads serves the worked recordings of a data folder. Each round makes a link
that may be opened once, has it opened by many at the same moment, plays by byte ranges what the one who got
in sees, and takes the link back meanwhile. Bars: exactly 1 opening; a range that is asked for a second after
the link was taken back is refused. Ends with 1 where one is missed.
"""

from __future__ import annotations

import argparse
import functools
import http.client
import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.readers import plant
from benchmarks.served import OPEN, Served, own_data

BAR_S = 1.0


class Guest:
    """Somebody with nothing but a link."""

    def __init__(self, port: int) -> None:
        self.line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.cookies: dict[str, str] = {}
        self.ask("GET", "/shared")

    def ask(self, method: str, target: str, body: Any = None, **more: str) -> tuple[int, bytes]:
        """One request with the cookies so far."""
        headers = {"Host": "redys.example", "Content-Type": "application/json", **more}
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers["X-CSRFToken"] = next((v for k, v in self.cookies.items() if k.endswith("_csrf_token")), "")
        self.line.request(method, target, None if body is None else json.dumps(body), headers)
        answer = self.line.getresponse()
        data = answer.read()
        for each in answer.headers.get_all("Set-Cookie", []):
            name, _, value = each.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer.status, data


def open_at_once(port: int, token: str, people: int) -> list[Guest]:
    """Those of so many who got in."""
    guests = [Guest(port) for _ in range(people)]
    ready = threading.Barrier(people)
    inside: list[Guest] = []

    def enter(guest: Guest) -> None:
        ready.wait()
        if guest.ask("POST", "/shared/open", {"token": token, "password": ""})[0] == 200:
            inside.append(guest)

    crowd = [threading.Thread(target=enter, args=(guest,)) for guest in guests]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join()
    return inside


def play_until_refused(guest: Guest, revoke: Callable[[], None]) -> tuple[int, float]:
    """Ranges played before the link is taken back, and the seconds until the first refusal after it."""
    names = json.loads(guest.ask("GET", "/shared/data/a/index.json")[1])["files"]
    target = f"/shared/data/a/{max(names, key=lambda name: name.endswith('.mp4'))}"
    played = 0
    for number in range(20):
        status, _ = guest.ask("GET", target, Range=f"bytes={64 * number}-{64 * number + 63}")
        if status != 206:
            sys.exit(f"A range of a link that stands was answered {status}.")
        played += 1
    revoke()
    begun = time.monotonic()
    while time.monotonic() - begun < 10:
        if guest.ask("GET", target, Range="bytes=0-63")[0] != 206:
            return played, time.monotonic() - begun
    return played, float("inf")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a data folder with worked recordings")
    parser.add_argument("--openings", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with own_data() as folder:
        plant(options.data, folder)
        from records import get_records

        records = get_records()
        owner = records.users.list()[0].id
        recordings = [row.id for row in records.list_recordings().rows]
        site, missed = Served(folder, OPEN), 0
        with site.serving(2):
            for number in range(options.rounds):
                recording = recordings[number % len(recordings)]
                row, token = records.shares.create([recording], max_views=1, actor=owner)
                records.shares.wait(row.id, 120)
                inside = open_at_once(site.port, token, options.openings)
                counted = records.shares.get(row.id).used
                played, seconds = play_until_refused(
                    inside[0], functools.partial(records.shares.revoke, row.id, owner)
                )
                right = len(inside) == 1 and counted == 1 and seconds <= BAR_S
                missed += not right
                print(
                    f"round {number + 1}: {options.openings} at once, {len(inside)} in, {counted} counted; "
                    f"{played} ranges played, refused {1000 * seconds:.0f} ms after it was taken back"
                )
    print("kept" if not missed else f"missed in {missed} rounds")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
