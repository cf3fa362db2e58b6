-- Paging through what is in order of time: keysets, windows, feeds of events. See paginate.lua.

local json = require "workers.json"
local log = require "workers.log"
local options = require "workers.options"
local shared = require "workers.paginate.shared"
local suggest = require "workers.suggest"
local time = require "workers.time"

local fail, read, read_key, result = shared.fail, shared.read, shared.read_key, shared.result
local read_state, count_page, check_items = shared.read_state, shared.count_page, shared.check_items
local read_more, read_moment, read_cursor = shared.read_more, shared.read_moment, shared.read_cursor
local add_changes, show = shared.add_changes, suggest.show

local timed = {}

local LAG = 15 -- seconds
local WINDOW_WIDTH = 86400 -- seconds
local FEED_MAX_PAGES = 1000 -- its pages are held in memory until the anchor is found
local FEED_ANCHORS = 5 -- so that the feed may lose some

local KEYSET = {
  shared.FETCH,
  shared.CHANGE,
  shared.KEY,
  shared.PAGES,
  shared.LAG,
  shared.UNIT,
  { "at", "key", required = true, help = "of an item's timestamp" },
  { "tie", "string" },
}

-- Checks that the items come in the order of their timestamps. Returns how many, from the first on, are old enough for
-- the next cycle to begin after them.
local function check_order(what, items, given, since, horizon)
  local latest = since ~= nil and read_moment(what, since, given.unit) or -math.huge
  local old = 0
  for index, item in ipairs(items) do
    local at = read(item, given.at)
    local moment = read_moment(what, at, given.unit)
    if moment < latest then
      fail(2, what, "item %d (%s) is older than what came before; ask the service for the oldest first", index, show(at))
    end
    latest = moment
    if moment <= horizon and old == index - 1 then
      old = index
    end
  end
  return old
end

local function horizon_of(given, now)
  local lag = given.lag or LAG
  return lag > 0 and now - lag * 1000 or math.huge
end

-- Raises when a page of items with one timestamp does not lead past the cursor.
local function refuse_tie(at, advice)
  fail(2, "paginate.keyset", "more items have the timestamp %s than come in one page, and %s", show(at), advice)
end

-- Where the next cycle begins: after the last item that was old enough, and so were all before it in this cycle. One
-- that is found old later in the cycle does not count: what the service shows late may lie between.
local function choose_start(state, items, old, given)
  if state.young then
    return state.keepAt, state.keepId
  elseif old > 0 then
    return read(items[old], given.at), read(items[old], given.key or "id")
  end
  return state.keepAt or state.at, state.keepId or state.id
end

