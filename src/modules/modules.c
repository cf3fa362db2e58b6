/* The table of modules. */
#include "modules/modules.h"

#include "modules/json.h"

#include <string.h>

const struct script_module workers_modules[] = {
    {"workers", luaopen_workers, &workers_docs},
    {"workers.builder", luaopen_workers_builder, &builder_docs},
    {"workers.compress", luaopen_workers_compress, &compress_docs},
    {"workers.crypto", luaopen_workers_crypto, &crypto_docs},
    {"workers.csv", luaopen_workers_csv, &csv_docs},
    {"workers.env", luaopen_workers_env, &env_docs},
    {"workers.fs", luaopen_workers_fs, &fs_docs},
    {"workers.http", luaopen_workers_http, &http_docs},
    {"workers.json", luaopen_workers_json, &json_docs},
    {"workers.kv", luaopen_workers_kv, &kv_docs},
    {"workers.log", luaopen_workers_log, &log_docs},
    {"workers.regex", luaopen_workers_regex, &regex_docs},
    {"workers.sql", luaopen_workers_sql, &sql_docs},
    {"workers.text", luaopen_workers_text, &text_docs},
    {"workers.time", luaopen_workers_time, &time_docs},
    {"workers.url", luaopen_workers_url, &url_docs},
    {"workers.xml", luaopen_workers_xml, &xml_docs},
    {"workers.yaml", luaopen_workers_yaml, &yaml_docs},
    {"cjson", luaopen_cjson, &cjson_docs},
    {"cjson.safe", luaopen_cjson_safe, &cjson_safe_docs},
    {NULL, NULL, NULL},
};

/* ctx.notion: the client with what the environment says. */
static int find_in_context(lua_State *L)
{
    if (lua_type(L, 2) != LUA_TSTRING || strcmp(lua_tostring(L, 2), "notion") != 0)
        return 0;
    lua_getglobal(L, "require");
    lua_pushliteral(L, "workers.notion");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "default");
    lua_call(L, 0, 1);
    lua_pushliteral(L, "notion");
    lua_pushvalue(L, -2);
    lua_rawset(L, 1);
    return 1;
}

void modules_push_context(lua_State *L, int fields)
{
    lua_createtable(L, 0, fields);
    if (luaL_newmetatable(L, "workers.context")) {
        lua_pushcfunction(L, find_in_context);
        lua_setfield(L, -2, "__index");
    }
    lua_setmetatable(L, -2);
}
