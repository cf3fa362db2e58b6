-- What luacheck knows of this project. No globals but Lua's own.
std = "lua54"
max_line_length = false
exclude_files = { "build/", "node_modules/", "tests/lua/fixtures/", "tests/lint/bad/", "**/.workers/" }
-- A function that a script gives to the runtime has its parameters for the reader: function(input, ctx).
unused_args = false

-- Tests leave loops early, hold values only to keep memory busy, and set globals to see who else sees them.
files["tests/lua"] = { ignore = { "111", "241", "311", "331", "512" } }
-- wrk calls functions by their names, and is told by a table of its own.
files["tests/bench/scripts/wrk.lua"] = { globals = { "wrk", "init", "delay", "done" } }
-- Which have something to ignore, and globals of their own.
files["tests/lint/good/ignored_on_purpose.lua"] = { ignore = { "211" } }
files["tests/lint/good/own_globals.lua"] = { ignore = { "111" } }
-- Which asks for what other versions of Lua have, and adds to what this one has.
files["tests/lint/good/other_versions.lua"] = { ignore = { "113", "143" } }
