/* workers.yaml: values, defaults, errors with their places, finding it, and permissions. */
#include "worker/config.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <netinet/in.h>

#include "base/embed.h"
#include "base/mem.h"

static struct config parsed(const char *text)
{
    struct config config;
    struct err err = {0};
    if (config_parse(text, strlen(text), "workers.yaml", &config, &err) != ERR_NONE)
        fail_msg("%s", err.message);
    return config;
}

static void expect_error_of(const char *text, size_t len, const char *message)
{
    struct config config;
    struct err err = {0};
    assert_int_equal(config_parse(text, len, "workers.yaml", &config, &err), ERR_INVALID);
    assert_string_equal(err.message, message);
    assert_null(config.main); /* nothing left to free */
}

static void expect_error(const char *text, const char *message)
{
    expect_error_of(text, strlen(text), message);
}

static void expect_defaults(const struct config *config)
{
    assert_null(config->name);
    assert_string_equal(config->main, "src/main.lua");
    assert_string_equal(config->store, "sqlite");
    assert_null(config->server);
    assert_int_equal(config->limits.memory_bytes, 268435456);
    assert_int_equal(config->limits.cpu_ms, 30000);
    assert_int_equal(config->limits.wall_ms, 900000);
    assert_int_equal(config->limits.state_bytes, 16777216);
    assert_false(config->permissions.net.given);
    assert_false(config->permissions.read.given);
    assert_false(config->permissions.env.given);
    assert_int_equal(config->retention.runs_ms, 90LL * 86400000);
    assert_int_equal(config->retention.logs_bytes, 536870912);
    assert_int_equal(config->retention.deleted_ms, 30LL * 86400000);
}

static void test_defaults(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "\n\n",
                                        "# a comment\n",
                                        "---\n",
                                        "---\n...\n",
                                        "{}",
                                        "~",
                                        "null\n",
                                        "limits:\npermissions:\nretention: ~\n",
                                        "\xEF\xBB\xBF",
                                        "\xEF\xBB\xBF# after a byte order mark\n",
                                        "\r\n"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct config config = parsed(texts[i]);
        expect_defaults(&config);
        config_free(&config);
        assert_null(config.main);
    }
}

static void test_all_keys(void **state)
{
    (void)state;
    struct config config = parsed("name: github-issues            # default: the folder's name\n"
                                  "main: lib/entry.lua\n"
                                  "store: postgresql://user:secret@host/db\n"
                                  "limits: { memory: 1GiB, cpu: 2m, wall: 7d, state: 1024 }\n"
                                  "permissions:\n"
                                  "  net: [\"api.github.com\", '*.example.com:8443']\n"
                                  "  read: []\n"
                                  "  env:\n"
                                  "    - \"GITHUB_*\"\n"
                                  "    - TOKEN\n"
                                  "retention: { runs: 1h, logs: 1MiB, deleted: 2w }\n"
                                  "server: https://workers.example.com\n");
    assert_string_equal(config.name, "github-issues");
    assert_string_equal(config.main, "lib/entry.lua");
    assert_string_equal(config.store, "postgresql://user:secret@host/db");
    assert_true(config_store_is_postgresql(&config));
    assert_int_equal(config.limits.memory_bytes, 1073741824);
    assert_int_equal(config.limits.cpu_ms, 120000);
    assert_int_equal(config.limits.wall_ms, 604800000);
    assert_int_equal(config.limits.state_bytes, 1024);
    assert_true(config.permissions.net.given);
    assert_int_equal(config.permissions.net.count, 2);
    assert_string_equal(config.permissions.net.items[0], "api.github.com");
    assert_string_equal(config.permissions.net.items[1], "*.example.com:8443");
    assert_true(config.permissions.read.given);
    assert_int_equal(config.permissions.read.count, 0);
    assert_int_equal(config.permissions.env.count, 2);
    assert_string_equal(config.permissions.env.items[0], "GITHUB_*");
    assert_string_equal(config.permissions.env.items[1], "TOKEN");
    assert_int_equal(config.retention.runs_ms, 3600000);
    assert_int_equal(config.retention.logs_bytes, 1048576);
    assert_int_equal(config.retention.deleted_ms, 14LL * 86400000);
    assert_string_equal(config.server, "https://workers.example.com");
    config_free(&config);

    config = parsed("\xEF\xBB\xBFname: \"2024\"\r\nstore: sqlite\r\n");
    assert_string_equal(config.name, "2024");
    assert_false(config_store_is_postgresql(&config));
    config_free(&config);
}

/* What `workers new` writes: as it is, and with all its commented settings turned on, the defaults. */
static void test_template(void **state)
{
    (void)state;
    const struct embedded_file *file = embed_find(template_files, "worker/workers.yaml");
    assert_non_null(file);
    char with[4096];
    char without[4096];
    size_t with_len = 0;
    size_t without_len = 0;
    static const char placeholder[] = "{{name}}";
    for (const char *line = file->begin; line < file->end;) {
        const char *end = memchr(line, '\n', (size_t)(file->end - line));
        assert_non_null(end);
        size_t len = (size_t)(end + 1 - line);
        /* Settings are commented without a capital or a full stop. */
        bool setting = len > 3 && line[0] == '#' && (line[2] == ' ' || (line[2] >= 'a' && line[2] <= 'z')) &&
                       memchr(line, ':', len) != NULL && strncmp(line, "# what", 6) != 0;
        char copy[200];
        assert_true(len < sizeof copy);
        memcpy(copy, line, len);
        copy[len] = '\0';
        char *at = strstr(copy, placeholder);
        if (at != NULL) {
            memmove(at + 4, at + sizeof placeholder - 1, strlen(at + sizeof placeholder - 1) + 1);
            memcpy(at, "demo", 4);
        }
        with_len += (size_t)snprintf(with + with_len, sizeof with - with_len, "%s", copy + (setting ? 2 : 0));
        without_len += (size_t)snprintf(without + without_len, sizeof without - without_len, "%s", copy);
        line = end + 1;
    }
    struct config config = parsed(without);
    assert_string_equal(config.name, "demo");
    mem_free(config.name);
    config.name = NULL;
    expect_defaults(&config);
    config_free(&config);

    config = parsed(with);
    assert_string_equal(config.server, "https://workers.example.com");
    assert_int_equal(config.permissions.net.count, 2);
    assert_string_equal(config.permissions.read.items[0], "data");
    assert_string_equal(config.permissions.env.items[0], "EXAMPLE_*");
    struct config expected;
    config_default(&expected);
    assert_string_equal(config.main, expected.main);
    assert_string_equal(config.store, expected.store);
    assert_memory_equal(&config.limits, &expected.limits, sizeof config.limits);
    assert_memory_equal(&config.retention, &expected.retention, sizeof config.retention);
    config_free(&config);
    config_free(&expected);
}

