/* From Lua tables to declarations. */
#include "worker/declare.h"
#include "worker/declare_priv.h"

#include "base/json.h"
#include "base/text.h"
#include "base/zone.h"
#include "modules/json.h"
#include "script/options.h"
#include "script/script_error.h"
#include "worker/json_schema.h"
#include "worker/value.h"

#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define KEY_MAX 100
#define PROPERTIES_MAX 500 /* per database */

void *declare_need(lua_State *L, void *block)
{
    if (block == NULL)
        luaL_error(L, "out of memory");
    return block;
}

const char *declare_keep(lua_State *L, struct worker *worker, const char *text)
{
    return text != NULL ? declare_need(L, arena_strndup(&worker->arena, text, strlen(text))) : NULL;
}

void *declare_grow(lua_State *L, struct worker *worker, void *array, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return array;
    size_t more = *room > 0 ? *room * 2 : 8;
    void *larger = declare_need(L, arena_zalloc(&worker->arena, more * size));
    if (count > 0)
        memcpy(larger, array, count * size);
    *room = more;
    return larger;
}

void declare_check_key(lua_State *L, const struct worker *worker, const char *key, const char *method)
{
    size_t len = strlen(key);
    if (len == 0)
        luaL_error(L, "worker:%s: the key must be a non-empty string", method);
    if (len > KEY_MAX || !text_is_utf8(key, len, NULL))
        luaL_error(L, "worker:%s: the key must be UTF-8 of at most %d bytes", method, KEY_MAX);
    for (const char *at = key; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            luaL_error(L, "worker:%s: the key must not contain control characters", method);
    if (worker_database(worker, key) != SIZE_MAX || worker_pacer(worker, key) != NULL ||
        worker_credential(worker, key) != NULL || worker_oauth(worker, key) != NULL ||
        worker_capability(worker, key) != NULL || worker_view(worker, key) != NULL)
        luaL_error(
            L,
            "worker:%s(\"%s\"): something with this key is already registered; keys are unique in a worker",
            method, key);
}

/* ---- databases ---- */

static const struct option_spec database_options[] = {
    {"type", OPTION_STRING, true, "\"managed\""},
    {"initialTitle", OPTION_TEXT, true, "the title people see"},
    {"primaryKeyProperty", OPTION_STRING, true, "the name of the property that holds the row's key"},
    {"schema", OPTION_TABLE, true, "{ properties = { … } }"},
    {NULL, 0, false, NULL},
};

static const struct option_spec schema_options[] = {
    {"properties", OPTION_TABLE, true, "a table from property names to Schema values"},
    {"databaseIcon", OPTION_ANY, false, "Builder.emojiIcon(\"…\")"},
    {"subItems", OPTION_TABLE, false, "{ parentPropertyName = …, childPropertyName = … }"},
    {NULL, 0, false, NULL},
};

static const struct option_spec sub_item_options[] = {
    {"parentPropertyName", OPTION_STRING, true, "the relation to the parent"},
    {"childPropertyName", OPTION_STRING, true, "the relation to the children"},
    {NULL, 0, false, NULL},
};

struct declared_property {
    lua_Integer order;
    struct property property;
};

static int by_order(const void *a, const void *b)
{
    const struct declared_property *x = a, *y = b;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* Options of a select, or of one group of a status; the array of options is on top of the stack. */
static void read_options(lua_State *L, struct worker *worker, struct property *property, int group)
{
    size_t count = lua_rawlen(L, -1);
    struct select_option *options =
        declare_need(L, arena_zalloc(&worker->arena, (property->option_count + count + 1) * sizeof *options));
    if (property->option_count > 0)
        memcpy(options, property->options, property->option_count * sizeof *options);
    for (size_t i = 1; i <= count; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i);
        struct select_option *option = &options[property->option_count++];
        lua_getfield(L, -1, "name");
        const char *name = lua_tolstring(L, -1, &option->len);
        if (name == NULL)
            luaL_error(L, "an option without a name");
        option->name = declare_need(L, arena_strndup(&worker->arena, name, option->len));
        lua_pop(L, 1);
        lua_getfield(L, -1, "color");
        option->color = declare_keep(L, worker, lua_tostring(L, -1));
        option->group = group;
        lua_pop(L, 2);
    }
    property->options = options;
}

static void read_groups(lua_State *L, struct worker *worker, struct property *property)
{
    lua_getfield(L, -1, "groups");
    size_t count = lua_istable(L, -1) ? lua_rawlen(L, -1) : 0;
    for (size_t i = 0; i < count && i < 3; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        lua_getfield(L, -1, "name");
        property->groups[i] = declare_keep(L, worker, lua_tostring(L, -1));
        lua_pop(L, 1);
        lua_getfield(L, -1, "options");
        if (lua_istable(L, -1))
            read_options(L, worker, property, (int)i);
        lua_pop(L, 2);
        property->group_count++;
    }
    lua_pop(L, 1);
}

static void read_relation(lua_State *L, struct worker *worker, struct property *property)
{
    lua_getfield(L, -1, "relatedDatabaseKey");
    property->related_database = declare_keep(L, worker, lua_tostring(L, -1));
    lua_pop(L, 1);
    if (lua_getfield(L, -1, "config") == LUA_TTABLE) {
        property->two_way = options_boolean(L, -1, "twoWay", false);
        if (property->two_way)
            property->related_property =
                declare_keep(L, worker, options_string(L, -1, "relatedPropertyName", NULL));
    }
    lua_pop(L, 1);
}

/* The Schema value is on top of the stack. */
static lua_Integer read_property(lua_State *L, struct worker *worker, const char *where,
                                 struct property *property)
{
    const char *name = property->name;
    if (!lua_istable(L, -1) || !lua_getmetatable(L, -1))
        return luaL_error(L, "%s: property \"%s\" must be a Schema value, as in Schema.richText(); got %s",
                          where, name, luaL_typename(L, -1));
    lua_pushliteral(L, "__name");
    lua_rawget(L, -2);
    if (lua_type(L, -1) != LUA_TSTRING || strcmp(lua_tostring(L, -1), "workers.schema") != 0)
        return luaL_error(L, "%s: property \"%s\" must be a Schema value, as in Schema.richText()", where,
                          name);
    lua_pop(L, 1);
    lua_pushliteral(L, "order");
    lua_rawget(L, -2);
    lua_Integer order = lua_tointeger(L, -1);
    lua_pop(L, 1);
    lua_pushliteral(L, "strict");
    lua_rawget(L, -2);
    property->strict = lua_toboolean(L, -1);
    lua_pop(L, 2);

    const char *type = options_string(L, -1, "type", "");
    property->type = property_type_of(type);
    switch (property->type) {
    case PROPERTY_TYPE_COUNT:
        luaL_error(L, "%s: property \"%s\" has an unknown type \"%s\"", where, name, type);
        break;
    case PROPERTY_NUMBER:
        property->format = declare_keep(L, worker, options_string(L, -1, "format", NULL));
        break;
    case PROPERTY_DATE:
        property->format = declare_keep(L, worker, options_string(L, -1, "date_format", NULL));
        break;
    case PROPERTY_SELECT:
    case PROPERTY_MULTI_SELECT:
        lua_getfield(L, -1, "options");
        read_options(L, worker, property, 0);
        lua_pop(L, 1);
        break;
    case PROPERTY_STATUS:
        read_groups(L, worker, property);
        break;
    case PROPERTY_RELATION:
        read_relation(L, worker, property);
        break;
    default:
        break;
    }
    return order;
}

/* Names that the table's own columns have, and the second column of a date, belong to us. */
static const char *column_name(lua_State *L, struct worker *worker, const char *name, size_t len)
{
    struct buf column;
    buf_init(&column, 4 * KEY_MAX + 64);
    text_snake_case(name, len, &column);
    const char *kept = buf_status(&column, name, NULL) == ERR_NONE
                           ? arena_strndup(&worker->arena, buf_text(&column), column.len)
                           : NULL;
    bool failed = column.failed;
    buf_free(&column);
    if (failed)
        luaL_error(L, "the name \"%s\" is too long for a column", name);
    return declare_need(L, (void *)(uintptr_t)kept);
}

static void check_columns(lua_State *L, const struct database *database, const char *where)
{
    for (size_t i = 0; i < database->property_count; i++) {
        const struct property *a = &database->properties[i];
        size_t len = strlen(a->column);
        for (size_t k = 0; k < database->property_count; k++) {
            const struct property *b = &database->properties[k];
            if (i != k && strcmp(a->column, b->column) == 0)
                luaL_error(L,
                           "%s: properties \"%s\" and \"%s\" would both be stored in column %s: rename one",
                           where, b->name, a->name, a->column);
            if (i != k && a->type == PROPERTY_DATE && strncmp(b->column, a->column, len) == 0 &&
                strcmp(b->column + len, "_end") == 0)
                luaL_error(L,
                           "%s: property \"%s\" would be stored in column %s, where the end of \"%s\" goes: "
                           "rename one",
                           where, b->name, b->column, a->name);
        }
    }
}

static void read_properties(lua_State *L, struct worker *worker, struct database *database, const char *where)
{
    /* stack: …, properties */
    size_t count = 0;
    size_t titles = 0;
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1))
        count++;
    if (count > PROPERTIES_MAX)
        luaL_error(L, "%s: more than %d properties", where, PROPERTIES_MAX);
    struct declared_property *declared = lua_newuserdatauv(L, (count + 1) * sizeof *declared, 0);
    memset(declared, 0, (count + 1) * sizeof *declared);
    lua_insert(L, -2); /* …, declared, properties */
    count = 0;
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
        if (lua_type(L, -2) != LUA_TSTRING || lua_rawlen(L, -2) == 0)
            luaL_error(L, "%s: schema.properties must map names to Schema values; a key is %s", where,
                       lua_type(L, -2) == LUA_TSTRING ? "empty" : luaL_typename(L, -2));
        struct property *property = &declared[count].property;
        const char *name = lua_tolstring(L, -2, &property->name_len);
        if (!text_is_utf8(name, property->name_len, NULL) || strlen(name) != property->name_len)
            luaL_error(L, "%s: a property name is not valid UTF-8", where);
        property->name = declare_need(L, arena_strndup(&worker->arena, name, property->name_len));
        declared[count].order = read_property(L, worker, where, property);
        property->column = column_name(L, worker, property->name, property->name_len);
        titles += property->type == PROPERTY_TITLE;
        count++;
        lua_pop(L, 1);
    }
    qsort(declared, count, sizeof *declared, by_order);
    database->properties =
        declare_need(L, arena_zalloc(&worker->arena, (count + 1) * sizeof *database->properties));
    for (size_t i = 0; i < count; i++)
        database->properties[i] = declared[i].property;
    database->property_count = count;
    lua_remove(L, -2);
    if (titles != 1)
        luaL_error(L, "%s: a schema needs exactly one title property, this one has %d", where, (int)titles);
    check_columns(L, database, where);
}

