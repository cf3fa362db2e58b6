#!/usr/bin/env python3
"""workers.time against Python's zoneinfo and datetime, on random moments in the zones where clocks do odd things.

WORKERS_SEED replays a seed, which is printed. Both sides read the system's time-zone database."""
import calendar
import datetime
import json
import os
import pathlib
import random
import sys
import unittest
import zoneinfo

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
from harness import Project  # noqa: E402

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "America/Sao_Paulo", "Asia/Kolkata", "Australia/Lord_Howe",
         "Africa/Casablanca", "Asia/Tehran", "Pacific/Apia", "America/St_Johns", "Europe/Dublin", "Antarctica/Troll",
         "Pacific/Chatham", "America/Havana", "Asia/Gaza", "Africa/Cairo", "Africa/Monrovia", "America/Scoresbysund",
         "Asia/Kathmandu", "Pacific/Kwajalein", "America/Toronto", "Europe/Lisbon", "Asia/Pyongyang", "Antarctica/Casey"]
UTC = datetime.timezone.utc
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=UTC)
MS = datetime.timedelta(milliseconds=1)
FIRST = (datetime.datetime(1900, 1, 2, tzinfo=UTC) - EPOCH) // MS
LAST = (datetime.datetime(2100, 1, 1, tzinfo=UTC) - EPOCH) // MS
FORMATS = ["%Y-%m-%d %H:%M:%S", "%d/%m/%y %I:%M %p", "%A, %e %B %Y", "%a %b %-d %-m %-H %-I %-M %-S %j", "%G-W%V-%u", "%Z",
           "%F|%T|%R|%%", "%s"]
EXACT = {"hours": 3600000, "minutes": 60000, "seconds": 1000, "milliseconds": 1}

SCRIPT = """
local workers = require "workers"
local fs, time = require "workers.fs", require "workers.time"
local worker = workers.new()
local run = {}
function run.fields(c) return time.fields(c.ms, c.zone) end
function run.of(c) return time.of(c.fields, { zone = c.zone, repeated = c.repeated, skipped = c.skipped }) end
function run.back(c) return time.of(time.fields(c.ms, c.zone), c.zone) end
function run.add(c) return time.add(c.ms, c.duration, c.zone) end
function run.startOf(c) return time.startOf(c.ms, c.unit, c.zone) end
function run.diff(c) return time.diff(c.ms, c.to, c.unit, c.zone) end
function run.format(c) return time.format(c.ms, { zone = c.zone, format = c.format }) end
function run.fromFormat(c) return time.fromFormat(c.text, c.format, c.zone) end
function run.iso(c) return time.format(c.ms, { zone = c.zone }) end
function run.epochMs(c) return time.epochMs(c.text, c.zone) end
function run.httpDate(c) return time.httpDate(c.ms) end
function run.fromHttpDate(c) return time.fromHttpDate(c.text) end
worker:tool("run", { title = "t", description = "d", schema = workers.j.object {}, execute = function()
  local results = workers.array {}
  for i, case in ipairs(fs.readJson "data/cases.json") do
    local ok, result = pcall(run[case.call], case)
    results[i] = ok and result or "error: " .. result
  end
  return results
end })
return worker
"""


def moment(ms):
    return EPOCH + ms * MS


def local(ms, zone):
    return moment(ms).astimezone(zoneinfo.ZoneInfo(zone))


def epoch_ms(aware):
    return (aware - EPOCH) // MS


def of_local(naive, zone, fold=0):
    """PEP 495: of a repeated time, fold 0 is the first; of a skipped one, what is as if clocks had not moved yet."""
    return epoch_ms(naive.replace(tzinfo=zoneinfo.ZoneInfo(zone), fold=fold).astimezone(UTC))


def number(value):
    return int(value) if value == int(value) else value


def offset(aware):
    return number(aware.utcoffset().total_seconds() / 60)


def fields(ms, zone):
    at = local(ms, zone)
    week_year, week, weekday = at.isocalendar()
    return {"year": at.year, "month": at.month, "day": at.day, "hour": at.hour, "minute": at.minute, "second": at.second,
            "millisecond": at.microsecond // 1000, "weekday": weekday, "yearday": at.timetuple().tm_yday, "week": week,
            "weekYear": week_year, "offset": offset(at), "abbreviation": at.tzname(), "isDst": bool(at.dst())}


