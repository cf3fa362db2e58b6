-- One function per style of paging: each fetches one page from a service and turns it into what execute returns. Must
-- not lose an item silently: what cannot be read safely raises, what may have moved is logged.
--
-- States are small JSON and plain to read; the comment of each function says what is in them. Moments are Unix
-- milliseconds, lengths of time are seconds.

local json = require "workers.json"
local links = require "workers.paginate.links"
local log = require "workers.log"
local options = require "workers.options"
local shared = require "workers.paginate.shared"
local suggest = require "workers.suggest"
local timed = require "workers.paginate.timed"
local url = require "workers.url"

local FETCH, CHANGE, PAGES, KEY = shared.FETCH, shared.CHANGE, shared.PAGES, shared.KEY
local fail, read, read_key, result = shared.fail, shared.read, shared.read_key, shared.result
local read_state, count_page, check_items = shared.read_state, shared.count_page, shared.check_items
local read_more, read_cursor, check_cursor = shared.read_more, shared.read_cursor, shared.check_cursor
local count_repeats = shared.count_repeats
local add_changes, show = shared.add_changes, suggest.show

---@class workers.paginate.Result
---@field changes table[]
---@field hasMore boolean
---@field nextState? table

---@class workers.paginate
local paginate = {}

-- ---- lists ----

local PAGE = { FETCH, CHANGE, KEY, PAGES, { "first", "natural" }, { "reread", "boolean" } }

