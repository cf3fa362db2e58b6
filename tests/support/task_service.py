"""A made-up service with lists of records, as the template's skills and examples expect it: strict, capped pages, late records.

Everything is in memory and on loopback. What a request may not have is answered 400 and noted in refused. Python's standard
library only.
"""
import datetime
import json
import threading
import time
import urllib.parse

import harness


def iso(seconds):
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"


class Refused(Exception):
    pass


class TaskService:
    """records: id -> fields; changes through put() and remove(). page: how many records an answer has at most, whatever limit
    says. hidden: ids that lists do not show yet. before_answer: called with the path before each answer, to change things meanwhile."""

    def __init__(self, page=4, token="not-a-real-token"):
        self.page, self.token = page, token
        self.records, self.deleted, self.events = {}, {}, []
        self.hidden, self.refused, self.requests = set(), [], []
        self.before_answer = None
        self.lock = threading.RLock()
        outer = self

        class Handler(harness.HttpHandler):
            def do_GET(self):
                outer.serve(self)

        self.server = harness.HttpService(Handler)
        self.url, self.close = self.server.url, self.server.close

    # ---- what a test does ----

    def put(self, *ids, at=None, **fields):
        """Makes or changes records, all with one time."""
        at = iso(at if at is not None else time.time())
        with self.lock:
            for key in ids:
                record = self.records.setdefault(key, {"id": key, "createdAt": at, **fields})
                record.update(fields, updatedAt=at)
                self.events.insert(0, {"id": f"E-{len(self.events)}", "at": at, "orderId": key})

    def remove(self, *ids, at=None):
        at = iso(at if at is not None else time.time())
        with self.lock:
            for key in ids:
                record = self.records.pop(key)
                self.deleted[key] = {**record, "updatedAt": at, "deletedAt": at, "deleted": True}
                self.events.insert(0, {"id": f"E-{len(self.events)}", "at": at, "orderId": key})

    def table(self, *fields):
        with self.lock:
            return {key: tuple(record.get(field) for field in fields) for key, record in self.records.items()}

    # ---- answers ----

    def serve(self, handler):
        path, _, query = handler.path.partition("?")
        query = dict(urllib.parse.parse_qsl(query))
        if self.before_answer:
            self.before_answer(path)
        try:
            with self.lock:
                self.requests.append((path, query))
                if path != "/countries" and handler.headers.get("Authorization") != f"Bearer {self.token}":
                    raise Refused("who are you?")
                status, body = 200, self.answer(path, query)
        except Refused as refused:
            self.refused.append((path, query, str(refused)))
            status, body = 400, {"error": str(refused)}
        except KeyError:
            status, body = 404, {"error": "there is none"}
        data = json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def answer(self, path, query):
        given = set(query)
        shown = [record for record in self.records.values() if record["id"] not in self.hidden]
        if path == "/countries":
            return shown
        if path == "/events":
            return self.behind(self.events, query, "before")
        if path.startswith("/orders/"):
            return self.records[path.split("/")[2]]
        if given <= {"page", "limit"} and "page" in given:
            return {"items": self.numbered(shown, query)}
        if "withDeleted" in given:
            if query["sort"] != "updatedAt" or not given <= {"updatedSince", "page", "limit", "sort", "withDeleted"}:
                raise Refused("unknown parameters")
            gone = list(self.deleted.values()) if query["withDeleted"] == "true" else []
            found = [r for r in shown + gone if r["id"] not in self.hidden and r["updatedAt"] >= query.get("updatedSince", "")]
            return {"items": self.numbered(sorted(found, key=lambda r: (r["updatedAt"], r["id"])), query)}
        if given <= {"limit", "cursor"}:
            return self.behind(sorted(shown, key=lambda r: r["id"]), query, "cursor")
        if path == "/orders" and given <= {"limit", "after"}:
            return self.behind(sorted(shown, key=lambda r: r["id"]), query, "after")
        if given <= {"limit", "after", "afterId", "sort"}:
            field = query.get("sort", "updatedAt")
            if path.endswith("/deleted"):
                shown = self.deleted.values()
            place = (query.get("after", ""), query.get("afterId", ""))
            found = sorted((r for r in shown if (r[field], r["id"]) > place), key=lambda r: (r[field], r["id"]))
            return {"items": found[:self.page]}
        raise Refused("unknown parameters")

    def numbered(self, records, query):
        begin = (int(query["page"]) - 1) * self.page
        return records[begin:begin + self.page]

    def behind(self, records, query, name):
        """What comes after the record with that id; by place in the order of ids, so that it may be gone meanwhile."""
        if name == "before":
            ids = [record["id"] for record in records]
            records = records[ids.index(query[name]) + 1:] if name in query else records
        else:
            records = [record for record in records if record["id"] > query.get(name, "")]
        items = records[:self.page]
        return {"items": items, "nextCursor": items[-1]["id"] if len(records) > self.page else None}