static void read_primary_key(lua_State *L, struct database *database, const char *name, const char *where)
{
    const struct property *primary = database_property(database, name, strlen(name));
    if (primary == NULL) {
        const char *names[PROPERTIES_MAX];
        for (size_t i = 0; i < database->property_count; i++)
            names[i] = database->properties[i].name;
        int nearest = text_nearest(name, strlen(name), names, database->property_count);
        luaL_error(L, "%s: primaryKeyProperty \"%s\" is not in schema.properties%s%s%s", where, name,
                   nearest >= 0 ? "; did you mean \"" : "", nearest >= 0 ? names[nearest] : "",
                   nearest >= 0 ? "\"?" : "");
        return;
    }
    switch (primary->type) {
    case PROPERTY_TITLE:
    case PROPERTY_TEXT:
    case PROPERTY_URL:
    case PROPERTY_EMAIL:
    case PROPERTY_PHONE:
    case PROPERTY_NUMBER:
    case PROPERTY_SELECT:
        break;
    default:
        luaL_error(L,
                   "%s: primaryKeyProperty \"%s\" is of type %s; a key needs title, richText, url, email, "
                   "phoneNumber, "
                   "number or select",
                   where, name, property_type_name(primary->type));
    }
    database->primary_key = (size_t)(primary - database->properties);
}

