local aws = require "workers.aws"
local tap = require "tap"
local time = require "workers.time"
local test, equal, raises, truthy = tap.test, tap.equal, tap.raises, tap.truthy

-- The credentials, the moment and the service of AWS's "Signature Version 4 test suite".
local MOMENT = time.epochMs "2015-08-30T12:36:00Z"
local SUITE = {
  service = "service",
  region = "us-east-1",
  accessKey = "AKIDEXAMPLE",
  secretKey = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
  time = MOMENT,
}

local function sign(changes, base)
  local options = {}
  for name, value in next, base or SUITE do
    options[name] = value
  end
  for name, value in next, changes do
    options[name] = value
  end
  return aws.sign(options)
end

local function parts(headers)
  local names, signature = headers.Authorization:match "SignedHeaders=([^,]+), Signature=(%x+)$"
  return names, signature
end

test("the published suite", function()
  -- name, method, url, headers, body, signature
  for _, case in ipairs {
    { "get-vanilla", "GET", "/", {}, nil, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
    { "get-vanilla-query", "GET", "/?", {}, nil, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
    {
      "get-vanilla-query-order-key-case",
      "GET",
      "/?Param2=value2&Param1=value1",
      {},
      nil,
      "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    },
    { "get-relative", "GET", "/example/..", {}, nil, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
    { "get-slash", "GET", "//", {}, nil, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
    { "get-slash-dot-slash", "GET", "/./", {}, nil, "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31" },
    -- not of the suite: what botocore 1.43 gives for a path that is encoded already
    {
      "encoded twice",
      "GET",
      "/example%20space/a+b",
      {},
      nil,
      "c2899e6000634b473f0b2b7f5563a1407c702ce9f758099126a94699e44b3be3",
    },
    { "post-vanilla", "POST", "/", {}, nil, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b" },
    {
      "post-x-www-form-urlencoded",
      "POST",
      "/",
      { ["Content-Type"] = "application/x-www-form-urlencoded" },
      "Param1=value1",
      "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    },
  } do
    local name, method, path, headers, body, expected = table.unpack(case, 1, 6)
    local signed = sign { method = method, url = "https://example.amazonaws.com" .. path, headers = headers, body = body }
    local _, signature = parts(signed)
    equal(signature, expected, name)
  end
end)

test("the headers to send", function()
  local signed = sign { url = "https://example.amazonaws.com/" }
  equal(signed, {
    ["X-Amz-Date"] = "20150830T123600Z",
    Authorization = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
      .. "SignedHeaders=host;x-amz-date, Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
  })
  signed = sign {
    url = "https://bucket.s3.amazonaws.com/key",
    service = "s3",
    sessionToken = "token/+=",
    headers = { ["User-Agent"] = "x", Range = "bytes=0-9", ["X-Amz-Meta-N"] = 3.0 },
  }
  equal(parts(signed), "host;range;x-amz-content-sha256;x-amz-date;x-amz-meta-n;x-amz-security-token")
  equal(signed["User-Agent"], "x")
  equal(signed.Range, "bytes=0-9")
  equal(signed["X-Amz-Security-Token"], "token/+=")
  equal(signed["X-Amz-Content-Sha256"], "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
  signed = sign { url = "https://b.s3.amazonaws.com/", service = "s3", method = "PUT", body = "x", unsignedPayload = true }
  equal(signed["X-Amz-Content-Sha256"], "UNSIGNED-PAYLOAD")
  truthy(sign({ url = "https://a/" })["X-Amz-Date"]:find "^20", "now, without time")
end)

-- AWS's "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)" of the S3 API reference
test("the examples of S3", function()
  local base = {
    service = "s3",
    region = "us-east-1",
    accessKey = "AKIAIOSFODNN7EXAMPLE",
    secretKey = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    time = time.epochMs "2013-05-24T00:00:00Z",
  }
  for _, case in ipairs {
    {
      { url = "https://examplebucket.s3.amazonaws.com/test.txt", headers = { Range = "bytes=0-9" } },
      "host;range;x-amz-content-sha256;x-amz-date",
      "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    },
    {
      {
        method = "PUT",
        url = "https://examplebucket.s3.amazonaws.com/test$file.text",
        headers = { Date = "Fri, 24 May 2013 00:00:00 GMT", ["x-amz-storage-class"] = "REDUCED_REDUNDANCY" },
        body = "Welcome to Amazon S3.",
      },
      "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
      "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    },
    {
      { url = "https://examplebucket.s3.amazonaws.com/?lifecycle" },
      "host;x-amz-content-sha256;x-amz-date",
      "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    },
    {
      { url = "https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J" },
      "host;x-amz-content-sha256;x-amz-date",
      "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    },
  } do
    local names, signature = parts(sign(case[1], base))
    equal(names, case[2])
    equal(signature, case[3], case[1].url)
  end
end)

test("texts that mean the same are signed the same", function()
  local function same(a, b, service)
    local function signature(url)
      return select(2, parts(sign { url = url, service = service }))
    end
    equal(signature(a), signature(b), a .. " and " .. b)
  end
  same("https://Example.com:443/a", "https://example.com/a")
  same("http://example.com:80", "http://example.com/")
  same("https://example.com/a?x=1#part", "https://example.com/a?x=1")
  same("https://example.com/?b=2&a=1&b=1", "https://example.com/?a=1&b=1&b=2")
  same("https://example.com/?a=b+c&d", "https://example.com/?d=&a=b%20c")
  same("https://example.com/?a=%7e%41/", "https://example.com/?a=~A%2F")
  same("https://example.com/a//b/./c/../d/", "https://example.com/a/b/d/")
  same("https://example.com/a/b/..", "https://example.com/a/")
  same("https://example.com/a//../b", "https://example.com/a/b")
  same("https://example.com/../%2e%2E", "https://example.com/")
  same('https://example.com/ä"?b=ö', "https://example.com/%C3%A4%22?b=%C3%B6")
  same("https://s3.test/a/../ä", "https://s3.test/%C3%A4", "s3")
  same("https://s3.test/a+b%7ec%2fd%", "https://s3.test/a%2Bb~c%2Fd%25", "s3")
  same("https://s3.test/%ag%", "https://s3.test/%25ag%25", "s3")
  local one = sign { url = "https://example.com/", headers = { ["My-Header"] = { " a  b ", "c" }, ["Other"] = "\td\n e" } }
  local other = sign { url = "https://example.com/", headers = { ["my-header"] = "a b,c", other = "d e" } }
  equal(one.Authorization, other.Authorization)
end)

test("misuse", function()
  local function fails(text, changes)
    local err = raises(sign, "aws.sign: " .. text, changes)
    equal(err:find(SUITE.secretKey, 1, true), nil)
  end
  raises(aws.sign, "aws.sign: expected a table of options, got nothing")
  raises(function()
    aws.sign { url = "https://a/", region = "r", accessKey = "a", secretKey = "s" }
  end, 'aws_test.lua:172: aws.sign: option "service" is missing')
  fails('option "secretKey" is missing', { url = "https://a/", secretKey = "" })
  fails('option "secretKey" must be a string, got table', { url = "https://a/", secretKey = {} })
  fails('unknown option "uri"', { uri = "https://a/" })
  fails('unknown option "sesionToken"; did you mean "sessionToken"?', { url = "https://a/", sesionToken = "x" })
  local whole = 'option "url" must be a whole URL that begins with https:// or http://'
  for _, text in ipairs { "example.com", "/a", "ftp://example.com", "https://", "https://a:99999/", "https://bü/" } do
    fails(whole, { url = text })
  end
  fails('option "url" must not have a user name in it', { url = "https://user:secret@host/" })
  fails('option "url" has byte 0x20 at position 11; percent-encode it', { url = "https://a/ " })
  fails('option "url" has byte 0x00 at position 10', { url = "https://a\0/" })
  fails('option "region" has a character other than letters', { url = "https://a/", region = "eu/west" })
  fails('option "accessKey" has a character', { url = "https://a/", accessKey = "a,b" })
  fails('option "sessionToken" has a blank', { url = "https://a/", sessionToken = "a\nb" })
  fails('option "method" must be a name', { url = "https://a/", method = "GET /" })
  fails('option "time": Unix milliseconds, as an integer, expected, got 1.5', { url = "https://a/", time = 1.5 })
  fails('option "time": Unix milliseconds', { url = "https://a/", time = -1 })
  fails('option "time": Unix milliseconds', { url = "https://a/", time = math.maxinteger })
  fails('option "headers": "a b" is no name of a header', { url = "https://a/", headers = { ["a b"] = "x" } })
  fails('option "headers": 1 is no name of a header', { url = "https://a/", headers = { "x" } })
  fails('option "headers": leave out "x-amz-date"', { url = "https://a/", headers = { ["x-amz-date"] = "x" } })
  fails('option "headers" has "range" twice', { url = "https://a/", headers = { Range = "x", range = "x" } })
  fails('option "headers": "A" must be a string, a whole number or a list of them', { url = "https://a/", headers = { A = 1.5 } })
  fails('option "headers": "A" must be', { url = "https://a/", headers = { A = { true } } })
end)

return tap.run
