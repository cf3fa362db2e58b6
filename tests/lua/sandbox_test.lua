local json = require "workers.json"
local tap = require "tap"
local testing = require "testing"
local test, equal, raises, truthy = tap.test, tap.equal, tap.raises, tap.truthy

test("what is blocked says what to use instead", function()
  for name, instead in pairs {
    dofile = "use require",
    loadfile = "use require",
    ["os.execute"] = "workers cannot start programs",
    ["os.exit"] = 'use error("…") to end a run',
    ["os.remove"] = "workers cannot change files; return changes instead",
    ["os.rename"] = "workers cannot change files; return changes instead",
    ["os.tmpname"] = "workers cannot change files; return changes instead",
    ["os.setlocale"] = "texts are UTF-8 everywhere",
    ["package.loadlib"] = "workers cannot load C code; use the workers.* modules",
    ["package.searchpath"] = "use require",
    ["string.dump"] = "binary chunks cannot be loaded",
    ["io.open"] = "use workers.fs.read(path)",
    ["io.lines"] = "use workers.fs.lines(path)",
    ["io.read"] = "workers have no standard input; use the argument of execute",
    ["io.write"] = "use print or workers.log",
    ["io.popen"] = "workers cannot start programs",
    ["io.close"] = "use workers.fs",
    ["io.input"] = "use workers.fs",
    ["io.output"] = "use workers.fs",
    ["io.tmpfile"] = "use workers.fs",
    ["io.type"] = "use workers.fs",
    ["debug.debug"] = "use workers.log",
    ["debug.gethook"] = "the runtime keeps the hook",
    ["debug.getinfo"] = "use debug.traceback()",
    ["debug.getlocal"] = "use debug.traceback()",
    ["debug.getmetatable"] = "use getmetatable",
    ["debug.getregistry"] = "the registry belongs to the runtime",
    ["debug.getupvalue"] = "use debug.traceback()",
    ["debug.getuservalue"] = "user values belong to the runtime",
    ["debug.sethook"] = "the runtime keeps the hook",
    ["debug.setlocal"] = "assign to the variable",
    ["debug.setmetatable"] = "use setmetatable",
    ["debug.setupvalue"] = "assign to the variable",
    ["debug.setuservalue"] = "user values belong to the runtime",
    ["debug.upvalueid"] = "use debug.traceback()",
    ["debug.upvaluejoin"] = "use debug.traceback()",
  } do
    local value = _G
    for part in name:gmatch "%a+" do
      value = value[part]
    end
    raises(value, name .. " is not available in a worker: " .. instead)
    raises(value, "not available", 1, {}, "x")
  end
end)