void declare_database(lua_State *L, struct worker *worker, const char *key, int index)
{
    const char *where = lua_pushfstring(L, "worker:database(\"%s\")", key);
    index = lua_absindex(L, index);
    options_check(L, index, database_options, where);
    struct database database = {.key = declare_keep(L, worker, key)};
    luaL_where(L, 1);
    database.where = declare_keep(L, worker, lua_tostring(L, -1));
    lua_pop(L, 1);
    const char *type = options_string(L, index, "type", "");
    if (strcmp(type, "managed") != 0 && strcmp(type, "attached") != 0)
        luaL_error(L, "%s: option \"type\" must be \"managed\", got \"%s\"", where, type);
    database.type = declare_keep(L, worker, type);
    database.initial_title = declare_keep(L, worker, options_string(L, index, "initialTitle", ""));
    database.table = column_name(L, worker, key, strlen(key));
    if (strncmp(database.table, "sqlite", 6) == 0)
        luaL_error(
            L, "%s: tables whose names begin with sqlite belong to the database engine: choose another key",
            where);

    lua_getfield(L, index, "schema");
    const char *schema_where = lua_pushfstring(L, "%s: schema", where);
    options_check(L, -2, schema_options, schema_where);
    lua_pop(L, 1);
    lua_getfield(L, -1, "properties");
    read_properties(L, worker, &database, where);
    lua_pop(L, 1);
    read_primary_key(L, &database, options_string(L, index, "primaryKeyProperty", ""), where);

    if (lua_getfield(L, -1, "databaseIcon") != LUA_TNIL) {
        struct buf icon;
        struct err err = {0};
        buf_init(&icon, 16 * 1024);
        enum err_code code = value_is_icon(L, -1) ? json_encode(L, -1, NULL, &icon, &err)
                                                  : err_set(&err, ERR_INVALID,
                                                            "expected an icon from Builder.emojiIcon, "
                                                            "notionIcon or imageIcon");
        database.icon_json =
            code == ERR_NONE ? arena_strndup(&worker->arena, buf_text(&icon), icon.len) : NULL;
        buf_free(&icon);
        if (code != ERR_NONE)
            luaL_error(L, "%s: databaseIcon: %s", where, err.message);
        declare_need(L, (void *)(uintptr_t)database.icon_json);
    }
    lua_pop(L, 1);
    if (lua_getfield(L, -1, "subItems") == LUA_TTABLE) {
        const char *sub_where = lua_pushfstring(L, "%s: subItems", where);
        options_check(L, -2, sub_item_options, sub_where);
        lua_pop(L, 1);
        database.sub_items_parent = declare_keep(L, worker, options_string(L, -1, "parentPropertyName", ""));
        database.sub_items_child = declare_keep(L, worker, options_string(L, -1, "childPropertyName", ""));
    }
    lua_pop(L, 2);
    worker->databases = declare_grow(L, worker, worker->databases, worker->database_count,
                                     &worker->database_room, sizeof database);
    worker->databases[worker->database_count++] = database;
    lua_pop(L, 1);
}

