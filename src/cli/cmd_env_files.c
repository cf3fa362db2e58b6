/* workers env pull and push: the sealed variables and a .env file. Must not print a value. */
#include "cli/files.h"
#include "cli/listing.h"

#include "base/crypto.h"
#include "base/mem.h"
#include "worker/dotenv.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define PATH_ROOM (PATH_MAX + 8)

/* The file that was named, or the project's. */
static void file_path(const struct cli_args *args, const struct target *target, char out[PATH_ROOM])
{
    if (args->count > 0)
        snprintf(out, PATH_ROOM, "%s", args->positional[0]);
    else if (target->project.folder[0] != '\0')
        snprintf(out, PATH_ROOM, "%s/.env", target->project.folder);
    else
        snprintf(out, PATH_ROOM, ".env");
}

static enum err_code read_file(const char *path, bool must, struct buf *text, struct err *err)
{
    struct stat status;
    if (stat(path, &status) != 0 && !must)
        return ERR_NONE;
    return config_read_file(path, DOTENV_MAX, text, err);
}

/* ---- pull ---- */

struct pull {
    unsigned char own[CRYPTO_EXCHANGE_SIZE], key[CRYPTO_KEY_SIZE];
    char path[PATH_ROOM];
    struct buf text; /* of the file, as far as it is done */
    int added, changed, same;
};

static enum err_code ask_for_values(struct target *target, struct pull *pull, struct buf *answer,
                                    struct err *err)
{
    unsigned char own_public[CRYPTO_EXCHANGE_SIZE];
    char text[64];
    struct buf path, body;
    enum err_code code = crypto_exchange_new(pull->own, own_public, err);
    if (code != ERR_NONE)
        return code;
    crypto_encode(CRYPTO_BASE64, own_public, sizeof own_public, text);
    path_make(&path, "/variables/reveal", NULL, NULL);
    buf_init(&body, BUF_UNLIMITED);
    buf_addf(&body, "{\"publicKey\":\"%s\"}", text);
    const struct question question = {.method = "POST", .path = &path, .body = &body};
    code = target_ask(target, &question, answer, err);
    buf_free(&path);
    buf_free(&body);
    return code;
}

/* A member of the answer that is base64; out is the caller's to free. */
static enum err_code read_bytes(const char *text, size_t len, const char *name, unsigned char **out,
                                size_t *out_len, struct err *err)
{
    struct json_scan scan;
    *out = NULL;
    if (!json_find_string(text, len, name, &scan))
        return err_set(err, ERR_INVALID, "the answer has no \"%s\"", name);
    *out = mem_alloc(crypto_decoded_max(CRYPTO_BASE64, scan.string.len) + 1);
    if (*out == NULL)
        return err_nomem(err);
    return crypto_decode(CRYPTO_BASE64, scan.string.text, scan.string.len, *out, out_len, err);
}

static enum err_code agree(struct pull *pull, const struct buf *answer, struct err *err)
{
    unsigned char *other = NULL;
    size_t len = 0;
    enum err_code code = read_bytes(buf_text(answer), answer->len, "publicKey", &other, &len, err);
    if (code == ERR_NONE && len != CRYPTO_EXCHANGE_SIZE)
        code = err_set(err, ERR_INVALID, "the answer's public key has %zu bytes", len);
    if (code == ERR_NONE)
        code = crypto_exchange_key(pull->own, other, pull->key, err);
    mem_free(other);
    return code;
}

static enum err_code put_value(struct pull *pull, const char *name, const char *value, size_t len,
                               struct err *err)
{
    struct dotenv env;
    struct buf edited;
    enum err_code code = dotenv_parse(buf_text(&pull->text), pull->text.len, pull->path, &env, err);
    if (code != ERR_NONE)
        return code;
    const struct dotenv_entry *entry = dotenv_get(&env, name);
    bool same = entry != NULL && entry->value_len == len && memcmp(entry->value, value, len) == 0;
    const char *mark = entry == NULL ? "+" : "~";
    pull->same += same;
    pull->added += entry == NULL;
    pull->changed += entry != NULL && !same;
    dotenv_free(&env);
    if (same)
        return ERR_NONE;
    buf_init(&edited, DOTENV_MAX);
    code = dotenv_edit(buf_text(&pull->text), pull->text.len, pull->path, name, value, len, &edited, err);
    if (code != ERR_NONE) {
        buf_wipe(&edited);
        return code;
    }
    printf("%s %s\n", mark, name);
    buf_wipe(&pull->text);
    pull->text = edited;
    return ERR_NONE;
}