---Everything from a timestamp on, oldest first: for backfills, and for deltas by the time of the last change. State:
---at and id of the last item (page, in place of id, with tie = "page"); keepAt and keepId, where the next cycle begins;
---young, once an item was too young to be kept; last, repeats and pages.
---
---The service is asked for what comes after (at, id): fetch(at, id), with nil for both at first, returns the items and
---whether there is more; without the latter, pages are fetched until one has nothing new. When it cannot filter by id,
---tie = "page" asks with fetch(at, page) for what is at or after the timestamp, page by page as long as all items have
---that timestamp; each page after the first is followed by the one before once more, as in paginate.page with reread. The next cycle begins at the last item that was at least lag (15) seconds old when it was read, so that
---items which the service shows late are not passed over. Items are told apart by key ("id" unless given).
---@param state table?
---@param given {fetch: (fun(at: string|number|nil, idOrPage: any): any[], boolean?), change: (fun(item: any): table?), at: string|(fun(item: any): string|number), key?: string|(fun(item: any): any), tie?: "id"|"page", unit?: "s"|"ms"|(fun(at: any): integer), lag?: number, maxPages?: integer}
---@return workers.paginate.Result
function timed.keyset(state, given)
  options.check("paginate.keyset", given, KEYSET)
  if given.tie ~= nil and given.tie ~= "id" and given.tie ~= "page" then
    fail(1, "paginate.keyset", 'tie must be "id" or "page", got %s', show(given.tie))
  end
  state = read_state("paginate.keyset", state, { "at", "id", "page", "keepAt", "keepId", "young", "last", "repeats", "pages" })
  local pages = count_page("paginate.keyset", state, given)
  local horizon = horizon_of(given, time.nowMs()) -- before the request: what shows up during it counts as young
  local paged, page = given.tie == "page", state.page or 1
  local items, more = given.fetch(state.at, paged and page or state.id)
  check_items("paginate.keyset", items)
  local old = check_order("paginate.keyset", items, given, state.at, horizon)
  local changes = add_changes("paginate.keyset", json.array {}, items, given.change)
  if paged and page > 1 then -- what vanished from the pages before has moved others there
    local again = given.fetch(state.at, page - 1)
    check_items("paginate.keyset", again)
    add_changes("paginate.keyset", changes, again, given.change)
  end

  local count = #items
  local at, id = state.at, state.id
  if count > 0 then
    at, id = read(items[count], given.at), read_key("paginate.keyset", given, items[count], count)
  end
  local here = count > 0 and at == state.at -- no further than the timestamp asked for
  local same = here and id == (paged and state.last or state.id)
  local repeats, mistaken = shared.count_repeats(state, same and paged and page > 1)
  if mistaken then
    refuse_tie(at, "the same page came again; check that fetch asks for the page, or ask for larger ones")
  elseif same and not paged and count > 1 then
    refuse_tie(at, 'the service does not filter by id; do so in fetch, or page through them with tie = "page"')
  end
  local keep_at, keep_id = choose_start(state, items, old, given)
  if not read_more("paginate.keyset", more, count > 0 and (paged or not same)) then
    return result(changes, false, { at = keep_at, id = not paged and keep_id or nil })
  elseif count == 0 or (same and not paged) then
    fail(1, "paginate.keyset", "fetch says that there is more, but its page has nothing new to go on from")
  end
  return result(changes, true, {
    at = at,
    id = not paged and id or nil,
    page = paged and here and page + 1 or nil,
    last = paged and id or nil,
    keepAt = keep_at,
    keepId = not paged and keep_id or nil,
    young = (state.young or old < count) or nil,
    repeats = repeats,
    pages = pages,
  })
end

local WINDOW = {
  shared.FETCH,
  shared.CHANGE,
  shared.PAGES,
  shared.LAG,
  { "start", "number", required = true, help = "where the first cycle begins, in Unix milliseconds" },
  { "limit", "integer", required = true, help = "how many items the service returns at most" },
  { "window", "number", help = "seconds" },
  { "minWindow", "number", help = "seconds" },
}

