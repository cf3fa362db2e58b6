"""What the fake services share: a simulated clock, records with a history, an editor that works while requests come, faults.

A service is a subclass of Upstream that says how a request is answered. It must be as strict as the real one: a parameter
that the real one would refuse is Refused, and the test fails for it. Everything random comes from the seed. Time
passes with requests and advance(), and while the client waits before it tries again, so a seed gives much the same day again.

Times are Unix milliseconds of the simulated clock. Python's standard library only.
"""
import collections
import datetime
import json
import os
import pathlib
import random
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import harness  # noqa: E402

EPOCH = 1_900_000_000_000  # when a simulated day begins: 2030-03-17
LATE_MS = 10_000  # records become visible up to this long after their timestamps
SKEW_MS = 2_000  # how far the client's clock is ahead
WORDS = ("amber", "birch", "cobalt", "dune", "ember", "fjord", "grove", "harbour")

Version = collections.namedtuple("Version", "at fields visible")  # fields: None once deleted; visible: view -> time


class Refused(Exception):
    """The answer to a wrong request. With expected=True it is one that a correct connector may get."""

    def __init__(self, body, status=400, expected=False):
        super().__init__(json.dumps(body))
        self.body, self.status, self.expected = body, status, expected


class Answer:
    def __init__(self, body, status=200, headers=()):
        self.body, self.status, self.headers = body, status, dict(headers)


class Record:
    def __init__(self, key, created):
        self.key, self.created, self.versions = key, created, []

    @property
    def deleted(self):
        return self.versions[-1].fields is None

    def seen(self, view, now):
        """The newest version that a view shows; None when it shows none."""
        return next((v for v in reversed(self.versions) if v.visible[view] <= now), None)


