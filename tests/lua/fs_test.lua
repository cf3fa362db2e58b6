local fs = require "workers.fs"
local tap = require "tap"
local testing = require "testing"
local test, equal, raises = tap.test, tap.equal, tap.raises

testing.folder "data"
testing.file("data/b.txt", "one\r\ntwo\n\nlast")
testing.file("data/a.json", '{ "n": 9007199254740993, "list": [], "none": null }')
testing.file("data/bad.json", '{\n  "n": ,\n}')
testing.file("data/empty", "")
testing.file("data/bytes", "\0\r\n\255\n")
testing.fifo "data/pipe"
testing.symlink("/etc/passwd", "data/out")
testing.symlink("b.txt", "data/link")

local function read_lines(path)
  local result = {}
  for line in fs.lines(path) do
    result[#result + 1] = line
  end
  return result
end

test("read gives every byte", function()
  equal(fs.read "data/b.txt", "one\r\ntwo\n\nlast")
  equal(fs.read "data/bytes", "\0\r\n\255\n")
  equal(fs.read "data/empty", "")
  equal(fs.read "data/link", "one\r\ntwo\n\nlast")
  local large = ("0123456789"):rep(100000)
  testing.file("data/large", large)
  equal(fs.read "data/large" == large, true)
end)

test("read stops at max", function()
  equal(#fs.read("data/large", { max = 1000000 }), 1000000)
  equal(#fs.read("data/large", { max = "1MB" }), 1000000)
  raises(function()
    fs.read("data/large", { max = 999999 })
  end, "fs.read: data/large is larger than 999999 bytes; give { max = } to read more, or use fs.lines")
  raises(function()
    fs.read("data/large", { max = "1kB" })
  end, "fs.read: data/large is larger than 1000 bytes")
  raises(function()
    fs.read("data/large", { max = -1 })
  end, 'option "max" must be a whole number of bytes')
  raises(function()
    fs.read("data/large", { max = "much" })
  end, 'fs.read: option "max": ')
  raises(function()
    fs.read("data/large", { maxx = 1 })
  end, 'unknown option "maxx"; did you mean "max"?')
end)

test("lines without their ends, also the last one", function()
  equal(read_lines "data/b.txt", { "one", "two", "", "last" })
  equal(read_lines "data/bytes", { "\0", "\255" })
  equal(read_lines "data/empty", {})
  testing.file("data/only", "\n")
  equal(read_lines "data/only", { "" })
end)

test("lines longer than a block, and across blocks", function()
  local expected = {}
  for i = 1, 40 do
    expected[i] = tostring(i):rep(i * 401)
  end
  expected[41] = ("x"):rep(200000)
  testing.file("data/blocks", table.concat(expected, "\r\n") .. "\r\n")
  equal(read_lines "data/blocks", expected)
end)

test("lines of a large file need little memory", function()
  testing.file("data/many", ("a line of forty bytes, newline included\n"):rep(200000))
  local before, count = testing.collect(), 0
  for line in fs.lines "data/many" do
    count = count + #line + 1
  end
  equal(count, 8000000)
  tap.truthy(testing.collect() - before < 100000, "memory is back")
end)

test("a line without end is refused", function()
  testing.file("data/endless", ("x"):rep(17 * 1024 * 1024))
  raises(function()
    read_lines "data/endless"
  end, "fs.lines: line 1 of data/endless is longer than 16 MiB")
end)

test("files are closed when a loop is left, when it ends, and when nobody uses them", function()
  testing.collect()
  local before = testing.openFiles()
  for _ in fs.lines "data/b.txt" do
    break
  end
  equal(testing.openFiles(), before)
  read_lines "data/b.txt"
  equal(testing.openFiles(), before)
  pcall(function()
    for _ in fs.lines "data/b.txt" do
      error "x"
    end
  end)
  equal(testing.openFiles(), before)
  local next_line = fs.lines "data/b.txt"
  equal(next_line(), "one")
  equal(testing.openFiles(), before + 1)
  next_line = nil
  testing.collect()
  equal(testing.openFiles(), before)
  for _ = 1, 500 do
    fs.lines "data/b.txt"
  end
  tap.truthy(testing.openFiles() <= before + 64, "files in use are bounded")
  local kept = {}
  raises(function()
    for i = 1, 100 do
      kept[i] = fs.lines "data/b.txt"
    end
  end, "fs.lines: 64 files are open already")
  kept = nil
  testing.collect()
  equal(testing.openFiles(), before)
  equal(fs.read "data/empty", "")
end)

test("an iterator at its end stays there", function()
  local next_line = fs.lines "data/empty"
  equal(next_line(), nil)
  equal(next_line(), nil)
end)

test("exists", function()
  equal(fs.exists "data/b.txt", true)
  equal(fs.exists "data", true)
  equal(fs.exists "data/none", false)
  equal(fs.exists "data/b.txt/none", false)
  raises(function()
    fs.exists "/etc/passwd"
  end, "fs.exists: /etc/passwd may not be read: add it to permissions.read")
end)

test("list is sorted", function()
  testing.folder "names"
  for _, name in ipairs { "b", "a.txt", "B", "ä", ".hidden", "a" } do
    testing.file("names/" .. name, "")
  end
  equal(fs.list "names", { ".hidden", "B", "a", "a.txt", "b", "ä" })
  testing.folder "nothing"
  equal(require("workers.json").encode(fs.list "nothing"), "[]")
  raises(function()
    fs.list "data/b.txt"
  end, "fs.list: data/b.txt is not a folder; use fs.read to read a file")
end)

test("readJson", function()
  local value = fs.readJson "data/a.json"
  equal(value.n, 9007199254740993)
  equal(value.none, require("workers").null)
  raises(function()
    fs.readJson "data/bad.json"
  end, "fs.readJson: data/bad.json is not JSON: ")
  local err = raises(function()
    fs.readJson "data/bad.json"
  end, "line 2, column 8")
  tap.truthy(err:find("fs_test.lua:", 1, true) == 1, "the error begins with the caller's position")
  raises(function()
    fs.readJson "data/empty"
  end, "data/empty is not JSON")
end)

test("errors name the path as it was given", function()
  raises(function()
    fs.read "data/none"
  end, "fs.read: cannot read data/none: No such file or directory")
  raises(function()
    fs.lines "./data/../none"
  end, "fs.lines: cannot read ./data/../none: No such file or directory")
  raises(function()
    fs.read "data"
  end, "fs.read: data is a folder; use fs.list to see what is in it")
  raises(function()
    fs.read "data/pipe"
  end, "fs.read: data/pipe is not a plain file")
end)

test("nothing outside what the host allows", function()
  for _, path in ipairs { "/etc/passwd", "../../etc/passwd", "data/out", "data/../../" } do
    raises(function()
      fs.read(path)
    end, path .. " may not be read: add it to permissions.read")
  end
end)

test("misuse", function()
  for name in pairs { read = 1, lines = 1, exists = 1, list = 1, readJson = 1 } do
    raises(function()
      fs[name]()
    end, "fs." .. name .. ": the path must be a non-empty string, got nothing")
    raises(function()
      fs[name] ""
    end, "the path must be a non-empty string, got an empty string")
    raises(function()
      fs[name] {}
    end, "the path must be a non-empty string, got table")
    raises(function()
      fs[name] "a\0b"
    end, "fs." .. name .. ": the path contains a NUL byte")
    raises(function()
      fs[name](("x/"):rep(5000))
    end, "fs." .. name .. ": ")
  end
end)

return tap.run
