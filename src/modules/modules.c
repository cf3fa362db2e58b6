/* The table of modules. */
#include "modules/modules.h"

#include "modules/json.h"

const struct script_module workers_modules[] = {
    {"workers", luaopen_workers, NULL},
    {"workers.builder", luaopen_workers_builder, NULL},
    {"workers.compress", luaopen_workers_compress, &compress_docs},
    {"workers.crypto", luaopen_workers_crypto, &crypto_docs},
    {"workers.env", luaopen_workers_env, &env_docs},
    {"workers.fs", luaopen_workers_fs, NULL},
    {"workers.http", luaopen_workers_http, &http_docs},
    {"workers.json", luaopen_workers_json, NULL},
    {"workers.kv", luaopen_workers_kv, &kv_docs},
    {"workers.log", luaopen_workers_log, NULL},
    {"workers.sql", luaopen_workers_sql, &sql_docs},
    {"workers.time", luaopen_workers_time, &time_docs},
    {"workers.url", luaopen_workers_url, &url_docs},
    {"workers.yaml", luaopen_workers_yaml, NULL},
    {"cjson", luaopen_cjson, NULL},
    {"cjson.safe", luaopen_cjson_safe, NULL},
    {NULL, NULL, NULL},
};