static enum err_code pull_one(struct pull *pull, const struct json_slice *variable, struct err *err)
{
    unsigned char *sealed = NULL, *value = NULL;
    size_t len = 0;
    char *name = json_find_copy(variable->text, variable->len, "name");
    if (name == NULL)
        return err_set(err, ERR_INVALID, "the answer has a variable without a name");
    enum err_code code = read_bytes(variable->text, variable->len, "sealed", &sealed, &len, err);
    if (code == ERR_NONE && len < CRYPTO_SEAL_OVERHEAD)
        code = err_set(err, ERR_CORRUPT, "the value of %s is damaged", name);
    size_t value_len = code == ERR_NONE ? len - CRYPTO_SEAL_OVERHEAD : 0;
    if (code == ERR_NONE && (value = mem_alloc(value_len + 1)) == NULL)
        code = err_nomem(err);
    if (code == ERR_NONE)
        code = crypto_open(pull->key, name, strlen(name), sealed, len, value, err);
    if (code == ERR_NONE)
        code = put_value(pull, name, (const char *)value, value_len, err);
    crypto_free(value, value_len);
    mem_free(sealed);
    mem_free(name);
    return code;
}

static enum err_code pull_all(struct pull *pull, const struct buf *answer, struct err *err)
{
    struct json_slice list, variable;
    struct json_scan scan;
    bool more = false;
    enum err_code code = agree(pull, answer, err);
    if (code == ERR_NONE && !json_find(buf_text(answer), answer->len, "variables", &list))
        code = err_set(err, ERR_INVALID, "the answer has no variables");
    if (code != ERR_NONE)
        return code;
    json_scan_init(&scan, list.text, list.len);
    code = json_scan_value(&scan, err);
    while (code == ERR_NONE && (code = json_scan_element(&scan, &more, err)) == ERR_NONE && more) {
        code = json_scan_skip(&scan, &variable, err);
        if (code == ERR_NONE)
            code = pull_one(pull, &variable, err);
    }
    return code;
}

static int run_pull(const struct cli_args *args)
{
    struct target target;
    struct pull pull = {0};
    struct buf answer;
    struct err err;
    int result = target_open(args, &target);
    if (result != EXIT_DONE)
        return result;
    buf_init(&pull.text, DOTENV_MAX);
    buf_init(&answer, BUF_UNLIMITED);
    file_path(args, &target, pull.path);
    enum err_code code = read_file(pull.path, false, &pull.text, &err);
    if (code == ERR_NONE)
        code = ask_for_values(&target, &pull, &answer, &err);
    if (code == ERR_NONE)
        code = pull_all(&pull, &answer, &err);
    if (code == ERR_NONE && pull.added + pull.changed > 0)
        code = files_write_private(pull.path, buf_text(&pull.text), pull.text.len, &err);
    if (code == ERR_NONE)
        cli_note("%s: %d added, %d changed, %d as they were", pull.path, pull.added, pull.changed, pull.same);
    else
        result = target_fail(&target, &err);
    buf_wipe(&pull.text);
    buf_free(&answer);
    crypto_wipe(pull.own, sizeof pull.own);
    crypto_wipe(pull.key, sizeof pull.key);
    target_close(&target);
    return result;
}

static const struct cli_option pull_options[] = {CLI_HOME_OPTION, {NULL, NULL, NULL, NULL}};

const struct command cmd_env_pull = {
    .name = "env pull",
    .arguments = "[FILE]",
    .summary = "Write the sealed variables into a .env file",
    .help = "FILE is the project's .env unless given. Its comments, its order and variables of its own stay. "
            "From "
            "a server\n"
            "the values come sealed for this command alone; the file is for its owner to read. Prints names, "
            "+ for "
            "added\n"
            "and ~ for changed.\n\n"
            "Examples:\n  workers env pull\n  workers env pull --server https://workers.example.com\n"
            "  workers env pull .env.production\n",
    .options = pull_options,
    .max_arguments = 1,
    .remote = true,
    .run = run_pull,
};

/* ---- push ---- */

static enum err_code write_body(const struct dotenv *env, bool preview, struct buf *body, struct err *err)
{
    buf_adds(body, preview ? "{\"preview\":true,\"variables\":{" : "{\"variables\":{");
    bool any = false;
    for (size_t i = 0; i < env->count; i++) {
        const struct dotenv_entry *entry = &env->entries[i];
        struct err ignored;
        if (dotenv_get(env, entry->name) != entry) /* a later one counts */
            continue;
        if (any)
            buf_addc(body, ',');
        any = true;
        json_write_text(body, entry->name);
        buf_addc(body, ':');
        if (json_write_string(body, entry->value, entry->value_len, &ignored) != ERR_NONE)
            return err_set(err, ERR_INVALID, "the value of %s is not UTF-8: encode it", entry->name);
    }
    buf_adds(body, "}}");
    return buf_status(body, "the variables", err);
}

