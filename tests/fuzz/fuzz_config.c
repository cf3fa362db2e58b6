/* libFuzzer harness for workers.yaml and .env: no text may crash or leak, and what was read must be what the
 * headers promise.
 *
 * The first byte chooses the format (its lowest bit) and after how many allocations memory is out (the rest,
 * 0: never); the other bytes are the text. */
#include "base/mem.h"
#include "worker/config.h"
#include "worker/dotenv.h"

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            abort();                                                                                         \
    } while (0)

static void check_config(const struct config *config)
{
    char name[CONFIG_NAME_MAX + 1];
    struct err err;
    CHECK(config->main != NULL && config->main[0] != '/' && config->store != NULL);
    CHECK(config->limits.memory_bytes >= 1048576 && config->limits.memory_bytes <= (uint64_t)1 << 40);
    CHECK(config->limits.cpu_ms >= 10 && config->limits.cpu_ms <= 86400000);
    CHECK(config->limits.wall_ms >= 100 && config->limits.wall_ms <= 604800000);
    CHECK(config->limits.state_bytes >= 1024 && config->limits.state_bytes <= (uint64_t)1 << 30);
    CHECK(strlen(config_name(config, "/tmp/a folder", name)) >= 1);
    CHECK(config_store_is_postgresql(config) == (strcmp(config->store, "sqlite") != 0));
    for (size_t i = 0; i < config->permissions.net.count; i++) {
        const char *pattern = config->permissions.net.items[i];
        /* A host that stands in the list is allowed, with any port. */
        if (strchr(pattern, '*') == NULL && strchr(pattern, ':') == NULL)
            CHECK(config_net_allowed(config, pattern, 443) &&
                  config_net_check(config, pattern, 0, &err) == ERR_NONE);
        (void)config_net_allowed(config, pattern, 1);
    }
    for (size_t i = 0; i < config->permissions.env.count; i++)
        CHECK(config_env_allowed(config, config->permissions.env.items[i]));
    for (size_t i = 0; i < config->permissions.read.count && i < 4; i++) {
        char resolved[PATH_MAX];
        enum err_code code = config_read_path(config, "/usr/share", config->permissions.read.items[i],
                                              resolved, sizeof resolved, &err);
        CHECK(code != ERR_NONE || strncmp(resolved, "/usr/share", 10) == 0);
    }
}

static void check_dotenv(const char *text, size_t len, const struct dotenv *env)
{
    struct err err;
    for (size_t i = 0; i < env->count; i++) {
        const struct dotenv_entry *entry = &env->entries[i];
        CHECK(dotenv_is_name(entry->name, strlen(entry->name)) && strlen(entry->value) == entry->value_len);
        CHECK(entry->begin < entry->end && entry->end <= len && dotenv_get(env, entry->name) != NULL);
    }
    /* A value that was read comes back when it is written, and nothing else changes. */
    const char *name = env->count > 0 ? env->entries[0].name : "NEW";
    const char *value = env->count > 0 ? env->entries[env->count / 2].value : "a b";
    struct buf out;
    struct dotenv again;
    buf_init(&out, 4 * DOTENV_MAX);
    CHECK(dotenv_edit(text, len, "f", name, value, strlen(value), &out, &err) == ERR_NONE);
    CHECK(dotenv_parse(buf_text(&out), out.len, "f", &again, &err) == ERR_NONE);
    CHECK(strcmp(dotenv_get(&again, name)->value, value) == 0);
    for (size_t i = 0; i < env->count; i++) {
        const struct dotenv_entry *entry = dotenv_get(env, env->entries[i].name);
        CHECK(strcmp(entry->name, name) == 0 ||
              strcmp(dotenv_get(&again, entry->name)->value, entry->value) == 0);
    }
    dotenv_free(&again);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    char *text = malloc(size > 1 ? size - 1 : 1); /* of the exact size, so that reading past the end shows */
    struct err err = {0};
    unsigned long fail = data[0] >> 1;
    bool is_config = (data[0] & 1) == 0;
    size_t len = size - 1;
    CHECK(text != NULL);
    memcpy(text, data + 1, len);
    enum err_code code;
    if (is_config) {
        struct config config;
        mem_fail_from(fail > 0 ? fail + 2 : 0); /* the defaults are small fixed blocks */
        code = config_parse(text, len, "workers.yaml", &config, &err);
        mem_fail_from(0);
        if (code == ERR_NONE)
            check_config(&config);
        config_free(&config);
    } else {
        struct dotenv env;
        mem_fail_from(fail);
        code = dotenv_parse(text, len, ".env", &env, &err);
        mem_fail_from(0);
        if (code == ERR_NONE)
            check_dotenv(text, len, &env);
        dotenv_free(&env);
    }
    CHECK(code == ERR_NONE || (code == err.code && err.message[0] != '\0'));
    free(text);
    return 0;
}