static void test_keys(void **state)
{
    (void)state;
    expect_error("name: a\nlimits:\n    memroy: 1GiB\n",
                 "workers.yaml:3:5: unknown key \"memroy\" in limits; did you mean \"memory\"?");
    expect_error("nmae: a", "workers.yaml:1:1: unknown key \"nmae\"; did you mean \"name\"?");
    expect_error("größe: { a: 1 }",
                 "workers.yaml:1:1: unknown key \"größe\"; the keys are name, main, store, limits, "
                 "permissions, retention, server");
    expect_error("memory: 1GiB", "workers.yaml:1:1: unknown key \"memory\"; it belongs to limits");
    expect_error(
        "limits:\n  server: x",
        "workers.yaml:2:3: unknown key \"server\" in limits; it belongs to the top, without indentation");
    expect_error("permissions: { größe: 1 }",
                 "workers.yaml:1:16: unknown key \"größe\" in permissions; the keys are net, read, env");
    expect_error("\"a\\e[2J\\0b\": 1",
                 "workers.yaml:1:1: unknown key \"a?[2J?b\"; the keys are name, main, store, limits, "
                 "permissions, retention, server");
    expect_error("name: a\nmain: b\n'name': c",
                 "workers.yaml:3:1: key \"name\" is given twice; the first is on line 1");
    expect_error("limits:\n  cpu: 1s\n  cpu: 2s\n",
                 "workers.yaml:3:3: key \"cpu\" is given twice; the first is on line 2");
    expect_error("limits: {cpu: 1s}\nlimits: {}",
                 "workers.yaml:2:1: key \"limits\" is given twice; the first is on line 1");
    expect_error("[a]: b", "workers.yaml:1:1: a key must be a word, but it is a list");
    expect_error("? {a: b}\n: c", "workers.yaml:1:3: a key must be a word, but it is a mapping");
}

static void test_types(void **state)
{
    (void)state;
    expect_error(
        "- name",
        "workers.yaml:1:1: the file must be a mapping, with lines such as \"name: my-worker\", but it is "
        "a list");
    expect_error(
        "just text",
        "workers.yaml:1:1: the file must be a mapping, with lines such as \"name: my-worker\", but it "
        "is text");
    expect_error("name: 2024", "workers.yaml:1:7: name must be text, but 2024 is a number; put it in quotes");
    expect_error("name: 1e5", "workers.yaml:1:7: name must be text, but 1e5 is a number; put it in quotes");
    expect_error("name: 0x1F", "workers.yaml:1:7: name must be text, but 0x1F is a number; put it in quotes");
    expect_error("name: -.inf",
                 "workers.yaml:1:7: name must be text, but -.inf is a number; put it in quotes");
    expect_error("name: True",
                 "workers.yaml:1:7: name must be text, but True is a boolean; put it in quotes");
    expect_error("name:\nmain: a", "workers.yaml:1:6: name has no value; write it or remove the line");
    expect_error("name: [a]", "workers.yaml:1:7: name must be text, but it is a list");
    expect_error(
        "limits: 5",
        "workers.yaml:1:9: limits must be a mapping, such as { memory: 256MiB }, but it is a number");
    expect_error("limits: [cpu]",
                 "workers.yaml:1:9: limits must be a mapping, such as { memory: 256MiB }, but it is a list");
    expect_error("limits: \"\"",
                 "workers.yaml:1:9: limits must be a mapping, such as { memory: 256MiB }, but it is text");
    expect_error("limits: { cpu: }",
                 "workers.yaml:1:16: limits.cpu must be a duration, such as 30s, but it is nothing");
    expect_error("limits: { memory: {} }",
                 "workers.yaml:1:19: limits.memory must be a size, such as 256MiB, but it is a mapping");
    expect_error(
        "permissions: { net: api.github.com }",
        "workers.yaml:1:21: permissions.net must be a list, such as [\"api.example.com\"], but it is text");
    expect_error(
        "permissions:\n  env:\n",
        "workers.yaml:2:7: permissions.env must be a list, such as [\"GITHUB_*\"], but it is nothing");
    expect_error("permissions: { read: [[a]] }",
                 "workers.yaml:1:23: an entry of permissions.read must be text, but it is a list");
    expect_error(
        "permissions: { read: [a, 1] }",
        "workers.yaml:1:26: an entry of permissions.read must be text, but 1 is a number; put it in quotes");
    expect_error("permissions:\n  read:\n    -\n",
                 "workers.yaml:3:6: an entry of permissions.read has no value; write it or remove the line");
    struct config config = parsed("name: 1.2.3\nmain: 12a.lua");
    assert_string_equal(config.name, "1.2.3");
    config_free(&config);
}

