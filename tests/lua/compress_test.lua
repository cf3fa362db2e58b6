local compress = require "workers.compress"
local crypto = require "workers.crypto"
local tap = require "tap"
local testing = require "testing"
local test, equal, raises, truthy = tap.test, tap.equal, tap.raises, tap.truthy

local opposite = { gzip = "gunzip", deflate = "inflate", deflateRaw = "inflateRaw" }

local function all_bytes()
  local bytes = {}
  for i = 0, 255 do
    bytes[#bytes + 1] = string.char(i)
  end
  return table.concat(bytes)
end

test("what goes in comes out", function()
  local texts = { "", "a", "\0", all_bytes(), ("abc"):rep(500000), crypto.randomBytes(65536):rep(3) }
  for pack, unpack in pairs(opposite) do
    for i, text in ipairs(texts) do
      equal(compress[unpack](compress[pack](text)) == text, true, pack .. " " .. i)
      for level = 0, 9, 3 do
        equal(compress[unpack](compress[pack](text, level)) == text, true, pack .. " " .. i .. " level " .. level)
      end
    end
  end
  truthy(#compress.gzip(texts[5]) < 5000, "it is smaller")
  truthy(#compress.gzip(texts[5], 0) > 1500000, "level 0 stores")
end)

test("the formats are those of their RFCs, and the same bytes every time", function()
  equal(crypto.hex(compress.deflateRaw "abc"), "4b4c4a0600")
  equal(crypto.hex(compress.deflate "abc"), "789c4b4c4a0600024d0127")
  equal(crypto.hex(compress.gzip "abc"), "1f8b08000000000000034b4c4a0600c241243503000000")
  equal(compress.gunzip(crypto.fromHex "1f8b08000000000000034b4c4a0600c241243503000000"), "abc")
end)

test("the output is bounded", function()
  local bomb = compress.gzip(("\0"):rep(1000000))
  truthy(#bomb < 1100, "a thousand times smaller")
  equal(#compress.gunzip(bomb, { max = 1000000 }), 1000000)
  equal(#compress.gunzip(bomb, { max = "1MB" }), 1000000)
  equal(#compress.gunzip(bomb, {}), 1000000)
  raises(function()
    compress.gunzip(bomb, { max = 999999 })
  end, "compress.gunzip: the output is larger than 999999 bytes; give { max = } to allow more")
  raises(function()
    compress.inflate(compress.deflate "ab", { max = 1 })
  end, "compress.inflate: the output is larger than 1 bytes")
  equal(compress.inflateRaw(compress.deflateRaw "", { max = 0 }), "")
  raises(function()
    compress.gunzip(bomb:rep(10000))
  end, "compress.gunzip: the output is larger than 67108864 bytes")
end)

test("memory is back after errors", function()
  local bomb = compress.gzip(("\0"):rep(10000000))
  local before = testing.collect()
  for _ = 1, 50 do
    pcall(compress.gunzip, bomb, { max = 9999999 })
    pcall(compress.gunzip, bomb:sub(1, -2))
  end
  truthy(testing.collect() - before < 100000, "memory is back")
end)

test("members one after the other, zero bytes behind them, and nothing else", function()
  local members = compress.gzip "one " .. compress.gzip "" .. compress.gzip "two"
  equal(compress.gunzip(members), "one two")
  equal(compress.gunzip(members .. ("\0"):rep(512)), "one two")
  raises(function()
    compress.gunzip(members .. "garbage")
  end, "compress.gunzip: the compressed data ends at byte 67 of 74; what follows is no part of it")
  for pack, unpack in pairs { deflate = "inflate", deflateRaw = "inflateRaw" } do
    for _, rest in ipairs { "\0", "x", compress[pack] "y" } do
      raises(function()
        compress[unpack](compress[pack] "abc" .. rest)
      end, "what follows is no part of it")
    end
  end
end)

test("data that is damaged, cut off or something else", function()
  local good = compress.gzip(("abc"):rep(1000) .. all_bytes())
  raises(compress.gunzip, "compress.gunzip: the compressed data is cut off after " .. #good - 1 .. " bytes", good:sub(1, -2))
  raises(compress.gunzip, "compress.gunzip: the compressed data is cut off after 5 bytes", good:sub(1, 5))
  raises(compress.gunzip, "compress.gunzip: the compressed data is empty", "")
  raises(compress.gunzip, "compress.gunzip: the data is not in gzip format", "plain text")
  raises(compress.inflate, "compress.inflate: the data is not in zlib format", "plain text")
  raises(compress.gunzip, "incorrect data check", good:sub(1, -9) .. "\0\0\0\0" .. good:sub(-4))
  raises(compress.gunzip, "incorrect length check", good:sub(1, -5) .. "\1\1\1\1")
  raises(compress.inflateRaw, "compress.inflateRaw: the compressed data is damaged before byte ", "\xff\xff\xff")
  raises(compress.inflate, "needs a dictionary", "\x78\xbb\0\0\0\0abc")
  local err = raises(function()
    compress.gunzip "x"
  end, "compress.gunzip: the compressed data is cut off after 1 bytes")
  truthy(err:find "^compress_test.lua:%d+: ", err)
end)

test("misuse", function()
  for name in pairs(compress) do
    for _, wrong in ipairs { 1, {}, true } do
      raises(compress[name], ("compress.%s: argument 1 (data): string expected, got %s"):format(name, type(wrong)), wrong)
    end
    raises(compress[name], ("compress.%s: argument 1 (data): string expected, got no value"):format(name))
  end
  for _, wrong in ipairs { -1, 10, 1.5, "6", {} } do
    raises(compress.gzip, "compress.gzip: argument 2 (level): integer from 0 to 9 expected, got ", "a", wrong)
  end
  equal(compress.gzip("a", 6.0), compress.gzip "a")
  local good = compress.gzip "a"
  raises(compress.gunzip, "compress.gunzip: expected a table of options, got number", good, 5)
  raises(compress.gunzip, 'compress.gunzip: unknown option "maximum"; the options are: max', good, { maximum = 1 })
  raises(compress.gunzip, 'compress.gunzip: option "max" must be a whole number of bytes or a text such as "64MiB", got a negative number',
    good, { max = -1 })
  raises(compress.gunzip, 'option "max" must be a whole number of bytes or a text such as "64MiB", got boolean', good, { max = true })
  raises(compress.gunzip, 'compress.gunzip: option "max": ', good, { max = "much" })
end)

return tap.run
