/* From the table of worker:view to the declaration. */
#include "worker/declare.h"
#include "worker/declare_priv.h"

#include "base/text.h"
#include "modules/json.h"
#include "script/options.h"
#include "worker/value.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SOURCES_MAX 20
#define NAME_MAX_CHARS 128
#define DESCRIPTION_MAX_CHARS 1024
#define PATH_MAX_BYTES 200
#define COMMAND_MAX 2000
#define SLASH_COMMAND_MAX 64
#define COMMAND_USUAL "npm run build"
#define OUTPUT_USUAL "dist"

static const struct option_spec view_options[] = {
    {"path", OPTION_STRING, true, "the folder of its files, as in \"views/board\""},
    {"type", OPTION_STRING, false, "\"static\" or \"project\""},
    {"command", OPTION_STRING, false, "what builds a project, as in \"npm run build\""},
    {"output", OPTION_STRING, false, "the folder that the command makes, as in \"dist\""},
    {"name", OPTION_STRING, false, "what people see"},
    {"description", OPTION_TEXT, false, "what it shows"},
    {"dataSources", OPTION_TABLE, false, "{ tasks = { database = tasks } }"},
    {"icon", OPTION_TABLE, false, "Builder.emojiIcon(\"📊\")"},
    {"slashCommand", OPTION_STRING, false, "\"board\""},
    {"version", OPTION_INTEGER, false, "a whole number"},
    {NULL, 0, false, NULL},
};

static const struct option_spec source_options[] = {
    {"database", OPTION_TABLE, false, "what worker:database returned"},
    {"name", OPTION_STRING, false, "what people see"},
    {"description", OPTION_TEXT, false, "what its rows are"},
    {"icon", OPTION_TABLE, false, "Builder.emojiIcon(\"📊\")"},
    {"properties", OPTION_TABLE, false, "{ title = \"Name\", due = \"Due date\" }"},
    {NULL, 0, false, NULL},
};

static const struct option_spec property_options[] = {
    {"name", OPTION_STRING, true, "the property's name in the database"},
    {"description", OPTION_TEXT, false, "what it is"},
    {"type", OPTION_STRING, false, "the property's type"},
    {NULL, 0, false, NULL},
};

static const char *read_text(lua_State *L, struct worker *worker, int index, const char *name, size_t max,
                             const char *where)
{
    const char *text = options_string(L, index, name, NULL);
    size_t characters = 0;
    for (const char *at = text; at != NULL && *at != '\0'; at++)
        characters += ((unsigned char)*at & 0xc0) != 0x80;
    if (text != NULL && (!text_is_utf8(text, strlen(text), NULL) || characters > max))
        luaL_error(L, "%s: option \"%s\" must be UTF-8 of at most %d characters", where, name, (int)max);
    return declare_keep(L, worker, text);
}

/* A folder within another. */
static const char *read_path(lua_State *L, struct worker *worker, int index, const char *name,
                             const char *absent, const char *where)
{
    char path[PATH_MAX_BYTES + 1];
    const char *text = options_string(L, index, name, absent);
    while (strncmp(text, "./", 2) == 0)
        text += 2;
    size_t len = strlen(text);
    while (len > 1 && text[len - 1] == '/')
        len--;
    bool bad = len == 0 || len > PATH_MAX_BYTES || text[0] == '/' || strchr(text, '\\') != NULL ||
               !text_is_utf8(text, len, NULL);
    for (const char *part = text; !bad && part < text + len; part += strcspn(part, "/") + 1) {
        size_t part_len = strcspn(part, "/");
        if (part + part_len > text + len)
            part_len = (size_t)(text + len - part);
        bad = part_len == 0 || part[0] == '.';
    }
    if (bad)
        luaL_error(L,
                   "%s: option \"%s\" must be a folder of the project, as in \"views/board\": relative, "
                   "without \"..\" and hidden folders",
                   where, name);
    snprintf(path, sizeof path, "%.*s", (int)len, text);
    return declare_keep(L, worker, path);
}

static const char *read_icon(lua_State *L, struct worker *worker, int index, const char *where)
{
    const char *kept = NULL;
    if (lua_getfield(L, index, "icon") == LUA_TTABLE) {
        struct buf icon;
        struct err err;
        buf_init(&icon, (size_t)16 * 1024);
        enum err_code code = value_is_icon(L, -1)
                                 ? json_encode(L, -1, NULL, &icon, &err)
                                 : err_set(&err, ERR_INVALID, "expected an icon from Builder.emojiIcon");
        if (code == ERR_NONE)
            kept = arena_strndup(&worker->arena, buf_text(&icon), icon.len);
        buf_free(&icon);
        if (code != ERR_NONE)
            luaL_error(L, "%s: option \"icon\": %s", where, err.message);
        declare_need(L, (void *)(uintptr_t)kept);
    }
    lua_pop(L, 1);
    return kept;
}