---Everything between two moments, for services that filter by time, return a limited number of items and have no way to
---go on: a window that comes back full is asked for again in halves. State: from, where the next window begins, and
---width, both in milliseconds; pages.
---
---fetch(from, to) returns the items from a moment (included) to another (excluded), in Unix milliseconds. Windows are
---window (86400) seconds wide and never narrower than minWindow (1); they end lag (15) seconds before now.
---@param state table?
---@param given {fetch: (fun(from: integer, to: integer): any[]), change: (fun(item: any): table?), start: integer, limit: integer, window?: number, minWindow?: number, lag?: number, maxPages?: integer}
---@return workers.paginate.Result
function timed.window(state, given)
  options.check("paginate.window", given, WINDOW)
  state = read_state("paginate.window", state, { "from", "width", "pages" })
  local widest = math.max(1, math.floor((given.window or WINDOW_WIDTH) * 1000))
  local narrowest = math.max(1, math.floor((given.minWindow or 1) * 1000))
  local horizon = math.floor(time.nowMs() - (given.lag or LAG) * 1000)
  local from, width = state.from or math.floor(given.start), math.min(state.width or widest, widest)
  if from >= horizon then
    return result(json.array {}, false, { from = from, width = width })
  end
  local pages = count_page("paginate.window", state, given)
  local to = math.min(from + width, horizon)
  local items = given.fetch(from, to)
  check_items("paginate.window", items)
  local changes = add_changes("paginate.window", json.array {}, items, given.change)
  if #items >= given.limit then
    if to - from <= narrowest then
      local advice = "raise the limit, or narrow the request in fetch by something other than time"
      fail(1, "paginate.window", "%d items, the limit, in the %d ms from %s on: %s", #items, to - from, time.format(from), advice)
    end
    return result(changes, true, { from = from, width = math.max(narrowest, (to - from) // 2), pages = pages })
  end
  local more = to < horizon
  return result(changes, more, { from = to, width = math.min(2 * width, widest), pages = more and pages or nil })
end

local FEED = { shared.FETCH, shared.CHANGE, shared.KEY, shared.PAGES, shared.LAG, shared.UNIT, { "at", "key" }, { "first", "string" } }

-- The keys to stop at in the next cycle, newest first: of events that are old enough, then those of before.
local function choose_anchors(events, keys, before, given, horizon)
  local anchors = json.array {}
  for index, event in ipairs(events) do
    local old = given.at == nil or read_moment("paginate.feed", read(event, given.at), given.unit) <= horizon
    if old and #anchors < FEED_ANCHORS then
      anchors[#anchors + 1] = keys[index]
    end
  end
  return table.move(before, 1, math.min(#before, FEED_ANCHORS - #anchors), #anchors + 1, anchors)
end

---A feed of events, newest first: reads back to the events of the last cycle, then applies the new ones, oldest first.
---All of that is one page of the sync. State: seen, the keys of the newest events.
---
---fetch(cursor), with nil for the newest page, returns the events and the cursor of the page before them in time, nil at
---the feed's end. The first cycle takes all that the feed has; first = "newest" only notes where it stands, for a backfill
---that follows, and reads on for that until an event is older than lag. With at, events younger than lag (15) seconds are applied but come again in the next cycle. maxPages is
---1000 unless given.
---@param state table?
---@param given {fetch: (fun(cursor: any): any[], any), change: (fun(event: any): table?), key?: string|(fun(event: any): any), first?: "all"|"newest", at?: string|(fun(event: any): string|number), unit?: "s"|"ms"|(fun(at: any): integer), lag?: number, maxPages?: integer}
---@return workers.paginate.Result
function timed.feed(state, given)
  options.check("paginate.feed", given, FEED)
  if given.first ~= nil and given.first ~= "all" and given.first ~= "newest" then
    fail(1, "paginate.feed", 'first must be "all" or "newest", got %s', show(given.first))
  elseif given.lag ~= nil and given.at == nil then
    fail(1, "paginate.feed", "lag needs at, the field or function that gives an event's time")
  end
  local before = read_state("paginate.feed", state, { "seen" }).seen
  local only_note = before == nil and given.first == "newest"
  before = before or {}
  local horizon = horizon_of(given, time.nowMs())
  local stops, events, keys, known, used = {}, {}, {}, {}, {}
  for _, key in ipairs(before) do
    stops[key] = true
  end
  local found, cursor, pages = false, nil, 0
  repeat
    pages = pages + 1
    if pages > (given.maxPages or FEED_MAX_PAGES) then
      local advice = "run a backfill, then `workers sync state reset KEY`, or raise maxPages"
      fail(1, "paginate.feed", "%d pages, and the last cycle's events are not among them: %s", pages - 1, advice)
    end
    local items, following = given.fetch(cursor)
    check_items("paginate.feed", items)
    for index, event in ipairs(items) do
      local key = read_key("paginate.feed", given, event, index)
      if stops[key] then
        found = true
        break
      elseif known[key] then
        -- Events that came meanwhile have pushed this one here. What was noted after it is either older, and comes again
        -- below, or came meanwhile, and is left to the next cycle.
        for place = #events, known[key] + 1, -1 do
          known[keys[place]], events[place], keys[place] = nil, nil, nil
        end
      else
        events[#events + 1], keys[#keys + 1] = event, key
        known[key] = #events
      end
    end
    cursor = read_cursor("paginate.feed", "cursor", following)
    if cursor ~= nil and used[cursor] then
      fail(1, "paginate.feed", "the service returned the cursor %s again; check that fetch passes it on", show(cursor))
    end
    used[cursor or ""] = true
  until found or cursor == nil or (only_note and #choose_anchors(events, keys, before, given, horizon) > 0)
  if #before > 0 and not found then
    log.warn "paginate.feed: the last cycle's events are no longer in the feed: some may be missing, run a backfill"
  end
  local anchors = choose_anchors(events, keys, before, given, horizon)
  if only_note then
    return result(json.array {}, false, { seen = anchors })
  end
  local oldest_first = {}
  for index = #events, 1, -1 do
    oldest_first[#oldest_first + 1] = events[index]
  end
  local changes = add_changes("paginate.feed", json.array {}, oldest_first, given.change)
  return result(changes, false, { seen = anchors })
end

return timed
