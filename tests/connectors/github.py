"""GitHub's GraphQL API as far as a sync needs it: the issues of a repository with their comments.

Its worst: pages within pages, a budget of points that runs out in the middle (RATE_LIMITED with status 200, or 403), nodes
that are gone when more of them is asked for, and deletions that nothing tells of.
"""
import base64
import json
import re

from upstream import Answer, Refused, Upstream, from_iso, iso

TOKEN = re.compile(r"\s*([\w$]+|\.\.\.|\"[^\"]*\"|[{}()\[\]:!,])")
BUDGET = 80  # points until the rate limit; really 5,000 an hour
RESET_MS = 1200
ISSUE = {"__typename", "id", "number", "title", "updatedAt", "createdAt"}
COMMENT = {"id", "body", "updatedAt", "createdAt"}


def refuse(message):
    return Refused({"errors": [{"type": "undefinedField", "message": message}]}, 200)


class Parser:
    """A query as nested tables: name -> (arguments, selection or None)."""

    def __init__(self, text, variables):
        self.tokens = [t for t in TOKEN.findall(text) if t != ","]
        if "".join(self.tokens) != re.sub(r"[\s,]", "", text):
            raise refuse("Parse error: " + text)
        self.variables, self.declared = variables, set()
        self.take("query")
        if self.tokens and self.tokens[0] not in "({":
            self.take()
        if self.tokens[0] == "(":
            while self.take() != ")":
                if self.tokens[0].startswith("$"):
                    name = self.take()[1:]
                    self.declared.add(name)
                    required = re.match(r":\w+!", "".join(self.tokens[:3]))
                    if required and variables.get(name) is None:
                        raise refuse(f"Variable ${name} was provided invalid value")
        if set(variables) - self.declared:
            raise refuse(f"undeclared variables {set(variables) - self.declared}")
        self.root = self.selection()

    def take(self, expected=None):
        token = self.tokens.pop(0) if self.tokens else ""
        if not token or (expected and token != expected):
            raise refuse(f"Parse error: expected {expected}, got {token!r}")
        return token

    def selection(self):
        found = {}
        self.take("{")
        while self.tokens and self.tokens[0] != "}":
            name = self.take()
            if name == "...":
                self.take("on")
                kind = self.take()
                found[f"... {kind}"] = ({}, self.selection())
                continue
            arguments = self.table(")") if self.tokens[0] == "(" and self.take() else {}
            found[name] = (arguments, self.selection() if self.tokens[0] == "{" else None)
        self.take("}")
        return found

    def table(self, end):
        found = {}
        while self.tokens and self.tokens[0] != end:
            name = self.take()
            self.take(":")
            value = self.take()
            if value == "{":
                value = self.table("}")
            elif value.startswith("$"):
                if value[1:] not in self.declared:
                    raise refuse(f"Variable {value} is used but not declared")
                value = self.variables.get(value[1:])
            elif value.startswith('"'):
                value = value[1:-1]
            elif value.isdigit():
                value = int(value)
            if value is not None:
                found[name] = value
        self.take(end)
        return found