/* ---- pacers ---- */

static const struct option_spec pacer_options[] = {
    {"allowedRequests", OPTION_NUMBER, true, "how many requests in one interval"},
    {"intervalMs", OPTION_NUMBER, true, "the interval in milliseconds"},
    {NULL, 0, false, NULL},
};

void declare_pacer(lua_State *L, struct worker *worker, const char *key, int index)
{
    const char *where = lua_pushfstring(L, "worker:pacer(\"%s\")", key);
    options_check(L, index, pacer_options, where);
    struct pacer pacer = {.key = declare_keep(L, worker, key)};
    pacer.allowed_requests = options_number(L, index, "allowedRequests", 0);
    pacer.interval_ms = options_number(L, index, "intervalMs", 0);
    if (!(pacer.allowed_requests > 0) || !(pacer.interval_ms > 0) || !isfinite(pacer.allowed_requests) ||
        !(pacer.interval_ms / pacer.allowed_requests <= 7.0 * 24 * 3600 * 1000))
        luaL_error(L,
                   "%s: allowedRequests and intervalMs must be greater than 0 and give a request at least "
                   "every 7 days",
                   where);
    worker->pacers =
        declare_grow(L, worker, worker->pacers, worker->pacer_count, &worker->pacer_room, sizeof pacer);
    worker->pacers[worker->pacer_count++] = pacer;
    lua_pop(L, 1);
}