test("the globals are these and no others", function()
  local names = {}
  for name in pairs(_G) do
    names[#names + 1] = name
  end
  table.sort(names)
  equal(
    table.concat(names, " "),
    "_G _VERSION assert collectgarbage coroutine debug dofile error getmetatable io ipairs load loadfile math next os "
      .. "package pairs pcall print rawequal rawget rawlen rawset require select setmetatable string table tonumber "
      .. "tostring type utf8 xpcall"
  )
  local function functions_of(library)
    local list = {}
    for name, value in pairs(library) do
      local ok, err = pcall(value)
      if type(value) == "function" and (ok or not tostring(err):find("not available", 1, true)) then
        list[#list + 1] = name
      end
    end
    table.sort(list)
    return table.concat(list, " ")
  end
  equal(functions_of(os), "clock date difftime getenv time")
  equal(functions_of(debug), "traceback")
  equal(functions_of(io), "")
  equal(package.cpath, nil)
  equal(package.preload, nil)
  equal(package.searchers, nil)
end)

test("binary chunks are refused", function()
  local chunk, message = load "\27Lua"
  equal(chunk, nil)
  truthy(message:find("attempt to load a binary chunk (mode is 't')", 1, true), message)
  for _, mode in ipairs { "b", "bt" } do
    equal(load("\27LuaT\0", "x", mode), nil)
    equal(load(function() end, "x", mode)(), nil)
  end
  local parts = { "\27", "Lua" }
  equal(
    load(function()
      return table.remove(parts, 1)
    end),
    nil
  )
end)

test("load works for text, with names and environments", function()
  equal(load "return 1 + 1"(), 2)
  equal(load("return x", "chunk", "t", { x = 5 })(), 5)
  equal(pcall(load("return x.y", "=chunk", "t", nil)), false)
  local chunk, message = load("x =", "=name")
  equal(chunk, nil)
  equal(message, "name:1: unexpected symbol near <eof>")
  x_global = 5
  equal(load "return x_global"(), 5)
  x_global = nil
end)

test("setmetatable refuses __gc, and keeps Lua's own rules", function()
  raises(function()
    setmetatable({}, { __gc = function() end })
  end, "__gc is not available in a worker: use a local with <close>")
  raises(function()
    setmetatable({}, { __gc = false })
  end, "__gc is not available in a worker")
  local called = false
  local meta = {}
  setmetatable({}, meta)
  meta.__gc = function()
    called = true
  end
  testing.collect()
  equal(called, false)
  raises(function()
    setmetatable(setmetatable({}, { __metatable = 1 }), {})
  end, "cannot change a protected metatable")
  raises(function()
    setmetatable(1, {})
  end, "table expected")
  raises(function()
    setmetatable({})
  end, "nil or table expected")
  local t = {}
  equal(rawequal(setmetatable(t, nil), t), true)
end)

test("the metatable of strings belongs to the isolate", function()
  equal(("x"):rep(3), "xxx")
  equal(getmetatable("").__index, string)
end)

test("collectgarbage cannot tune or stop the collector", function()
  truthy(collectgarbage "count" > 0)
  equal(collectgarbage(), 0)
  equal(collectgarbage "collect", 0)
  equal(collectgarbage("step", 5), 0)
  for _, option in ipairs { "stop", "restart", "generational", "incremental", "setpause", "isrunning" } do
    raises(function()
      collectgarbage(option)
    end, 'collectgarbage("' .. option .. '") is not available in a worker: the runtime tunes the collector')
  end
end)

test("require finds the project's files, once", function()
  equal(require "fixtures.plain".value, 42)
  equal(rawequal(require "fixtures.plain", require "fixtures.plain"), true)
  equal(require("fixtures.plain").name, "fixtures.plain")
  equal(require "fixtures.folder", "from init.lua")
  equal(require "fixtures.nothing", true)
end)

test("require says what it looked for", function()
  local err = raises(function()
    require "no.such"
  end, "module 'no.such' not found: it is no built-in, and there is no no/such.lua, no/such/init.lua, src/no/such.lua")
  truthy(err:find("lua_modules/no/such.lua", 1, true), err)
  truthy(err:find("sandbox_test.lua:", 1, true) == 1, err)
  raises(function()
    require "workers.nothing"
  end, "module 'workers.nothing' not found")
  raises(function()
    require "workers/json"
  end, '"workers/json" is not a module name: use letters, digits, _ and - with dots for folders')
end)

test("require does not climb out of the project", function()
  for _, name in ipairs { "..secret", "/etc/passwd", "a..b", ".a", "a.", "", "a\\b", "a\0b", ("x"):rep(300), "../x" } do
    raises(function()
      require(name)
    end, "is not a module name")
  end
  raises(function()
    require {}
  end, "string expected")
end)

test("modules that require each other", function()
  raises(function()
    require "fixtures.circle_a"
  end, "module 'fixtures.circle_a' requires itself (through the modules it requires)")
  raises(function()
    require "fixtures.itself"
  end, "module 'fixtures.itself' requires itself")
end)

test("a module that fails can be required again, and its error names file and line", function()
  for _ = 1, 2 do
    raises(function()
      require "fixtures.fails"
    end, "fixtures/fails.lua:2: as it must")
    raises(function()
      require "fixtures.malformed"
    end, "fixtures/malformed.lua:1:")
  end
end)

test("a module cannot wait while it is loaded", function()
  raises(function()
    require "fixtures.waits"
  end, "workers.sleep cannot be used here: it waits, and this is a callback of sort, gsub, a metamethod or a module being loaded")
end)

test("tracebacks name the script's lines and leave the machinery out", function()
  local function inner()
    return (debug.traceback "message")
  end
  local text = inner()
  truthy(text:find "^message\n", text)
  truthy(text:find("sandbox_test.lua:", 1, true), text)
  truthy(not text:find("[C]", 1, true), text)
  equal(debug.traceback(5 == 5), true)
  local co = coroutine.create(function()
    coroutine.yield()
  end)
  coroutine.resume(co)
  truthy(debug.traceback(co):find("sandbox_test.lua:", 1, true))
  truthy(debug.traceback(co, "x"):find "^x\n")
end)

test("light userdata, null and module tables cannot be misused", function()
  local workers = require "workers"
  equal(type(workers.null), "userdata")
  equal(getmetatable(workers.null), nil)
  raises(function()
    return workers.nothing
  end, 'the module workers has no "nothing"')
  equal(json.encode(workers.null), "null")
end)

return tap.run
