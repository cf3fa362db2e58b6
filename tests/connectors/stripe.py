"""Stripe's API as far as a sync needs it: customers with subscriptions, and events.

Its worst: lists are newest first and grow at their beginning, an item to start after may be gone, events show up late and
out of order, a customer's subscriptions come ten at a time.
"""
import re

from upstream import Answer, Refused, Upstream

PAGE = 25
NESTED_PAGE = 10


def refuse(param, code="parameter_unknown", status=400, expected=False):
    return Refused({"error": {"type": "invalid_request_error", "code": code, "param": param}}, status, expected)


class Stripe(Upstream):
    name, table = "stripe", "customers"
    views = ("customers", "events")
    prompt = ("customers",)
    edits = 0.04  # each leads to requests, which must not lead to as many edits

    def __init__(self, *arguments):
        self.events = []
        super().__init__(*arguments)

    def new_key(self):
        return f"cus_{self.random.randrange(36**8):013d}"

    def new_fields(self, before):
        if before and self.random.random() < 0.5:  # only the subscriptions change
            return {**before, "subscriptions": self.new_subscriptions(before["subscriptions"])}
        return {**super().new_fields(before), "subscriptions": before["subscriptions"] if before else self.new_subscriptions([])}

    def new_subscriptions(self, before):
        kept = [one for one in before if self.random.random() < 0.8]
        return [f"sub_{self.random.randrange(10**9):09d}" for _ in range(self.random.choice((0, 1, 2, 12, 27)))] + kept

    def changed(self, record, version):
        before = record.versions[-2].fields if len(record.versions) > 1 else None
        kind = "created" if before is None else "deleted" if version.fields is None else "updated"
        subject = {"id": record.key, "object": "customer"}
        if kind == "updated" and before["name"] == version.fields["name"]:
            kind = "subscription.updated"
            subject = {"id": "sub_changed", "object": "subscription", "customer": record.key}
        number = len(self.events)
        self.events.append((version.at, number, version.visible["events"], {
            "id": f"evt_{number:08d}", "object": "event", "type": f"customer.{kind}", "created": version.at // 1000,
            "data": {"object": subject}}))

    def show(self, record, version, expand):
        found = {"id": record.key, "object": "customer", "created": record.created // 1000, "name": version.fields["name"]}
        if expand:
            found["subscriptions"] = self.page_of([{"id": one} for one in version.fields["subscriptions"]], NESTED_PAGE)
        return found

    @staticmethod
    def page_of(items, size):
        return {"object": "list", "data": items[:size], "has_more": len(items) > size}

    def handle(self, method, path, query, body, headers):
        if headers.get("Authorization") != "Bearer token":
            raise refuse("authorization", status=401)
        if method != "GET" or body is not None:
            raise refuse("method", status=405)
        lists = {"expand[]", "types[]"}
        for number, (name, _) in enumerate(query):
            if name not in lists and name in [other for other, _ in query[:number]]:
                raise refuse(name)
        match = re.fullmatch(r"/v1/(customers|events)(?:/(cus_\d+)(/subscriptions)?)?", path)
        if not match:
            raise refuse("url", status=404)
        given, expand = dict(query), [value for name, value in query if name == "expand[]"]
        if not 1 <= int(given.get("limit", 10)) <= 100:
            raise refuse("limit", "parameter_invalid_integer")
        if match[3]:
            return self.list_subscriptions(match[2], given)
        if match[2]:
            return self.get_customer(match[2], given, expand)
        if match[1] == "events":
            return self.list_events(given, [value for name, value in query if name == "types[]"])
        return self.list_customers(given, expand)

    @staticmethod
    def check(given, *known):
        for name in given:
            if name not in known:
                raise refuse(name)

    def start_after(self, items, given):
        """The items after starting_after, an id among them."""
        after = given.get("starting_after")
        if after is None:
            return items
        place = next((i for i, (key, _) in enumerate(items) if key == after), None)
        if place is None:
            raise refuse("starting_after", "resource_missing", expected=True)
        return items[place + 1 :]

    def cut(self, items, given):
        size = min(int(given.get("limit", 10)), self.random.randint(PAGE // 2, PAGE))
        return self.page_of([item for _, item in items], size)

    def list_customers(self, given, expand):
        self.check(given, "limit", "starting_after", "created[lte]", "expand[]")
        if expand not in ([], ["data.subscriptions"]):
            raise refuse("expand[]")
        # Of one second, the one made last comes first.
        items = [(r.key, self.show(r, v, expand)) for r, v in reversed(self.live("customers"))]
        items.sort(key=lambda item: -item[1]["created"])
        if "created[lte]" in given:
            items = [item for item in items if item[1]["created"] <= int(given["created[lte]"])]
        page = self.cut(self.start_after(items, given), given)
        if page["has_more"] and not self.quiet and self.random.random() < 0.1:
            self.put(self.records[page["data"][-1]["id"]], None)  # the one that the next page is to start after
        return page

    def list_events(self, given, types):
        self.check(given, "limit", "starting_after", "types[]")
        if any(not re.fullmatch(r"[a-z.]+(\.\*)?", one) for one in types) or len(types) > 20:
            raise refuse("types[]")
        visible = sorted((e for e in self.events if e[2] <= self.now), key=lambda e: e[:2], reverse=True)
        items = [(e[3]["id"], e[3]) for e in visible
                 if not types or any(e[3]["type"] == t or (t.endswith("*") and e[3]["type"].startswith(t[:-1])) for t in types)]
        return self.cut(self.start_after(items, given), given)

    def get_customer(self, key, given, expand):
        self.check(given, "expand[]")
        if expand not in ([], ["subscriptions"]):
            raise refuse("expand[]")
        record = self.records.get(key)
        if record is None:
            raise refuse("id", "resource_missing", 404)
        if record.deleted:
            return {"id": key, "object": "customer", "deleted": True}
        return self.show(record, record.versions[-1], expand)

    def list_subscriptions(self, key, given):
        self.check(given, "limit", "starting_after")
        record = self.records.get(key)
        if record is None or record.deleted:
            raise refuse("customer", "resource_missing", 404, expected=True)
        items = [(one, {"id": one}) for one in record.versions[-1].fields["subscriptions"]]
        after = self.start_after(items, given)
        return self.page_of([item for _, item in after], int(given.get("limit", 10)))

    def rate_limited(self):
        return Answer({"error": {"type": "rate_limit_error", "code": "rate_limit"}}, 429)

    def expected(self):
        return {key: {"name": r.versions[-1].fields["name"],
                      "subscriptions": " ".join(sorted(r.versions[-1].fields["subscriptions"]))}
                for key, r in self.records.items() if not r.deleted}
