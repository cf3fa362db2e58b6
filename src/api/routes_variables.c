/* The sealed variables of the worker, and the key that seals them. Must not put a value into an answer, but
 * one that is sealed for who asks; nor into a log. */
#include "api/routes.h"

#include "base/crypto.h"
#include "base/iso8601.h"
#include "base/mem.h"

#include <string.h>

/* ---- what there is ---- */

static enum err_code add_variable(void *ctx, const struct secret_info *info, const char *value, size_t len)
{
    struct api_request *request = ctx;
    char time[ISO_UTC_SIZE];
    (void)value;
    (void)len;
    api_comma(&request->out);
    buf_adds(&request->out, "{\"name\":");
    json_write_text(&request->out, info->name);
    buf_addf(&request->out, ",\"version\":%lld,\"createdAt\":\"%s\",\"current\":%s,\"public\":%s}",
             (long long)info->version, iso_format_utc(info->created_ms, time),
             info->current ? "true" : "false", info->is_public ? "true" : "false");
    return ERR_NONE;
}

static void list(struct api_request *request, struct store *store, const struct secret_query *query)
{
    buf_addc(&request->out, '[');
    request->code = store_secrets_each(store, query, add_variable, request, &request->err);
    buf_addc(&request->out, ']');
}

static void list_variables(struct api_request *request, struct store *store)
{
    const struct secret_query query = {0};
    list(request, store, &query);
}

static void no_variable(struct api_request *request)
{
    request->code =
        err_set(&request->err, ERR_NOT_FOUND, "there is no variable \"%s\": workers env list shows them",
                request->parameters[0]);
}

static void list_versions(struct api_request *request, struct store *store)
{
    const struct secret_query query = {.name = request->parameters[0], .versions = true};
    list(request, store, &query);
    if (request->code == ERR_NONE && request->out.len == 2)
        no_variable(request);
}

/* ---- changes ---- */

static const char *change_name(enum secret_change change)
{
    static const char *const names[] = {"added", "changed", "unchanged"};
    return names[change];
}

/* Reads the string that the scanner stands at; the caller wipes it. */
static enum err_code read_value(const struct json_scan *scan, char **value, size_t *len, struct err *err)
{
    *value = mem_alloc(scan->string.len + 1);
    if (*value == NULL)
        return err_nomem(err);
    *len = json_unescape(scan->string, *value);
    return ERR_NONE;
}

static void set_variable(struct api_request *request, struct store *store)
{
    struct json_scan scan;
    char *value = NULL;
    size_t len = 0;
    enum secret_change change = SECRET_UNCHANGED;
    if (!api_body_text(request, "value", &scan)) {
        request->code = err_set(&request->err, ERR_INVALID, "the body needs \"value\", a text");
        return;
    }
    request->code = read_value(&scan, &value, &len, &request->err);
    if (request->code == ERR_NONE)
        request->code = store_secret_set(store, request->parameters[0], value, len, &change, &request->err);
    crypto_free(value, len);
    struct json_slice slice;
    if (request->code == ERR_NONE && api_body_member(request, "public", &slice))
        request->code = store_secret_publish(store, request->parameters[0], api_body_flag(request, "public"),
                                             &request->err);
    buf_addf(&request->out, "{\"change\":\"%s\"}", change_name(change));
}

/* One of several: the scanner stands at the name. */
static enum err_code set_member(struct api_request *request, struct store *store, bool preview,
                                struct json_scan *scan)
{
    char name[SECRET_NAME_MAX + 1];
    char *value = NULL;
    size_t len = 0;
    enum secret_change change = SECRET_UNCHANGED;
    if (scan->string.len > SECRET_NAME_MAX)
        return err_set(&request->err, ERR_INVALID, "a variable name has at most %d letters, digits and _",
                       SECRET_NAME_MAX);
    name[json_unescape(scan->string, name)] = '\0';
    enum err_code code = json_scan_value(scan, &request->err);
    if (code == ERR_NONE && scan->token != JSON_STRING)
        code = err_set(&request->err, ERR_INVALID, "the value of %s must be a text", name);
    if (code == ERR_NONE)
        code = read_value(scan, &value, &len, &request->err);
    if (code == ERR_NONE)
        code = preview ? store_secret_compare(store, name, value, len, &change, &request->err)
                       : store_secret_set(store, name, value, len, &change, &request->err);
    crypto_free(value, len);
    api_comma(&request->out);
    buf_addf(&request->out, "{\"name\":\"%s\",\"change\":\"%s\"}", code == ERR_NONE ? name : "",
             change_name(change));
    return code;
}

