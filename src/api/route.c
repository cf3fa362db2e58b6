/* The table of routes, and its description. */
#include "api/routes.h"

#include "base/json.h"

#include <string.h>

const struct route *api_route(size_t n)
{
    static const struct route *const tables[] = {
        worker_routes, sync_routes,   run_routes,      webhook_routes, delivery_routes, database_routes,
        metric_routes, access_routes, variable_routes, version_routes, oauth_routes,    view_routes};
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        for (const struct route *at = tables[i]; at->method != NULL; at++)
            if (n-- == 0)
                return at;
    return NULL;
}

bool api_is_shared(const struct route *route)
{
    static const struct route *const tables[] = {access_routes, variable_routes};
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        for (const struct route *at = tables[i]; at->method != NULL; at++)
            if (at == route)
                return true;
    return false;
}

/* ---- the OpenAPI description ---- */

static void describe_parameters(const struct route *route, struct buf *out)
{
    buf_adds(out, "\"parameters\":[{\"name\":\"worker\",\"in\":\"path\",\"required\":true,\"schema\":{"
                  "\"type\":\"string\"}}");
    for (const char *at = strchr(route->path, '{'); at != NULL; at = strchr(at + 1, '{'))
        buf_addf(out,
                 ",{\"name\":\"%.*s\",\"in\":\"path\",\"required\":true,\"schema\":{\"type\":\"string\"}}",
                 (int)strcspn(at + 1, "}"), at + 1);
    for (const char *at = route->query; at != NULL && *at != '\0';) {
        size_t name = strcspn(at, ":"), len = strcspn(at, " ");
        buf_addf(out, ",{\"name\":\"%.*s\",\"in\":\"query\",\"schema\":{\"type\":\"%.*s\"}}", (int)name, at,
                 (int)(len - name - 1), at + name + 1);
        at += len + (at[len] == ' ');
    }
    buf_addc(out, ']');
}

static void describe_route(const struct route *route, struct buf *out)
{
    static const int failures[] = {401, 403, 404, 409, 422};
    char method[8];
    size_t len = 0;
    for (; route->method[len] != '\0' && len + 1 < sizeof method; len++)
        method[len] = (char)(route->method[len] + ('a' - 'A'));
    method[len] = '\0';
    buf_addf(out, "\"%s\":{\"operationId\":\"%s\",\"summary\":", method, route->id);
    json_write_text(out, route->summary);
    buf_addf(out, ",\"description\":\"Needs a token of the scope %s.\",\"security\":[{\"token\":[]}],",
             token_scope_name(route->scope));
    describe_parameters(route, out);
    if (route->body != NULL)
        buf_addf(out, ",\"requestBody\":{\"content\":{\"application/json\":{\"schema\":%s}}}", route->body);
    buf_addf(out,
             ",\"responses\":{\"%d\":{\"description\":\"Done.\",\"content\":{\"application/"
             "json\":{\"schema\":{}}}}",
             route->success);
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++)
        buf_addf(out, ",\"%d\":{\"$ref\":\"#/components/responses/Error\"}", failures[i]);
    buf_adds(out, "}}");
}

/* Whether a route before the nth has the same path. */
static bool has_earlier(size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(api_route(i)->path, api_route(n)->path) == 0)
            return true;
    return false;
}

void api_describe(const char *url, struct buf *out)
{
    buf_addf(out,
             "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"workers\",\"version\":\"%s\",\"license\":{"
             "\"name\":\"MIT\","
             "\"identifier\":\"MIT\"}},\"servers\":[{\"url\":",
             WORKERS_VERSION);
    json_write_text(out, url);
    buf_adds(
        out,
        "}],\"paths\":{\"" API_ROOT
        "/openapi.json\":{\"get\":{\"operationId\":\"describe\",\"summary\":\"This description\","
        "\"security\":[],\"responses\":{\"200\":{\"description\":\"Done.\"},\"405\":{\"$ref\":"
        "\"#/components/responses/Error\"}}}},\"" API_ROOT
        "/workers\":{\"get\":{\"operationId\":\"listWorkers\",\"summary\":\"The workers that the token is"
        " good for\",\"security\":[{\"token\":[]}],\"responses\":{\"200\":{\"description\":\"Done.\"},"
        "\"401\":{\"$ref\":\"#/components/responses/"
        "Error\"}}},\"post\":{\"operationId\":\"createWorker\",\"summary\":"
        "\"Makes a worker in the home, without anything in it\",\"description\":\"Needs a token of the scope "
        "admin.\","
        "\"security\":[{\"token\":[]}],\"requestBody\":{\"content\":{\"application/"
        "json\":{\"schema\":{\"type\":\"object\","
        "\"required\":[\"name\"],\"properties\":{\"name\":{\"type\":\"string\"}}}}}},\"responses\":{\"201\":{"
        "\"description\":"
        "\"Done.\"},\"401\":{\"$ref\":\"#/components/responses/Error\"},\"403\":{\"$ref\":\"#/components/"
        "responses/Error\"},"
        "\"409\":{\"$ref\":\"#/components/responses/Error\"},\"422\":{\"$ref\":\"#/components/responses/"
        "Error\"}}}}");
    const struct route *at = NULL;
    for (size_t i = 0; (at = api_route(i)) != NULL; i++) {
        if (has_earlier(i))
            continue;
        buf_addf(out, ",\"" API_ROOT "/workers/{worker}%s\":{", at->path);
        const struct route *same = NULL;
        for (size_t k = i; (same = api_route(k)) != NULL; k++) {
            if (strcmp(same->path, at->path) != 0)
                continue;
            buf_adds(out, k > i ? "," : "");
            describe_route(same, out);
        }
        buf_addc(out, '}');
    }
    buf_adds(
        out,
        "},\"components\":{\"securitySchemes\":{\"token\":{\"type\":\"http\",\"scheme\":\"bearer\"}},"
        "\"responses\":{\"Error\":{\"description\":\"It was not done.\",\"content\":{\"application/json\":"
        "{\"schema\":{\"type\":\"object\",\"required\":[\"error\"],\"properties\":{\"error\":{\"type\":"
        "\"object\",\"required\":[\"code\",\"message\"],\"properties\":{\"code\":{\"type\":\"string\"},"
        "\"message\":{\"type\":\"string\"}}}}}}}}}}}");
}