static void test_values(void **state)
{
    (void)state;
    expect_error("limits: { memory: 1 GB }", "workers.yaml:1:19: limits.memory: \"1 GB\" is not a size; "
                                             "write a whole number and a unit, such as 64KiB, "
                                             "256MiB or 2GiB");
    expect_error("limits:\n  cpu: 30", "workers.yaml:2:8: limits.cpu: \"30\" is not a duration; write a "
                                       "whole number and a unit, such as 500ms, "
                                       "30s, 15m, 12h or 7d");
    expect_error("limits: { memory: 1023KiB }",
                 "workers.yaml:1:19: limits.memory must be from 1MiB to 1TiB, got 1023KiB");
    expect_error("limits: { memory: 2TiB }",
                 "workers.yaml:1:19: limits.memory must be from 1MiB to 1TiB, got 2TiB");
    expect_error("limits: { cpu: 9ms }", "workers.yaml:1:16: limits.cpu must be from 10ms to 24h, got 9ms");
    expect_error("limits: { cpu: 25h }", "workers.yaml:1:16: limits.cpu must be from 10ms to 24h, got 25h");
    expect_error("limits: { wall: 99ms }",
                 "workers.yaml:1:17: limits.wall must be from 100ms to 7d, got 99ms");
    expect_error("limits: { wall: 8d }", "workers.yaml:1:17: limits.wall must be from 100ms to 7d, got 8d");
    expect_error("limits: { state: 1023 }",
                 "workers.yaml:1:18: limits.state must be from 1KiB to 1GiB, got 1023");
    expect_error("limits: { state: 2GiB }",
                 "workers.yaml:1:18: limits.state must be from 1KiB to 1GiB, got 2GiB");
    expect_error("retention: { runs: 1s }",
                 "workers.yaml:1:20: retention.runs must be from 1h to 3650d, got 1s");
    expect_error("retention: { logs: 1B }",
                 "workers.yaml:1:20: retention.logs must be from 1MiB to 1TiB, got 1B");
    expect_error("retention: { deleted: 0d }",
                 "workers.yaml:1:23: retention.deleted must be from 1h to 3650d, got 0d");
    static const char *const good[] = {"limits: { memory: 1MiB, cpu: 10ms, wall: 100ms, state: 1KiB }",
                                       "limits: { memory: 1TiB, cpu: 24h, wall: 7d, state: 1GiB }"};
    for (size_t i = 0; i < 2; i++) {
        struct config config = parsed(good[i]);
        config_free(&config);
    }

    expect_error("name: my worker",
                 "workers.yaml:1:7: name must consist of letters, digits, '.', '_' and '-'");
    expect_error("name: ''", "workers.yaml:1:7: name must have 1 to 100 characters");
    char name[128];
    snprintf(name, sizeof name, "name: %0101d_", 0);
    expect_error(name, "workers.yaml:1:7: name must have 1 to 100 characters");
    expect_error("name: \"a\\0b\"", "workers.yaml:1:7: name contains a control character");
    expect_error("main: /etc/x.lua", "workers.yaml:1:7: main must be relative to the folder of workers.yaml");
    expect_error(
        "main: a/../../x.lua",
        "workers.yaml:1:7: main must not contain \"..\": it must stay below the folder of workers.yaml");
    expect_error("main: src/", "workers.yaml:1:7: main must be a script, not a folder");
    expect_error("main: ''", "workers.yaml:1:7: main must not be empty");
    struct config config = parsed("main: a..b/..c.lua");
    assert_string_equal(config.main, "a..b/..c.lua");
    config_free(&config);

    expect_error("store: mysql://root:secret@host/db",
                 "workers.yaml:1:8: store must be sqlite or a URL such as postgresql://user@host/database");
    expect_error("store: postgresql://",
                 "workers.yaml:1:8: store is not a complete URL, such as postgresql://user@host/database");
    expect_error("server: workers.example.com",
                 "workers.yaml:1:9: server must be a URL that begins with https:// or http://");
    expect_error("server: https://",
                 "workers.yaml:1:9: server is not a complete URL, such as https://workers.example.com");
    expect_error("server: https://me:pw@host",
                 "workers.yaml:1:9: server must not contain a user or password");
    expect_error("server: https://host/?a=b", "workers.yaml:1:9: server must not contain '?' or '#'");
}

