/* From what execute returned to a page. Must not raise Lua errors: it runs outside any protected call, with
 * raw access and nothing that allocates in Lua. */
#include "worker/page.h"

#include "base/iso8601.h"
#include "base/number.h"
#include "base/text.h"
#include "modules/json.h"

#include <string.h>

#define ORDER_MAX 32 /* names whose order is remembered from row to row */
#define SCRATCH_MAX ((size_t)256 * 1024 * 1024)

void page_init(struct page *page)
{
    *page = (struct page){0};
    arena_init(&page->arena);
    buf_init(&page->scratch, SCRATCH_MAX);
}

void page_free(struct page *page)
{
    arena_free(&page->arena);
    buf_free(&page->scratch);
}

void page_reset(struct page *page)
{
    arena_reset(&page->arena);
    buf_clear(&page->scratch);
    page->changes = NULL;
    page->count = 0;
    page->new_options = NULL;
    page->new_option_count = page->new_option_room = 0;
}

static enum err_code refuse_field(const char *where, const char *name, const char *const known[],
                                  size_t count, struct err *err)
{
    int nearest = text_nearest(name, strlen(name), known, count);
    if (nearest >= 0)
        return err_set(err, ERR_INVALID, "%s: unknown field \"%s\"; did you mean \"%s\"?", where, name,
                       known[nearest]);
    struct buf list;
    buf_init(&list, 1024);
    for (size_t i = 0; i < count; i++)
        buf_addf(&list, "%s%s", i > 0 ? ", " : "", known[i]);
    err_set(err, ERR_INVALID, "%s: unknown field \"%s\"; the fields are %s", where, name, buf_text(&list));
    buf_free(&list);
    return ERR_INVALID;
}

/* ---- the result ---- */

static const char *const result_fields[] = {"changes", "hasMore", "nextState"};

static enum err_code encode_state(lua_State *L, int index, size_t state_max, struct page_result *out,
                                  struct err *err)
{
    struct json_encode_options options = {.sort_keys = true};
    enum err_code code = json_encode(L, index, &options, &out->next_state, err);
    if (code == ERR_INVALID)
        return err_context(err, "nextState is not JSON");
    if (code == ERR_LIMIT || out->next_state.failed)
        return err_set(
            err, ERR_LIMIT,
            "nextState is larger than %zu KiB: keep only what the next page needs (raise limits.state in "
            "workers.yaml if it must be so)",
            state_max / 1024);
    return code;
}

