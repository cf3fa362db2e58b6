"""ServiceNow's Table API as far as a sync needs it: incidents, and the table of deletions.

Its worst: timestamps of seconds that bulk updates share, no sign of whether there is more, and deletions only in another
table, which lags on its own.
"""
import datetime
import re

from upstream import Answer, Refused, Upstream, parameters

TABLES = {"incident": ("sys_updated_on", "sys_created_on"), "sys_audit_delete": ("sys_created_on",)}
FIELDS = {"incident": {"sys_id", "number", "short_description", "sys_updated_on", "sys_created_on"},
          "sys_audit_delete": {"sys_id", "tablename", "documentkey", "sys_created_on"}}
PAGE = 40
CONDITION = re.compile(r"(\w+)(>=|>|=)([^\^]+)")


def refuse(message, status=400):
    return Refused({"error": {"message": message, "detail": None}, "status": "failure"}, status)


def stamp(ms):
    return datetime.datetime.fromtimestamp(ms // 1000, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


class ServiceNow(Upstream):
    name, table = "servicenow", "incidents"
    views = ("incident", "sys_audit_delete")

    def new_key(self):
        return f"{self.random.randrange(16**32):032x}"

    def new_fields(self, before):
        return {"short_description": super().new_fields(before)["name"]}

    def rows_of(self, table):
        rows = []
        for number, record in enumerate(self.records.values()):
            version = record.seen(table, self.now)
            if table == "incident" and version and version.fields is not None:
                rows.append({"sys_id": record.key, "number": f"INC{number:07d}", **version.fields,
                             "sys_updated_on": stamp(version.at), "sys_created_on": stamp(record.created)})
            elif table == "sys_audit_delete" and version and version.fields is None:
                rows.append({"sys_id": f"{int(record.key, 16) * 48271 % 16**32:032x}", "tablename": "incident",
                             "documentkey": record.key, "sys_created_on": stamp(version.at)})
        if table == "sys_audit_delete":  # deletions from another table, with documents of the same keys
            rows += [{"sys_id": f"{number:032x}", "tablename": "problem", "documentkey": record.key,
                      "sys_created_on": stamp(record.created)} for number, record in enumerate(self.records.values()) if number % 9 == 0]
        return rows

    def handle(self, method, path, query, body, headers):
        if headers.get("Authorization") != "Bearer token":
            raise refuse("User Not Authenticated", 401)
        match = re.fullmatch(r"/api/now/table/(incident|sys_audit_delete)", path)
        if method != "GET" or not match:
            raise refuse("Invalid table", 400)
        table = match[1]
        known = {"sysparm_query", "sysparm_limit", "sysparm_fields", "sysparm_exclude_reference_link"}
        given = parameters(query, known, refuse)
        fields = given.get("sysparm_fields", "").split(",")
        if not set(fields) <= FIELDS[table] or not 1 <= int(given.get("sysparm_limit", 10000)) <= 10000:
            raise refuse("Invalid parameter")
        rows, orders = self.filter(table, given.get("sysparm_query", ""))
        rows.sort(key=lambda row: [row[name] for name in orders])
        size = min(int(given.get("sysparm_limit", 10000)), self.random.randint(1, PAGE))  # also fewer than asked for
        return {"result": [{name: row[name] for name in fields} for row in rows[:size]]}

    def filter(self, table, text):
        """A query: conditions joined by ^, alternatives of them by ^NQ, then the order."""
        parts = text.split("^ORDERBY")
        orders = [name.removeprefix("ORDERBY") for name in parts[1:]]
        if text.startswith("ORDERBY"):
            parts, orders = [""], [name.removeprefix("ORDERBY") for name in parts]
        if len(orders) != 2 or orders[0] not in TABLES[table] or orders[1] != "sys_id":
            raise refuse("Invalid query: the order " + text)
        alternatives = []
        for alternative in parts[0].split("^NQ") if parts[0] else []:
            conditions = [CONDITION.fullmatch(one) for one in alternative.split("^")]
            if not all(one and one[1] in FIELDS[table] for one in conditions):
                raise refuse("Invalid query: " + alternative)
            for one in conditions:
                if one[1].endswith("_on") and not re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", one[3]):
                    raise refuse("Invalid date: " + one[3])
            alternatives.append([one.groups() for one in conditions])
        tests = {">": lambda a, b: a > b, ">=": lambda a, b: a >= b, "=": lambda a, b: a == b}
        return [row for row in self.rows_of(table)
                if not alternatives or any(all(tests[sign](row[name], value) for name, sign, value in one) for one in alternatives)], orders

    def rate_limited(self):
        return Answer({"error": {"message": "Rate limit exceeded"}}, 429, {"Retry-After": "0"})

    def expected(self):
        return {key: {"short_description": r.versions[-1].fields["short_description"]}
                for key, r in self.records.items() if not r.deleted}