static void test_list_entries(void **state)
{
    (void)state;
    static const struct {
        const char *list, *column, *entry, *wrong;
    } cases[] = {
        {"net", "22", "https://a.com", "must be a host alone, such as api.example.com, without https://"},
        {"net", "22", "a.com/x",
         "must be a host alone, such as api.example.com, or a network such as 10.0.0.0/8, without a path"},
        {"net", "22", "me@a.com", "must be a host alone, such as api.example.com, without a user"},
        {"net", "22", "a.com:0", "has a bad port; write it as in api.example.com:8443"},
        {"net", "22", "a.com:65536", "has a bad port; write it as in api.example.com:8443"},
        {"net", "22", "a.com:8x", "has a bad port; write it as in api.example.com:8443"},
        {"net", "22", "a.com:", "has a bad port; write it as in api.example.com:8443"},
        {"net", "22", "[::1", "has a bad port; write it as in api.example.com:8443"},
        {"net", "22", "1:2:3", "is not an IPv6 address; write a port as in [::1]:8080"},
        {"net", "22", "a.*.com", "may have '*' only as its first part, as in *.example.com"},
        {"net", "22", "*a.com", "may have '*' only as its first part, as in *.example.com"},
        {"net", "22", ".a.com", "begins with a dot; for all subdomains write *.example.com"},
        {"net", "22", "a b", "is not a host, such as api.example.com"},
        {"net", "22", "", "is not a host, such as api.example.com"},
        {"net", "22", ".", "is not a host, such as api.example.com"},
        {"net", "22", ":80", "is not a host, such as api.example.com"},
        {"read", "23", "/etc", "must be relative to the folder of workers.yaml"},
        {"read", "23", "..", "must not contain \"..\": it must stay below the folder of workers.yaml"},
        {"read", "23", "", "must not be empty"},
        {"env", "22", "A-B", "is not the name of a variable, such as API_TOKEN or GITHUB_*"},
        {"env", "22", "", "must not be empty"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[256];
        char message[512];
        snprintf(text, sizeof text, "permissions: { %s: [\"%s\"] }", cases[i].list, cases[i].entry);
        snprintf(message, sizeof message, "workers.yaml:1:%s: permissions.%s: \"%s\" %s", cases[i].column,
                 cases[i].list, cases[i].entry, cases[i].wrong);
        expect_error(text, message);
    }
    struct config config = parsed("permissions: { net: ['*', '*.a.com:1', 'a.com:65535', '::1', '[::1]', "
                                  "'[::1]:80', localhost, 10.0.0.1, "
                                  "a.com., 'müller.de'], read: [., ./a, a/], env: ['*', 'A_*_B'] }");
    assert_int_equal(config.permissions.net.count, 10);
    config_free(&config);
}

static void test_yaml(void **state)
{
    (void)state;
    expect_error("name: a\n---\nname: b\n",
                 "workers.yaml:2:1: a second document begins here; the file must be a single one");
    expect_error("---\n---\n",
                 "workers.yaml:2:1: a second document begins here; the file must be a single one");
    expect_error(
        "name: &a b",
        "workers.yaml:1:7: anchors are not supported here; if &a is meant as text, put it in quotes");
    expect_error(
        "limits: &x { cpu: 1s }",
        "workers.yaml:1:9: anchors are not supported here; if &x is meant as text, put it in quotes");
    expect_error("a: &a [x,x]\nb: &b [*a,*a]\n", "workers.yaml:1:1: unknown key \"a\"; the keys are name, "
                                                 "main, store, limits, permissions, retention, "
                                                 "server");
    expect_error(
        "permissions: { env: [*_TOKEN] }",
        "workers.yaml:1:22: aliases are not supported here; if *_TOKEN is meant as text, put it in quotes");
    expect_error(
        "permissions: { net: [*.example.com] }",
        "workers.yaml:1:22: a value cannot begin with '*'; put it in quotes, as in \"*.example.com\"");
    expect_error("name: !!str 5", "workers.yaml:1:7: tags such as tag:yaml.org,2002:str are not supported "
                                  "here; to make a value text, put it "
                                  "in quotes");
    expect_error("limits:\n\tcpu: 1s\n", "workers.yaml:2:1: a tab or one of @ ` % stands where a value "
                                         "begins; indent with spaces, and put values "
                                         "that begin with such a character in quotes");
    expect_error("name: \"a",
                 "workers.yaml:1:9: found unexpected end of stream, while scanning a quoted scalar");
    expect_error("name: a\nmain: gr\xFFn\n", "workers.yaml:2:9: invalid leading UTF-8 octet: 0xFF");
    expect_error_of("name: a\0", 8, "workers.yaml:1:8: control characters are not allowed: 0x00");

    /* Deep nesting, at a place where nothing nests, and where lists and mappings may begin. */
    static const char *const prefixes[] = {"", "name: ", "limits: ", "permissions: { net: "};
    static const char *const messages[] = {
        "workers.yaml:1:1: the file must be a mapping, with lines such as \"name: my-worker\", but it is a "
        "list",
        "workers.yaml:1:7: name must be text, but it is a list",
        "workers.yaml:1:9: limits must be a mapping, such as { memory: 256MiB }, but it is a list",
        "workers.yaml:1:22: an entry of permissions.net must be text, but it is a list"};
    char *deep = malloc(CONFIG_FILE_MAX);
    memset(deep, '[', CONFIG_FILE_MAX);
    for (size_t i = 0; i < 4; i++) {
        memset(deep, '[', 64);
        memcpy(deep, prefixes[i], strlen(prefixes[i]));
        expect_error_of(deep, CONFIG_FILE_MAX, messages[i]);
    }
    free(deep);
}

static void test_limits(void **state)
{
    (void)state;
    struct config config;
    struct err err;
    char *text = malloc(CONFIG_FILE_MAX + 1);
    memset(text, '\n', CONFIG_FILE_MAX + 1);
    assert_int_equal(config_parse(text, CONFIG_FILE_MAX, "f", &config, &err), ERR_NONE);
    config_free(&config);
    assert_int_equal(config_parse(text, CONFIG_FILE_MAX + 1, "f", &config, &err), ERR_LIMIT);
    assert_string_equal(err.message, "f is larger than 1048576 bytes");

    size_t len = (size_t)sprintf(text, "permissions: { env: [");
    for (int i = 0; i < CONFIG_LIST_MAX; i++)
        len += (size_t)sprintf(text + len, "A%d,", i);
    size_t full = len;
    strcpy(text + len, "]}");
    config = parsed(text);
    assert_int_equal(config.permissions.env.count, CONFIG_LIST_MAX);
    assert_string_equal(config.permissions.env.items[CONFIG_LIST_MAX - 1], "A999");
    config_free(&config);
    strcpy(text + full, "B]}");
    assert_int_equal(config_parse(text, strlen(text), "f", &config, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, ": permissions.env has more than 1000 entries"));

    len = (size_t)sprintf(text, "server: https://");
    memset(text + len, 'a', 5000);
    text[len + 5000] = '\0';
    expect_error(text, "workers.yaml:1:9: server has more than 4096 bytes");
    char long_name[3000];
    memset(long_name, 'p', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    assert_int_equal(config_parse("x: 1", 4, long_name, &config, &err), ERR_INVALID);
    assert_memory_equal(err.message + 512, ":1:1: unknown key \"x\";", 21);
    free(text);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    static const char text[] =
        "name: a\nmain: b.lua\npermissions: { net: [a, b, c, d, e, f, g, h, i], env: [A] }\n";
    struct config config;
    struct err err;
    int failures = 0;
    for (unsigned long nth = 3; nth < 100;
         nth++) { /* the first two are the defaults, which end the program */
        mem_fail_from(nth);
        enum err_code code = config_parse(text, sizeof text - 1, "f", &config, &err);
        mem_fail_from(0);
        if (code == ERR_NONE) {
            config_free(&config);
            break;
        }
        assert_int_equal(code, ERR_NOMEM);
        failures++;
    }
#ifdef WORKERS_FAULT_INJECTION
    assert_int_equal(failures, 15); /* two texts, ten entries, two arrays for net and one for env */
#endif
}

/* ---- files ---- */

static char root[PATH_MAX]; /* a folder for one test, without links in its path */

static void in_root(char out[PATH_MAX], const char *path)
{
    snprintf(out, PATH_MAX, "%.*s/%s", 2000, root, path);
}

static void make_folder(const char *path)
{
    char full[PATH_MAX];
    in_root(full, path);
    assert_int_equal(mkdir(full, 0700), 0);
}

static void make_file(const char *path, const char *text)
{
    char full[PATH_MAX];
    in_root(full, path);
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void make_link(const char *path, const char *target)
{
    char full[PATH_MAX];
    in_root(full, path);
    assert_int_equal(symlink(target, full), 0);
}

static int set_up(void **state)
{
    (void)state;
    char folder[] = "/tmp/config_test.XXXXXX";
    return mkdtemp(folder) != NULL && realpath(folder, root) != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    char command[PATH_MAX + 16];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

static void test_find(void **state)
{
    (void)state;
    char path[PATH_MAX];
    char start[PATH_MAX];
    char expected[PATH_MAX];
    char message[PATH_MAX + 100];
    struct err err;
    make_folder("p");
    make_folder("p/src");
    make_folder("p/src/deep");
    make_folder("p/src/workers.yaml"); /* a folder of that name is passed over */
    make_file("p/src/main.lua", "");
    make_file("p/workers.yaml", "name: found\n");
    make_link("link", "p/src/deep");
    in_root(expected, "p/workers.yaml");
    static const char *const starts[] = {
        "p", "p/", "p/src", "p/src/deep", "p/src/main.lua", "p/workers.yaml", "link"};
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        in_root(start, starts[i]);
        path[0] = '\0';
        assert_int_equal(config_find(start, path, sizeof path, &err), ERR_NONE);
        assert_string_equal(path, expected);
    }
    assert_int_equal(config_find(start, path, strlen(expected), &err), ERR_LIMIT);
    assert_int_equal(config_find(root, path, sizeof path, &err), ERR_NOT_FOUND);
    snprintf(message, sizeof message, "no workers.yaml in %s or any folder above it", root);
    assert_string_equal(err.message, message);
    assert_int_equal(config_find("/", path, sizeof path, &err), ERR_NOT_FOUND);
    in_root(start, "absent");
    assert_int_equal(config_find(start, path, sizeof path, &err), ERR_NOT_FOUND);
    snprintf(message, sizeof message, "cannot find %s: No such file or directory", start);
    assert_string_equal(err.message, message);

    make_file("p/src/workers.yml", "");
    in_root(start, "p/src/deep");
    assert_int_equal(config_find(start, path, sizeof path, &err), ERR_INVALID);
    snprintf(message, sizeof message,
             "found %s/p/src/workers.yml, which is not read: rename it to workers.yaml", root);
    assert_string_equal(err.message, message);
}

static void test_load(void **state)
{
    (void)state;
    char path[PATH_MAX];
    char message[PATH_MAX + 100];
    struct config config;
    struct err err;
    make_file("good.yaml", "name: loaded\n");
    make_file("bad.yaml", "name: a\nmemory: 5\n");
    in_root(path, "good.yaml");
    assert_int_equal(config_load(path, &config, &err), ERR_NONE);
    assert_string_equal(config.name, "loaded");
    config_free(&config);
    in_root(path, "bad.yaml");
    assert_int_equal(config_load(path, &config, &err), ERR_INVALID);
    snprintf(message, sizeof message, "%s:2:1: unknown key \"memory\"; it belongs to limits", path);
    assert_string_equal(err.message, message);
    in_root(path, "absent.yaml");
    assert_int_equal(config_load(path, &config, &err), ERR_NOT_FOUND);
    snprintf(message, sizeof message, "cannot read %s: No such file or directory", path);
    assert_string_equal(err.message, message);
    config_free(&config); /* zeroed */
    assert_int_equal(config_load(root, &config, &err), ERR_IO);
    in_root(path, "pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(config_load(path, &config, &err), ERR_IO);
    snprintf(message, sizeof message, "cannot read %s: it is not a plain file", path);
    assert_string_equal(err.message, message);
    in_root(path, "big.yaml");
    make_file("big.yaml", "");
    assert_int_equal(truncate(path, (off_t)CONFIG_FILE_MAX + 1), 0);
    assert_int_equal(config_load(path, &config, &err), ERR_LIMIT);
    snprintf(message, sizeof message, "%s is larger than 1048576 bytes", path);
    assert_string_equal(err.message, message);
}

static void test_name(void **state)
{
    (void)state;
    struct config config;
    char name[CONFIG_NAME_MAX + 1];
    config_default(&config);
    assert_string_equal(config_name(&config, "/home/me/issues", name), "issues");
    assert_string_equal(config_name(&config, "/home/me/My Demo (2)/", name), "My-Demo-2");
    assert_string_equal(config_name(&config, "a.b_c-D", name), "a.b_c-D");
    assert_string_equal(config_name(&config, "/", name), "worker");
    assert_string_equal(config_name(&config, "", name), "worker");
    assert_string_equal(config_name(&config, "..", name), "worker");
    assert_string_equal(config_name(&config, "/x/日本", name), "worker");
    char folder[300];
    memset(folder, 'x', sizeof folder - 1);
    folder[sizeof folder - 1] = '\0';
    assert_int_equal(strlen(config_name(&config, folder, name)), CONFIG_NAME_MAX);
    config_free(&config);
    config = parsed("name: given");
    assert_string_equal(config_name(&config, "/x/other", name), "given");
    config_free(&config);
}

/* ---- permissions ---- */

static void test_env(void **state)
{
    (void)state;
    struct config config = parsed("permissions: { net: [] }");
    assert_true(config_env_allowed(&config, "ANYTHING")); /* no list */
    config_free(&config);
    config = parsed("permissions: { env: [] }");
    assert_false(config_env_allowed(&config, "ANYTHING"));
    config_free(&config);
    config = parsed("permissions: { env: ['GITHUB_*', TOKEN, 'A*Z'] }");
    assert_true(config_env_allowed(&config, "GITHUB_TOKEN"));
    assert_true(config_env_allowed(&config, "GITHUB_"));
    assert_true(config_env_allowed(&config, "TOKEN"));
    assert_true(config_env_allowed(&config, "AZ"));
    assert_false(config_env_allowed(&config, "GITHUB"));
    assert_false(config_env_allowed(&config, "token"));
    assert_false(config_env_allowed(&config, "TOKENS"));
    assert_false(config_env_allowed(&config, "MY_GITHUB_TOKEN"));
    assert_false(config_env_allowed(&config, ""));
    config_free(&config);
}

static void fill_socket(struct sockaddr_storage *socket, const char *text, int port)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)socket;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)socket;
    memset(socket, 0, sizeof *socket);
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
    }
}

