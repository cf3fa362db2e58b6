local tap = require "tap"
local time = require "workers.time"
local test, equal, raises, truthy = tap.test, tap.equal, tap.raises, tap.truthy

local BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"

-- The moment of an ISO 8601 text.
local at = time.epochMs

-- A moment as text, for messages that can be read.
local function iso(ms)
  return time.format(ms)
end

local function fails(text, fn, ...)
  local args = table.pack(...)
  local err = raises(function()
    fn(table.unpack(args, 1, args.n))
  end, text)
  truthy(tostring(err):find("time_test.lua:%d+: time%."), "place and function in " .. tostring(err))
end

test("the clock", function()
  equal(math.type(time.nowMs()), "integer")
  equal(math.type(time.now()), "float")
  truthy(math.abs(time.now() * 1000 - time.nowMs()) < 60000)
end)

test("seconds and milliseconds", function()
  equal(time.seconds(1705314600789), 1705314600)
  equal(time.seconds(-1), -1)
  equal(time.seconds(-1000), -1)
  equal(time.fromSeconds(1705314600), 1705314600000)
  equal(time.fromSeconds(1705314600.789), 1705314600789)
  equal(time.fromSeconds(1.001), 1001)
  equal(time.fromSeconds(-0.5), -500)
  equal(time.fromSeconds(253402300799.999), 253402300799999)
  fails("time.fromSeconds: argument 1 (seconds): seconds since 1970 expected, got string", time.fromSeconds, "1")
  fails("argument 1 (seconds): seconds of the years 0000 to 9999 expected, got 1e+300", time.fromSeconds, 1e300)
  fails("argument 1 (seconds): seconds of the years 0000 to 9999", time.fromSeconds, 0 / 0)
  fails("argument 1 (seconds): seconds of the years 0000 to 9999", time.fromSeconds, math.maxinteger)
  fails("argument 1 (seconds): seconds of the years 0000 to 9999", time.fromSeconds, 253402300800)
end)

test("parse gives what the text says", function()
  local t = time.parse "2024-01-15T10:30:05.25+05:30"
  equal(t, {
    year = 2024, month = 1, day = 15, hour = 10, minute = 30, second = 5, nanosecond = 250000000, offset = 330,
    epochMs = 1705294805250,
  })
  equal(time.parse "2024-01-15", { year = 2024, month = 1, day = 15, epochMs = 1705276800000 })
  equal(time.parse("2024-01-15T00:00").offset, nil)
  equal(time.parse("2024-01-15T00:00Z").offset, 0)
  fails(
    'time.parse: "2024-02-30" is not a date or time: a day of that month expected at character 9; use YYYY-MM-DD or',
    time.parse,
    "2024-02-30"
  )
  fails("time.parse: argument 1 (text): string expected, got number", time.parse, 20240115)
  fails("time.parse: argument 1 (text): string expected, got no value", time.parse)
end)

test("epochMs, with a zone for texts without an offset", function()
  equal(at "1970-01-01T00:00:01Z", 1000)
  equal(at "2024-07-01T12:00", 1719835200000)
  equal(at("2024-07-01T12:00", BERLIN), 1719828000000)
  equal(at("2024-07-01", BERLIN), 1719784800000)
  equal(at("2024-07-01T12:00Z", BERLIN), 1719835200000)
  equal(at("2024-07-01T12:00-04:00", BERLIN), 1719849600000)
  equal(at("2024-10-27T02:30", BERLIN), at "2024-10-27T00:30Z")
  equal(at("2024-10-27T02:30", { zone = BERLIN, repeated = "later" }), at "2024-10-27T01:30Z")
  fails("time.epochMs: 2024-10-27T02:30:00.000 is shown twice by the clocks of Europe/Berlin", at, "2024-10-27T02:30",
    { zone = BERLIN, repeated = "error" })
  fails('time.epochMs: "soon" is not a date', at, "soon")
  fails('time.epochMs: unknown option "repeatd"; did you mean "repeated"?', at, "2024-01-01", { repeatd = "later" })
  fails('time.epochMs: option "repeated": "earlier", "later" or "error" expected, got "last"', at, "2024-01-01",
    { repeated = "last" })
end)