static void set_variables(struct api_request *request, struct store *store)
{
    struct json_slice variables;
    struct json_scan scan;
    bool more = false, preview = api_body_flag(request, "preview");
    if (!api_body_member(request, "variables", &variables) || variables.text[0] != '{') {
        request->code =
            err_set(&request->err, ERR_INVALID, "the body needs \"variables\", an object of texts");
        return;
    }
    buf_addc(&request->out, '[');
    json_scan_init(&scan, variables.text, variables.len);
    enum err_code code = json_scan_value(&scan, &request->err);
    while (code == ERR_NONE && (code = json_scan_member(&scan, &more, &request->err)) == ERR_NONE && more)
        code = set_member(request, store, preview, &scan);
    buf_addc(&request->out, ']');
    request->code = code;
}

static void unset_variable(struct api_request *request, struct store *store)
{
    bool existed = false;
    request->code = store_secret_unset(store, request->parameters[0], &existed, &request->err);
    if (request->code == ERR_NONE && !existed)
        no_variable(request);
    api_done(request);
}

static void restore_variable(struct api_request *request, struct store *store)
{
    struct json_slice slice;
    struct json_scan scan;
    if (api_body_member(request, "version", &slice)) {
        json_scan_init(&scan, slice.text, slice.len);
        request->code = json_scan_value(&scan, &request->err);
    }
    if (request->code == ERR_NONE &&
        (slice.text == NULL || scan.token != JSON_NUMBER || !scan.number.is_integer))
        request->code = err_set(&request->err, ERR_INVALID, "the body needs \"version\", a whole number");
    if (request->code == ERR_NONE)
        request->code =
            store_secret_restore(store, request->parameters[0], scan.number.integer, &request->err);
    api_done(request);
}

/* ---- values, for who asks alone ---- */

struct revealing {
    struct api_request *request;
    unsigned char key[CRYPTO_KEY_SIZE];
};

static enum err_code reveal_one(void *ctx, const struct secret_info *info, const char *value, size_t len)
{
    struct revealing *revealing = ctx;
    struct api_request *request = revealing->request;
    unsigned char *sealed = mem_alloc(len + CRYPTO_SEAL_OVERHEAD);
    if (sealed == NULL)
        return err_nomem(&request->err);
    enum err_code code =
        crypto_seal(revealing->key, info->name, strlen(info->name), value, len, sealed, &request->err);
    if (code == ERR_NONE) {
        if (request->out.data[request->out.len - 1] != '[')
            buf_addc(&request->out, ',');
        buf_addf(&request->out, "{\"name\":\"%s\",\"sealed\":\"", info->name);
        crypto_encode_to(CRYPTO_BASE64, sealed, len + CRYPTO_SEAL_OVERHEAD, &request->out);
        buf_adds(&request->out, "\"}");
    }
    mem_free(sealed);
    return code;
}

/* Sealed with a key that only the two sides can make, so that no proxy, log or recording of the answer has
 * the values. */
static void reveal_variables(struct api_request *request, struct store *store)
{
    char text[64];
    unsigned char own[CRYPTO_EXCHANGE_SIZE], own_public[CRYPTO_EXCHANGE_SIZE],
        other[CRYPTO_EXCHANGE_SIZE + 16];
    size_t len = 0;
    struct revealing revealing = {.request = request};
    const struct secret_query query = {.reveal = true};
    if (!api_body_needs(request, "publicKey", text, sizeof text))
        return;
    enum err_code code = crypto_decode(CRYPTO_BASE64, text, strlen(text), other, &len, &request->err);
    if (code != ERR_NONE || len != CRYPTO_EXCHANGE_SIZE)
        code = err_set(&request->err, ERR_INVALID, "publicKey must be a key of X25519: %d bytes as base64",
                       CRYPTO_EXCHANGE_SIZE);
    if (code == ERR_NONE)
        code = crypto_exchange_new(own, own_public, &request->err);
    if (code == ERR_NONE)
        code = crypto_exchange_key(own, other, revealing.key, &request->err);
    crypto_wipe(own, sizeof own);
    if (code == ERR_NONE) {
        buf_adds(&request->out, "{\"publicKey\":\"");
        crypto_encode_to(CRYPTO_BASE64, own_public, sizeof own_public, &request->out);
        buf_adds(&request->out, "\",\"variables\":[");
        code = store_secrets_each(store, &query, reveal_one, &revealing, &request->err);
        buf_adds(&request->out, "]}");
    }
    crypto_wipe(revealing.key, sizeof revealing.key);
    request->code = code;
}

