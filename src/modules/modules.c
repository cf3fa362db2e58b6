/* The table of modules. */
#include "modules/modules.h"

#include "modules/json.h"

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
