"""Salesforce's REST API as far as a sync needs it: /query and /queryAll with a small part of SOQL.

Its worst: `done` says anything, pages are shorter than LIMIT, and both end points show records late, each in its own time.
"""
import re

from upstream import Refused, Upstream, from_iso, iso, parameters

FIELDS = ("Id", "Name", "CreatedDate", "SystemModstamp", "IsDeleted")
PAGE = 25  # records a page has at most, whatever LIMIT says
TIME = r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?Z)"
QUERY = re.compile(
    r"SELECT (?P<fields>\w+(?:, ?\w+)*) FROM (?P<object>\w+)"
    rf"(?: WHERE (?P<field>\w+) > {TIME} OR \((?P<equal>\w+) = {TIME} AND Id > '(?P<id>\w{{18}})'\))?"
    r" ORDER BY (?P<order>\w+)(?: ASC)?, Id(?: ASC)? LIMIT (?P<limit>\d+)")


class Salesforce(Upstream):
    name, table = "salesforce", "accounts"
    views = ("/query", "/queryAll")

    def new_key(self):
        # Not in the order of creation.
        return f"001{self.random.randrange(36**4):08d}{len(self.records):07d}"

    def handle(self, method, path, query, body, headers):
        if headers.get("Authorization") != "Bearer token":
            raise Refused([{"errorCode": "INVALID_SESSION_ID"}], 401)
        match = re.fullmatch(r"/services/data/v\d\d\.0(/query|/queryAll)/?", path)
        if method != "GET" or not match:
            raise Refused([{"errorCode": "NOT_FOUND"}], 404)
        text = parameters(query, {"q"}, lambda name: Refused([{"errorCode": "UNKNOWN_PARAMETER", "message": name}])).get("q", "")
        return self.query(match[1], text)

    def query(self, view, text):
        query = QUERY.fullmatch(" ".join(text.split()))
        if not query:
            raise Refused([{"errorCode": "MALFORMED_QUERY", "message": text}])
        fields = re.split(", ?", query["fields"])
        order = query["order"]
        if query["object"] != "Account" or any(f not in FIELDS for f in fields) or order not in ("CreatedDate", "SystemModstamp"):
            raise Refused([{"errorCode": "INVALID_FIELD", "message": text}])
        if query["field"] and not query["field"] == query["equal"] == order:
            raise Refused([{"errorCode": "INVALID_FIELD", "message": "not what a keyset asks for: " + text}])
        if not 1 <= int(query["limit"]) <= 2000:
            raise Refused([{"errorCode": "MALFORMED_QUERY", "message": "LIMIT"}])
        rows = []
        for record in self.records.values():
            version = record.seen(view, self.now)
            if version is None or (version.fields is None and view == "/query"):
                continue
            fields_of = version.fields or record.versions[record.versions.index(version) - 1].fields
            rows.append((version.at if order == "SystemModstamp" else record.created, record.key, {
                "Id": record.key, "Name": fields_of["name"], "CreatedDate": self.time(record.created),
                "SystemModstamp": self.time(version.at), "IsDeleted": version.fields is None}))
        rows.sort(key=lambda row: row[:2])
        if query["field"]:
            if query[4] != query[6]:
                raise Refused([{"errorCode": "MALFORMED_QUERY", "message": "two times: " + text}])
            rows = [row for row in rows if row[:2] > (from_iso(query[4]), query["id"])]
        page = rows[: min(int(query["limit"]), self.random.randint(1, PAGE))]
        records = [{"attributes": {"type": "Account"}, **{f: row[2][f] for f in fields}} for row in page]
        return {"totalSize": len(records), "done": self.random.random() < 0.5, "records": records}

    @staticmethod
    def time(ms):
        return iso(ms).replace("Z", "+0000")

    def expected(self):
        return {key: {"name": r.versions[-1].fields["name"]} for key, r in self.records.items() if not r.deleted}
