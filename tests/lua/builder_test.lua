local Builder = require "workers.builder"
local json = require "workers.json"
local tap = require "tap"
local workers = require "workers"
local test, equal, raises = tap.test, tap.equal, tap.raises

local function same(value, text)
  equal(json.decode(json.encode(value)), json.decode(text), json.encode(value))
end

test("texts", function()
  for _, name in ipairs { "title", "richText", "text", "select", "status" } do
    same(Builder[name] "a\"ä", '[["a\\"ä"]]')
    same(Builder[name] "", '[[""]]')
    same(Builder[name](5), '[["5"]]')
  end
  same(Builder.url "https://x.example", '[["https://x.example"]]')
  same(Builder.email "a@x.example", '[["a@x.example"]]')
  same(Builder.phoneNumber "+49 1", '[["+49 1"]]')
  same(Builder.link("text", "https://x.example"), '[["text",[["a","https://x.example"]]]]')
end)

test("checkbox and number", function()
  same(Builder.checkbox(true), '[["Yes"]]')
  same(Builder.checkbox(false), '[["No"]]')
  same(Builder.number(3), '[["3"]]')
  same(Builder.number(2.50), '[["2.5"]]')
  same(Builder.number(3.0), '[["3"]]')
  same(Builder.number(math.mininteger), '[["-9223372036854775808"]]')
end)

test("file", function()
  same(Builder.file("https://x.example/f", "name"), '[["name",[["a","https://x.example/f"]]]]')
  same(Builder.file "https://x.example/f", '[["https://x.example/f",[["a","https://x.example/f"]]]]')
end)

test("dates", function()
  same(Builder.date "2024-01-15", '[["‣",[["d",{"type":"date","start_date":"2024-01-15"}]]]]')
  same(
    Builder.dateTime("2024-01-15T10:30:59.5+02:00", "Europe/Berlin"),
    '[["‣",[["d",{"type":"datetime","start_date":"2024-01-15","start_time":"10:30","time_zone":"Europe/Berlin"}]]]]'
  )
  same(
    Builder.dateTime "2024-01-15T10:30",
    '[["‣",[["d",{"type":"datetime","start_date":"2024-01-15","start_time":"10:30"}]]]]'
  )
  same(
    Builder.dateRange("2024-01-15", "2024-02-01"),
    '[["‣",[["d",{"type":"daterange","start_date":"2024-01-15","end_date":"2024-02-01"}]]]]'
  )
  same(
    Builder.dateTimeRange("2024-01-15T10:30:00Z", "2024-01-15T11:00:00Z", "UTC"),
    '[["‣",[["d",{"type":"datetimerange","start_date":"2024-01-15","start_time":"10:30","end_date":"2024-01-15",'
      .. '"end_time":"11:00","time_zone":"UTC"}]]]]'
  )
end)

test("several values", function()
  same(Builder.multiSelect("a", "b"), '[["a,b"]]')
  same(Builder.multiSelect { "a", "b" }, '[["a,b"]]')
  same(Builder.relation "key", '{"type":"primaryKey","value":"key"}')
end)

test("people and places", function()
  same(Builder.people("a@x.example", "b@x.example"), '[{"email":"a@x.example"},{"email":"b@x.example"}]')
  same(Builder.place { lat = 52.5, lon = 13 }, '{"lat":52.5,"lon":13}')
  same(
    Builder.place { latitude = 1, longitude = -2.5, name = "n", address = "a", googlePlaceId = "g" },
    '{"lat":1,"lon":-2.5,"name":"n","address":"a","googlePlaceId":"g"}'
  )
end)

test("icons and covers", function()
  same(Builder.imageIcon "https://x.example/i", '{"type":"image","url":"https://x.example/i"}')
  same(Builder.emojiIcon "🎯", '{"type":"emoji","value":"🎯"}')
  same(Builder.notionIcon "rocket", '{"type":"notion","icon":"rocket","color":"gray"}')
  same(Builder.notionIcon("rocket", "blue"), '{"type":"notion","icon":"rocket","color":"blue"}')
end)

test("values are equal by content, and show what they are", function()
  equal(Builder.title "a" == Builder.title "a", true)
  equal(Builder.title "a" == Builder.title "b", false)
  equal(Builder.title "a" == Builder.richText "a", false)
  equal(Builder.number(1) == Builder.number(1.0), false)
  equal(tostring(Builder.title "a"), "Builder.title")
  raises(function()
    return Builder.title("a").text
  end, "a Builder value has no fields; workers.json.encode(value) shows what it holds")
  raises(function()
    setmetatable(Builder.title "a", {})
  end, "table expected")
  equal(getmetatable(Builder.title "a"), false)
end)

test("misuse", function()
  for _, case in ipairs {
    { "title", {}, "Builder.title: argument 1 must be a string, got nothing" },
    { "title", { {} }, "Builder.title: argument 1 must be a string, got table" },
    { "title", { true }, "Builder.title: argument 1 must be a string, got boolean" },
    { "link", { "a" }, "Builder.link: argument 2 must be a string, got nothing" },
    { "checkbox", { 1 }, "Builder.checkbox: argument 1 must be true or false, got number" },
    { "number", { "1" }, "Builder.number: argument 1 must be a number, got string" },
    { "date", { "15.01.2024" }, 'Builder.date: "15.01.2024" is not a date: use YYYY-MM-DD' },
    { "date", { "2024-13-01" }, 'Builder.date: "2024-13-01" is not a date of the calendar' },
    { "dateTime", { "2024-01-15" }, 'Builder.dateTime: "2024-01-15" is not an ISO 8601 date and time' },
    { "dateRange", { "2024-01-15" }, "Builder.dateRange: argument 2 must be a string, got nothing" },
    { "multiSelect", { "a", {} }, "Builder.multiSelect: argument 2 must be a string, got table" },
    { "place", { "Berlin" }, "Builder.place: argument 1 must be a table { lat = …, lon = … }, got string" },
    { "place", { { lat = 1 } }, "Builder.place: lon must be a number, got nothing" },
    { "place", { { lat = 1, lon = 0 / 0 } }, "Builder.place: lat and lon must be finite" },
    { "place", { { lat = 1, lon = 2, adress = "x" } }, 'Builder.place: unknown field "adress"; did you mean "address"?' },
    { "notionIcon", { "rocket", "bleu" }, 'Builder.notionIcon: unknown color "bleu"; did you mean "blue"?' },
    { "imageCover", { "https://x.example", 2 }, "Builder.imageCover: position must be from 0 (top) to 1 (bottom)" },
  } do
    local message = raises(function()
      Builder[case[1]](table.unpack(case[2]))
    end, case[3])
    tap.truthy(message:find "^builder_test.lua:%d+: ", message)
  end
  raises(function()
    Builder.multiSelect(("x "):rep(5000):byte(1, 5000))
  end, "more than 4096 values")
  local ok = pcall(json.encode, Builder.title "\255")
  equal(ok, false, "bytes that are no UTF-8 have no JSON")
end)

test("values within other values", function()
  same({ a = { Builder.title "x" }, b = workers.null }, '{"a":[[["x"]]],"b":null}')
end)

return tap.run