static enum err_code put_all(struct target *target, const struct dotenv *env, bool preview,
                             struct buf *answer, struct err *err)
{
    struct buf path, body;
    path_make(&path, "/variables", NULL, NULL);
    buf_init(&body, BUF_UNLIMITED);
    buf_clear(answer);
    enum err_code code = write_body(env, preview, &body, err);
    const struct question question = {.method = "PUT", .path = &path, .body = &body};
    if (code == ERR_NONE)
        code = target_ask(target, &question, answer, err);
    buf_free(&path);
    buf_wipe(&body);
    return code;
}

/* Prints what would change, and counts it. */
static enum err_code show_changes(const struct buf *answer, int *count, struct err *err)
{
    struct json_slice object;
    struct json_scan scan;
    bool more = false;
    json_scan_init(&scan, buf_text(answer), answer->len);
    enum err_code code = json_scan_value(&scan, err);
    while (code == ERR_NONE && (code = json_scan_element(&scan, &more, err)) == ERR_NONE && more) {
        struct buf change, name;
        code = json_scan_skip(&scan, &object, err);
        buf_init(&change, 32);
        buf_init(&name, SECRET_NAME_MAX);
        if (code == ERR_NONE) {
            object_add(&object, "change", &change);
            object_add(&object, "name", &name);
        }
        if (code == ERR_NONE && strcmp(buf_text(&change), "unchanged") != 0) {
            printf("%s %s\n", strcmp(buf_text(&change), "added") == 0 ? "+" : "~", buf_text(&name));
            (*count)++;
        }
        buf_free(&change);
        buf_free(&name);
    }
    fflush(stdout);
    return code;
}

static int push(const struct cli_args *args, struct target *target, const struct dotenv *env, struct err *err)
{
    int count = 0;
    struct buf answer;
    buf_init(&answer, BUF_UNLIMITED);
    int result = EXIT_DONE;
    enum err_code code = put_all(target, env, true, &answer, err);
    if (code == ERR_NONE)
        code = show_changes(&answer, &count, err);
    if (code == ERR_NONE && count == 0) {
        cli_note("nothing to push: the %zu variables are there already", env->count);
    } else if (code == ERR_NONE && !cli_flag(args, "--yes") && !cli_confirm("Seal these?")) {
        cli_note("nothing was changed; with --yes it is");
        result = EXIT_FAILED_WORK;
    } else if (code == ERR_NONE) {
        code = put_all(target, env, false, &answer, err);
        if (code == ERR_NONE)
            cli_note("sealed %d; what the file does not name stays as it is", count);
    }
    buf_free(&answer);
    return code == ERR_NONE ? result : target_fail(target, err);
}

static int run_push(const struct cli_args *args)
{
    struct target target;
    struct dotenv env = {0};
    struct buf text;
    struct err err;
    char path[PATH_ROOM];
    int result = target_open(args, &target);
    if (result != EXIT_DONE)
        return result;
    buf_init(&text, DOTENV_MAX);
    file_path(args, &target, path);
    enum err_code code = read_file(path, true, &text, &err);
    if (code == ERR_NONE)
        code = dotenv_parse(buf_text(&text), text.len, path, &env, &err);
    for (size_t i = 0; code == ERR_NONE && i < env.count; i++)
        if (env.entries[i].value_len == 0)
            cli_note("%s:%zu: %s is empty", path, env.entries[i].line, env.entries[i].name);
    result = code == ERR_NONE ? push(args, &target, &env, &err) : target_fail(&target, &err);
    dotenv_free(&env);
    buf_wipe(&text);
    target_close(&target);
    return result;
}

static const struct cli_option push_options[] = {
    {"--yes", "-y", NULL, "without asking"}, CLI_HOME_OPTION, {NULL, NULL, NULL, NULL}};

const struct command cmd_env_push = {
    .name = "env push",
    .arguments = "[FILE]",
    .summary = "Seal the variables of a .env file",
    .help = "FILE is the project's .env unless given. Shows what would be added (+) and changed (~), by "
            "name, and "
            "asks\n"
            "before it does so. Removes nothing: see workers env unset.\n\n"
            "Examples:\n  workers env push\n  workers env push .env.production --server "
            "https://workers.example.com --yes\n",
    .options = push_options,
    .max_arguments = 1,
    .remote = true,
    .run = run_push,
};
