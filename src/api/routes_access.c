/* Who may use the API. */
#include "api/routes.h"

#include "base/iso8601.h"

static enum err_code add_token(void *ctx, const struct token_record *record)
{
    struct api_request *request = ctx;
    char time[ISO_UTC_SIZE];
    api_comma(&request->out);
    buf_adds(&request->out, "{\"name\":");
    json_write_text(&request->out, record->name);
    buf_addf(&request->out, ",\"scope\":\"%s\",\"createdAt\":\"%s\"}", token_scope_name(record->scope),
             iso_format_utc(record->created_ms, time));
    return ERR_NONE;
}

static void list_tokens(struct api_request *request, struct store *store)
{
    buf_addc(&request->out, '[');
    request->code = store_tokens_each(store, add_token, request, &request->err);
    buf_addc(&request->out, ']');
}

static void make_token(struct api_request *request, struct store *store)
{
    char name[TOKEN_NAME_MAX + 1], scope_name[16], token[TOKEN_SIZE];
    enum token_scope scope;
    if (!api_body_needs(request, "name", name, sizeof name) ||
        !api_body_needs(request, "scope", scope_name, sizeof scope_name))
        return;
    if (!token_scope_parse(scope_name, &scope)) {
        request->code = err_set(&request->err, ERR_INVALID, "scope must be \"read\", \"run\" or \"admin\"");
        return;
    }
    request->code = store_token_make(store, name, scope, token, &request->err);
    if (request->code == ERR_NONE)
        buf_addf(&request->out, "{\"token\":\"%s\"}", token);
}

static void revoke_token(struct api_request *request, struct store *store)
{
    bool existed = false;
    request->code = store_token_revoke(store, request->parameters[0], &existed, &request->err);
    if (request->code == ERR_NONE && !existed)
        request->code =
            err_set(&request->err, ERR_NOT_FOUND, "there is no token \"%s\": workers tokens list shows them",
                    request->parameters[0]);
    api_done(request);
}

const struct route access_routes[] = {
    {.method = "GET",
     .path = "/tokens",
     .scope = TOKEN_ADMIN,
     .capability = ROUTE_NONE,
     .needs = ROUTE_MAKES,
     .id = "listTokens",
     .summary = "The tokens, without what they are",
     .success = 200,
     .work = list_tokens},
    {.method = "POST",
     .path = "/tokens",
     .scope = TOKEN_ADMIN,
     .capability = ROUTE_NONE,
     .needs = ROUTE_MAKES,
     .id = "makeToken",
     .summary = "Makes a token; nobody can read it again",
     .body = "{\"type\":\"object\",\"required\":[\"name\",\"scope\"],\"properties\":{\"name\":{\"type\":"
             "\"string\"},\"scope\":{\"enum\":[\"read\",\"run\",\"admin\"]}}}",
     .success = 201,
     .work = make_token},
    {.method = "DELETE",
     .path = "/tokens/{name}",
     .scope = TOKEN_ADMIN,
     .capability = ROUTE_NONE,
     .needs = ROUTE_MAKES,
     .id = "revokeToken",
     .summary = "Makes a token useless",
     .success = 200,
     .work = revoke_token},
    {0},
};