test("format as RFC 3339", function()
  equal(time.format(0), "1970-01-01T00:00:00.000Z")
  equal(time.format(0, {}), "1970-01-01T00:00:00.000Z")
  equal(time.format(1705314600789, { precision = "s", offset = -330 }), "2024-01-15T05:00:00-05:30")
  equal(time.format(1705314600789.9, { precision = "minutes" }), "2024-01-15T10:30Z")
  equal(time.format(-0.5), "1969-12-31T23:59:59.999Z")
  equal(time.format(1705314600789, { zone = BERLIN }), "2024-01-15T11:30:00.789+01:00")
  equal(time.format(1719835200000, { zone = BERLIN, precision = "s" }), "2024-07-01T14:00:00+02:00")
  equal(time.format(1719835200000, { zone = "Europe/London", precision = "s" }), "2024-07-01T13:00:00+01:00")
  equal(time.format(1705314600000, { zone = "Europe/London", precision = "s" }), "2024-01-15T10:30:00Z")
  -- Local mean time, +00:53:28: the text has minutes only, and is still that moment's.
  equal(time.format(at "1890-01-01T00:00:00Z", { zone = BERLIN }), "1890-01-01T00:53:00.000+00:53")
  fails("time.format: argument 1 (ms): milliseconds since 1970 expected, got string", time.format, "0")
  fails("time.format: argument 1 (ms): milliseconds of the years 0000 to 9999 expected, got 1e+300", time.format, 1e300)
  fails("time.format: argument 1 (ms): milliseconds of the years", time.format, 0 / 0)
  fails("time.format: expected a table of options, got string", time.format, 0, "s")
  fails('time.format: unknown option "ofset"; did you mean "offset"?', time.format, 0, { ofset = 1 })
  fails("time.format: expected named options", time.format, 0, { "s" })
  fails('option "offset": minutes from -1439 to 1439 expected, got 1440', time.format, 0, { offset = 1440 })
  fails('option "offset" must be a whole number (minutes east of UTC), got number', time.format, 0, { offset = 0.5 })
  fails('option "offset" must be a whole number (minutes east of UTC), got string', time.format, 0, { offset = "60" })
  fails('option "precision": "minutes", "s" or "ms" expected, got "us"', time.format, 0, { precision = "us" })
  fails('option "precision" must be a non-empty string', time.format, 0, { precision = 3 })
  fails('options "zone" and "offset" say the same', time.format, 0, { zone = "UTC", offset = 0 })
  fails('option "precision" is for texts without option "format"', time.format, 0, { precision = "s", format = "%F" })
  fails("the result is outside the years 0000 to 9999", time.format, 253402300799999, { offset = 60 })
  fails('time.format: option "zone": unknown time zone "Europe/Berln"; did you mean "Europe/Berlin"?', time.format, 0,
    { zone = "Europe/Berln" })
end)

test("date, also in a zone", function()
  equal(time.date(1705314600789), "2024-01-15")
  equal(time.date(-1), "1969-12-31")
  equal(time.date(1719871200000), "2024-07-01")
  equal(time.date(1719871200000, BERLIN), "2024-07-02")
  fails("time.date: argument 1 (ms): milliseconds of the years", time.date, math.maxinteger)
  fails("time.date: the result is outside the years 0000 to 9999", time.date, 253402300799999, BERLIN)
end)

test("names of zones", function()
  equal(time.offset(0, "UTC"), 0)
  equal(time.offset(0), 0)
  fails('time.offset: argument 2 (zone): unknown time zone "Berlin"; did you mean "Europe/Berlin"?', time.offset, 0, "Berlin")
  fails('unknown time zone "../../etc/passwd"; use an IANA name', time.offset, 0, "../../etc/passwd")
  fails('unknown time zone "Europe/Berlin', time.offset, 0, "Europe/Berlin\0")
  fails('unknown time zone ""', time.offset, 0, "")
  fails('unknown time zone "aaaa', time.offset, 0, ("a"):rep(1000000))
  fails('argument 2 (zone): the name of a time zone, such as "Europe/Berlin", expected, got number', time.offset, 0, 60)
  fails('the name of a time zone, such as "Europe/Berlin", expected, got table', time.fields, 0, { zone = BERLIN })
  fails('time.of: argument 2 (zone): the name of a time zone', time.of, { year = 2024 }, 3)
end)

-- ---- HTTP dates: the examples of RFC 9110, section 5.6.7 ----

test("HTTP dates", function()
  local expected = at "1994-11-06T08:49:37Z"
  equal(time.httpDate(expected), "Sun, 06 Nov 1994 08:49:37 GMT")
  equal(time.httpDate(expected + 999), "Sun, 06 Nov 1994 08:49:37 GMT")
  equal(time.httpDate(at "0000-01-01"), "Sat, 01 Jan 0000 00:00:00 GMT")
  equal(time.httpDate(at "9999-12-31T23:59:59Z"), "Fri, 31 Dec 9999 23:59:59 GMT")
  equal(time.fromHttpDate "Sun, 06 Nov 1994 08:49:37 GMT", expected)
  equal(time.fromHttpDate "Sunday, 06-Nov-94 08:49:37 GMT", expected)
  equal(time.fromHttpDate "Sun Nov  6 08:49:37 1994", expected)
  equal(time.fromHttpDate "Wed Nov 16 08:49:37 1994", expected + 10 * 86400000)
  equal(time.fromHttpDate "Mon, 06 Nov 1994 08:49:37 GMT", expected) -- a wrong day of the week
  equal(time.fromHttpDate "Sat, 31 Dec 2016 23:59:60 GMT", at "2016-12-31T23:59:59Z")
  -- Two digits: no more than fifty years ahead.
  local year = time.fields(time.nowMs()).year
  for offset = -49, 50 do
    local text = ("Monday, 01-Jul-%02d 00:00:00 GMT"):format((year + offset) % 100)
    equal(time.fields(time.fromHttpDate(text)).year, year + offset)
  end
  for bad, why in pairs {
    [""] = "a day of the week expected at character 1",
    ["Son, 06 Nov 1994 08:49:37 GMT"] = "a day of the week expected at character 1",
    ["sun, 06 Nov 1994 08:49:37 GMT"] = "a day of the week expected at character 1",
    ["Sun,06 Nov 1994 08:49:37 GMT"] = '", " expected at character 4',
    ["Sun, 6 Nov 1994 08:49:37 GMT"] = "day 01 to 31 expected at character 6",
    ["Sun, 06 nov 1994 08:49:37 GMT"] = "a month from Jan to Dec expected at character 9",
    ["Sun, 06 Nov 94 08:49:37 GMT"] = "four digits of the year expected at character 13",
    ["Sun, 06 Nov 1994 24:49:37 GMT"] = "hour 00 to 23 expected at character 18",
    ["Sun, 06 Nov 1994 08:60:37 GMT"] = "minute 00 to 59 expected at character 21",
    ["Sun, 06 Nov 1994 08:49:61 GMT"] = "second 00 to 60 expected at character 24",
    ["Sun, 06 Nov 1994 08:49:37 UTC"] = '" GMT" expected at character 26',
    ["Sun, 06 Nov 1994 08:49:37 GMT "] = "nothing more expected at character 30",
    ["Sun, 31 Feb 1994 08:49:37 GMT"] = "its month has no day 31",
    ["Sun, 06-Nov-94 08:49:37 GMT"] = '" " expected at character 8',
    ["Sunday, 06-Nov-1994 08:49:37 GMT"] = '" " expected at character 18',
    ["Sunday, 06-Nov-94"] = '" " expected at character 18',
    ["Sun Nov  0 08:49:37 1994"] = "day 1 to 9 expected at character 10",
    ["Sun Nov 6 08:49:37 1994"] = "day 01 to 31 expected at character 9",
    ["Sun Nov  6 08:49:37 94"] = "four digits of the year expected at character 21",
    ["Sun Nov  6 08:49:37 1994 GMT"] = "nothing more expected at character 25",
    ["Sun, 06 Nov 1994 08:49:37 GMT\0"] = "nothing more expected at character 30",
    [("Sun, "):rep(100000)] = "day 01 to 31 expected at character 6",
  } do
    fails("is not an HTTP date: " .. why, time.fromHttpDate, bad)
  end
  fails("time.fromHttpDate: argument 1 (text): string expected, got number", time.fromHttpDate, 5)
end)

