-- Runs the scaffolder with the stock interpreter and a file system in memory.
--
--     lua5.4 tests/lua/scaffold_driver.lua      (from the top of the sources)

package.path = "scripts/?.lua;" .. package.path
local init = dofile "scripts/init.lua"
local templates = require "utils.templates"

local NAMES = {
  "workers.yaml",
  "src/main.lua",
  "README.md",
  "_AGENTS.md",
  "_gitignore",
  ".luarc.json",
  "tests/main_test.lua",
  "_template",
  "_agents/INSTRUCTIONS.md",
  "_claude/skills._link",
  ".examples/job.lua",
  ".examples/tool.lua",
}
local passed, failed = 0, 0

local function equal(got, expected, what)
  if got == expected then
    passed = passed + 1
  else
    failed = failed + 1
    print(("not ok - %s\n  expected %q\n  got      %q"):format(what, tostring(expected), tostring(got)))
  end
end

local function read_templates()
  local files = { ["views/index.html"] = "{{other}}" }
  for _, name in ipairs(NAMES) do
    local file = assert(io.open("templates/worker/" .. name, "rb"))
    files["worker/" .. name] = file:read "a"
    file:close()
  end
  return files
end

-- entries: path -> text, or true for a folder.
local function new_host(cwd, entries, fail_at)
  local host = { files = read_templates(), entries = entries or {}, links = {}, printed = {}, calls = 0 }
  local function fails()
    host.calls = host.calls + 1
    return host.calls == fail_at
  end
  function host.cwd()
    return cwd
  end
  function host.exists(path)
    return host.entries[path] ~= nil
  end
  function host.is_folder(path)
    return host.entries[path] == true
  end
  function host.mkdir(path)
    if fails() or host.entries[path] ~= nil then
      return nil, "cannot make the folder " .. path .. ": Permission denied"
    end
    host.entries[path] = true
    return true
  end
  function host.write(path, text)
    local folder = path:match "^(.*)/[^/]*$"
    if fails() or (folder and folder ~= "" and host.entries[folder] ~= true) then
      return nil, "cannot write " .. path .. ": No space left on device"
    end
    host.entries[path] = text
    return true
  end
  function host.link(path, target)
    local linked, why = host.write(path, target)
    host.links[path] = linked and target
    return linked, why
  end
  function host.list()
    return nil
  end
  function host.run() -- no git, no tar
    return false
  end
  function host.confirm(question)
    host.asked = question
    return host.answer
  end
  host.version = "1.2.3"
  function host.print(text)
    host.printed[#host.printed + 1] = text
  end
  return host
end

local function paths(host)
  local list = {}
  for path in pairs(host.entries) do
    list[#list + 1] = path
  end
  table.sort(list)
  return table.concat(list, " ")
end

-- A new folder.
local host = new_host "/home/me"
local made, message = init(host, { directory = "demo" })
equal(made, true, "made")
equal(message, nil, "no message")
equal(
  paths(host),
  "demo demo/.agents demo/.agents/INSTRUCTIONS.md demo/.claude demo/.claude/skills demo/.examples demo/.examples/job.lua "
    .. "demo/.examples/tool.lua demo/.gitignore demo/.luarc.json demo/AGENTS.md demo/README.md demo/src demo/src/main.lua "
    .. "demo/tests demo/tests/main_test.lua demo/workers.yaml",
  "files"
)
equal(host.links["demo/.claude/skills"], "../.agents/skills", "the link leads to the skills")
equal(next(host.links, next(host.links)), nil, "one link")
equal(table.concat(host.printed, "\n"), [[
Made the worker demo:
  demo/.agents/INSTRUCTIONS.md
  demo/.claude/skills
  demo/.examples/ (2 files)
  demo/.gitignore
  demo/.luarc.json
  demo/AGENTS.md
  demo/README.md
  demo/src/main.lua
  demo/tests/main_test.lua
  demo/workers.yaml

Next:
  cd demo
  workers exec sayHello -d '{"name":"World"}'
  workers run src/main.lua]], "report")
equal(host.entries["demo/workers.yaml"]:match 'name: "([^"]*)"', "demo", "name filled in")
equal(host.entries["demo/README.md"]:match "^# ([^\n]*)", "Demo", "title filled in")
equal(host.entries["demo/.gitignore"], ".workers/\n.env\n.env.*\n", ".gitignore")
for path, text in pairs(host.entries) do
  equal(text == true or text:find "{{%w+}}", text == true or nil, "no placeholder left in " .. path)
end
equal(load(host.entries["demo/src/main.lua"]) ~= nil, true, "the script compiles")

-- The current folder, and paths that are not a plain name.
local function made_name(cwd, args, printed_cd)
  local h = new_host(cwd)
  local ok, why = init(h, args)
  if not ok then
    return nil, why
  end
  for path, text in pairs(h.entries) do
    if path:match "workers.yaml$" then
      local said = table.concat(h.printed, "\n")
      equal(said:match "\nNext:\n  cd ([^\n]*)", printed_cd, "cd for " .. tostring(args.directory))
      return text:match 'name: "([^"]*)"', path
    end
  end
end
local function expect_name(cwd, args, name, path, cd)
  local got_name, got_path = made_name(cwd, args, cd)
  equal(got_name, name, "name for " .. cwd .. " " .. tostring(args.directory))
  equal(got_path, path, "path for " .. cwd .. " " .. tostring(args.directory))
end
expect_name("/home/me/My Demo!", {}, "my-demo", "workers.yaml")
expect_name("/home/me/My Demo!", { directory = "." }, "my-demo", "workers.yaml")
expect_name("/home/me/My Demo!", { directory = "./" }, "my-demo", "workers.yaml")
expect_name("/home/me", { directory = "My Demo!" }, "my-demo", "My Demo!/workers.yaml", "'My Demo!'")
expect_name("/home/me", { directory = "it's/" }, "it-s", "it's/workers.yaml", "'it'\\''s'")
expect_name("/home/me", { directory = "a//b/" }, "b", "a/b/workers.yaml", "a/b")
expect_name("/home/me", { directory = "./a" }, "a", "a/workers.yaml", "a")
expect_name("/home/me", { directory = "../you" }, "you", "../you/workers.yaml", "../you")
expect_name("/home/me", { directory = ".." }, "home", "../workers.yaml", "..")
expect_name("/home/me", { directory = "/srv/x" }, "x", "/srv/x/workers.yaml", "/srv/x")
expect_name("/home/me", { directory = "-x" }, "x", "-x/workers.yaml", "./-x")
expect_name("/", { directory = ".", name = "A.b_c-1" }, "A.b_c-1", "workers.yaml")
expect_name("/", { directory = ("x"):rep(150) }, ("x"):rep(100), ("x"):rep(150) .. "/workers.yaml", ("x"):rep(150))

local function expect_refusal(cwd, args, entries, expected, fail_at)
  local h = new_host(cwd, entries, fail_at)
  local before = paths(h)
  local ok, why = init(h, args)
  equal(ok, nil, "refused: " .. expected)
  equal(why, expected, "message")
  equal(#h.printed, 0, "nothing printed")
  if not fail_at then
    equal(paths(h), before, "nothing written")
  end
end
expect_refusal("/", {}, nil, 'cannot make a worker\'s name from the folder "/": give one with --name')
expect_refusal("/日本", {}, nil, 'cannot make a worker\'s name from the folder "日本": give one with --name')
expect_refusal("/x", { name = "a b" }, nil,
  "\"a b\" is not a worker's name: use 1 to 100 letters, digits, '.', '_' and '-'")
expect_refusal("/x", { name = "" }, nil, "\"\" is not a worker's name: use 1 to 100 letters, digits, '.', '_' and '-'")
expect_refusal("/x", { directory = "" }, nil, "the folder's name is empty")
expect_refusal("/x", { directory = "d" }, { d = true, ["d/README.md"] = "mine" },
  "1 file exists already; nothing was written. --force would overwrite:\n  d/README.md")
expect_refusal("/x", {}, { ["README.md"] = "mine", [".gitignore"] = "" },
  "2 files exist already; nothing was written. --force would overwrite:\n  .gitignore\n  README.md")
expect_refusal("/x", { directory = "d" }, nil, "cannot make the folder d: Permission denied", 1)
expect_refusal("/x", { directory = "d" }, nil, "cannot make the folder d/.agents: Permission denied", 2)
expect_refusal("/x", { directory = "d" }, nil, "cannot write d/.agents/INSTRUCTIONS.md: No space left on device", 3)

expect_refusal("/x", { directory = "d", force = true }, { d = "a file" }, "d is no folder; nothing was written")
expect_refusal("/x", { directory = "d", force = true }, { d = true, ["d/README.md"] = true },
  "d/README.md is a folder; nothing was written")

-- Other files are no obstacle, and --force overwrites.
host = new_host("/x", { d = true, ["d/other.txt"] = "mine", ["d/README.md"] = "mine" })
equal(init(host, { directory = "d", force = true }), true, "force")
equal(host.entries["d/README.md"]:sub(1, 3), "# D", "overwritten")
equal(host.entries["d/other.txt"], "mine", "left alone")

-- Who sits there is asked, and nothing is written before the answer.
for _, answer in ipairs { false, true } do
  host = new_host("/x", { d = true, ["d/README.md"] = "mine" })
  host.answer = answer
  local done, why = init(host, { directory = "d" })
  equal(host.asked, "1 file exists already:\n  d/README.md\nOverwrite?", "the question")
  equal(done, answer or nil, "answered")
  equal(why, not answer and "nothing was written" or nil, "what is said")
  equal(host.entries["d/README.md"] == "mine", not answer, "overwritten when told to")
  equal(host.entries["d/workers.yaml"] ~= nil, answer, "written when told to")
end

-- Placeholders.
equal(
  select(2, templates.fill("a {{nmae}}", { name = "x" })),
  "the template has a placeholder {{nmae}}, which nothing fills",
  "unknown placeholder"
)
equal(templates.fill("{{name}} {{ name }} {{ {} }} {{name}}", { name = "%1" }), "%1 {{ name }} {{ {} }} %1", "filled")
host = new_host "/x"
host.files = {}
equal(select(2, init(host, {})), 'there is no template "worker": workers new --list shows them', "no templates")

-- Links, and names that mean something.
local function expand(path, text)
  local list, why = templates.expand({ [path] = text }, "t", {})
  return list and list[#list], why
end
equal(expand("t/_agents/_claude/a", "").path, ".agents/.claude/a", "folders are renamed")
equal(expand("t/x_agents/_agents.md", "").path, "x_agents/_agents.md", "others are not")
equal(expand("t/a/b._link", "../c\n").text, "../c", "a link's target")
equal(expand("t/a/b._link", "../c\n").link, true, "a link")
equal(expand("t/a/b.link", "../../c").link, nil, "no link")
for _, target in ipairs { "/etc", "../..", "../../project2", "x/../../.." } do
  equal(
    select(2, expand("t/a/b._link", target)),
    ("t/a/b: the link leads out of the project, to %q"):format(target),
    "a link out of the project"
  )
end

-- What templates have from the usual one.
local function places(template, own)
  local files = {
    ["worker/_template"] = "The usual one",
    ["worker/_gitignore"] = "usual",
    ["worker/_AGENTS.md"] = "usual",
    ["worker/_agents/skills/sync.md"] = "usual",
    ["worker/_claude/skills._link"] = "../.agents/skills",
    ["worker/_agents.md"] = "of the usual one alone",
    ["worker/README.md"] = "of the usual one alone",
  }
  for name, text in pairs(own) do
    files[template .. "/" .. name] = text
  end
  local list = {}
  for i, file in ipairs(templates.expand(files, template, {})) do
    list[i] = file.path .. "=" .. file.text
  end
  return table.concat(list, " ")
end
equal(
  places("jobs", { ["src/main.lua"] = "own" }),
  ".agents/skills/sync.md=usual .claude/skills=../.agents/skills .gitignore=usual AGENTS.md=usual src/main.lua=own",
  "shared files and folders"
)
equal(
  places("jobs", { ["_agents/skills/sync.md"] = "own", ["_agents/more.md"] = "own", ["_gitignore"] = "own" }),
  ".agents/more.md=own .agents/skills/sync.md=own .claude/skills=../.agents/skills .gitignore=own AGENTS.md=usual",
  "a template's own files stay"
)
equal(places(templates.OWN, { a = "own" }), ".gitignore=usual a=own", "a person's own")
equal(places(templates.OWN, { [".gitignore"] = "own" }), ".gitignore=own", "a file that has its place's name")
equal(
  select(2, templates.expand({ ["t/AGENTS.md"] = "", ["t/_AGENTS.md"] = "" }, "t", {})),
  "t/AGENTS.md and _AGENTS.md both become AGENTS.md",
  "two files for one place"
)

equal(templates.title_of "my-demo_2.x", "My Demo 2 X", "title")
equal(templates.title_of "---", "---", "title without words")

print(("%d passed, %d failed"):format(passed, failed))
os.exit(failed == 0)