static const char *read_slash_command(lua_State *L, struct worker *worker, int index, const char *where)
{
    const char *text = options_string(L, index, "slashCommand", NULL);
    if (text == NULL)
        return NULL;
    text += text[0] == '/';
    size_t len = strlen(text);
    if (len == 0 || len > SLASH_COMMAND_MAX || text[0] == '-' || text[0] == '_' ||
        strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-_") != len)
        luaL_error(L,
                   "%s: option \"slashCommand\" must be 1 to %d lower-case letters, digits, '-' and '_', and "
                   "begin with a letter or a digit",
                   where, SLASH_COMMAND_MAX);
    return declare_keep(L, worker, text);
}

/* ---- data sources ---- */

static size_t find_property(lua_State *L, const struct database *database, const char *name,
                            const char *where)
{
    const struct property *property = database_property(database, name, strlen(name));
    if (property != NULL)
        return (size_t)(property - database->properties);
    const char **names = declare_need(L, lua_newuserdatauv(L, database->property_count * sizeof *names, 0));
    for (size_t i = 0; i < database->property_count; i++)
        names[i] = database->properties[i].name;
    int nearest = text_nearest(name, strlen(name), names, database->property_count);
    if (nearest >= 0)
        luaL_error(L, "%s: database \"%s\" has no property \"%s\"; did you mean \"%s\"?", where,
                   database->key, name, names[nearest]);
    return (size_t)luaL_error(L, "%s: database \"%s\" has no property \"%s\"", where, database->key, name);
}

/* The value on top of the stack: the property's name, or a table. */
static void read_property(lua_State *L, struct worker *worker, const struct database *database,
                          const char *source_where, struct view_property *out)
{
    const char *where = lua_pushfstring(L, "%s: properties.%s", source_where, out->name);
    lua_insert(L, -2);
    if (lua_type(L, -1) == LUA_TSTRING) {
        out->property = find_property(L, database, lua_tostring(L, -1), where);
        return;
    }
    int index = lua_absindex(L, -1);
    options_check(L, index, property_options, where);
    out->property = find_property(L, database, options_string(L, index, "name", ""), where);
    out->description = read_text(L, worker, index, "description", DESCRIPTION_MAX_CHARS, where);
    const char *type = options_string(L, index, "type", NULL);
    const char *real = property_type_name(database->properties[out->property].type);
    if (type != NULL && strcmp(type, real) != 0)
        luaL_error(L, "%s: property \"%s\" of database \"%s\" is of the type \"%s\", not \"%s\"", where,
                   database->properties[out->property].name, database->key, real, type);
}

static int by_name(const void *a, const void *b)
{
    const struct view_property *left = a, *right = b;
    return strcmp(left->name, right->name);
}

static void read_properties(lua_State *L, struct worker *worker, int index, const char *where,
                            struct view_source *source)
{
    const struct database *database = &worker->databases[source->database];
    size_t room = database->property_count, count = 0;
    source->all = lua_getfield(L, index, "properties") == LUA_TNIL;
    int table = lua_absindex(L, -1);
    if (!source->all) {
        room = 0;
        for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1))
            room++;
    }
    if (room == 0)
        luaL_error(L, "%s: properties is empty: leave it out for all of them", where);
    source->properties = declare_need(L, arena_zalloc(&worker->arena, room * sizeof *source->properties));
    if (source->all) {
        for (; count < room; count++)
            source->properties[count] =
                (struct view_property){.name = database->properties[count].name, .property = count};
    } else {
        for (lua_pushnil(L); lua_next(L, table) != 0; count++) {
            if (lua_type(L, -2) != LUA_TSTRING || (lua_type(L, -1) != LUA_TSTRING && !lua_istable(L, -1)))
                luaL_error(
                    L, "%s: properties must map names to those of the database, as in { due = \"Due date\" }",
                    where);
            const char *name = lua_tostring(L, -2);
            if (name[0] == '\0' || name[0] == '_' || !text_is_utf8(name, lua_rawlen(L, -2), NULL) ||
                strlen(name) != lua_rawlen(L, -2))
                luaL_error(L, "%s: properties: a name must be UTF-8, not empty, and not begin with \"_\"",
                           where);
            source->properties[count].name = declare_keep(L, worker, name);
            int top = lua_gettop(L) - 1; /* what stays is the name */
            read_property(L, worker, database, where, &source->properties[count]);
            lua_settop(L, top);
        }
        qsort(source->properties, count, sizeof *source->properties, by_name);
        for (size_t i = 1; i < count; i++)
            for (size_t k = 0; k < i; k++)
                if (source->properties[i].property == source->properties[k].property)
                    luaL_error(L, "%s: properties \"%s\" and \"%s\" are the same one", where,
                               source->properties[k].name, source->properties[i].name);
    }
    source->property_count = count;
    lua_pop(L, 1);
}

