"""HubSpot's CRM API as far as a sync needs it: the search for contacts, and the list of archived ones.

Its worst: a search sorts by one field only and goes no further than its window, more contacts than a page holds have one
timestamp, the search index lags behind, and what is archived is listed elsewhere, in no order of time.
"""
from upstream import Answer, Refused, Upstream, from_iso, iso, parameters

PAGE = 100
WINDOW = 700  # really 10,000: a smaller one is reached in a day
PROPERTIES = ("firstname", "hs_object_id", "createdate", "lastmodifieddate")


def refuse(message, status=400):
    return Refused({"status": "error", "category": "VALIDATION_ERROR", "message": message}, status)


def number(contact, name):
    """What a search compares: ids as numbers, dates as milliseconds."""
    return int(contact["id"]) if name == "hs_object_id" else from_iso(contact["properties"][name])


class HubSpot(Upstream):
    name, table = "hubspot", "contacts"
    views = ("search", "archived")
    step = 1
    burst = (3, 260)
    edits = 0.1

    def new_key(self):
        return str(900 + len(self.records) * 7)  # ids of three digits and of four: numbers, not texts

    def new_fields(self, before):
        return {"firstname": super().new_fields(before)["name"]}

    def show(self, record, version, archived=False):
        found = {"id": record.key, "archived": archived, "properties": {
            "hs_object_id": record.key, "createdate": iso(record.created), "lastmodifieddate": iso(version.at)}}
        if archived:
            found["archivedAt"] = iso(version.at)
        else:
            found["properties"]["firstname"] = version.fields["firstname"]
        return found

    def handle(self, method, path, query, body, headers):
        if headers.get("Authorization") != "Bearer token":
            raise refuse("authentication", 401)
        if (method, path) == ("POST", "/crm/v3/objects/contacts/search"):
            if query:
                raise refuse("a search has no query string")
            return self.search(body)
        if (method, path) == ("GET", "/crm/v3/objects/contacts"):
            return self.list(parameters(query, {"limit", "after", "archived", "properties"}, refuse))
        raise refuse(f"{method} {path}", 404)

    def search(self, body):
        if not isinstance(body, dict) or set(body) - {"filterGroups", "sorts", "properties", "limit", "after"}:
            raise refuse("unknown fields")
        limit, after, sorts = body.get("limit", 10), body.get("after", "0"), body.get("sorts", [])
        if not isinstance(limit, int) or not 1 <= limit <= PAGE:
            raise refuse("limit")
        if not isinstance(after, str) or not after.isdigit() or int(after) + limit > WINDOW:
            raise refuse(f"after {after!r}: paging goes no further than {WINDOW} results")
        if len(sorts) != 1 or sorts[0].get("direction") != "ASCENDING" or sorts[0].get("propertyName") not in PROPERTIES:
            raise refuse("sorts")
        if any(name not in PROPERTIES for name in body.get("properties", [])):
            raise refuse("properties")
        found = [self.show(record, version) for record, version in self.live("search")]
        groups = body.get("filterGroups", [])
        if not isinstance(groups, list) or len(groups) > 1:
            raise refuse("filterGroups")
        for given in groups[0]["filters"] if groups else []:
            if set(given) != {"propertyName", "operator", "value"} or not given["value"].isdigit():
                raise refuse(f"filter {given}")
            tests = {"GT": lambda a, b: a > b, "GTE": lambda a, b: a >= b}
            if given["operator"] not in tests or given["propertyName"] not in ("hs_object_id", "lastmodifieddate"):
                raise refuse(f"filter {given}")
            found = [one for one in found if tests[given["operator"]](number(one, given["propertyName"]), int(given["value"]))]
        # Equal ones come in an order that has nothing to do with their ids.
        found.sort(key=lambda one: (number(one, sorts[0]["propertyName"]), int(one["id"]) * 7919 % 1009))
        page = found[int(after) : int(after) + limit]
        paging = {"paging": {"next": {"after": str(int(after) + limit)}}} if len(found) > int(after) + limit else {}
        return {"total": len(found), "results": page, **paging}

    def list(self, given):
        if given.get("archived") != "true" or not 1 <= int(given.get("limit", 10)) <= 100:
            raise refuse("archived or limit")
        seen = [(record, record.seen("archived", self.now)) for record in self.records.values()]
        gone = sorted((self.show(r, v, True) for r, v in seen if v and v.fields is None), key=lambda one: int(one["id"]))
        rest = [one for one in gone if int(one["id"]) > int(given.get("after", 0))]
        page = rest[: self.random.randint(5, int(given.get("limit", 10)))]
        return {"results": page, **({"paging": {"next": {"after": page[-1]["id"]}}} if len(rest) > len(page) else {})}

    def rate_limited(self):
        return Answer({"status": "error", "errorType": "RATE_LIMIT", "policyName": "TEN_SECONDLY_ROLLING"}, 429)

    def expected(self):
        return {key: {"name": r.versions[-1].fields["firstname"]} for key, r in self.records.items() if not r.deleted}