def add_months(naive, months):
    month = naive.year * 12 + naive.month - 1 + months
    year, month = month // 12, month % 12 + 1
    return naive.replace(year=year, month=month, day=min(naive.day, calendar.monthrange(year, month)[1]))


def add(ms, duration, zone):
    months = duration.get("years", 0) * 12 + duration.get("months", 0)
    days = duration.get("weeks", 0) * 7 + duration.get("days", 0)
    if months or days:
        naive = add_months(local(ms, zone).replace(tzinfo=None, fold=0), months) + datetime.timedelta(days=days)
        ms = of_local(naive, zone)
    return ms + sum(duration.get(unit, 0) * size for unit, size in EXACT.items())


def start_of(ms, unit, zone):
    at = local(ms, zone).replace(tzinfo=None, fold=0)
    start = at.replace(minute=0, second=0, microsecond=0)
    if unit != "hour":
        start = start.replace(hour=0)
    if unit == "week":
        start -= datetime.timedelta(days=start.weekday())
    if unit in ("month", "quarter", "year"):
        start = start.replace(day=1)
    if unit == "quarter":
        start = start.replace(month=(start.month - 1) // 3 * 3 + 1)
    if unit == "year":
        start = start.replace(month=1)
    first, second = of_local(start, zone), of_local(start, zone, fold=1)
    if local(first, zone).replace(tzinfo=None) != start:
        # Skipped: the transition, between the two readings.
        low, high = second, first
        before = local(low, zone).utcoffset()
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if local(middle, zone).utcoffset() == before else (low, middle)
        return high
    return second if unit == "hour" and second <= ms else first


def difference(ms, to, unit, zone):
    if unit in EXACT:
        return int((to - ms) / EXACT[unit])
    # Searched, not computed: adding is monotonic in what is added here.
    sign = 1 if to >= ms else -1

    def passes(count):
        try:
            reached = add(ms, {unit: count * sign}, zone)
        except (ValueError, OverflowError):
            return True
        return reached > to if sign > 0 else reached < to
    low, high = 0, 1
    while not passes(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if passes(middle) else (middle, high)
    return low * sign


def near_transitions(zone):
    """Moments of transitions, found where the offset differs between two days."""
    found = []
    for year in range(1900, 2100):
        at = epoch_ms(datetime.datetime(year, 1, 2, tzinfo=UTC))
        for _ in range(12):
            low, high = at, at + 31 * 86400000
            at = high
            if local(low, zone).utcoffset() != local(high, zone).utcoffset():
                while high - low > 1:
                    middle = (low + high) // 2
                    same = local(middle, zone).utcoffset() == local(low, zone).utcoffset()
                    low, high = (middle, high) if same else (low, middle)
                found.append(high)
    return found


class Time(unittest.TestCase):
    def setUp(self):
        seed = int(os.environ.get("WORKERS_SEED") or random.SystemRandom().randrange(1 << 32))
        print(f"seed {seed}")
        self.random = random.Random(seed)
        self.cases = []

    def case(self, expected, call, **arguments):
        self.cases.append(({"call": call, **arguments}, expected))

    def compare(self):
        project = Project(SCRIPT)
        self.addCleanup(project.close)
        for at in range(0, len(self.cases), 4000):
            part = self.cases[at:at + 4000]
            project.write("data/cases.json", json.dumps([case for case, _ in part]))
            done = project.run("exec", "run")
            self.assertEqual(done.returncode, 0, done.stdout[-2000:] + done.stderr[-2000:])
            results = json.loads(done.stdout)
            self.assertEqual(len(results), len(part))
            for (case, expected), got in zip(part, results):
                self.assertEqual(got, expected, case)
                self.assertIs(type(got), type(expected), case)
        print(f"{len(self.cases)} cases agree")

    def random_moment(self, transitions):
        if transitions and self.random.random() < 0.6:
            return min(max(self.random.choice(transitions) + self.random.choice(
                [-1, 0, 1, self.random.randint(-3 * 86400000, 3 * 86400000), self.random.randint(-7200000, 7200000)]), FIRST), LAST)
        return self.random.randint(FIRST, LAST)

    def test_random_moments(self):
        pick = self.random
        for zone in ZONES:
            transitions = near_transitions(zone)
            for _ in range(80):
                ms = self.random_moment(transitions)
                at = local(ms, zone)
                self.case(fields(ms, zone), "fields", ms=ms, zone=zone)
                self.case(ms, "back", ms=ms, zone=zone)

                naive = at.replace(tzinfo=None, fold=0) + datetime.timedelta(minutes=pick.randint(-90, 90))
                parts = {"year": naive.year, "month": naive.month, "day": naive.day, "hour": naive.hour, "minute": naive.minute,
                         "second": naive.second, "millisecond": naive.microsecond // 1000}
                self.case(of_local(naive, zone), "of", fields=parts, zone=zone)
                self.case(of_local(naive, zone, fold=1), "of", fields=parts, zone=zone, repeated="later", skipped="earlier")
                text = naive.isoformat(timespec="milliseconds")
                self.case(of_local(naive, zone), "epochMs", text=text, zone=zone)

                duration = {unit: pick.randint(-reach, reach) for unit, reach in
                            {"years": 30, "months": 40, "weeks": 9, "days": 40, "hours": 50, "minutes": 90, "seconds": 90,
                             "milliseconds": 2000}.items() if pick.random() < 0.3}
                self.case(add(ms, duration, zone), "add", ms=ms, duration=duration, zone=zone)
                for unit in ("year", "quarter", "month", "week", "day", "hour"):
                    self.case(start_of(ms, unit, zone), "startOf", ms=ms, unit=unit, zone=zone)
                to = pick.choice([self.random_moment(transitions), ms + pick.randint(-90 * 86400000, 90 * 86400000),
                                  add(ms, {"months": pick.randint(-30, 30)}, zone)])
                unit = pick.choice(["years", "months", "weeks", "days", *EXACT])
                self.case(difference(ms, to, unit, zone), "diff", ms=ms, to=to, unit=unit, zone=zone)

                form = pick.choice(FORMATS)
                expected = str(ms // 1000) if form == "%s" else at.strftime(form)
                self.case(expected, "format", ms=ms, format=form, zone=zone)
                if at.utcoffset().seconds % 60 == 0:
                    self.case(at.isoformat(timespec="milliseconds").replace("+00:00", "Z"), "iso", ms=ms, zone=zone)
                whole = at.replace(microsecond=0)
                form = pick.choice(["%Y-%m-%d %H:%M:%S %z", "%A %d %B %Y %I:%M:%S %p %z", "%y%j %T %z"])
                if form[:2] != "%y" or 1969 <= at.year <= 2068:
                    self.case(epoch_ms(whole.astimezone(UTC)), "fromFormat", text=whole.strftime(form), format=form, zone=zone)
                http = moment(ms).strftime("%a, %d %b %Y %H:%M:%S GMT")
                self.case(http, "httpDate", ms=ms)
                self.case(ms // 1000 * 1000, "fromHttpDate", text=http)
        self.compare()

    def test_every_zone(self):
        """A few moments in every zone that Python finds."""
        for zone in sorted(zoneinfo.available_timezones() - {"localtime", "posixrules"}):
            for _ in range(6):
                ms = self.random.randint(FIRST, LAST)
                self.case(fields(ms, zone), "fields", ms=ms, zone=zone)
        self.compare()

    def test_every_week(self):
        """Week numbers at the turns of all years."""
        for year in range(2, 9999):
            day = datetime.datetime(year, 1, 1, tzinfo=UTC) + datetime.timedelta(days=self.random.randint(-4, 4))
            week_year, week, weekday = day.isocalendar()
            ms = epoch_ms(day)
            self.case(f"{week_year}-W{week}-{weekday} {day.timetuple().tm_yday}", "format", ms=ms, format="%-G-W%-V-%u %-j")
            if self.random.random() < 0.2:
                self.case(ms, "fromFormat", text=f"{week_year:04}-W{week:02}-{weekday}", format="%G-W%V-%u")
        self.compare()


if __name__ == "__main__":
    unittest.main()
