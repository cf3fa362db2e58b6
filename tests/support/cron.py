"""The rules of worker/due.h once more, written minute by minute on Python's zoneinfo: what tests compare ticks with.

Moments are minutes since 1970. Both sides read the system's time-zone database."""
import array
import bisect
import datetime
import functools
import os
import zoneinfo

FULL = bool(os.environ.get("WORKERS_FULL"))  # then nothing is taken for granted of days without a transition
OFTEN = 1  # ticks a day: those that tick more often are compared in parts
UTC = datetime.timezone.utc
EPOCH = datetime.datetime(1970, 1, 1)
MINUTE = datetime.timedelta(minutes=1)
DAY = 1440


def minutes_of(naive):
    return (naive - EPOCH) // MINUTE


def naive_of(minutes):
    return EPOCH + minutes * MINUTE


FIRST = minutes_of(datetime.datetime(2024, 1, 1))
END = minutes_of(datetime.datetime(2028, 1, 1))


ALIASES = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *",
           "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *"}
MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
WEEKDAYS = "sun mon tue wed thu fri sat".split()
RANGES = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]


def values(field, index):
    low, high = RANGES[index]
    words = {3: {word: i + 1 for i, word in enumerate(MONTHS)}, 4: {word: i for i, word in enumerate(WEEKDAYS)}}.get(index, {})

    def value(text):
        return words[text.lower()] if text.lower() in words else int(text)

    result = set()
    for item in field.split(","):
        item, _, step = item.partition("/")
        if item.lower() == "l":
            result.add("L")
            continue
        first, dash, last = item.partition("-")
        if item == "*":
            first, last = low, high
        elif dash:
            first, last = value(first), value(last)
        else:
            first, last = value(item), high if step else value(item)
        result.update(range(first, last + 1, int(step or 1)))
    return {0 if index == 4 and number == 7 else number for number in result}


class Expression:
    def __init__(self, text):
        self.text = text
        self.fields = ALIASES.get(text, text).split()
        self.minutes, self.hours, self.days, self.months, self.weekdays = (values(f, i) for i, f in enumerate(self.fields))
        self.elapsed = len(self.hours) == 24
        self.times = [hour * 60 + minute for hour in range(24) for minute in range(60) if hour in self.hours and minute in self.minutes]
        self.dates = [day for day in range(FIRST // DAY - 3, END // DAY + 3) if self.has_day(naive_of(day * DAY))]
        self.often = len(self.times) * len(self.dates) > OFTEN * 365 * 4

    def has_day(self, date):
        last = (date + datetime.timedelta(days=1)).month != date.month
        of_month = date.day in self.days or ("L" in self.days and last)
        of_week = date.isoweekday() % 7 in self.weekdays
        if "*" in (self.fields[2], self.fields[4]):
            day = of_month and of_week
        else:
            day = of_month or of_week
        return date.month in self.months and day


class Clocks:
    """What clocks of a zone show, from zoneinfo, one local minute after the other."""

    def __init__(self, name):
        self.zone = zoneinfo.ZoneInfo(name)
        self.days = {}
        self.offsets = {moment: self.offset(moment) for moment in range(FIRST - 6 * DAY, END + 6 * DAY, 30)}
        self.transitions = [moment for moment in range(FIRST, END, 30) if self.offsets[moment] != self.offsets[moment - 30]]

    def shows(self, moment):
        return minutes_of(naive_of(moment).replace(tzinfo=UTC).astimezone(self.zone).replace(tzinfo=None))

    def offset(self, moment):
        return self.shows(moment) - moment

    def moments(self, local):
        """(the moments that show a local time, None), or ([], the moment at which it is skipped)."""
        naive = naive_of(local)
        around = {minutes_of(naive.replace(tzinfo=self.zone, fold=fold).astimezone(UTC).replace(tzinfo=None)) for fold in (0, 1)}
        shown = sorted(moment for moment in around if self.shows(moment) == local)
        if shown:
            return shown, None
        moment = min(around)  # which shows less, as if clocks had been set forward already
        while self.shows(moment) < local:
            moment += 1
        return [], moment

    def day(self, day):
        """The offset when it is the same the day before and after, or else what each minute of the day is."""
        if day not in self.days:
            around = {self.offsets[moment] for moment in range((day - 1) * DAY, (day + 2) * DAY, 30)}
            if len(around) == 1 and not FULL:
                self.days[day] = around.pop()
            else:
                self.days[day] = [self.moments(local) for local in range(day * DAY, (day + 1) * DAY)]
        return self.days[day]

    def ticks(self, expression, after, until):
        """All in (after, until], as Unix milliseconds."""
        found = []
        dates = expression.dates
        for day in dates[bisect.bisect_left(dates, after // DAY - 2):bisect.bisect_right(dates, until // DAY + 2)]:
            known = self.day(day)
            if isinstance(known, int):
                found += [day * DAY + time - known for time in expression.times]
                continue
            for time in expression.times:
                shown, skipped = known[time]
                if expression.elapsed:
                    found += shown
                else:
                    found.append(shown[0] if shown else skipped)
        return array.array("q", sorted({60000 * moment for moment in found if after < moment <= until}))


@functools.lru_cache(maxsize=None)
def clocks(name):
    return Clocks(name)