---A list in numbered pages. State: page, the next one; last, the key of the last item; pages, how many were fetched;
---repeats, how many pages in a row ended with that item.
---
---fetch(page) returns the items and whether there is more; without the latter, pages are fetched until one is empty. A
---list that grows at its beginning repeats items, which is harmless and logged. One from which items vanish while it is
---read moves others to pages that were read before: reread = true reads the page before again each time, which finds
---them unless more than a page of items vanishes, or as many are added, in that moment. offset has no such gaps.
---@param state table?
---@param given {fetch: (fun(page: integer): any[], boolean?), change: (fun(item: any): table?), first?: integer, reread?: boolean, key?: string|(fun(item: any): any), maxPages?: integer}
---@return workers.paginate.Result
function paginate.page(state, given)
  options.check("paginate.page", given, PAGE)
  state = read_state("paginate.page", state, { "page", "last", "repeats", "pages" })
  local pages, first = count_page("paginate.page", state, given), given.first or 1
  local page = state.page or first
  local items, more = given.fetch(page)
  check_items("paginate.page", items)
  local changes = add_changes("paginate.page", json.array {}, items, given.change)
  if given.reread and page > first then
    local again = given.fetch(page - 1)
    check_items("paginate.page", again)
    add_changes("paginate.page", changes, again, given.change)
  end
  local last, seen = state.last, nil -- seen: the last place where the last item of the page before is
  for index, item in ipairs(items) do
    local key = read(item, given.key or "id")
    if key ~= nil and key == state.last then
      seen = index
    end
    last = key
  end
  local repeats, mistaken = count_repeats(state, seen and seen == #items)
  if mistaken then
    fail(1, "paginate.page", "page %d ends with the same item as the pages before it; check that fetch asks for the page", page)
  elseif seen then
    log.warn(("paginate.page: page %d repeats items of the page before: the list grew while it was read"):format(page))
  end
  if not read_more("paginate.page", more, #items > 0) then
    return result(changes, false)
  end
  return result(changes, true, { page = page + 1, last = last, repeats = repeats, pages = pages })
end

local OFFSET = { FETCH, CHANGE, KEY, PAGES, { "size", "integer" }, { "overlap", "integer" } }

-- The place of the last item whose key is among the anchors; nil when there is none.
local function find_anchor(keys, anchors)
  local known = {}
  for _, key in ipairs(anchors) do
    known[key] = true
  end
  for index = #keys, 1, -1 do
    if known[keys[index]] then
      return index
    end
  end
  return nil
end

---A list by offset and limit, whose items may come and go while it is read: each page begins with items of the page
---before, and when none of them is there the reading goes back until one is. So every item that is there all the time
---is found, as long as the items keep their order. State: offset, of the next page; anchors, the keys of the last items;
---full, how many items a page had at most; pages.
---
---fetch(offset, size) returns the items and whether there is more; without the latter, pages are fetched until one has
---nothing new and is not full. size is 100 unless given; overlap, how many items are fetched twice, a tenth of it.
---@param state table?
---@param given {fetch: (fun(offset: integer, size: integer): any[], boolean?), change: (fun(item: any): table?), size?: integer, overlap?: integer, key?: string|(fun(item: any): any), maxPages?: integer}
---@return workers.paginate.Result
function paginate.offset(state, given)
  options.check("paginate.offset", given, OFFSET)
  local size = given.size or 100
  local overlap = given.overlap or math.max(1, size // 10)
  if overlap >= size then
    fail(1, "paginate.offset", "overlap (%d) must be less than size (%d)", overlap, size)
  end
  state = read_state("paginate.offset", state, { "offset", "anchors", "full", "pages" })
  local pages, from = count_page("paginate.offset", state, given), state.offset or 0
  local items, more = given.fetch(from, size)
  check_items("paginate.offset", items)
  local changes = add_changes("paginate.offset", json.array {}, items, given.change)
  local keys = {}
  for index, item in ipairs(items) do
    keys[index] = read_key("paginate.offset", given, item, index)
  end
  local count, known = #items, find_anchor(keys, state.anchors or {})
  local full = math.max(state.full or 0, count)
  if from > 0 and not known then
    local back = math.max(0, from - size)
    log.warn(("paginate.offset: the list shrank while it was read; going back from %d to %d"):format(from, back))
    return result(changes, true, { offset = back, anchors = state.anchors, full = full, pages = pages })
  elseif not read_more("paginate.offset", more, count > 1 and (known ~= count or count == full)) then
    return result(changes, false)
  elseif count < 2 then
    fail(1, "paginate.offset", "a page of %d items says that there is more; pages need at least two, since one overlaps", count)
  end
  overlap = math.min(overlap, count - 1)
  local anchors = table.move(keys, count - overlap + 1, count, 1, json.array {})
  return result(changes, true, { offset = from + count - overlap, anchors = anchors, full = full, pages = pages })
end

local CURSOR = { FETCH, CHANGE, PAGES }

---A list whose every page names the next one, by a cursor, a next token, or the key to start after. State: cursor, of
---the next page; mark, a cursor seen before; pages.
---
---fetch(cursor), with nil for the first page, returns the items and the next cursor: a string or an integer, nil, null
---or "" at the end. A cursor that comes again raises.
---@param state table?
---@param given {fetch: (fun(cursor: string|integer|nil): any[], any), change: (fun(item: any): table?), maxPages?: integer}
---@return workers.paginate.Result
function paginate.cursor(state, given)
  options.check("paginate.cursor", given, CURSOR)
  state = read_state("paginate.cursor", state, { "cursor", "mark", "pages" })
  local pages = count_page("paginate.cursor", state, given)
  local items, cursor = given.fetch(state.cursor)
  check_items("paginate.cursor", items)
  cursor = read_cursor("paginate.cursor", "cursor", cursor)
  local changes = add_changes("paginate.cursor", json.array {}, items, given.change)
  if cursor == nil then
    return result(changes, false)
  end
  local mark = check_cursor("paginate.cursor", "cursor", state, cursor, pages, state.cursor)
  return result(changes, true, { cursor = cursor, mark = mark, pages = pages })
end

---A feed of changes whose every answer has a token to go on from, also when nothing is left: the token is kept for the
---next cycle of an incremental sync. State: token; mark and pages while there is more.
---
---fetch(token), with nil at first, returns the items, the next token, and whether there is more; without the latter,
---pages are fetched until one is empty.
---@param state table?
---@param given {fetch: (fun(token: string|integer|nil): any[], any, boolean?), change: (fun(item: any): table?), maxPages?: integer}
---@return workers.paginate.Result
function paginate.token(state, given)
  options.check("paginate.token", given, CURSOR)
  state = read_state("paginate.token", state, { "token", "mark", "pages" })
  local pages = count_page("paginate.token", state, given)
  local items, token, more = given.fetch(state.token)
  check_items("paginate.token", items)
  token = read_cursor("paginate.token", "token", token)
  more = read_more("paginate.token", more, #items > 0)
  local changes = add_changes("paginate.token", json.array {}, items, given.change)
  if not more then
    token = token or state.token
    if token == nil then
      fail(1, "paginate.token", "fetch returned no token to go on from in the next cycle")
    end
    return result(changes, false, { token = token })
  elseif token == nil then
    fail(1, "paginate.token", "fetch said that there is more, but returned no token to go on from")
  end
  local mark = check_cursor("paginate.token", "token", state, token, pages, state.token)
  return result(changes, true, { token = token, mark = mark, pages = pages })
end

---The links of a Link header: relation ("next", "prev", in lower case) -> absolute URL. Of links with the same relation
---the first counts; links of other resources (anchor) are left out.
---@param from workers.http.Response|string a response, or the header's text
---@param base? string the URL that relative links start from; that of the response unless given
---@return table<string, string>
function paginate.links(from, base)
  local found, message = links.of(from, base)
  if not found then
    error("paginate.links: " .. message, 2)
  end
  return found
end

local LINK = { FETCH, CHANGE, PAGES, { "url", "string", required = true, help = "the first page's" }, { "anyOrigin", "boolean" } }

---A list whose pages name the next one in a Link header. State: url, of the next page; mark, one seen before; pages.
---
---fetch(url) returns the items and the response. A link to another host is refused, since the request's credentials would
---go there; anyOrigin = true allows it.
---@param state table?
---@param given {url: string, fetch: (fun(url: string): any[], workers.http.Response), change: (fun(item: any): table?), anyOrigin?: boolean, maxPages?: integer}
---@return workers.paginate.Result
function paginate.link(state, given)
  options.check("paginate.link", given, LINK)
  state = read_state("paginate.link", state, { "url", "mark", "pages" })
  local pages, address = count_page("paginate.link", state, given), state.url or given.url
  local items, response = given.fetch(address)
  check_items("paginate.link", items)
  if type(response) ~= "table" or type(response.headers) ~= "table" then
    fail(1, "paginate.link", "fetch must return the response after the items, but returned %s", show(response))
  end
  local found, message = links.of(response)
  if not found then
    fail(1, "paginate.link", "%s", message)
  end
  local following = found.next
  local changes = add_changes("paginate.link", json.array {}, items, given.change)
  if following == nil then
    return result(changes, false)
  elseif not given.anyOrigin and not url.sameOrigin(following, given.url) then
    local hint = "anyOrigin = true follows it, with the credentials that fetch sends"
    fail(1, "paginate.link", "the next page, %s, is not at the host of %s; %s", show(following), show(given.url), hint)
  end
  local mark = check_cursor("paginate.link", "URL", state, following, pages, address)
  return result(changes, true, { url = following, mark = mark, pages = pages })
end

-- ---- lists in order of time ----

paginate.keyset = timed.keyset
paginate.window = timed.window
paginate.feed = timed.feed

-- ---- several at once ----

-- Names to functions; raises for what is not such a list.
local function read_streams(streams)
  if type(streams) ~= "table" or #streams == 0 then
    fail(2, "paginate.streams", 'argument 2: expected a list such as { { "updates", function(state) ... end } }')
  end
  local functions = {}
  for index, stream in ipairs(streams) do
    if type(stream) ~= "table" or type(stream[1]) ~= "string" or type(stream[2]) ~= "function" then
      fail(2, "paginate.streams", "stream %d must be { name, function(state) ... end }", index)
    elseif functions[stream[1]] then
      fail(2, "paginate.streams", "two streams are named %s", show(stream[1]))
    end
    functions[stream[1]] = stream[2]
  end
  return functions
end

---Several lists for one sync, one after the other in each cycle: updates, then deletions; or one list per project. Each
---keeps a state of its own. State: stream, whose turn it is; states, name -> state.
---@param state table?
---@param streams {[1]: string, [2]: (fun(state: table?): workers.paginate.Result)}[] names, and what execute would be
---@return workers.paginate.Result
function paginate.streams(state, streams)
  state = read_state("paginate.streams", state, { "stream", "states" })
  local functions = read_streams(streams)
  local turn, states = 1, json.object {}
  for index, stream in ipairs(streams) do
    turn = stream[1] == state.stream and index or turn
    states[stream[1]] = state.states and state.states[stream[1]]
  end
  local name = streams[turn][1]
  local page = functions[name](states[name])
  if type(page) ~= "table" or type(page.hasMore) ~= "boolean" then
    fail(1, "paginate.streams", "the stream %s must return changes, hasMore and nextState, but returned %s", show(name), show(page))
  end
  states[name] = page.nextState
  local following = streams[page.hasMore and turn or turn + 1]
  return result(page.changes, following ~= nil, { stream = following and following[1], states = states })
end

return suggest.strict("paginate", paginate)