enum err_code page_read_result(lua_State *L, int index, size_t state_max, struct page_result *out,
                               struct err *err)
{
    *out = (struct page_result){0};
    buf_init(&out->next_state, state_max);
    index = lua_absindex(L, index);
    if (!lua_checkstack(L, 8))
        return err_nomem(err);
    if (!lua_istable(L, index))
        return err_set(err, ERR_INVALID,
                       "execute must return a table { changes = …, hasMore = … }, it returned %s",
                       lua_isnil(L, index) ? "nothing" : lua_typename(L, lua_type(L, index)));
    bool has_changes = false, has_has_more = false;
    enum err_code code = ERR_NONE;
    lua_pushnil(L); /* place of the changes table */
    int changes = lua_gettop(L);
    lua_pushnil(L);
    while (code == ERR_NONE && lua_next(L, index) != 0) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : NULL;
        if (name == NULL) {
            code = err_set(err, ERR_INVALID,
                           "execute returned a list; it must return { changes = { … }, hasMore = … }");
        } else if (strcmp(name, "changes") == 0) {
            has_changes = true;
            lua_copy(L, -1, changes);
            if (!lua_istable(L, -1))
                code = err_set(err, ERR_INVALID, "execute must return changes as a list, got %s",
                               lua_typename(L, lua_type(L, -1)));
        } else if (strcmp(name, "hasMore") == 0) {
            has_has_more = true;
            out->has_more = lua_toboolean(L, -1);
            if (!lua_isboolean(L, -1))
                code = err_set(err, ERR_INVALID, "execute must return hasMore as true or false, got %s",
                               lua_typename(L, lua_type(L, -1)));
        } else if (strcmp(name, "nextState") == 0) {
            bool null = lua_type(L, -1) == LUA_TLIGHTUSERDATA && lua_touserdata(L, -1) == NULL;
            out->has_state = !null;
            if (!null)
                code = encode_state(L, -1, state_max, out, err);
        } else {
            code = refuse_field("the result of execute", name, result_fields, 3, err);
        }
        lua_pop(L, 1);
    }
    if (code != ERR_NONE)
        return code;
    if (!has_changes)
        return err_set(err, ERR_INVALID,
                       "execute returned no changes: return changes = {} when there are none");
    if (!has_has_more)
        return err_set(err, ERR_INVALID,
                       "execute returned no hasMore: return hasMore = false on the last page");
    if (out->has_more && !out->has_state)
        return err_set(
            err, ERR_INVALID,
            "execute returned hasMore = true without nextState: return where the next page begins");
    out->changes_index = changes;
    out->change_count = lua_rawlen(L, changes);
    if (out->change_count == 0) {
        lua_pushnil(L);
        if (lua_next(L, changes) != 0)
            return err_set(err, ERR_INVALID,
                           "execute must return changes as a list { {…}, {…} }, got a table with named "
                           "fields");
    }
    lua_settop(L, changes);
    return ERR_NONE;
}

/* ---- changes ---- */

enum change_field {
    FIELD_TYPE,
    FIELD_KEY,
    FIELD_PROPERTIES,
    FIELD_TARGET,
    FIELD_UPSTREAM, /* from here on they are rare */
    FIELD_ICON,
    FIELD_COVER,
    FIELD_CONTENT,
    CHANGE_FIELD_COUNT
};

static const char *const change_fields[CHANGE_FIELD_COUNT] = {
    "type", "key",   "properties",         "targetDatabaseKey", "upstreamUpdatedAt",
    "icon", "cover", "pageContentMarkdown"};

struct reader {
    lua_State *L;
    const struct worker *worker;
    const struct database *database; /* of the change in hand */
    struct page *page;
    struct change *change;
    struct change_extras *extras; /* of the change in hand, once it has some */
    struct err *err;
    /* What stood where in the row before, by position in the traversal: tables made by the same line of a
     * script are traversed in the same order. Lua keeps short strings once, and nothing is collected while
     * changes are read, so that the same name has the same address. */
    struct {
        const char *name;
        const struct property *property;
    } order[ORDER_MAX];
    const struct database *order_of;
    const char *field_names[CHANGE_FIELD_COUNT];
    enum change_field fields[CHANGE_FIELD_COUNT];
};

/* Keeps every undeclared option once a page. */
static enum err_code note_option(void *ctx, const struct property *property, const char *name, size_t len,
                                 struct err *err)
{
    struct reader *reader = ctx;
    struct page *page = reader->page;
    uint32_t index = (uint32_t)(property - reader->database->properties);
    for (size_t i = 0; i < page->new_option_count; i++) {
        const struct new_option *known = &page->new_options[i];
        if (known->database == reader->change->database && known->property == index && known->len == len &&
            memcmp(known->name, name, len) == 0)
            return ERR_NONE;
    }
    if (page->new_option_count == page->new_option_room) {
        size_t room = page->new_option_room > 0 ? page->new_option_room * 2 : 16;
        struct new_option *larger = arena_alloc(&page->arena, room * sizeof *larger);
        if (larger == NULL)
            return err_nomem(err);
        if (page->new_option_count > 0)
            memcpy(larger, page->new_options, page->new_option_count * sizeof *larger);
        page->new_options = larger;
        page->new_option_room = room;
    }
    char *copy = arena_strndup(&page->arena, name, len);
    if (copy == NULL)
        return err_nomem(err);
    page->new_options[page->new_option_count++] = (struct new_option){
        .database = reader->change->database, .property = index, .name = copy, .len = len};
    return ERR_NONE;
}