-- ---- forms of one's own ----

test("format with fields", function()
  local ms = at "2024-07-01T12:05:09.078Z"
  for format, expected in pairs {
    ["%Y-%m-%d %H:%M:%S.%f"] = "2024-07-01 14:05:09.078",
    ["%F %T|%R"] = "2024-07-01 14:05:09|14:05",
    ["%y %j %u %G-W%V"] = "24 183 1 2024-W27",
    ["%A %a %B %b"] = "Monday Mon July Jul",
    ["%e|%d|%-d|%-m|%-j"] = " 1|01|1|7|183",
    ["%I:%M %p"] = "02:05 PM",
    ["%-I %-H %-M %-S %-y"] = "2 14 5 9 24",
    ["%z %:z %Z"] = "+0200 +02:00 CEST",
    ["%s"] = "1719835509",
    ["100%% é"] = "100% é",
    ["\0%Y\0"] = "\0002024\0",
  } do
    equal(time.format(ms, { zone = BERLIN, format = format }), expected)
  end
  equal(time.format(ms, { format = "%Z %:z" }), "UTC +00:00")
  equal(time.format(ms, { offset = -90, format = "%R %Z %z" }), "10:35 -01:30 -0130")
  equal(time.format(at "1890-01-01", { zone = BERLIN, format = "%T %z %:z %Z" }), "00:53:28 +005328 +00:53:28 LMT")
  equal(time.format(-1, { format = "%s.%f" }), "-1.999")
  equal(time.format(at "0000-01-01", { format = "%Y %y %G %V" }), "0000 00 -001 52")
  equal(time.format(at "2024-01-01T00:30", { format = "%I %p" }), "12 AM")
  equal(time.format(at "2024-01-01T12:30", { format = "%I %p" }), "12 PM")
  equal(#time.format(ms, { format = ("%A"):rep(128) }), 128 * 6)
  equal(#time.format(at "9999-12-29", { format = ("%A"):rep(128) }), 128 * 9)
  fails('the format "%Y %Q" has no field after its % at character 4; the fields are %Y %y', time.format, ms,
    { format = "%Y %Q" })
  fails("has no field after its % at character 1", time.format, ms, { format = "%" })
  fails("has no field after its % at character 1", time.format, ms, { format = "%-F" })
  fails("has no field after its % at character 1", time.format, ms, { format = "%:Y" })
  fails("has no field after its % at character 1", time.format, ms, { format = "%\0" })
  fails("time.format: the format has 257 bytes; 256 are allowed", time.format, ms, { format = ("x"):rep(257) })
end)

test("fromFormat reads what format writes", function()
  local ms = at "2024-07-01T12:05:09.078Z"
  for _, format in ipairs {
    "%F %T.%f", "%d/%m/%Y %H:%M:%S.%f", "%A, %e %B %Y %I:%M:%S.%f %p", "%a %b %-d %-H:%-M:%-S.%f %y", "%Y%m%d%H%M%S%f",
    "%G-W%V-%u %T.%f", "%Y/%j %T.%f", "%s.%f", "%F %T.%f %z", "%F %T.%f %:z", "%FT%T.%f%%",
  } do
    local text = time.format(ms, { zone = BERLIN, format = format })
    equal(time.fromFormat(text, format, BERLIN), ms, text)
  end
end)

test("fromFormat", function()
  local read = time.fromFormat
  equal(read("31/12/2024 23:59", "%d/%m/%Y %H:%M", BERLIN), at "2024-12-31T22:59Z")
  equal(read("31/12/2024 23:59", "%d/%m/%Y %H:%M"), at "2024-12-31T23:59Z")
  equal(read("2024-10-27 02:30", "%F %R", { zone = BERLIN, repeated = "later" }), at "2024-10-27T01:30Z")
  equal(read("2024-07", "%Y-%m"), at "2024-07-01")
  equal(read("2024", "%Y"), at "2024-01-01")
  equal(read("2024-W01", "%G-W%V"), at "2024-01-01")
  equal(read("2020-W53-7", "%G-W%V-%u"), at "2021-01-03")
  equal(read("68 69", "%y 69"), at "2068-01-01")
  equal(read("69", "%y"), at "1969-01-01")
  equal(read("12:30 am 2024", "%I:%M %p %Y"), at "2024-01-01T00:30")
  equal(read("12:30 PM 2024", "%I:%M %p %Y"), at "2024-01-01T12:30")
  equal(read("MON JAN  1 2024", "%a %b %e %Y"), at "2024-01-01")
  equal(read("2024-02-29 .5", "%F .%f"), at "2024-02-29T00:00:00.5")
  equal(read("2024-02-29 .123456789", "%F .%f"), at "2024-02-29T00:00:00.123")
  equal(read("2016-12-31 23:59:60", "%F %T"), at "2016-12-31T23:59:59.999")
  equal(read("2024-02-29 +0530", "%F %z", BERLIN), at "2024-02-28T18:30")
  equal(read("2024-02-29 -05:30", "%F %z"), at "2024-02-29T05:30")
  equal(read("2024-02-29 -05", "%F %z"), at "2024-02-29T05:00")
  equal(read("2024-02-29 Z", "%F %z"), at "2024-02-29")
  equal(read("1890-01-01 00:53:28 +00:53:28", "%F %T %z"), at "1890-01-01")
  equal(read("1890-01-01 00:53:28 +005328", "%F %T %z"), at "1890-01-01")
  equal(read("2024-02-29 GMT", "%F %Z", BERLIN), at "2024-02-29")
  equal(read("2024-02-29T10:00Z", "%FT%R%Z", BERLIN), at "2024-02-29T10:00")
  equal(read("-1", "%s"), -1000)
  equal(read("10% 2024", "10%% %Y"), at "2024-01-01")
  equal(read("2024 2024-02-29", "%Y %F"), at "2024-02-29")
  equal(read("Jan January 2024", "%b %B %Y"), at "2024-01-01")
end)

test("fromFormat is strict and says where", function()
  for _, case in ipairs {
    { "31/02/2024", "%d/%m/%Y", "a day of that month expected at character 1" },
    { "1/02/2024", "%d/%m/%Y", "a number from 01 to 31 expected at character 1" },
    { "32/02/2024", "%d/%m/%Y", "a number from 01 to 31 expected at character 1" },
    { "01-02-2024", "%d/%m/%Y", "'/' expected at character 3" },
    { "01/13/2024", "%d/%m/%Y", "a number from 01 to 12 expected at character 4" },
    { "01/02/24", "%d/%m/%Y", "a number from 0000 to 9999 expected at character 7" },
    { "01/02/20245", "%d/%m/%Y", "nothing more expected at character 11" },
    { "01/02/2024 ", "%d/%m/%Y", "nothing more expected at character 11" },
    { " 01/02/2024", "%d/%m/%Y", "a number from 01 to 31 expected at character 1" },
    { "", "%Y", "a number from 0000 to 9999 expected at character 1" },
    { "2024x", "%Y ", "a blank expected at character 5" },
    { "2024x", "%Y\t", "what the format has there expected at character 5" },
    { "éx 2024", "é%-d %Y", "a number from 1 to 31 expected at character 2" },
    { "0 2024", "%-m %Y", "a number from 1 to 12 expected at character 1" },
    { "24:00 2024", "%R %Y", "a number from 00 to 23 expected at character 1" },
    { "13:00 PM 2024", "%I:%M %p %Y", "a number from 01 to 12 expected at character 1" },
    { "11:00 xx 2024", "%I:%M %p %Y", "AM or PM expected at character 7" },
    { "Foo 2024", "%b %Y", "a month such as Jan expected at character 1" },
    { "Jan 2024", "%B %Y", "a month such as January expected at character 1" },
    { "Tue, 29 Feb 2024", "%a, %d %b %Y", "Thursday, as the date says, expected at character 1" },
    { "Fxx 2024", "%a %Y", "a day of the week such as Mon expected at character 1" },
    { "2023-366", "%Y-%j", "a day of that year expected at character 6" },
    { "2024-060 03", "%Y-%j %m", "2, as the date says, expected at character 10" },
    { "2024-W53", "%G-W%V", "a week of that year expected at character 7" },
    { "2024 2025", "%Y %Y", "the same as before expected at character 6" },
    { "2024 11 PM", "%Y %H %p", "AM expected at character 9" },
    { "2024 11 10", "%Y %H %I", "the same hour as before expected at character 9" },
    { "2024 .", "%Y .%f", "1 to 9 digits of a fraction expected at character 7" },
    { "2024 .1234567890", "%Y .%f", "nothing more expected at character 16" },
    { "2024 CET", "%Y %Z", "UTC, GMT or Z expected at character 6" },
    { "2024 0200", "%Y %z", "an offset such as +02:00, or Z, expected at character 6" },
    { "2024 +2", "%Y %z", "an offset such as +02:00, or Z, expected at character 6" },
    { "2024 +02:", "%Y %z", "nothing more expected at character 9" },
    { "2024 +24:00", "%Y %z", "an offset of less than 24 hours expected at character 6" },
    { "2024 +02:60", "%Y %z", "an offset of less than 24 hours expected at character 6" },
    { "-", "%s", "Unix seconds of the years 0000 to 9999 expected at character 1" },
    { "253402300800", "%s", "Unix seconds of the years 0000 to 9999 expected at character 1" },
    { ("9"):rep(100000), "%s", "Unix seconds of the years 0000 to 9999 expected at character 1" },
    { "2024\0", "%Y", "nothing more expected at character 5" },
  } do
    fails("does not fit", time.fromFormat, case[1], case[2])
    fails(case[3], time.fromFormat, case[1], case[2])
  end
  fails('time.fromFormat: "31/02/2024" does not fit "%d/%m/%Y": a day of that month', time.fromFormat, "31/02/2024", "%d/%m/%Y")
  for _, case in ipairs {
    { "10:30", "%R", "a date needs its year (%Y or %y, or %G with %V), or Unix seconds (%s)" },
    { "27", "%V", "a date needs its year" },
    { "2024 01", "%Y %d", "a day of the month needs its month (%m, %b or %B)" },
    { "2024 11", "%Y %I", "%I needs %p; for hours from 00 to 23 use %H" },
    { "5 2024", "%s %Y", "%s is the whole time; only %f can be beside it" },
  } do
    fails(("the format %q cannot be read: %s"):format(case[2], case[3]), time.fromFormat, case[1], case[2])
  end
  fails('the format "%Y-%Q" has no field after its % at character 4', time.fromFormat, "2024-1", "%Y-%Q")
  fails("the format has 1000000 bytes; 256 are allowed", time.fromFormat, "x", ("x"):rep(1000000))
  fails("time.fromFormat: the result is outside the years", time.fromFormat, "9999-12-31 -01:00 23:59", "%F %z %R")
  fails("time.fromFormat: the result is outside the years", time.fromFormat, "0000-01-01", "%F", BERLIN)
  fails("the result is outside the years", time.fromFormat, "9999-W52-7", "%G-W%V-%u")
  fails("time.fromFormat: argument 2 (format): string expected, got nil", time.fromFormat, "x", nil)
  fails("time.fromFormat: argument 1 (text): string expected, got table", time.fromFormat, {}, "%Y")
end)

-- ---- fields and back ----

test("fields", function()
  equal(time.fields(at "2024-07-01T12:05:09.078Z", BERLIN), {
    year = 2024, month = 7, day = 1, hour = 14, minute = 5, second = 9, millisecond = 78, weekday = 1, yearday = 183, week = 27,
    weekYear = 2024, offset = 120, abbreviation = "CEST", isDst = true,
  })
  local f = time.fields(at "2027-01-03T00:00:00Z")
  equal({ f.weekday, f.week, f.weekYear, f.yearday }, { 7, 53, 2026, 3 })
  equal({ f.offset, f.abbreviation, f.isDst }, { 0, "UTC", false })
  f = time.fields(at "2024-12-30")
  equal({ f.weekday, f.week, f.weekYear, f.yearday }, { 1, 1, 2025, 365 })
  equal(time.fields(at "2024-01-15", "Europe/Dublin").isDst, true) -- as the database has it
  equal(time.fields(at "2024-01-15", "Asia/Kathmandu").offset, 345)
  -- Local mean time has seconds.
  equal(time.fields(at "1890-01-01", BERLIN).offset, 3208 / 60)
  equal(time.offset(at "1890-01-01", BERLIN), 3208 / 60)
  equal(time.offset(at "1970-01-01", "Africa/Monrovia"), -(44 * 60 + 30) / 60)
  equal(time.offset(at "2024-01-15", NEW_YORK), -300)
  fails("time.fields: the result is outside the years 0000 to 9999", time.fields, at "0000-01-01", NEW_YORK)
end)

test("of is the way back", function()
  equal(iso(time.of { year = 2024 }), "2024-01-01T00:00:00.000Z")
  equal(iso(time.of({ year = 2024, month = 7, day = 1, hour = 12 }, BERLIN)), "2024-07-01T10:00:00.000Z")
  equal(iso(time.of { year = 0 }), "0000-01-01T00:00:00.000Z")
  equal(iso(time.of { year = 9999, month = 12, day = 31, hour = 23, minute = 59, second = 59, millisecond = 999 }),
    "9999-12-31T23:59:59.999Z")
  equal(time.of { year = 2024.0 }, at "2024-01-01")
  for _, zone in ipairs { "UTC", BERLIN, NEW_YORK, LORD_HOWE, "Europe/Dublin", "Asia/Kathmandu" } do
    for _, text in ipairs { "2024-10-27T00:30:00.123Z", "2024-10-27T01:30Z", "2024-04-06T14:45Z", "2024-04-06T15:15Z", "1890-01-01" } do
      equal(time.of(time.fields(at(text), zone), zone), at(text), text .. " in " .. zone)
      equal(time.of(time.fields(at(text), zone)), at(text), text .. " in " .. zone .. ", by its offset")
    end
  end
  equal(time.of(time.parse "2024-01-15T10:30:05.25+05:30"), at "2024-01-15T10:30:05.25+05:30")
  equal(time.of(time.parse "2024-01-15"), at "2024-01-15")
end)

test("of a repeated time", function()
  local fields = { year = 2024, month = 10, day = 27, hour = 2, minute = 30 }
  equal(iso(time.of(fields, BERLIN)), "2024-10-27T00:30:00.000Z")
  equal(iso(time.of(fields, { zone = BERLIN, repeated = "earlier" })), "2024-10-27T00:30:00.000Z")
  equal(iso(time.of(fields, { zone = BERLIN, repeated = "later" })), "2024-10-27T01:30:00.000Z")
  fails("time.of: 2024-10-27T02:30:00.000 is shown twice by the clocks of Europe/Berlin", time.of, fields,
    { zone = BERLIN, repeated = "error" })
  -- The offset decides, if the zone has it then.
  fields.offset = 60
  equal(iso(time.of(fields, BERLIN)), "2024-10-27T01:30:00.000Z")
  fields.offset = 120
  equal(iso(time.of(fields, { zone = BERLIN, repeated = "later" })), "2024-10-27T00:30:00.000Z")
  fields.offset = -300
  equal(iso(time.of(fields, BERLIN)), "2024-10-27T00:30:00.000Z")
  equal(iso(time.of(fields)), "2024-10-27T07:30:00.000Z")
  -- Half an hour on Lord Howe Island.
  fields = { year = 2024, month = 4, day = 7, hour = 1, minute = 45 }
  equal(iso(time.of(fields, LORD_HOWE)), "2024-04-06T14:45:00.000Z")
  equal(iso(time.of(fields, { zone = LORD_HOWE, repeated = "later" })), "2024-04-06T15:15:00.000Z")
end)

test("of a skipped time", function()
  local fields = { year = 2024, month = 3, day = 31, hour = 2, minute = 30 }
  equal(time.format(time.of(fields, BERLIN), { zone = BERLIN, precision = "s" }), "2024-03-31T03:30:00+02:00")
  equal(time.format(time.of(fields, { zone = BERLIN, skipped = "earlier" }), { zone = BERLIN, precision = "s" }),
    "2024-03-31T01:30:00+01:00")
  fails("time.of: 2024-03-31T02:30:00.000 is never shown by the clocks of Europe/Berlin", time.of, fields,
    { zone = BERLIN, skipped = "error" })
  -- Samoa skipped a day.
  equal(time.format(time.of({ year = 2011, month = 12, day = 30, hour = 12 }, "Pacific/Apia"), { zone = "Pacific/Apia", precision = "s" }),
    "2011-12-31T12:00:00+14:00")
end)

test("of refuses what is no time", function()
  fails('time.of: option "year" is missing', time.of, { month = 1 })
  fails('time.of: unknown option "yaer"; did you mean "year"?', time.of, { yaer = 2024 })
  fails('time.of: option "month": 1 to 12 expected, got 13', time.of, { year = 2024, month = 13 })
  fails('time.of: option "day": month 2 of the year 2023 has 28 days, got 29', time.of, { year = 2023, month = 2, day = 29 })
  fails('time.of: option "year": 0 to 9999 expected, got 10000', time.of, { year = 10000 })
  fails('time.of: option "year": 0 to 9999 expected, got -1', time.of, { year = -1 })
  fails('time.of: option "hour": 0 to 23 expected, got 24', time.of, { year = 2024, hour = 24 })
  fails('time.of: option "second": 0 to 59 expected, got 60', time.of, { year = 2024, second = 60 })
  fails('time.of: option "day" must be a whole number (1 to 31), got string', time.of, { year = 2024, day = "1" })
  fails('time.of: option "day" must be a whole number (1 to 31), got number', time.of, { year = 2024, day = 1.5 })
  fails('time.of: option "offset": less than 24 hours in minutes expected', time.of, { year = 2024, offset = 1440 })
  fails('time.of: option "offset": less than 24 hours in minutes expected', time.of, { year = 2024, offset = 0 / 0 })
  fails("time.of: the result is outside the years", time.of, { year = 0, offset = 1 })
  fails("time.of: the result is outside the years", time.of, { year = 0 }, BERLIN)
  fails("time.of: expected a table of options, got number", time.of, 5)
end)

-- ---- arithmetic ----

local function add(text, duration, zone)
  return time.format(time.add(at(text), duration, zone), { zone = type(zone) == "table" and zone.zone or zone, precision = "s" })
end

test("add months and years, to the last day where there is none", function()
  equal(add("2024-01-31", { months = 1 }), "2024-02-29T00:00:00Z")
  equal(add("2023-01-31", { months = 1 }), "2023-02-28T00:00:00Z")
  equal(add("2024-02-29", { years = 1 }), "2025-02-28T00:00:00Z")
  equal(add("2024-02-29", { years = 4 }), "2028-02-29T00:00:00Z")
  equal(add("2024-03-31", { months = -1 }), "2024-02-29T00:00:00Z")
  equal(add("2024-01-31", { months = -11 }), "2023-02-28T00:00:00Z")
  equal(add("2024-05-31", { years = 1, months = 13 }), "2026-06-30T00:00:00Z")
  -- First the months, then the days.
  equal(add("2024-01-31", { months = 1, days = 1 }), "2024-03-01T00:00:00Z")
  equal(add("2024-01-15", {}), "2024-01-15T00:00:00Z")
  equal(add("2024-01-15", { weeks = 1, days = -7 }), "2024-01-15T00:00:00Z")
  equal(add("2024-01-15", { hours = 25, minutes = 1, seconds = 1, milliseconds = 1000 }), "2024-01-16T01:01:02Z")
  equal(time.add(0, { milliseconds = -1 }), -1)
end)

test("add days keeps the local time, hours do not", function()
  equal(add("2024-03-30T12:00+01:00", { days = 1 }, BERLIN), "2024-03-31T12:00:00+02:00")
  equal(add("2024-03-30T12:00+01:00", { hours = 24 }, BERLIN), "2024-03-31T13:00:00+02:00")
  equal(add("2024-03-30T02:30+01:00", { days = 1 }, BERLIN), "2024-03-31T03:30:00+02:00")
  equal(add("2024-03-30T02:30+01:00", { days = 1 }, { zone = BERLIN, skipped = "earlier" }), "2024-03-31T01:30:00+01:00")
  equal(add("2024-10-26T02:30+02:00", { days = 1 }, BERLIN), "2024-10-27T02:30:00+02:00")
  equal(add("2024-10-26T02:30+02:00", { days = 1 }, { zone = BERLIN, repeated = "later" }), "2024-10-27T02:30:00+01:00")
  equal(add("2024-10-27T02:30+01:00", { minutes = 1 }, BERLIN), "2024-10-27T02:31:00+01:00")
  equal(add("2024-10-27T02:30+01:00", { days = 0 }, BERLIN), "2024-10-27T02:30:00+01:00")
  fails("time.add: 2024-03-31T02:30:00.000 is never shown", time.add, at "2024-03-30T02:30+01:00", { days = 1 },
    { zone = BERLIN, skipped = "error" })
  equal(add("2011-12-29T12:00-10:00", { days = 1 }, "Pacific/Apia"), "2011-12-31T12:00:00+14:00")
end)

test("add stays within the calendar", function()
  fails("time.add: the result is outside the years 0000 to 9999", time.add, at "9999-12-31", { days = 1 })
  fails("time.add: the result is outside the years 0000 to 9999", time.add, at "0000-01-01", { milliseconds = -1 })
  fails("time.add: the result is outside the years 0000 to 9999", time.add, 0, { years = 10000, months = -120000, days = -3700000 })
  fails("time.add: the result is outside the years 0000 to 9999", time.add, 0, { milliseconds = 320000000000000 })
  fails('time.add: option "years": at most 10000, either way, expected, got 10001', time.add, 0, { years = 10001 })
  fails('time.add: option "milliseconds": at most 320000000000000, either way', time.add, 0, { milliseconds = math.mininteger })
  fails('time.add: option "days" must be a whole number, got number', time.add, 0, { days = 1.5 })
  fails('time.add: unknown option "day"; did you mean "days"?', time.add, 0, { day = 1 })
  fails("time.add: expected a table of options, got number", time.add, 0, 5)
  fails("time.add: argument 1 (ms): milliseconds since 1970 expected, got nil", time.add, nil, {})
end)

test("startOf", function()
  local ms = at "2024-08-15T13:45:59.999Z" -- a Thursday
  for unit, expected in pairs {
    year = "2024-01-01T00:00:00.000Z",
    quarter = "2024-07-01T00:00:00.000Z",
    month = "2024-08-01T00:00:00.000Z",
    week = "2024-08-12T00:00:00.000Z",
    day = "2024-08-15T00:00:00.000Z",
    hour = "2024-08-15T13:00:00.000Z",
  } do
    equal(iso(time.startOf(ms, unit)), expected, unit)
    equal(iso(time.startOf(at(expected), unit)), expected, unit)
  end
  equal(iso(time.startOf(ms, "day", BERLIN)), "2024-08-14T22:00:00.000Z")
  equal(iso(time.startOf(at "2024-01-01T00:30Z", "year", NEW_YORK)), "2023-01-01T05:00:00.000Z")
  equal(iso(time.startOf(ms, "hour", "Asia/Kathmandu")), "2024-08-15T13:15:00.000Z")
  equal(iso(time.startOf(ms, "year", BERLIN)), "2023-12-31T23:00:00.000Z")
  -- Days of 23 and of 25 hours.
  equal(iso(time.startOf(at "2024-03-31T20:00Z", "day", BERLIN)), "2024-03-30T23:00:00.000Z")
  equal(iso(time.startOf(at "2024-10-27T22:30Z", "day", BERLIN)), "2024-10-26T22:00:00.000Z")
  -- The second of two hours is an hour of its own.
  equal(iso(time.startOf(at "2024-10-27T01:30Z", "hour", BERLIN)), "2024-10-27T01:00:00.000Z")
  equal(iso(time.startOf(at "2024-10-27T00:30Z", "hour", BERLIN)), "2024-10-27T00:00:00.000Z")
  -- On Lord Howe Island the hour goes on for 90 minutes, and another has only its second half.
  equal(iso(time.startOf(at "2024-04-06T15:20Z", "hour", LORD_HOWE)), "2024-04-06T14:00:00.000Z")
  equal(iso(time.startOf(at "2024-10-05T15:45Z", "hour", LORD_HOWE)), "2024-10-05T15:30:00.000Z")
  -- No midnight: clocks went from 24:00 to 01:00. In Havana midnight is shown twice.
  equal(iso(time.startOf(at "2017-10-15T12:00Z", "day", "America/Sao_Paulo")), "2017-10-15T03:00:00.000Z")
  equal(iso(time.startOf(at "2024-11-03T12:00Z", "day", "America/Havana")), "2024-11-03T04:00:00.000Z")
  -- From 23:30 to 00:30.
  equal(iso(time.startOf(at "1919-03-31T12:00Z", "day", "America/Toronto")), "1919-03-31T04:30:00.000Z")
  fails('time.startOf: argument 2 (unit): "year", "quarter", "month", "week", "day" or "hour" expected, got days',
    time.startOf, 0, "days")
  fails("(unit)", time.startOf, 0)
  fails("time.startOf: the result is outside the years", time.startOf, at "0000-01-01", "week")
  fails("time.startOf: the result is outside the years", time.startOf, at "0000-01-01", "day", BERLIN)
end)

test("diff counts whole units", function()
  local function diff(from, to, unit, zone)
    return time.diff(at(from), at(to), unit, zone)
  end
  equal(diff("2000-02-29", "2024-02-28", "years"), 23)
  equal(diff("2000-02-29", "2024-02-29", "years"), 24)
  equal(diff("2024-01-31", "2024-02-29", "months"), 1)
  equal(diff("2024-01-31", "2024-02-28", "months"), 0)
  equal(diff("2024-02-29", "2024-01-31", "months"), 0)
  equal(diff("2024-03-31", "2024-02-29", "months"), -1)
  equal(diff("2024-01-01", "2023-01-01", "months"), -12)
  equal(diff("2024-01-01", "2024-01-20", "weeks"), 2)
  equal(diff("2024-01-01T12:00", "2024-01-03T11:59", "days"), 1)
  equal(diff("2024-01-03T11:59", "2024-01-01T12:00", "days"), -1)
  -- A day of 23 hours is a day.
  equal(diff("2024-03-30T12:00+01:00", "2024-03-31T12:00+02:00", "days", BERLIN), 1)
  equal(diff("2024-03-30T12:00+01:00", "2024-03-31T12:00+02:00", "days"), 0)
  equal(diff("2024-03-30T12:00+01:00", "2024-03-31T12:00+02:00", "hours", BERLIN), 23)
  equal(diff("2024-01-01", "2024-01-01T00:01:30.5", "minutes"), 1)
  equal(diff("2024-01-01", "2024-01-01T00:01:30.5", "seconds"), 90)
  equal(diff("2024-01-01", "2024-01-01T00:01:30.5", "milliseconds"), 90500)
  equal(diff("0000-01-01", "9999-12-31T23:59:59.999", "years"), 9999)
  equal(diff("9999-12-31T23:59:59.999", "0000-01-01", "days"), -3652424)
  equal(diff("9999-12-31T23:59:59.999", "0000-01-01", "months"), -119999)
  fails('time.diff: argument 3 (unit): "years", "months"', time.diff, 0, 0, "day")
  fails("time.diff: argument 2 (to): milliseconds since 1970 expected, got string", time.diff, 0, "0", "days")
end)

test("durations", function()
  equal(time.fromDuration "P1DT2H", { days = 1, hours = 2 })
  equal(time.fromDuration "P1Y2M3W4DT5H6M7.5S",
    { years = 1, months = 2, weeks = 3, days = 4, hours = 5, minutes = 6, seconds = 7, milliseconds = 500 })
  equal(time.fromDuration "-P1M", { months = -1 })
  equal(time.fromDuration "+PT1M", { minutes = 1 })
  equal(time.fromDuration "PT0S", {})
  equal(time.fromDuration "PT0.5H", { minutes = 30 })
  equal(time.fromDuration "-PT1,75M", { minutes = -1, seconds = -45 })
  equal(time.fromDuration "PT0.000999999S", {})
  equal(time.fromDuration "PT0.123456789H", { minutes = 7, seconds = 24, milliseconds = 444 })
  equal(time.add(0, time.fromDuration "PT4M13S"), 253000)
  for text, why in pairs {
    [""] = "P expected at character 1",
    ["1D"] = "P expected at character 1",
    ["P"] = "a number expected at character 2",
    ["PT"] = "a number expected at character 3",
    ["P1DT"] = "a number expected at character 5",
    ["P1"] = "Y, M, W or D, in this order, expected at character 3",
    ["P1D1M"] = "Y, M, W or D, in this order, expected at character 5",
    ["P1D1D"] = "Y, M, W or D, in this order, expected at character 5",
    ["P1H"] = "Y, M, W or D, in this order, expected at character 3",
    ["PT1D"] = "H, M or S, in this order, expected at character 4",
    ["PT1S1M"] = "H, M or S, in this order, expected at character 6",
    ["P0.5Y"] = "Y, M, W or D, in this order, expected at character 3",
    ["PT1.5H1M"] = "nothing more expected at character 7",
    ["PT1.S"] = "1 to 9 digits of a fraction expected at character 5",
    ["PT1.1234567890S"] = "1 to 9 digits of a fraction expected at character 14",
    ["P10001Y"] = "a smaller number expected at character 2",
    ["P99999999999999999999Y"] = "a smaller number expected at character 2",
    ["P-1D"] = "a number expected at character 2",
    ["P1D "] = "nothing more expected at character 4",
    ["P1D\0"] = "nothing more expected at character 4",
    ["p1d"] = "P expected at character 1",
  } do
    fails("is not a duration: " .. why, time.fromDuration, text)
  end
  equal(time.duration { days = 1, hours = 2 }, "P1DT2H")
  equal(time.duration {}, "PT0S")
  equal(time.duration { milliseconds = 1500 }, "PT1.5S")
  equal(time.duration { seconds = 2, milliseconds = 50 }, "PT2.05S")
  equal(time.duration { years = -1, seconds = -1 }, "-P1YT1S")
  equal(time.duration { years = 1, months = 2, weeks = 3, days = 4, hours = 5, minutes = 6, seconds = 7, milliseconds = 8 },
    "P1Y2M3W4DT5H6M7.008S")
  equal(time.duration { minutes = 10 }, "PT10M")
  equal(time.duration { milliseconds = -1 }, "-PT0.001S")
  equal(time.duration { days = 100 }, "P100D")
  fails("time.duration: a duration has one sign for all its parts", time.duration, { days = 1, hours = -1 })
  fails('time.duration: unknown option "hour"; did you mean "hours"?', time.duration, { hour = 1 })
  fails("time.fromDuration: argument 1 (text): string expected, got number", time.fromDuration, 5)
end)

test("unknown names leave nothing behind", function()
  for i = 1, 300 do
    pcall(time.offset, 0, "Nowhere/N" .. i)
  end
  truthy(select(2, pcall(time.offset, 0, "Nowhere/N1")):find("unknown time zone", 1, true))
end)

return tap.run