/* ---- the key ---- */

static void rotate_key(struct api_request *request, struct store *store)
{
    struct key_rotation rotation = {.forget = api_body_flag(request, "forget")};
    buf_init(&rotation.forgotten, (size_t)1024 * 1024);
    request->code = store_key_rotate(store, &rotation, &request->err);
    buf_addf(&request->out, "{\"sealed\":%lld,\"forgotten\":[", (long long)rotation.sealed);
    const char *at = buf_text(&rotation.forgotten);
    for (bool first = true; *at != '\0'; first = false) {
        size_t len = strcspn(at, "\n");
        struct err ignored;
        if (!first)
            buf_addc(&request->out, ',');
        if (json_write_string(&request->out, at, len, &ignored) != ERR_NONE)
            buf_adds(&request->out, "\"?\"");
        at += len + 1;
    }
    buf_adds(&request->out, "]}");
    buf_free(&rotation.forgotten);
}

const struct route variable_routes[] = {
    {.method = "GET",
     .path = "/variables",
     .scope = TOKEN_ADMIN,
     .capability = ROUTE_NONE,
     .id = "listVariables",
     .summary = "The names of the sealed variables",
     .success = 200,
     .work = list_variables},
    {.method = "PUT",
     .path = "/variables",
     .scope = TOKEN_ADMIN,
     .capability = ROUTE_NONE,
     .needs = ROUTE_MAKES | ROUTE_WRITES,
     .id = "setVariables",
     .summary = "Seals several variables, or says what that would change",
     .body =
         "{\"type\":\"object\",\"required\":[\"variables\"],\"properties\":{\"variables\":{\"type\":"
         "\"object\",\"additionalProperties\":{\"type\":\"string\"}},\"preview\":{\"type\":\"boolean\"}}}",
     .success = 200,
     .work = set_variables},
    {.method = "PUT",
     .path = "/variables/{name}",
     .scope = TOKEN_ADMIN,
     .capability = ROUTE_NONE,
     .needs = ROUTE_MAKES | ROUTE_WRITES,
     .id = "setVariable",
     .summary = "Seals a variable",
     .body = "{\"type\":\"object\",\"required\":[\"value\"],\"properties\":{\"value\":{\"type\":\"string\"},"
             "\"public\":{\"type\":\"boolean\"}}}",
     .success = 200,
     .work = set_variable},
    {.method = "DELETE",
     .path = "/variables/{name}",
     .scope = TOKEN_ADMIN,
     .capability = ROUTE_NONE,
     .needs = ROUTE_WRITES,
     .id = "unsetVariable",
     .summary = "Removes a sealed variable, and its earlier versions",
     .success = 200,
     .work = unset_variable},
    {.method = "GET",
     .path = "/variables/{name}/versions",
     .scope = TOKEN_ADMIN,
     .capability = ROUTE_NONE,
     .id = "listVariableVersions",
     .summary = "When a variable was set, newest first",
     .success = 200,
     .work = list_versions},
    {.method = "POST",
     .path = "/variables/{name}/restore",
     .scope = TOKEN_ADMIN,
     .capability = ROUTE_NONE,
     .needs = ROUTE_WRITES,
     .id = "restoreVariable",
     .summary = "Sets a variable to what it was in an earlier version",
     .body = "{\"type\":\"object\",\"required\":[\"version\"],\"properties\":{\"version\":{\"type\":"
             "\"integer\"}}}",
     .success = 200,
     .work = restore_variable},
    {.method = "POST",
     .path = "/variables/reveal",
     .scope = TOKEN_ADMIN,
     .capability = ROUTE_NONE,
     .needs = ROUTE_MAKES,
     .id = "revealVariables",
     .summary = "The values, sealed with AES-256-GCM for the holder of an X25519 key",
     .body = "{\"type\":\"object\",\"required\":[\"publicKey\"],\"properties\":{\"publicKey\":{\"type\":"
             "\"string\"}}}",
     .success = 200,
     .work = reveal_variables},
    {.method = "POST",
     .path = "/key/rotate",
     .scope = TOKEN_ADMIN,
     .capability = ROUTE_NONE,
     .needs = ROUTE_MAKES,
     .id = "rotateKey",
     .summary = "Makes another key and seals everything with it",
     .body = "{\"type\":\"object\",\"properties\":{\"forget\":{\"type\":\"boolean\"}}}",
     .success = 200,
     .work = rotate_key},
    {0},
};