static enum err_code unknown_property(struct reader *reader, const char *name)
{
    const struct database *database = reader->database;
    const char *names[64];
    size_t count = 0;
    for (; count < database->property_count && count < 64; count++)
        names[count] = database->properties[count].name;
    int nearest = text_nearest(name, strlen(name), names, count);
    return err_set(reader->err, ERR_INVALID, "database \"%s\" has no property \"%s\"%s%s%s", database->key,
                   name, nearest >= 0 ? "; did you mean \"" : "", nearest >= 0 ? names[nearest] : "",
                   nearest >= 0 ? "\"?" : "");
}

static const struct cell no_cell = {.type = CELL_NULL};
static const struct change_extras no_extras = {.icon = {.given = false}};

/* The key as the primary-key property must hold it. */
static bool cell_equals_key(const struct cell *cell, const struct change *change)
{
    char digits[NUMBER_TEXT_MAX];
    const char *text = digits;
    size_t len = 0;
    if (cell->type == CELL_TEXT) {
        text = cell->text;
        len = cell->len;
    } else if (cell->type == CELL_INTEGER) {
        len = number_format_integer(cell->integer, digits);
    } else if (cell->type == CELL_REAL) {
        len = number_format_js(cell->real, digits);
    } else {
        return false;
    }
    return len == change->key_len && memcmp(text, change->key, len) == 0;
}

/* Fills the primary-key property from the key when it is absent; otherwise they must be the same. */
static enum err_code check_primary_key(struct reader *reader)
{
    struct change *change = reader->change;
    const struct property *primary = &reader->database->properties[reader->database->primary_key];
    for (size_t i = 0; i < change->value_count; i++) {
        const struct property_value *value = &change->values[i];
        if (value->property != reader->database->primary_key)
            continue;
        if (cell_equals_key(&value->value, change))
            return ERR_NONE;
        char shown[80] = "nothing";
        if (value->value.type == CELL_TEXT)
            strncpy(shown, value->value.text, sizeof shown - 1);
        else if (value->value.type == CELL_INTEGER)
            number_format_integer(value->value.integer, shown);
        else if (value->value.type == CELL_REAL)
            number_format_js(value->value.real, shown);
        shown[sizeof shown - 1] = '\0';
        return err_set(
            reader->err, ERR_INVALID,
            "property \"%s\" is the primary key and must equal the row's key, but it is \"%s\": leave it out "
            "(it is filled from key) or set key to the same value",
            primary->name, shown);
    }
    struct property_value *value = &change->values[change->value_count];
    *value = (struct property_value){.property = (uint32_t)reader->database->primary_key, .end = &no_cell};
    value->value = (struct cell){.type = CELL_TEXT, .text = change->key, .len = change->key_len};
    if (primary->type == PROPERTY_NUMBER) {
        struct number number;
        if (number_parse(change->key, change->key_len, &number) != NUMBER_OK)
            return err_set(reader->err, ERR_INVALID,
                           "the primary key \"%s\" is a number property, but the key is no number",
                           primary->name);
        value->value = number.is_integer ? (struct cell){.type = CELL_INTEGER, .integer = number.integer}
                                         : (struct cell){.type = CELL_REAL, .real = number.real};
        if (!cell_equals_key(&value->value, change))
            return err_set(
                reader->err, ERR_INVALID,
                "the primary key \"%s\" is a number property, and the key is not that number's usual form",
                primary->name);
    }
    change->value_count++;
    return ERR_NONE;
}

static const struct property *find_property(struct reader *reader, size_t position, const char *name,
                                            size_t len)
{
    const struct database *database = reader->database;
    if (reader->order_of != database) {
        memset(reader->order, 0, sizeof reader->order);
        reader->order_of = database;
    }
    if (position < ORDER_MAX && reader->order[position].name == name)
        return reader->order[position].property;
    const struct property *property = database_property(database, name, len);
    if (position < ORDER_MAX && property != NULL) {
        reader->order[position].name = name;
        reader->order[position].property = property;
    }
    return property;
}