def iso(ms, fraction=True):
    moment = datetime.datetime.fromtimestamp(ms // 1000, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + (f".{ms % 1000:03}Z" if fraction else "Z")


def from_iso(text):
    return round(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)


class Upstream:
    views = ("list",)  # the replicas that requests are answered from, each with a delay of its own
    prompt = ()  # those of them that show everything at once
    step = 1000  # the precision of timestamps, in milliseconds
    burst = (3, 40)  # how many records a bulk edit touches, all with one timestamp
    edits = 0.4  # how likely an edit is before each request is answered
    deletes = True
    table = None  # of the connector; its syncs have this name with Backfill and Delta behind it
    tells_deletions = True  # whether the delta can learn of all deletions

    def __init__(self, seed, folder):
        self.random = random.Random(seed)
        self.faults = random.Random(seed + 1)  # apart, so that a retry does not change what is edited
        self.fault_rate = 0.0
        self.now = EPOCH
        self.quiet = False
        self.records = {}
        self.refused = []
        self.counts = collections.Counter()
        self.lock = threading.Lock()
        self.clock_file = pathlib.Path(folder) / "clock"
        self.write_clock()
        self.server = self.serve()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    # ---- the clock ----

    def write_clock(self):
        """Sets the client's clock, for libfaketime, as an offset from the real one: it goes on by itself from here."""
        self.written = time.time()
        offset = (self.now + SKEW_MS) / 1000 - self.written
        temporary = self.clock_file.with_suffix(".new")
        temporary.write_text(f"{offset:+.3f}\n")
        os.replace(temporary, self.clock_file)

    def advance(self, ms):
        """Lets time pass. Edits happen in the last seconds of it, so that some are not yet visible."""
        end = self.now + ms
        self.now = max(self.now, end - self.random.randrange(LATE_MS))
        for _ in range(self.random.randrange(4)):
            self.now = min(end, self.now + self.random.randrange(3000))
            if not self.quiet:
                self.edit()
        self.now = end
        self.write_clock()

    # ---- records and their editor ----

    def put(self, record, fields, at=None):
        at = self.now // self.step * self.step if at is None else at
        late = {view: self.random.choice((0, 0, self.random.randrange(LATE_MS))) for view in self.views}
        visible = {view: self.now + (0 if view in self.prompt else late[view]) for view in self.views}
        record.versions.append(Version(at, fields, visible))
        self.changed(record, record.versions[-1])

    def changed(self, record, version):
        """For services that keep a log of what happened."""

    def new_key(self):
        raise NotImplementedError

    def new_fields(self, before):
        return {"name": f"{self.random.choice(WORDS)} {self.random.randrange(10**6)}"}

    def insert(self):
        record = Record(self.new_key(), self.now // self.step * self.step)
        self.records[record.key] = record
        self.put(record, self.new_fields(None))

    def edit(self):
        """One edit: an insert, a change, a deletion, or many at once with one timestamp."""
        kind = self.random.choice(("insert", "change", "change", "delete", "burst"))
        count = self.random.randint(*self.burst) if kind == "burst" else 1
        if kind == "burst":
            kind = self.random.choice(("insert", "change", "delete")) if self.random.random() < 0.5 else "change"
        alive = [record for record in self.records.values() if not record.deleted]
        if kind == "delete" and (not self.deletes or len(alive) < 30):
            kind = "insert"
        self.counts[kind] += count
        if kind == "insert":
            for _ in range(count):
                self.insert()
        else:
            for record in self.random.sample(alive, min(count, len(alive), 10 if kind == "delete" else count)):
                self.put(record, None if kind == "delete" else self.new_fields(record.versions[-1].fields))

    def populate(self, count):
        """Records of the hours before the day, visible to all; a third of them in bulk imports."""
        end, self.now = self.now, self.now - 86_400_000
        while len(self.records) < count:
            self.now += self.random.randrange(60_000)
            for _ in range(self.random.choice((1, 1, self.random.randint(*self.burst)))):
                self.insert()
        self.now = max(end, self.now + 60_000)
        self.write_clock()

    def live(self, view):
        """What a view shows now: pairs of record and version, without those deleted."""
        pairs = ((record, record.seen(view, self.now)) for record in self.records.values())
        return [(record, version) for record, version in pairs if version and version.fields is not None]

    def expected(self):
        """Key -> properties of the table, as it must be once everything is visible."""
        raise NotImplementedError

    # ---- requests ----

    def handle(self, method, path, query, body, headers):
        """Returns a JSON value or an Answer; raises Refused."""
        raise NotImplementedError

    def rate_limited(self):
        return Answer({"error": "too many requests"}, 429, {"Retry-After": "0"})

    def answer(self, method, target, text, headers):
        """Returns (Answer, fault), the latter None, "reset" or "truncated"."""
        with self.lock:
            self.now += max(self.random.randrange(50, 1500), round((time.time() - self.written) * 1000))
            if not self.quiet and self.random.random() < self.edits:
                self.edit()
            self.counts["requests"] += 1
            fault = None
            if self.faults.random() < self.fault_rate:
                fault = self.faults.choice(("429", "500", "reset", "truncated"))
                self.counts[f"fault {fault}"] += 1
            try:
                if fault == "429":
                    answer = self.rate_limited()
                elif fault == "500":
                    answer = Answer({"error": "internal"}, 500)
                else:
                    path, _, query = target.partition("?")
                    pairs = urllib.parse.parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
                    body = json.loads(text) if text else None
                    answer = self.handle(method, path, pairs, body, headers)
                    answer = answer if isinstance(answer, Answer) else Answer(answer)
            except Refused as refusal:
                answer = Answer(refusal.body, refusal.status)
                if not refusal.expected:
                    self.refused.append(f"{method} {target} {text.decode()}: {refusal}")
            self.write_clock()
            return answer, fault

    def serve(self):
        outer = self

        class Handler(harness.HttpHandler):
            def do_GET(self):
                text = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                answer, fault = outer.answer(self.command, self.path, text, self.headers)
                self.close_connection = fault in ("reset", "truncated")
                if fault == "reset":
                    return
                data = json.dumps(answer.body).encode()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[: len(data) // 2] if fault == "truncated" else data)

            do_POST = do_GET

        return harness.HttpService(Handler)


def parameters(pairs, known, refuse):
    """A query string as a table. refuse(name) makes the error for one that is unknown or comes twice."""
    found = {}
    for name, value in pairs:
        if name not in known or name in found:
            raise refuse(name)
        found[name] = value
    return found