/* ---- capabilities ---- */

static const struct option_spec sync_options[] = {
    {"database", OPTION_TABLE, true, "what worker:database returned"},
    {"execute", OPTION_FUNCTION, true, "function(state, ctx) … return { changes = …, hasMore = … } end"},
    {"mode", OPTION_STRING, false, "\"replace\" or \"incremental\""},
    {"schedule", OPTION_ANY, false, NULL},
    {"sweep", OPTION_TABLE, false, "{ maxDeleteRatio = 0.5, minRows = 100 }"},
    {NULL, 0, false, NULL},
};

static const struct option_spec sweep_options[] = {
    {"maxDeleteRatio", OPTION_NUMBER, false, "0 to 1"},
    {"minRows", OPTION_INTEGER, false, "0 or more"},
    {NULL, 0, false, NULL},
};

static const struct option_spec tool_options[] = {
    {"title", OPTION_STRING, true, "what people see"},
    {"description", OPTION_TEXT, true, "what tells an agent when to use the tool"},
    {"schema", OPTION_ANY, true, "j.object { … }"},
    {"outputSchema", OPTION_ANY, false, "j.object { … }"},
    {"hints", OPTION_TABLE, false, "{ readOnlyHint = true }"},
    {"dryRun", OPTION_BOOLEAN, false, "true when execute looks at ctx.dryRun"},
    {"execute", OPTION_FUNCTION, true, "function(input, ctx) … end"},
    {NULL, 0, false, NULL},
};

static const struct option_spec hint_options[] = {
    {"readOnlyHint", OPTION_BOOLEAN, false, NULL},
    {NULL, 0, false, NULL},
};

static const struct option_spec webhook_options[] = {
    {"title", OPTION_STRING, true, "what people see"},
    {"description", OPTION_TEXT, true, "what it receives"},
    {"verify", OPTION_FUNCTION, false, "function(request, ctx) … end"},
    {"idempotencyKey", OPTION_FUNCTION, false, "function(request) return id end"},
    {"execute", OPTION_FUNCTION, true, "function(events, ctx) … end"},
    {NULL, 0, false, NULL},
};

static const struct option_spec automation_options[] = {
    {"title", OPTION_STRING, true, "what people see"},
    {"description", OPTION_TEXT, true, "what it does"},
    {"trigger", OPTION_TABLE, false, "{ database = tasks, on = { \"insert\" } }"},
    {"execute", OPTION_FUNCTION, true, "function(event, ctx) … end"},
    {NULL, 0, false, NULL},
};

static const struct option_spec trigger_options[] = {
    {"database", OPTION_TABLE, true, "what worker:database returned"},
    {"on", OPTION_TABLE, false, "{ \"insert\", \"update\", \"delete\" }"},
    {"when", OPTION_FUNCTION, false, "function(event) return event.row.Done end"},
    {NULL, 0, false, NULL},
};

static const struct option_spec job_options[] = {
    {"title", OPTION_STRING, true, "what people see"},
    {"description", OPTION_TEXT, true, "what it does"},
    {"schedule", OPTION_ANY, false, NULL},
    {"execute", OPTION_FUNCTION, true, "function(input, ctx) … end"},
    {NULL, 0, false, NULL},
};