/* CHANGE_FIELD_COUNT when a change has no such field. */
static enum change_field find_field(struct reader *reader, size_t position, const char *name)
{
    if (position < CHANGE_FIELD_COUNT && reader->field_names[position] == name)
        return reader->fields[position];
    enum change_field field = FIELD_TYPE;
    while (field < CHANGE_FIELD_COUNT && strcmp(name, change_fields[field]) != 0)
        field++;
    if (position < CHANGE_FIELD_COUNT && field < CHANGE_FIELD_COUNT) {
        reader->field_names[position] = name;
        reader->fields[position] = field;
    }
    return field;
}

static enum err_code keep_end(const struct reader *reader, struct property_value *value,
                              const struct cell *end)
{
    value->end = &no_cell;
    if (end->type == CELL_NULL)
        return ERR_NONE;
    struct cell *kept = arena_alloc(&reader->page->arena, sizeof *kept);
    if (kept == NULL)
        return err_nomem(reader->err);
    *kept = *end;
    value->end = kept;
    return ERR_NONE;
}

/* index: the table of properties, on top of the stack. */
static enum err_code read_properties(struct reader *reader, int index)
{
    lua_State *L = reader->L;
    struct change *change = reader->change;
    struct page *page = reader->page;
    const struct database *database = reader->database;
    const struct option_sink options = {note_option, reader};
    change->values = arena_alloc(&page->arena, (database->property_count + 1) * sizeof *change->values);
    if (change->values == NULL)
        return err_nomem(reader->err);
    lua_pushnil(L);
    while (lua_next(L, index) != 0) {
        if (lua_type(L, -2) != LUA_TSTRING)
            return err_set(reader->err, ERR_INVALID, "properties must map names to values; a key is a %s",
                           lua_typename(L, lua_type(L, -2)));
        size_t len = 0;
        const char *name = lua_tolstring(L, -2, &len);
        const struct property *property = find_property(reader, change->value_count, name, len);
        if (property == NULL)
            return unknown_property(reader, name);
        struct property_value *value = &change->values[change->value_count++];
        value->property = (uint32_t)(property - database->properties);
        struct cell end;
        enum err_code code = value_to_cells(L, index + 2, property, &options, &page->arena, &page->scratch,
                                            &value->value, &end, reader->err);
        if (code == ERR_NONE)
            code = keep_end(reader, value, &end);
        if (code != ERR_NONE)
            return err_context(reader->err, "property \"%s\"", property->name);
        lua_pop(L, 1);
    }
    return check_primary_key(reader);
}

static enum err_code read_json_cell(struct reader *reader, int index, struct optional_cell *out, bool right,
                                    const char *what)
{
    lua_State *L = reader->L;
    out->given = true;
    out->cell = (struct cell){.type = CELL_NULL};
    if (lua_type(L, index) == LUA_TLIGHTUSERDATA && lua_touserdata(L, index) == NULL)
        return ERR_NONE;
    if (!right)
        return err_set(reader->err, ERR_INVALID, "%s", what);
    struct buf *scratch = &reader->page->scratch;
    buf_clear(scratch);
    enum err_code code = value_write_json(value_at(L, index), scratch, reader->err);
    if (code == ERR_NONE)
        code = buf_status(scratch, "the value", reader->err);
    if (code != ERR_NONE)
        return code;
    out->cell.type = CELL_TEXT;
    out->cell.text = arena_strndup(&reader->page->arena, buf_text(scratch), scratch->len);
    out->cell.len = scratch->len;
    return out->cell.text != NULL ? ERR_NONE : err_nomem(reader->err);
}