/* The table on top of the stack. */
static void read_source(lua_State *L, struct worker *worker, const char *view_where,
                        struct view_source *source)
{
    int index = lua_absindex(L, -1);
    const char *where = lua_pushfstring(L, "%s: dataSources.%s", view_where, source->key);
    options_check(L, index, source_options, where);
    if (lua_getfield(L, index, "database") != LUA_TNIL) {
        source->database = declare_read_database(L, worker, index, where);
    } else if ((source->database = worker_database(worker, source->key)) == SIZE_MAX) {
        luaL_error(L,
                   "%s: option \"database\" is missing, and there is no database \"%s\": give what "
                   "worker:database returned",
                   where, source->key);
    }
    lua_pop(L, 1);
    const struct database *database = &worker->databases[source->database];
    source->name = read_text(L, worker, index, "name", NAME_MAX_CHARS, where);
    if (source->name == NULL)
        source->name = database->initial_title[0] != '\0' ? database->initial_title : source->key;
    source->description = read_text(L, worker, index, "description", DESCRIPTION_MAX_CHARS, where);
    read_properties(L, worker, index, where, source);
    lua_pop(L, 1);
}

static int by_key(const void *a, const void *b)
{
    const struct view_source *left = a, *right = b;
    return strcmp(left->key, right->key);
}

static void read_sources(lua_State *L, struct worker *worker, int index, const char *where, struct view *view)
{
    if (lua_getfield(L, index, "dataSources") == LUA_TTABLE) {
        view->sources = declare_need(L, arena_zalloc(&worker->arena, SOURCES_MAX * sizeof *view->sources));
        for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
            if (lua_type(L, -2) != LUA_TSTRING || !lua_istable(L, -1))
                luaL_error(L,
                           "%s: dataSources must map names to tables, as in { tasks = { database = tasks } }",
                           where);
            if (view->source_count == SOURCES_MAX)
                luaL_error(L, "%s: there are more than %d dataSources", where, SOURCES_MAX);
            const char *key = lua_tostring(L, -2);
            if (key[0] == '\0' || strlen(key) > 100 || strlen(key) != lua_rawlen(L, -2) ||
                !text_is_utf8(key, strlen(key), NULL))
                luaL_error(L, "%s: dataSources: a name must be UTF-8 of 1 to 100 bytes", where);
            struct view_source *source = &view->sources[view->source_count++];
            source->key = declare_keep(L, worker, key);
            read_source(L, worker, where, source);
        }
        qsort(view->sources, view->source_count, sizeof *view->sources, by_key);
    }
    lua_pop(L, 1);
}

void declare_view(lua_State *L, struct worker *worker, const char *method, const char *key, int index)
{
    const char *where = lua_pushfstring(L, "worker:%s(\"%s\")", method, key);
    if (strcmp(key, ".") == 0 || strcmp(key, "..") == 0) /* browsers take it out of an address */
        luaL_error(L, "%s: the key must not be \".\" or \"..\"", where);
    options_check(L, index, view_options, where);
    struct view view = {.key = declare_keep(L, worker, key), .before = worker->capability_count};
    const char *command = options_string(L, index, "command", NULL);
    const char *output = options_string(L, index, "output", NULL);
    /* The original's are built unless they say otherwise. */
    bool built = command != NULL || output != NULL || strcmp(method, "customBlock") == 0;
    const char *type = options_string(L, index, "type", built ? "project" : "static");
    view.is_project = strcmp(type, "project") == 0;
    if (!view.is_project && strcmp(type, "static") != 0)
        luaL_error(L, "%s: option \"type\" must be \"static\" or \"project\", got \"%s\"", where, type);
    if (!view.is_project && (command != NULL || output != NULL))
        luaL_error(L, "%s: option \"%s\" is for type = \"project\": a static view is served as it is", where,
                   command != NULL ? "command" : "output");
    view.path = read_path(L, worker, index, "path", "", where);
    if (view.is_project) {
        view.command = read_text(L, worker, index, "command", COMMAND_MAX, where);
        if (view.command == NULL)
            view.command = COMMAND_USUAL;
        view.output = read_path(L, worker, index, "output", OUTPUT_USUAL, where);
    }
    view.name = read_text(L, worker, index, "name", NAME_MAX_CHARS, where);
    if (view.name == NULL)
        view.name = view.key;
    view.description = read_text(L, worker, index, "description", DESCRIPTION_MAX_CHARS, where);
    view.icon_json = read_icon(L, worker, index, where);
    view.slash_command = read_slash_command(L, worker, index, where);
    view.version = options_number(L, index, "version", 1);
    read_sources(L, worker, index, where, &view);
    worker->views =
        declare_grow(L, worker, worker->views, worker->view_count, &worker->view_room, sizeof view);
    worker->views[worker->view_count++] = view;
    lua_pop(L, 1);
}
