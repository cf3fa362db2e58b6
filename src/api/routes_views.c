/* Views: what they may read, and reading it. Whoever asks for rows through a view gets what it declares, and
 * nothing else of the worker. */
#include "api/guard.h"
#include "api/routes.h"

#include "base/mem.h"
#include "net/url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_USUAL 100
#define FILTER_MAX ((size_t)64 * 1024) /* bytes of the body */

/* NULL after an error. */
static const struct view *find_view(struct api_request *request)
{
    const struct view *view = worker_view(request->worker, request->parameters[0]);
    if (view == NULL)
        request->code =
            err_set(&request->err, ERR_NOT_FOUND, "there is no view \"%s\": workers view list shows them",
                    request->parameters[0]);
    return view;
}

/* ---- what there is ---- */

static void describe_property(const struct view_property *seen, const struct property *property,
                              struct buf *out)
{
    json_write_text(out, seen->name);
    buf_addf(out, ":{\"type\":\"%s\"", property_type_name(property->type));
    if (property->format != NULL) {
        buf_adds(out, ",\"format\":");
        json_write_text(out, property->format);
    }
    for (size_t i = 0; i < property->option_count; i++) {
        buf_adds(out, i == 0 ? ",\"options\":[" : ",");
        json_write_text(out, property->options[i].name);
        buf_adds(out, i + 1 == property->option_count ? "]" : "");
    }
    buf_addc(out, '}');
}

static void describe_source(const struct worker *worker, const struct view_source *source, struct buf *out)
{
    const struct database *database = &worker->databases[source->database];
    json_write_text(out, source->key);
    buf_adds(out, ":{\"name\":");
    json_write_text(out, source->name);
    if (source->description != NULL) {
        buf_adds(out, ",\"description\":");
        json_write_text(out, source->description);
    }
    buf_adds(out, ",\"properties\":{");
    for (size_t i = 0; i < source->property_count; i++) {
        buf_adds(out, i > 0 ? "," : "");
        describe_property(&source->properties[i], &database->properties[source->properties[i].property], out);
    }
    buf_adds(out, "}}");
}

static void describe_view(const struct api_request *request, const struct view *view, struct buf *out)
{
    buf_adds(out, "{\"key\":");
    json_write_text(out, view->key);
    buf_adds(out, ",\"name\":");
    json_write_text(out, view->name);
    if (view->description != NULL) {
        buf_adds(out, ",\"description\":");
        json_write_text(out, view->description);
    }
    buf_addf(out, ",\"type\":\"%s\",\"path\":", view->is_project ? "project" : "static");
    json_write_text(out, view->path);
    buf_adds(out, ",\"worker\":");
    json_write_text(out, request->name);
    buf_addf(out, ",\"url\":\"%s/views/", request->url);
    url_encode(out, request->name, strlen(request->name));
    buf_addc(out, '/');
    url_encode(out, view->key, strlen(view->key));
    buf_adds(out, "/\"");
    buf_adds(out, ",\"dataSources\":{");
    for (size_t i = 0; i < view->source_count; i++) {
        buf_adds(out, i > 0 ? "," : "");
        describe_source(request->worker, &view->sources[i], out);
    }
    buf_adds(out, "}}");
}

static void list_views(struct api_request *request, struct store *store)
{
    const struct worker *worker = request->worker;
    (void)store;
    buf_addc(&request->out, '[');
    for (size_t i = 0; i < worker->view_count; i++) {
        api_comma(&request->out);
        describe_view(request, &worker->views[i], &request->out);
    }
    buf_addc(&request->out, ']');
}

static void get_view(struct api_request *request, struct store *store)
{
    const struct view *view = find_view(request);
    (void)store;
    if (view != NULL)
        describe_view(request, view, &request->out);
}

/* ---- rows ---- */

/* A whole number of the body. */
static bool read_number(struct api_request *request, const char *name, int64_t min, int64_t max, int64_t *out)
{
    struct json_slice slice;
    struct number number;
    if (!api_body_member(request, name, &slice))
        return true;
    if (number_parse(slice.text, slice.len, &number) == NUMBER_OK && number.is_integer &&
        number.integer >= min && number.integer <= max) {
        *out = number.integer;
        return true;
    }
    request->code = err_set(&request->err, ERR_INVALID, "%s must be a whole number from %lld to %lld", name,
                            (long long)min, (long long)max);
    return false;
}