static enum err_code read_content(struct reader *reader, int index)
{
    lua_State *L = reader->L;
    struct optional_cell *content = &reader->extras->content;
    size_t bad = 0;
    content->given = true;
    content->cell = (struct cell){.type = CELL_NULL};
    if (lua_type(L, index) == LUA_TLIGHTUSERDATA && lua_touserdata(L, index) == NULL)
        return ERR_NONE;
    if (lua_type(L, index) != LUA_TSTRING)
        return err_set(reader->err, ERR_INVALID, "pageContentMarkdown must be a string, got %s",
                       lua_typename(L, lua_type(L, index)));
    const char *text = lua_tolstring(L, index, &content->cell.len);
    if (!text_is_utf8(text, content->cell.len, &bad))
        return err_set(reader->err, ERR_INVALID, "pageContentMarkdown is not valid UTF-8 (byte %zu)",
                       bad + 1);
    content->cell.type = CELL_TEXT;
    content->cell.text = arena_strndup(&reader->page->arena, text, content->cell.len);
    return content->cell.text != NULL ? ERR_NONE : err_nomem(reader->err);
}

static enum err_code read_upstream(struct reader *reader, int index)
{
    lua_State *L = reader->L;
    struct change_extras *extras = reader->extras;
    struct iso_time time;
    struct err ignored;
    size_t len = 0;
    if (lua_type(L, index) == LUA_TLIGHTUSERDATA && lua_touserdata(L, index) == NULL)
        return ERR_NONE;
    const char *text = lua_type(L, index) == LUA_TSTRING ? lua_tolstring(L, index, &len) : NULL;
    if (text == NULL || iso_parse(text, len, &time, &ignored) != ERR_NONE)
        return err_set(reader->err, ERR_INVALID,
                       "upstreamUpdatedAt must be an ISO 8601 time like \"2026-03-19T12:00:00Z\", "
                       "got %s%s%s",
                       text != NULL ? "\"" : "a ", text != NULL ? text : lua_typename(L, lua_type(L, index)),
                       text != NULL ? "\"" : "");
    extras->upstream_ms = iso_unix_ms(&time);
    extras->upstream_updated_at =
        (struct cell){.type = CELL_TEXT, .text = arena_strndup(&reader->page->arena, text, len), .len = len};
    return extras->upstream_updated_at.text != NULL ? ERR_NONE : err_nomem(reader->err);
}

static enum err_code read_key(struct reader *reader, int index)
{
    lua_State *L = reader->L;
    char digits[NUMBER_TEXT_MAX];
    const char *text = NULL;
    size_t len = 0;
    if (lua_type(L, index) == LUA_TSTRING) {
        text = lua_tolstring(L, index, &len);
    } else if (lua_isinteger(L, index)) {
        len = number_format_integer(lua_tointeger(L, index), digits);
        text = digits;
    } else {
        return err_set(reader->err, ERR_INVALID, "key must be a string, got %s",
                       lua_typename(L, lua_type(L, index)));
    }
    if (len == 0)
        return err_set(reader->err, ERR_INVALID, "key is an empty string; every row needs a key of its own");
    if (len > ROW_KEY_MAX || memchr(text, '\0', len) != NULL || !text_is_utf8(text, len, NULL))
        return err_set(reader->err, ERR_INVALID, "key must be UTF-8 text of at most %d bytes without NUL",
                       ROW_KEY_MAX);
    reader->change->key = arena_strndup(&reader->page->arena, text, len);
    reader->change->key_len = len;
    return reader->change->key != NULL ? ERR_NONE : err_nomem(reader->err);
}

static enum err_code read_type(struct reader *reader, int value)
{
    lua_State *L = reader->L;
    const char *type = lua_type(L, value) == LUA_TSTRING ? lua_tostring(L, value) : "";
    reader->change->is_delete = strcmp(type, "delete") == 0;
    if (reader->change->is_delete || strcmp(type, "upsert") == 0)
        return ERR_NONE;
    return err_set(reader->err, ERR_INVALID, "type must be \"upsert\" or \"delete\"%s%s%s",
                   *type != '\0' ? ", got \"" : "", type, *type != '\0' ? "\"" : "");
}

