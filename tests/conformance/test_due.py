#!/usr/bin/env python3
"""The ticks of cron expressions (worker/due.h) against a search minute by minute (support/cron.py), and in UTC against croniter.

Generated expressions x zones with odd clocks x the years 2024 to 2027. WORKERS_SEED replays a seed. Where an expression ticks
often, only the days around the transitions are compared; WORKERS_FULL=1 compares all years. Both sides read the system's
time-zone database."""
import array
import collections
import functools
import os
import pathlib
import random
import re
import subprocess
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "support"))
import pypi  # noqa: E402
from cron import ALIASES, DAY, END, FIRST, FULL, MONTHS, RANGES, UTC, WEEKDAYS, Expression, clocks, naive_of  # noqa: E402

SEED = int(os.environ.get("WORKERS_SEED", "1"))
ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "America/Santiago", "Asia/Kolkata", "UTC",
         "Asia/Beirut"]
CHANGING = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "America/Santiago", "Asia/Beirut"]
EXPRESSIONS = 300


class Driver:
    Answer = collections.namedtuple("Answer", "ticks missed last")

    def __init__(self):
        self.process = subprocess.Popen([os.environ["DUE_DRIVER"]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, zone, after, until, text):
        """Minutes since 1970."""
        self.process.stdin.write(f"{zone}\t{after * 60000}\t{until * 60000}\t{text}\n".encode())
        self.process.stdin.flush()
        line = self.process.stdout.readline().decode()
        if not line or line.startswith("refused"):
            raise AssertionError(f"{text} in {zone}: {line.strip() or 'the driver ended'}")
        count, missed, last = map(int, line.split())
        ticks = array.array("q")
        ticks.frombytes(self.process.stdout.read(8 * count))
        return self.Answer(ticks, missed, last)

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(timeout=60)


# ---- expressions ----

NOTABLE = ["* * * * *", "*/5 * * * *", "*/7 * * * *", "0 * * * *", "30 * * * *", "15,45 0-23 * * *", "0 */2 * * *", "0 1-23/2 * * *",
           "0 0 * * *", "30 0 * * *", "0 1 * * *", "0 2 * * *", "15 2 * * *", "30 2 * * *", "0 3 * * *", "59 23 * * *", "30 23 * * *",
           "*/15 2 * * *", "*/10 0-6 * * *", "* 0-22 * * *", "0 0-23/3 * * *", "0 0 1 * *", "0 0 L * *", "30 2 L * *",
           "0 2 29 2 *", "0 0 31 * *", "0 0 30,31 * *", "0 0 13 * fri", "30 2 * * sun", "0 23,0,1 * * fri", "0 9 * * 1-5",
           "0 0 */2 * 1", "0 0 1-7 * 7", "0 0 L * 0", "* * L * *", "0 * 29 2 *", "30 1 * 3,10,11 *", "45 1 * apr,oct *", *ALIASES]


def random_field(rng, index, pool):
    low, high = RANGES[index]

    def one():
        return rng.choice(pool) if pool and rng.random() < 0.7 else rng.randint(low, high)

    kind = rng.random()
    if kind < 0.35:
        return str(one())
    if kind < 0.55:
        return ",".join(str(one()) for _ in range(rng.randint(2, 4)))
    if kind < 0.7:
        return f"*/{rng.randint(2, high)}"
    if kind < 0.9:
        first, last = sorted((one(), one()))
        return f"{first}-{last}" + (f"/{rng.randint(1, 9)}" if rng.random() < 0.3 else "")
    return f"{one()}/{rng.randint(1, high)}"


def random_expression(rng):
    minute = "*" if rng.random() < 0.05 else random_field(rng, 0, [0, 15, 30, 45, 59])
    hour = "*" if rng.random() < 0.15 else random_field(rng, 1, [0, 1, 2, 3, 23])
    day = "*" if rng.random() < 0.6 else "L" if rng.random() < 0.2 else random_field(rng, 2, [1, 28, 29, 30, 31])
    month = "*" if rng.random() < 0.7 else random_field(rng, 3, [2, 3, 4, 9, 10, 11])
    weekday = "*" if rng.random() < 0.6 else random_field(rng, 4, [])
    if rng.random() < 0.1:
        month = rng.choice(MONTHS) + "-" + "dec"
    if rng.random() < 0.1:
        weekday = ",".join(rng.sample(WEEKDAYS, 2)).title()
    return " ".join((minute, hour, day, month, weekday))


@functools.lru_cache(maxsize=None)
def expressions():
    rng = random.Random(SEED)
    texts = dict.fromkeys(NOTABLE)
    while len(texts) < EXPRESSIONS:
        texts[random_expression(rng)] = None
    return [Expression(text) for text in texts]


class Due(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if "DUE_DRIVER" not in os.environ:
            raise unittest.SkipTest("DUE_DRIVER does not name the driver")
        cls.driver = Driver()

    @classmethod
    def tearDownClass(cls):
        if hasattr(cls, "driver") and cls.driver.close() != 0:
            raise AssertionError("the driver failed")

    def compare(self, expression, zone, after, until):
        expected = clocks(zone).ticks(expression, after, until)
        got = self.driver(zone, after, until, expression.text)
        where = f"{expression.text} in {zone} (seed {SEED})"
        if got.ticks != expected:
            shown = [f"{'lost' if tick in set(expected) else 'too much'}: {clocks(zone).shows(tick // 60000)} "
                     f"{naive_of(tick // 60000).replace(tzinfo=UTC).astimezone(clocks(zone).zone)}"
                     for tick in sorted(set(expected) ^ set(got.ticks))[:6]]
            self.fail(f"{where}: {len(got.ticks)} ticks, not {len(expected)}:\n" + "\n".join(shown))
        self.assertEqual((got.missed, got.last), (min(3, len(expected)), expected[-1] if expected else 0), where)
        return len(expected)

    def test_all_ticks(self):
        count = 0
        for zone in ZONES:
            windows = [(t - 2 * DAY, t + 2 * DAY) for t in clocks(zone).transitions] or [(FIRST + 50 * DAY, FIRST + 65 * DAY)]
            for expression in expressions():
                for after, until in windows if expression.often and not FULL else [(FIRST, END)]:
                    count += self.compare(expression, zone, after, until)
        self.assertEqual(sum(len(clocks(zone).transitions) for zone in CHANGING), 8 * len(CHANGING))
        print(f"{count} ticks of {len(expressions())} expressions in {len(ZONES)} zones are as the rules say (seed {SEED})")

    def test_every_transition(self):
        """Not by the rules of Clocks but by what they are for: each time of the day once a day, each hour once an hour."""
        for zone in CHANGING:
            for transition in clocks(zone).transitions:
                change = clocks(zone).offset(transition) - clocks(zone).offset(transition - 1)
                shown = clocks(zone).shows(transition)
                begin, end = min(shown, shown - change), max(shown, shown - change)
                noon = shown // DAY * DAY + DAY // 2  # when no clock here is set
                after, until = (clocks(zone).moments(noon + days * DAY)[0][0] for days in (-3, 3))
                for local in range(begin - 15, end + 16, 1 if FULL else 5):
                    hour, minute = local // 60 % 24, local % 60
                    where = f"{hour}:{minute:02} in {zone} around {naive_of(transition)} UTC"
                    ticks = self.driver(zone, after, until, f"{minute} {hour} * * *").ticks
                    self.assertEqual(len(ticks), 6, where)
                    near = min(ticks, key=lambda tick: abs(tick - transition * 60000)) // 60000
                    skipped = change > 0 and begin <= local < end
                    self.assertEqual(clocks(zone).shows(near), end if skipped else local, where)
                    if change < 0 and begin <= local < end:
                        self.assertLess(near, transition, where)
                    hourly = self.driver(zone, after, until, f"{minute} * * * *").ticks
                    apart = {b - a for a, b in zip(hourly, hourly[1:])}
                    if change % 60 == 0:
                        self.assertEqual((apart, len(hourly)), ({3600000}, 6 * 24 - change // 60), where)
                    else:  # by half an hour: then an hour has 90 minutes, or 30
                        self.assertLessEqual(apart, {1800000, 3600000, 5400000}, where)
                for step in (1, 2, 5, 15, 30):
                    ticks = self.driver(zone, after, until, f"*/{step} * * * *").ticks
                    self.assertEqual({b - a for a, b in zip(ticks, ticks[1:])}, {step * 60000}, f"*/{step} in {zone}")

    def test_croniter(self):
        """Without transitions: the ticks after random moments, in UTC."""
        pypi.ensure("croniter", "python_dateutil")
        from croniter import croniter
        rng = random.Random(SEED)
        compared = 0
        for expression in expressions():
            weekday = expression.fields[4]
            if not expression.dates:
                continue
            # croniter's weeks end on Saturday in 5/2, it takes 0-6 for *, and 31-31 for all days.
            if (re.search(r"\d/", weekday) or (len(expression.weekdays) == 7 and weekday != "*")
                    or re.search(r"\b(\w+)-\1\b", expression.text)):
                continue
            for _ in range(20 if FULL else 4):
                after = rng.randrange(FIRST, END - 365 * DAY)
                theirs = croniter(expression.text, after * 60)
                expected = [int(theirs.get_next(float)) * 1000 for _ in range(25)]
                got = self.driver("UTC", after, expected[-1] // 60000, expression.text).ticks
                self.assertEqual(list(got), expected, f"{expression.text} after {naive_of(after)} (seed {SEED})")
                compared += len(expected)
        self.assertGreater(compared, 20000)
        print(f"{compared} ticks in UTC are as croniter says")

    def test_dates_that_never_come(self):
        for text in ("0 0 31 2 *", "0 0 30 feb *", "* * 31 4,6,9,11 *"):
            for zone in ZONES:
                self.assertEqual(list(self.driver(zone, FIRST, END, text).ticks), [], text)


if __name__ == "__main__":
    unittest.main()