static void test_net(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *host;
        int port;
        bool allowed;
    } cases[] = {
        {"api.a.com", "api.a.com", 443, true},
        {"api.a.com", "API.A.com", 443, true},
        {"API.a.com", "api.a.com", 0, true},
        {"api.a.com", "api.a.com.", 443, true},
        {"api.a.com.", "api.a.com", 443, true},
        {"api.a.com", "x.api.a.com", 443, false},
        {"api.a.com", "a.com", 443, false},
        {"api.a.com", "api.a.com.evil.org", 443, false},
        {"api.a.com", "api.a.co", 443, false},
        {"api.a.com", "", 443, false},
        {"*.a.com", "x.a.com", 443, true},
        {"*.a.com", "y.x.A.com", 443, true},
        {"*.a.com", "a.com", 443, false},
        {"*.a.com", ".a.com", 443, false},
        {"*.a.com", "evila.com", 443, false},
        {"*.a.com", "x.a.com.evil.org", 443, false},
        {"*.0.0.1", "127.0.0.1", 80, false}, /* an address has no subdomains */
        {"127.0.0.1", "127.0.0.1", 80, true},
        {"*", "anything", 80, true},
        {"*", "::1", 80, true},
        {"*:443", "anything", 80, false},
        {"*:443", "anything", 443, true},
        {"a.com:8443", "a.com", 8443, true},
        {"a.com:8443", "a.com", 443, false},
        {"a.com:8443", "a.com", 0, true},
        {"*.a.com:8443", "b.a.com", 8443, true},
        {"*.a.com:8443", "b.a.com", 443, false},
        {"::1", "::1", 80, true},
        {"::1", "[::1]", 80, true},
        {"[::1]", "0:0:0:0:0:0:0:1", 80, true},
        {"FE80::A", "fe80::a", 80, true},
        {"[::1]:80", "::1", 80, true},
        {"[::1]:80", "::1", 81, false},
        {"::1", "::2", 80, false},
        {"::1", "1", 80, false},
        {"10.0.0.0/8", "10.1.2.3", 80, true},
        {"10.0.0.0/8", "11.1.2.3", 80, false},
        {"10.0.0.0/8", "10.a.com", 80, false},
        {"fd00::/8", "[fd12::1]", 80, true},
        {"127.0.0.1", "::ffff:127.0.0.1", 80, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[100];
        snprintf(text, sizeof text, "permissions: { net: ['%s'] }", cases[i].pattern);
        struct config config = parsed(text);
        if (config_net_allowed(&config, cases[i].host, cases[i].port) != cases[i].allowed)
            fail_msg("%s %s %d", cases[i].pattern, cases[i].host, cases[i].port);
        config_free(&config);
    }
    struct config config = parsed("");
    struct err err;
    assert_true(config_net_allowed(&config, "a.com", 80));
    assert_int_equal(config_net_check(&config, "a.com", 80, &err), ERR_NONE);
    config_free(&config);
    config = parsed("permissions: { net: [] }");
    assert_int_equal(config_net_check(&config, "a.com", 80, &err), ERR_DENIED);
    assert_string_equal(err.message,
                        "this worker may not connect to a.com; add it to workers.yaml: permissions: { net: "
                        "[\"a.com\"] }");
    config_free(&config);
    config = parsed("permissions: { net: ['a.com:443', '[::1]:443'] }");
    assert_int_equal(config_net_check(&config, "a.com", 443, &err), ERR_NONE);
    assert_int_equal(config_net_check(&config, "a.com", 80, &err), ERR_DENIED);
    assert_string_equal(
        err.message, "this worker may not connect to a.com on port 80; add it to workers.yaml: permissions: "
                     "{ net: [\"a.com:80\"] }");
    assert_int_equal(config_net_check(&config, "::1", 80, &err), ERR_DENIED);
    assert_non_null(strstr(err.message, "{ net: [\"[::1]:80\"] }"));
    config_free(&config);
}