static enum err_code read_target(struct reader *reader, int value)
{
    lua_State *L = reader->L;
    const char *key = lua_type(L, value) == LUA_TSTRING ? lua_tostring(L, value) : NULL;
    size_t target = key != NULL ? worker_database(reader->worker, key) : SIZE_MAX;
    if (target == SIZE_MAX)
        return err_set(reader->err, ERR_INVALID,
                       "targetDatabaseKey must be the key of a declared database%s%s",
                       key != NULL ? ", got " : "", key != NULL ? key : "");
    reader->change->database = (uint32_t)target;
    return ERR_NONE;
}

static enum err_code refuse_change_field(struct reader *reader, const char *name)
{
    if (database_property(&reader->worker->databases[reader->change->database], name, strlen(name)) != NULL)
        return err_set(reader->err, ERR_INVALID,
                       "the change: unknown field \"%s\": it is a property, so it goes into properties = { "
                       "[\"%s\"] = … }",
                       name, name);
    return refuse_field("the change", name, change_fields, CHANGE_FIELD_COUNT, reader->err);
}

/* The first of the rare fields makes room for all of them. */
static bool need_extras(struct reader *reader)
{
    if (reader->extras == NULL) {
        reader->extras = arena_zalloc(&reader->page->arena, sizeof *reader->extras);
        if (reader->extras != NULL)
            reader->change->extras = reader->extras;
    }
    return reader->extras != NULL;
}

#define SEEN(field) (1U << (field))

/* One field of a change; its value is on top of the stack. properties is the place that keeps that table. */
static enum err_code read_field(struct reader *reader, enum change_field field, int properties,
                                unsigned *seen)
{
    lua_State *L = reader->L;
    int value = lua_gettop(L);
    *seen |= SEEN(field);
    if (field >= FIELD_UPSTREAM && !need_extras(reader))
        return err_nomem(reader->err);
    switch (field) {
    case FIELD_KEY:
        return ERR_NONE; /* was read first */
    case FIELD_TYPE:
        return read_type(reader, value);
    case FIELD_TARGET:
        return read_target(reader, value);
    case FIELD_PROPERTIES:
        lua_copy(L, value, properties);
        if (lua_istable(L, value))
            return ERR_NONE;
        return err_set(reader->err, ERR_INVALID, "properties must be a table, got %s",
                       lua_typename(L, lua_type(L, value)));
    case FIELD_UPSTREAM:
        return read_upstream(reader, value);
    case FIELD_ICON:
        return read_json_cell(reader, value, &reader->extras->icon, value_is_icon(L, value),
                              "icon must come from Builder.emojiIcon, notionIcon or imageIcon");
    case FIELD_COVER:
        return read_json_cell(reader, value, &reader->extras->cover, value_is_cover(L, value),
                              "cover must come from Builder.imageCover");
    case FIELD_CONTENT:
        return read_content(reader, value);
    case CHANGE_FIELD_COUNT:
        break;
    }
    return err_set(reader->err, ERR_INTERNAL, "unknown field of a change");
}

/* What the fields must be to each other. */
static enum err_code check_fields(const struct reader *reader, unsigned seen)
{
    if ((seen & SEEN(FIELD_KEY)) == 0)
        return err_set(reader->err, ERR_INVALID,
                       "key is missing: give key = a string that names this row and no other");
    if ((seen & SEEN(FIELD_TYPE)) == 0)
        return err_set(reader->err, ERR_INVALID,
                       "type is missing: write type = \"upsert\" or type = \"delete\"");
    if (reader->change->is_delete) {
        if ((seen & ~(SEEN(FIELD_TYPE) | SEEN(FIELD_KEY) | SEEN(FIELD_TARGET))) != 0)
            return err_set(reader->err, ERR_INVALID, "a delete has only type, key and targetDatabaseKey");
        return ERR_NONE;
    }
    if ((seen & SEEN(FIELD_PROPERTIES)) == 0)
        return err_set(reader->err, ERR_INVALID,
                       "properties is missing: give properties = { [\"Property name\"] = value }");
    return ERR_NONE;
}

