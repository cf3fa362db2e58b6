-- Issues of a GitHub repository, page by page along the Link headers.
local env = require "workers.env"
local http = require "workers.http"
local workers = require "workers"
local Schema, Builder = workers.schema, workers.builder

local worker = workers.new()

local issues = worker:database("issues", {
  type = "managed",
  initialTitle = "Issues",
  primaryKeyProperty = "Issue ID",
  schema = {
    properties = {
      Title = Schema.title(),
      ["Issue ID"] = Schema.number(),
      Number = Schema.number(),
      State = Schema.select { { name = "open" }, { name = "closed" } },
      Author = Schema.richText(),
      URL = Schema.url(),
      Locked = Schema.checkbox(),
      Comments = Schema.number(),
      Labels = Schema.multiSelect { { name = "bug" } },
      ["Created At"] = Schema.date(),
    },
  },
})

-- The address behind rel="next", nil on the last page.
local function next_page(response)
  for address, rel in (response.headers.link or ""):gmatch '<([^>]+)>;%s*rel="([^"]+)"' do
    if rel == "next" then
      return address
    end
  end
end

worker:sync("issuesSync", {
  database = issues,
  schedule = "manual",
  execute = function(state)
    local address = state and state.next or env.require "GITHUB_API" .. "/repos/octokit-fixture-org/paginate-issues/issues?per_page=3"
    if state and address:find("page=" .. env.get("FAIL_BEFORE_PAGE", "none"), 1, true) then
      error "the network is down"
    end
    local response = http
      .get(address, {
        headers = { Accept = "application/vnd.github.v3+json", Authorization = "token " .. env.require "GITHUB_TOKEN" },
      })
      :raise()
    local changes = {}
    for i, issue in ipairs(response:json()) do
      local labels = {}
      for k, label in ipairs(issue.labels) do
        labels[k] = label.name
      end
      changes[i] = {
        type = "upsert",
        key = tostring(issue.id),
        upstreamUpdatedAt = issue.updated_at,
        properties = {
          Title = issue.title,
          Number = issue.number,
          State = issue.state,
          Author = issue.user.login,
          -- The recorded server puts its own address in front.
          URL = (issue.html_url:gsub("^.*/octokit%-fixture%-org", "https://github.com/octokit-fixture-org")),
          Locked = issue.locked,
          Comments = issue.comments,
          Labels = labels,
          ["Created At"] = Builder.dateTime(issue.created_at),
        },
        pageContentMarkdown = issue.body,
      }
    end
    local next = next_page(response)
    return { changes = changes, hasMore = next ~= nil, nextState = next and { next = next } or nil }
  end,
})

return worker