/* The second half: after names have become addresses. */
static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *list, *address;
        int port;
        bool allowed;
    } cases[] = {
        {"['*']", "8.8.8.8", 443, true},
        {"['*']", "127.0.0.1", 80, false},
        {"['*']", "169.254.169.254", 80, false},
        {"['*']", "::1", 80, false},
        {"['*']", "::ffff:10.0.0.1", 80, false},
        {"[a.com]", "8.8.8.8", 443, true},
        {"[a.com]", "10.0.0.1", 443, false},
        {"[]", "8.8.8.8", 443, true}, /* the name was refused already */
        {"[a.com, 10.0.0.1]", "10.0.0.1", 443, true},
        {"[a.com, 10.0.0.1]", "10.0.0.2", 443, false},
        {"['10.0.0.1:443']", "10.0.0.1", 443, true},
        {"['10.0.0.1:443']", "10.0.0.1", 80, false},
        {"[10.0.0.0/8]", "10.9.9.9", 80, true},
        {"[10.0.0.0/8]", "::ffff:10.9.9.9", 80, true},
        {"[10.0.0.0/8]", "192.168.0.1", 80, false},
        {"['fd00::/8']", "fd00::1", 80, true},
        {"[localhost]", "127.0.0.1", 80, true},
        {"[localhost]", "::1", 80, true},
        {"['localhost:8080']", "127.0.0.1", 80, false},
        {"['localhost:8080']", "127.0.0.1", 8080, true},
        {"[localhost]", "10.0.0.1", 80, false},
        {"['*.internal']", "10.0.0.1", 80, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sockaddr_storage socket;
        char text[100];
        snprintf(text, sizeof text, "permissions: { net: %s }", cases[i].list);
        struct config config = parsed(text);
        fill_socket(&socket, cases[i].address, cases[i].port);
        if (config_address_allowed(&config, (struct sockaddr *)&socket) != cases[i].allowed)
            fail_msg("%s %s %d", cases[i].list, cases[i].address, cases[i].port);
        config_free(&config);
    }
    struct config config = parsed("");
    struct sockaddr_storage socket;
    struct err err;
    fill_socket(&socket, "127.0.0.1", 80);
    assert_true(config_address_allowed(&config, (struct sockaddr *)&socket));
    config_free(&config);
    config = parsed("permissions: { net: ['*'] }");
    assert_int_equal(config_address_check(&config, (struct sockaddr *)&socket, &err), ERR_DENIED);
    assert_string_equal(err.message,
                        "its address 127.0.0.1 is not on the public internet; if it is meant, add it to "
                        "workers.yaml: permissions: { net: [\"127.0.0.1\"] }");
    config_free(&config);
}

