/* The table of modules. */
#include "modules/modules.h"

#include "modules/json.h"

const struct script_module workers_modules[] = {
    {"workers", luaopen_workers},
    {"workers.builder", luaopen_workers_builder},
    {"workers.crypto", luaopen_workers_crypto},
    {"workers.env", luaopen_workers_env},
    {"workers.fs", luaopen_workers_fs},
    {"workers.http", luaopen_workers_http},
    {"workers.json", luaopen_workers_json},
    {"workers.log", luaopen_workers_log},
    {"workers.time", luaopen_workers_time},
    {"workers.yaml", luaopen_workers_yaml},
    {"cjson", luaopen_cjson},
    {"cjson.safe", luaopen_cjson_safe},
    {NULL, NULL},
};
