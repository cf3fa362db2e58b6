local env = require "workers.env"
local tap = require "tap"
local testing = require "testing"
local test, equal, raises = tap.test, tap.equal, tap.raises

test("get, require and the index give the value", function()
  testing.setenv("TOKEN", "abc")
  equal(env.get "TOKEN", "abc")
  equal(env.require "TOKEN", "abc")
  equal(env.TOKEN, "abc")
  equal(os.getenv "TOKEN", "abc")
end)

test("a missing variable is nil, or the default", function()
  equal(env.get "MISSING", nil)
  equal(env.MISSING, nil)
  equal(env.get("MISSING", "x"), "x")
  equal(env.get("MISSING", 5), 5)
  equal(env.get("TOK\0EN", "none"), "none")
  equal(os.getenv "MISSING", nil)
end)

test("an empty variable is a value, but not for require", function()
  testing.setenv("EMPTY", "")
  equal(env.get("EMPTY", "x"), "")
  equal(env.EMPTY, "")
  raises(function()
    env.require "EMPTY"
  end, "the environment variable EMPTY is empty: set it with")
end)

test("require names the variable, the remedy and the caller's line", function()
  raises(function()
    env.require "API_KEY"
  end, "env_test.lua:34: the environment variable API_KEY is not set: set it with `workers env set API_KEY=…`, or in .env")
end)

test("what is not set can be told from other errors", function()
  local ok, err = pcall(env.require, "API_KEY")
  equal({ ok, err.name, err.code }, { false, "ConfigurationError", "not_set" })
end)

test("misuse", function()
  raises(function()
    env.get()
  end, "env.get: the name must be a string, got nothing")
  raises(function()
    env.require {}
  end, "env.require: the name must be a string, got table")
  raises(function()
    return env[1]
  end, "env: the name must be a string, got number")
  raises(function()
    env.TOKEN = "other"
  end, "env.TOKEN cannot be set by a script: use `workers env set TOKEN=…`, or .env")
  equal(env.TOKEN, "abc")
end)

return tap.run