static void expect_read(const struct config *config, const char *path, const char *expected)
{
    char resolved[PATH_MAX];
    char folder[PATH_MAX];
    char full[PATH_MAX];
    struct err err = {0};
    in_root(folder, "p");
    if (config_read_path(config, folder, path, resolved, sizeof resolved, &err) != ERR_NONE)
        fail_msg("%s: %s", path, err.message);
    in_root(full, expected);
    assert_string_equal(resolved, full);
}

static void expect_unread(const struct config *config, const char *path, enum err_code code, const char *why)
{
    char resolved[PATH_MAX];
    char folder[PATH_MAX];
    char message[PATH_MAX + 200];
    struct err err = {0};
    in_root(folder, "p");
    assert_int_equal(config_read_path(config, folder, path, resolved, sizeof resolved, &err), code);
    snprintf(message, sizeof message, "cannot read %s: %s", path, why);
    assert_string_equal(err.message, message);
}

#define OUTSIDE "it is outside the project's folder; scripts read only what is in it"
#define PRIVATE "scripts never read .workers and .env; for variables use workers.env"
#define ABSENT "No such file or directory"

static void make_project(void)
{
    make_folder("p");
    make_folder("p/data");
    make_folder("p/data/sub");
    make_folder("p/data2");
    make_folder("p/.workers");
    make_folder("outside");
    make_file("outside/secret.txt", "");
    make_file("p-sibling", "");
    make_file("p/top.txt", "");
    make_file("p/.env", "");
    make_file("p/.env.local", "");
    make_file("p/.environment", "");
    make_file("p/.workers/key", "");
    make_file("p/data/a.csv", "");
    make_file("p/data/.env", "");
    make_file("p/data2/b.csv", "");
    make_link("p/data/up", "../top.txt");
    make_link("p/data/out", "../../outside/secret.txt");
    make_link("p/data/outside", "../../outside");
    make_link("p/data/key", "../.workers/key");
    make_link("p/data/loop", "loop");
    make_link("p/linked", "data/sub");
    make_file("p/data/sub/c.csv", "");
}

