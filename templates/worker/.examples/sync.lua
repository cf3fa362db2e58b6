-- Syncs: two databases that are filled from a source, with most kinds of properties.
--
--   workers run .examples/sync.lua --preview
--   workers exec exampleBooksSync --script .examples/sync.lua -d '{"state":{"page":2}}'
--
-- The source is a list in this file, so that the example runs by itself. In a sync of your own, workers.http fetches the pages.

local workers = require "workers"

local Schema, Builder = workers.schema, workers.builder
local worker = workers.new()

local AUTHORS = {
  { id = "A-1", name = "Ada Lovelace", born = "1815-12-10", email = "ada@example.com" },
  { id = "A-2", name = "Mary Somerville", born = "1780-12-26", email = "mary@example.com" },
}

local BOOKS = {
  {
    { id = "B-1", title = "Notes", author = "A-1", pages = 66, kinds = { "science" }, lent = false, changed = "2026-01-05T08:00:00Z" },
    { id = "B-2", title = "Mechanism of the Heavens", author = "A-2", pages = 700, kinds = { "science", "sky" }, lent = true, changed = "2026-01-06T08:00:00Z" },
  },
  {
    { id = "B-3", title = "Physical Geography", author = "A-2", pages = 400, kinds = { "science", "earth" }, lent = false, changed = "2026-01-07T08:00:00Z" },
  },
}

-- A database says which columns there are, and which property has the key of each row.
local authors = worker:database("exampleAuthors", {
  type = "managed",
  initialTitle = "Authors",
  primaryKeyProperty = "Author ID",
  schema = {
    databaseIcon = Builder.emojiIcon "🖋️",
    properties = {
      Name = Schema.title(),
      ["Author ID"] = Schema.richText(),
      Born = Schema.date(),
      Email = Schema.email(),
    },
  },
})

local books = worker:database("exampleBooks", {
  type = "managed",
  initialTitle = "Books",
  primaryKeyProperty = "Book ID",
  schema = {
    properties = {
      Title = Schema.title(),
      ["Book ID"] = Schema.richText(),
      Link = Schema.url(),
      Pages = Schema.number "number_with_commas",
      Lent = Schema.checkbox(),
      Kinds = Schema.multiSelect { { name = "science", color = "blue" }, "sky", "earth" },
      Changed = Schema.date(),
      -- A reference to rows of another database, by their keys. Authors get a property Books that leads back.
      Author = Schema.relation("exampleAuthors", { twoWay = true, relatedPropertyName = "Books" }),
    },
  },
})

-- Everything in one page. Authors that are no longer in the list are deleted at the end.
worker:sync("exampleAuthorsSync", {
  database = authors,
  mode = "replace",
  schedule = "manual",
  execute = function()
    local changes = {}
    for i, author in ipairs(AUTHORS) do
      changes[i] = {
        type = "upsert",
        key = author.id,
        properties = { Name = author.name, Born = author.born, Email = author.email },
      }
    end
    return { changes = changes, hasMore = false }
  end,
})

-- Page after page. The state says which is next; it is nil at the beginning of each cycle.
worker:sync("exampleBooksSync", {
  database = books,
  mode = "replace",
  schedule = "manual",
  execute = function(state)
    local page = state and state.page or 1
    local changes = {}
    for i, book in ipairs(BOOKS[page] or {}) do
      changes[i] = {
        type = "upsert",
        key = book.id,
        upstreamUpdatedAt = book.changed,
        icon = Builder.emojiIcon "📖",
        pageContentMarkdown = ("*%s* has %d pages."):format(book.title, book.pages),
        properties = {
          Title = book.title,
          Link = "https://books.example.com/" .. book.id,
          Pages = book.pages,
          Lent = book.lent,
          Kinds = book.kinds,
          Changed = book.changed,
          Author = book.author,
        },
      }
    end
    if page >= #BOOKS then
      return { changes = changes, hasMore = false }
    end
    return { changes = changes, hasMore = true, nextState = { page = page + 1 } }
  end,
})

return worker