static const struct option_spec schedule_options[] = {
    {"cron", OPTION_STRING, false, "\"0 9 * * 1-5\""},
    {"every", OPTION_STRING, false, "\"30m\""},
    {"missed", OPTION_STRING, false, "\"once\", \"skip\" or \"all\""},
    {"timezone", OPTION_STRING, false, "\"Europe/Berlin\""},
    {NULL, 0, false, NULL},
};

static const struct option_spec *const capability_options[] = {sync_options, tool_options, webhook_options,
                                                               automation_options, job_options};

/* The table on top of the stack: cron in a time zone, or every. */
static enum err_code read_schedule_table(lua_State *L, struct worker *worker, const char *where,
                                         struct schedule *out, struct err *err)
{
    const char *table_where = lua_pushfstring(L, "%s: schedule", where);
    options_check(L, -2, schedule_options, table_where);
    lua_pop(L, 1);
    const char *cron = options_string(L, -1, "cron", NULL), *every = options_string(L, -1, "every", NULL);
    const char *missed = options_string(L, -1, "missed", "once");
    if ((cron == NULL) == (every == NULL))
        return err_set(err, ERR_INVALID, "schedule: give either cron = \"0 9 * * 1-5\" or every = \"30m\"");
    enum err_code code = ERR_NONE;
    if (every != NULL) {
        code = schedule_parse(every, out, err);
        if (code == ERR_NONE && out->type != SCHEDULE_INTERVAL)
            code = err_set(err, ERR_INVALID, "schedule: every must be an interval from \"1m\" to \"7d\"");
    } else {
        *out = (struct schedule){.type = SCHEDULE_CRON};
        out->cron_text = declare_keep(L, worker, cron);
        out->timezone = declare_keep(L, worker, options_string(L, -1, "timezone", "UTC"));
        code = cron_parse(out->cron_text, &out->cron, err);
        const struct zone *zone;
        if (code == ERR_NONE)
            code = zone_find(out->timezone, strlen(out->timezone), &zone, err);
    }
    if (code == ERR_NONE && !schedule_missed_parse(missed, &out->missed))
        code = err_set(err, ERR_INVALID, "schedule: missed must be \"once\", \"skip\" or \"all\", got \"%s\"",
                       missed);
    return code;
}

/* Option "schedule" of the table at index. */
static bool read_schedule(lua_State *L, struct worker *worker, int index, const char *where,
                          struct schedule *out)
{
    struct err err;
    enum err_code code = ERR_NONE;
    int type = lua_getfield(L, index, "schedule");
    if (type == LUA_TNIL) {
        lua_pop(L, 1);
        return false;
    }
    if (type == LUA_TSTRING) {
        code = schedule_parse(lua_tostring(L, -1), out, &err);
    } else if (type == LUA_TTABLE) {
        code = read_schedule_table(L, worker, where, out, &err);
    } else {
        code = err_set(&err, ERR_INVALID,
                       "option \"schedule\" must be a string like \"30m\" or { cron = …, timezone = … }, "
                       "got %s",
                       lua_typename(L, type));
    }
    if (code != ERR_NONE)
        luaL_error(L, "%s: %s", where, err.message);
    lua_pop(L, 1);
    return true;
}

size_t declare_read_database(lua_State *L, const struct worker *worker, int index, const char *where)
{
    lua_getfield(L, index, "database");
    if (luaL_getmetafield(L, -1, "__name") != LUA_TSTRING ||
        strcmp(lua_tostring(L, -1), DATABASE_HANDLE) != 0)
        luaL_error(L, "%s: option \"database\" must be what worker:database returned", where);
    lua_pop(L, 1);
    lua_getfield(L, -1, "key");
    size_t database = lua_isstring(L, -1) ? worker_database(worker, lua_tostring(L, -1)) : SIZE_MAX;
    if (database == SIZE_MAX)
        luaL_error(L, "%s: option \"database\" belongs to another worker", where);
    lua_pop(L, 2);
    return database;
}