static void test_read_without_list(void **state)
{
    (void)state;
    char path[PATH_MAX];
    make_project();
    struct config config = parsed("");
    expect_read(&config, "top.txt", "p/top.txt");
    expect_read(&config, "./data/../data//a.csv", "p/data/a.csv");
    expect_read(&config, ".", "p");
    expect_read(&config, "data/", "p/data");
    expect_read(&config, "data/up", "p/top.txt");
    expect_read(&config, "linked/c.csv", "p/data/sub/c.csv");
    expect_read(&config, ".environment", "p/.environment");
    expect_read(&config, "../p/top.txt", "p/top.txt");
    in_root(path, "p/top.txt");
    expect_read(&config, path, "p/top.txt");

    expect_unread(&config, "absent.txt", ERR_NOT_FOUND, ABSENT);
    expect_unread(&config, "absent/a/b", ERR_NOT_FOUND, ABSENT);
    expect_unread(&config, "top.txt/x", ERR_NOT_FOUND, "Not a directory");
    expect_unread(&config, "data/loop", ERR_IO, "Too many levels of symbolic links");

    /* Whether something exists outside makes no difference to what is said. */
    expect_unread(&config, "../outside/secret.txt", ERR_DENIED, OUTSIDE);
    expect_unread(&config, "../outside/absent.txt", ERR_DENIED, OUTSIDE);
    expect_unread(&config, "../p-sibling", ERR_DENIED, OUTSIDE);
    expect_unread(&config, "..", ERR_DENIED, OUTSIDE);
    expect_unread(&config, "/", ERR_DENIED, OUTSIDE);
    expect_unread(&config, "/etc/passwd", ERR_DENIED, OUTSIDE);
    expect_unread(&config, "/etc/absent/x", ERR_DENIED, OUTSIDE);
    expect_unread(&config, "data/out", ERR_DENIED, OUTSIDE);
    expect_unread(&config, "data/outside", ERR_DENIED, OUTSIDE);
    expect_unread(&config, "data/outside/secret.txt", ERR_DENIED, OUTSIDE);
    expect_unread(&config, "data/outside/absent.txt", ERR_DENIED, OUTSIDE);
    expect_unread(&config, "data/outside/../absent.txt", ERR_DENIED, OUTSIDE);

    expect_unread(&config, ".env", ERR_DENIED, PRIVATE);
    expect_unread(&config, ".ENV", ERR_DENIED, PRIVATE);
    expect_unread(&config, ".env.local", ERR_DENIED, PRIVATE);
    expect_unread(&config, ".env.absent", ERR_DENIED, PRIVATE);
    expect_unread(&config, "data/.env", ERR_DENIED, PRIVATE);
    expect_unread(&config, ".workers", ERR_DENIED, PRIVATE);
    expect_unread(&config, ".workers/key", ERR_DENIED, PRIVATE);
    expect_unread(&config, "data/key", ERR_DENIED, PRIVATE);
    expect_unread(&config, "data/../.workers/absent", ERR_DENIED, PRIVATE);

    char resolved[PATH_MAX];
    struct err err;
    assert_int_equal(config_read_path(&config, root, "", resolved, sizeof resolved, &err), ERR_INVALID);
    assert_string_equal(err.message, "the path is empty");
    assert_int_equal(config_read_path(&config, root, "p", resolved, strlen(root) + 2, &err), ERR_LIMIT);
    assert_int_equal(config_read_path(&config, root, "p", resolved, strlen(root) + 3, &err), ERR_NONE);
    char *huge = malloc(3 * PATH_MAX);
    memset(huge, 'x', 3 * PATH_MAX - 1);
    huge[3 * PATH_MAX - 1] = '\0';
    assert_int_equal(config_read_path(&config, root, huge, resolved, sizeof resolved, &err), ERR_INVALID);
    assert_non_null(strstr(err.message, "xxx... is too long"));
    huge[PATH_MAX - 1 - strlen(root) - 1] = '\0'; /* just fits */
    assert_int_equal(config_read_path(&config, root, huge, resolved, sizeof resolved, &err), ERR_IO);
    free(huge);
    assert_int_equal(config_read_path(&config, "/absent", "p", resolved, sizeof resolved, &err), ERR_IO);
    config_free(&config);
}

static void test_read_with_list(void **state)
{
    (void)state;
    make_project();
    struct config config = parsed("permissions: { read: [data/, top.txt] }");
    expect_read(&config, "data/a.csv", "p/data/a.csv");
    expect_read(&config, "data", "p/data");
    expect_read(&config, "top.txt", "p/top.txt");
    expect_read(&config, "data/up", "p/top.txt");
    expect_unread(&config, "data/absent", ERR_NOT_FOUND, ABSENT);
    expect_unread(&config, "data2/b.csv", ERR_DENIED,
                  "this worker may not; add it to workers.yaml: permissions: { read: [\"data2\"] }");
    expect_unread(&config, "data2/absent", ERR_DENIED,
                  "this worker may not; add it to workers.yaml: permissions: { read: [\"data2\"] }");
    expect_unread(&config, "other.txt", ERR_DENIED,
                  "this worker may not; add it to workers.yaml: permissions: { read: [\"other.txt\"] }");
    expect_unread(&config, ".", ERR_DENIED,
                  "this worker may not; add it to workers.yaml: permissions: { read: [\".\"] }");
    expect_unread(&config, "data/outside/secret.txt", ERR_DENIED, OUTSIDE);
    expect_unread(&config, "data/.env", ERR_DENIED, PRIVATE);
    config_free(&config);

    config = parsed("permissions: { read: [data2] }");
    expect_unread(&config, "data/up", ERR_DENIED,
                  "this worker may not; add it to workers.yaml: permissions: { read: [\"top.txt\"] }");
    config_free(&config);

    config = parsed("permissions: { read: [linked, data/outside, .workers, .env] }");
    expect_read(&config, "linked/c.csv", "p/data/sub/c.csv");
    expect_read(&config, "data/sub/c.csv", "p/data/sub/c.csv");
    expect_unread(&config, "linked/absent", ERR_NOT_FOUND, ABSENT);
    expect_unread(&config, "data/outside/secret.txt", ERR_DENIED, OUTSIDE);
    expect_unread(&config, ".workers/key", ERR_DENIED, PRIVATE);
    expect_unread(&config, ".env", ERR_DENIED, PRIVATE);
    config_free(&config);

    config = parsed("permissions: { read: [] }");
    expect_unread(&config, "top.txt", ERR_DENIED,
                  "this worker may not; add it to workers.yaml: permissions: { read: [\"top.txt\"] }");
    config_free(&config);
    config = parsed("permissions: { read: [.] }");
    expect_read(&config, "top.txt", "p/top.txt");
    config_free(&config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_all_keys),
        cmocka_unit_test(test_template),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_list_entries),
        cmocka_unit_test(test_yaml),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test_setup_teardown(test_find, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_load, set_up, tear_down),
        cmocka_unit_test(test_name),
        cmocka_unit_test(test_env),
        cmocka_unit_test(test_net),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test_setup_teardown(test_read_without_list, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_read_with_list, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