class GitHub(Upstream):
    name, table = "github", "issues"
    views = ("graphql",)
    tells_deletions = False
    edits = 0.15
    burst = (3, 25)

    def __init__(self, *arguments):
        self.points, self.reset = BUDGET, None
        super().__init__(*arguments)

    # Each record is an issue; its comments are in its fields: id -> (created, updated, body).

    def new_key(self):
        return f"I_{self.random.randrange(10**6):06d}{len(self.records):05d}"

    def new_fields(self, before):
        at = self.now // self.step * self.step
        title = super().new_fields(before)["name"]
        if before is None:
            return {"title": title, "comments": self.new_comments(at, self.random.choice((0, 0, 2, 7, 30)))}
        comments = dict(before["comments"])
        kind = self.random.choice(("title", "add", "change", "remove"))
        if kind == "title":
            return {"title": title, "comments": comments}
        if kind == "add":
            comments |= self.new_comments(at, self.random.choice((1, 1, 25)))
        elif comments:
            one = self.random.choice([*comments])
            if kind == "change":
                comments[one] = (comments[one][0], at, title)
            else:
                del comments[one]
        return {"title": before["title"], "comments": comments}

    def new_comments(self, at, count):
        return {f"IC_{self.random.randrange(10**9):09d}": (at, at, f"comment {self.random.randrange(10**6)}")
                for _ in range(count)}

    def handle(self, method, path, query, body, headers):
        if headers.get("Authorization") != "bearer token" and headers.get("Authorization") != "Bearer token":
            raise Refused({"message": "Bad credentials"}, 401)
        if (method, path) != ("POST", "/graphql") or not isinstance(body, dict) or set(body) - {"query", "variables"}:
            raise Refused({"message": "Not Found"}, 404)
        if self.reset is not None and self.now >= self.reset:
            self.points, self.reset = BUDGET, None
        root = Parser(body["query"], body.get("variables") or {}).root
        self.points -= 1
        if self.points < 0 and not self.quiet:
            self.reset = self.reset or self.now + RESET_MS
            self.counts["fault rate limit"] += 1
            limits = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(-(-self.reset // 1000))}
            if self.faults.random() < 0.5:
                return Answer({"message": "API rate limit exceeded"}, 403, limits)
            return Answer({"errors": [{"type": "RATE_LIMITED", "message": "API rate limit exceeded"}]}, 200, limits)
        data, errors = {}, []
        for name, (arguments, selection) in root.items():
            if name == "repository" and arguments == {"owner": "octo", "name": "demo"} and set(selection) == {"issues"}:
                data[name] = {"issues": self.issues(*selection["issues"])}
            elif name == "node" and set(arguments) == {"id"} and set(selection) == {"... Issue"}:
                record = self.records.get(arguments["id"])
                version = record and record.seen("graphql", self.now)
                if version is None or version.fields is None:
                    data[name] = None
                    errors.append({"type": "NOT_FOUND", "path": [name], "message": "Could not resolve to a node with the global id"})
                else:
                    data[name] = self.issue(record, version, selection["... Issue"][1])
            else:
                raise refuse(f"{name} {arguments} {selection}")
        return {"data": data, **({"errors": errors} if errors else {})}

    def connection(self, items, arguments, selection, show):
        """A page of items, each with a place (time, id) that its cursor holds."""
        first, after = arguments.get("first"), arguments.get("after")
        if not isinstance(first, int) or not 1 <= first <= 100 or set(selection) - {"nodes", "pageInfo", "totalCount"}:
            raise refuse(f"EXCESSIVE_PAGINATION or a wrong field: {arguments}")
        if set(selection["pageInfo"][1]) != {"hasNextPage", "endCursor"}:
            raise refuse("pageInfo")
        items = sorted(items, key=lambda item: item[0])
        if after is not None:
            try:
                place = tuple(json.loads(base64.b64decode(after, validate=True)))
            except ValueError:
                raise refuse(f"`{after}` does not appear to be a valid cursor.") from None
            items = [item for item in items if item[0] > place]
        page = items[:first]
        end = base64.b64encode(json.dumps(page[-1][0]).encode()).decode() if page else None
        return {"nodes": [show(*item[1:], selection["nodes"][1]) for item in page],
                "pageInfo": {"hasNextPage": len(items) > len(page), "endCursor": end}}

    def issues(self, arguments, selection):
        if set(arguments) - {"first", "after", "orderBy", "filterBy"} or set(arguments.get("filterBy", {})) - {"since"}:
            raise refuse(f"issues {arguments}")
        order = arguments.get("orderBy", {"field": "CREATED_AT", "direction": "ASC"})
        if order.get("direction") != "ASC" or order.get("field") not in ("CREATED_AT", "UPDATED_AT"):
            raise refuse(f"orderBy {order}")
        since = from_iso(arguments["filterBy"]["since"]) if arguments.get("filterBy", {}).get("since") else 0
        items = [((record.created if order["field"] == "CREATED_AT" else version.at, record.key), record, version)
                 for record, version in self.live("graphql") if version.at >= since]
        return self.connection(items, arguments, selection, self.issue)

    def issue(self, record, version, selection):
        everything = {"__typename": "Issue", "id": record.key, "title": version.fields["title"],
                      "createdAt": iso(record.created, False), "updatedAt": iso(version.at, False)}
        if set(selection) - ISSUE - {"comments"}:
            raise refuse(f"Field doesn't exist on type Issue: {set(selection) - ISSUE}")
        found = {name: everything[name] for name in selection if name != "comments"}
        if "comments" in selection:
            arguments, inner = selection["comments"]
            if set(arguments) - {"first", "after"}:
                raise refuse(f"comments {arguments}")
            items = [((created, key), key, (created, updated, body))
                     for key, (created, updated, body) in version.fields["comments"].items()]
            found["comments"] = self.connection(items, arguments, inner, self.comment)
        return found

    @staticmethod
    def comment(key, fields, selection):
        if set(selection) - COMMENT:
            raise refuse(f"Field doesn't exist on type IssueComment: {set(selection) - COMMENT}")
        everything = {"id": key, "createdAt": iso(fields[0], False), "updatedAt": iso(fields[1], False), "body": fields[2]}
        return {name: everything[name] for name in selection}

    def rate_limited(self):
        return Answer({"message": "You have exceeded a secondary rate limit"}, 403, {"Retry-After": "0"})

    def expected(self):
        rows = {}
        for key, record in self.records.items():
            if not record.deleted:
                rows[key] = {"title": record.versions[-1].fields["title"], "issue": None}
                for comment, (_, _, body) in record.versions[-1].fields["comments"].items():
                    rows[comment] = {"title": body, "issue": key}
        return rows