static void read_trigger(lua_State *L, const struct worker *worker, int index, const char *key_where,
                         struct capability *automation)
{
    static const char *const names[] = {"insert", "update", "delete"};
    if (lua_getfield(L, index, "trigger") != LUA_TTABLE) {
        lua_pop(L, 1);
        return;
    }
    const char *where = lua_pushfstring(L, "%s: trigger", key_where);
    int trigger = lua_absindex(L, -2);
    options_check(L, trigger, trigger_options, where);
    automation->has_trigger = true;
    automation->database = declare_read_database(L, worker, trigger, where);
    automation->has_when = lua_getfield(L, trigger, "when") == LUA_TFUNCTION;
    lua_pop(L, 1);
    if (lua_getfield(L, trigger, "on") == LUA_TNIL) {
        automation->trigger_events = (1u << 3) - 1;
    } else {
        lua_Integer count = luaL_len(L, -1);
        for (lua_Integer i = 1; i <= count; i++) {
            const char *name = lua_geti(L, -1, i) == LUA_TSTRING ? lua_tostring(L, -1) : "";
            int found = -1;
            for (int k = 0; k < 3; k++)
                found = strcmp(name, names[k]) == 0 ? k : found;
            if (found < 0)
                luaL_error(
                    L, "%s: option \"on\" must be a list of \"insert\", \"update\" and \"delete\", got %s",
                    where, luaL_tolstring(L, -1, NULL));
            automation->trigger_events |= 1u << found;
            lua_pop(L, 1);
        }
        if (count == 0)
            luaL_error(L, "%s: option \"on\" is empty: leave it out for all changes", where);
    }
    lua_pop(L, 3);
}

static void read_sync(lua_State *L, struct worker *worker, int index, const char *where,
                      struct capability *sync)
{
    sync->database = declare_read_database(L, worker, index, where);

    const char *mode = options_string(L, index, "mode", NULL);
    sync->mode_given = mode != NULL;
    sync->mode = SYNC_REPLACE;
    if (mode != NULL && strcmp(mode, "incremental") == 0)
        sync->mode = SYNC_INCREMENTAL;
    else if (mode != NULL && strcmp(mode, "replace") != 0)
        luaL_error(L, "%s: option \"mode\" must be \"replace\" or \"incremental\", got \"%s\"", where, mode);

    sync->schedule_given = read_schedule(L, worker, index, where, &sync->schedule);
    if (!sync->schedule_given)
        sync->schedule = (struct schedule){.type = SCHEDULE_INTERVAL, .interval_ms = SCHEDULE_DEFAULT_MS};