/* Pushes the key of the change at table, or nil. Its name is taken from the first change that has it, to be
 * kept at key_name: making that string here could fail. */
static bool push_key(lua_State *L, int table, int key_name)
{
    if (lua_isnil(L, key_name)) {
        lua_pushnil(L);
        while (lua_next(L, table) != 0) {
            if (lua_type(L, -2) == LUA_TSTRING && strcmp(lua_tostring(L, -2), "key") == 0)
                lua_copy(L, -2, key_name);
            lua_pop(L, 1);
        }
    }
    lua_pushvalue(L, key_name);
    if (!lua_isnil(L, -1))
        lua_rawget(L, table);
    return !lua_isnil(L, -1);
}

static enum err_code read_change(struct reader *reader, int key_name)
{
    lua_State *L = reader->L; /* stack: …, change */
    int table = lua_gettop(L);
    unsigned seen = 0;
    if (!lua_istable(L, table))
        return err_set(reader->err, ERR_INVALID,
                       "a change must be a table { type = …, key = …, properties = … }, got %s",
                       lua_typename(L, lua_type(L, table)));
    /* First, so that errors name the row whatever the order of the other fields. */
    enum err_code code = push_key(L, table, key_name) ? read_key(reader, table + 1) : ERR_NONE;
    if (code != ERR_NONE)
        return code;
    int properties = table + 1; /* takes the place of the key */
    lua_pushnil(L);
    for (size_t position = 0; code == ERR_NONE && lua_next(L, table) != 0; position++) {
        if (lua_type(L, -2) != LUA_TSTRING)
            return err_set(reader->err, ERR_INVALID, "a change has named fields; a key is a %s",
                           lua_typename(L, lua_type(L, -2)));
        const char *name = lua_tostring(L, -2);
        enum change_field field = find_field(reader, position, name);
        if (field == CHANGE_FIELD_COUNT)
            return refuse_change_field(reader, name);
        code = read_field(reader, field, properties, &seen);
        lua_pop(L, 1);
    }
    if (code == ERR_NONE)
        code = check_fields(reader, seen);
    if (code != ERR_NONE || reader->change->is_delete)
        return code;
    reader->database = &reader->worker->databases[reader->change->database];
    return read_properties(reader, properties);
}

enum err_code page_read_changes(lua_State *L, int index, size_t first, size_t count,
                                const struct worker *worker, size_t database, struct page *page,
                                struct err *err)
{
    index = lua_absindex(L, index);
    if (!lua_checkstack(L, 24))
        return err_nomem(err);
    page->changes = arena_alloc(&page->arena, (count > 0 ? count : 1) * sizeof *page->changes);
    if (page->changes == NULL)
        return err_nomem(err);
    struct reader reader = {.L = L, .worker = worker, .page = page, .err = err};
    lua_pushnil(L); /* place of the name "key" */
    int top = lua_gettop(L);
    for (size_t i = 0; i < count; i++) {
        struct change *change = &page->changes[page->count];
        *change = (struct change){.database = (uint32_t)database, .extras = &no_extras};
        reader.change = change;
        reader.extras = NULL;
        lua_rawgeti(L, index, (lua_Integer)(first + i) + 1);
        enum err_code code = read_change(&reader, top);
        lua_settop(L, top);
        if (code != ERR_NONE) {
            if (change->key != NULL)
                return err_context(err, "changes[%zu], row \"%s\"", first + i + 1, change->key);
            return err_context(err, "changes[%zu]", first + i + 1);
        }
        page->count++;
    }
    return ERR_NONE;
}