static const struct view_source *find_source(struct api_request *request, const struct view *view)
{
    char key[101];
    if (!api_body_needs(request, "dataSource", key, sizeof key))
        return NULL;
    const struct view_source *source = view_source(view, key);
    if (source == NULL)
        request->code =
            err_set(&request->err, ERR_NOT_FOUND,
                    "view \"%s\" declares no data source \"%s\": name it in its dataSources", view->key, key);
    return source;
}

static void query_view(struct api_request *request, struct store *store)
{
    (void)store;
    const struct view *view = find_view(request);
    if (view != NULL && request->body_len > FILTER_MAX) {
        request->code = err_set(&request->err, ERR_LIMIT, "the query is larger than %zu bytes", FILTER_MAX);
        return;
    }
    const struct view_source *source = view != NULL ? find_source(request, view) : NULL;
    if (source == NULL)
        return;
    const struct database *database = &request->worker->databases[source->database];
    struct rows_query query = {.database = database, .extras = source->all, .limit = ROWS_USUAL};
    if (!read_number(request, "limit", 1, ROWS_QUERY_MAX, &query.limit) ||
        !read_number(request, "offset", 0, ROWS_OFFSET_MAX, &query.offset))
        return;
    api_body_member(request, "filter", &query.filter);
    api_body_member(request, "sorts", &query.sorts);
    const char **names = mem_zalloc(database->property_count * sizeof *names);
    if (names == NULL) {
        request->code = err_nomem(&request->err);
        return;
    }
    for (size_t i = 0; i < source->property_count; i++)
        names[source->properties[i].property] = source->properties[i].name;
    struct api_guard guard;
    query.names = names;
    api_guard_init(&guard, request, NULL); /* the statement is ours */
    request->code = store_rows_query(request->folder, &query, &guard.guard, &request->out, &request->err);
    api_guard_explain(request);
    mem_free(names);
}

static void get_revisions(struct api_request *request, struct store *store)
{
    const struct view *view = find_view(request);
    buf_addc(&request->out, '{');
    for (size_t i = 0; view != NULL && i < view->source_count && request->code == ERR_NONE; i++) {
        int64_t revision = 0;
        const struct view_source *source = &view->sources[i];
        request->code =
            store_revision(store, request->worker->databases[source->database].key, &revision, &request->err);
        buf_adds(&request->out, i > 0 ? "," : "");
        json_write_text(&request->out, source->key);
        buf_addf(&request->out, ":%lld", (long long)revision);
    }
    buf_addc(&request->out, '}');
}

const struct route view_routes[] = {
    {.method = "GET",
     .path = "/views",
     .scope = TOKEN_READ,
     .capability = ROUTE_NONE,
     .needs = ROUTE_WORKER | ROUTE_BARE,
     .id = "listViews",
     .summary = "Views with what they may read",
     .success = 200,
     .work = list_views},
    {.method = "GET",
     .path = "/views/{key}",
     .scope = TOKEN_READ,
     .capability = ROUTE_NONE,
     .needs = ROUTE_WORKER | ROUTE_BARE,
     .id = "getView",
     .summary = "One view",
     .success = 200,
     .work = get_view},
    {.method = "POST",
     .path = "/views/{key}/query",
     .scope = TOKEN_READ,
     .kind = ROUTE_READ,
     .capability = ROUTE_NONE,
     .needs = ROUTE_WORKER,
     .id = "queryView",
     .summary = "Rows of one of its data sources, filtered and sorted",
     .body = "{\"type\":\"object\",\"required\":[\"dataSource\"],\"properties\":{\"dataSource\":{\"type\":"
             "\"string\"},\"filter\":" API_OBJECT ",\"sorts\":{\"type\":\"array\",\"items\":" API_OBJECT
             "},\"limit\":{\"type\":\"integer\"},\"offset\":{\"type\":\"integer\"}}}",
     .success = 200,
     .work = query_view},
    {.method = "GET",
     .path = "/views/{key}/revisions",
     .scope = TOKEN_READ,
     .capability = ROUTE_NONE,
     .needs = ROUTE_WORKER | ROUTE_TABLES,
     .id = "getRevisions",
     .summary = "Of each data source a number that is another one after its rows have changed",
     .success = 200,
     .work = get_revisions},
    {0},
};