    sync->sweep_max_delete_ratio = 0.5;
    sync->sweep_min_rows = 100;
    if (lua_getfield(L, index, "sweep") == LUA_TTABLE) {
        const char *sweep_where = lua_pushfstring(L, "%s: sweep", where);
        options_check(L, -2, sweep_options, sweep_where);
        sync->sweep_max_delete_ratio = options_number(L, -2, "maxDeleteRatio", 0.5);
        double rows = options_number(L, -2, "minRows", 100);
        if (!(sync->sweep_max_delete_ratio >= 0 && sync->sweep_max_delete_ratio <= 1))
            luaL_error(L, "%s: maxDeleteRatio must be from 0 to 1", sweep_where);
        if (!(rows >= 0 && rows < 1e15))
            luaL_error(L, "%s: minRows must be 0 or more", sweep_where);
        sync->sweep_min_rows = (int64_t)rows;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* Does not raise for a bad schema, so that the caller can release the other one. */
static enum err_code read_tool_schema(lua_State *L, int index, const char *option, struct json_schema **out,
                                      struct err *err)
{
    enum err_code code = ERR_NONE;
    if (lua_getfield(L, index, option) != LUA_TNIL) {
        bool is_j = false;
        if (luaL_getmetafield(L, -1, "__name") != LUA_TNIL) {
            is_j = lua_type(L, -1) == LUA_TSTRING && strcmp(lua_tostring(L, -1), "workers.j") == 0;
            lua_pop(L, 1);
        }
        code = is_j ? json_schema_compile(L, -1, out, err)
                    : err_set(err, ERR_INVALID, "must be a j value, as in j.object { name = j.string() }");
        if (code != ERR_NONE)
            err_context(err, "option \"%s\"", option);
    }
    lua_pop(L, 1);
    return code;
}

/* The name is taken when callers may ask for a dry run. */
static enum err_code check_dry_run(const struct capability *tool, struct err *err)
{
    struct buf text;
    struct json_slice properties, property;
    buf_init(&text, BUF_UNLIMITED);
    enum err_code code = json_schema_write(tool->input_schema, &text);
    if (code != ERR_NONE)
        err_nomem(err);
    else if (!json_find(buf_text(&text), text.len, "properties", &properties))
        code = err_set(err, ERR_INVALID, "option \"dryRun\" needs a schema that is a j.object");
    else if (json_find(properties.text, properties.len, DRY_RUN_PROPERTY, &property))
        code = err_set(err, ERR_INVALID,
                       "option \"dryRun\" adds a property " DRY_RUN_PROPERTY
                       " to the input, which the schema has already");
    buf_free(&text);
    return code;
}

static void read_tool(lua_State *L, struct worker *worker, int index, const char *where,
                      struct capability *tool)
{
    (void)worker;
    if (lua_getfield(L, index, "hints") == LUA_TTABLE) {
        const char *hints_where = lua_pushfstring(L, "%s: hints", where);
        options_check(L, -2, hint_options, hints_where);
        lua_pop(L, 1);
        tool->hints_given = true;
        tool->read_only_hint = -1;
        if (lua_getfield(L, -1, "readOnlyHint") != LUA_TNIL)
            tool->read_only_hint = lua_toboolean(L, -1);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    struct err err;
    enum err_code code = read_tool_schema(L, index, "schema", &tool->input_schema, &err);
    if (code == ERR_NONE)
        code = read_tool_schema(L, index, "outputSchema", &tool->output_schema, &err);
    lua_getfield(L, index, "dryRun");
    tool->has_dry_run = lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (code == ERR_NONE && tool->has_dry_run)
        code = check_dry_run(tool, &err);
    if (code != ERR_NONE) {
        json_schema_free(tool->input_schema);
        json_schema_free(tool->output_schema);
        luaL_error(L, "%s: %s", where, err.message);
    }
}

void declare_capability(lua_State *L, struct worker *worker, enum capability_kind kind, const char *key,
                        int index)
{
    const char *where = lua_pushfstring(L, "worker:%s(\"%s\")", capability_kind_name(kind), key);
    index = lua_absindex(L, index);
    options_check(L, index, capability_options[kind], where);
    struct capability capability = {.kind = kind, .key = declare_keep(L, worker, key), .read_only_hint = -1};
    capability.title = declare_keep(L, worker, options_string(L, index, "title", ""));
    capability.description = declare_keep(L, worker, options_string(L, index, "description", ""));
    worker->capabilities = declare_grow(L, worker, worker->capabilities, worker->capability_count,
                                        &worker->capability_room, sizeof capability);
    switch (kind) {
    case CAPABILITY_SYNC:
        read_sync(L, worker, index, where, &capability);
        break;
    case CAPABILITY_TOOL:
        read_tool(L, worker, index, where, &capability);
        break;
    case CAPABILITY_WEBHOOK:
        capability.has_verify = lua_getfield(L, index, "verify") == LUA_TFUNCTION;
        capability.has_idempotency_key = lua_getfield(L, index, "idempotencyKey") == LUA_TFUNCTION;
        lua_pop(L, 2);
        break;
    case CAPABILITY_AUTOMATION:
        read_trigger(L, worker, index, where, &capability);
        break;
    case CAPABILITY_JOB:
        capability.schedule_given = read_schedule(L, worker, index, where, &capability.schedule);
        if (!capability.schedule_given)
            capability.schedule = (struct schedule){.type = SCHEDULE_MANUAL};
        break;
    }
    worker->capabilities[worker->capability_count++] = capability;
    lua_pop(L, 1);
}
