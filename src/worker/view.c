/* What is known of a view, and how the manifest has it. */
#include "worker/view.h"

#include "base/json.h"
#include "worker/worker.h"

#include <stdio.h>
#include <string.h>

const struct view *worker_view(const struct worker *worker, const char *key)
{
    for (size_t i = 0; i < worker->view_count; i++)
        if (strcmp(worker->views[i].key, key) == 0)
            return &worker->views[i];
    return NULL;
}

const struct view_source *view_source(const struct view *view, const char *key)
{
    for (size_t i = 0; i < view->source_count; i++)
        if (strcmp(view->sources[i].key, key) == 0)
            return &view->sources[i];
    return NULL;
}

void view_folder(const struct view *view, char *out, size_t size)
{
    snprintf(out, size, "%s%s%s", view->path, view->is_project ? "/" : "",
             view->is_project ? view->output : "");
}

static void write_member(struct buf *out, const char *name, const char *text)
{
    if (text == NULL)
        return;
    buf_addf(out, ",\"%s\":", name);
    json_write_text(out, text);
}

static void write_source(const struct worker *worker, const struct view_source *source, struct buf *out)
{
    const struct database *database = &worker->databases[source->database];
    json_write_text(out, source->key);
    buf_adds(out, ":{\"name\":");
    json_write_text(out, source->name);
    write_member(out, "description", source->description);
    write_member(out, "database", database->key);
    for (size_t i = 0; i < source->property_count && !source->all; i++) {
        const struct view_property *property = &source->properties[i];
        const struct property *of = &database->properties[property->property];
        buf_adds(out, i == 0 ? ",\"properties\":{" : ",");
        json_write_text(out, property->name);
        buf_adds(out, ":{\"name\":");
        json_write_text(out, of->name);
        write_member(out, "description", property->description);
        buf_addf(out, ",\"type\":\"%s\"}", property_type_name(of->type));
        buf_adds(out, i + 1 == source->property_count ? "}" : "");
    }
    buf_addc(out, '}');
}

void view_write(const struct worker *worker, const struct view *view, struct buf *out)
{
    buf_adds(out, "{\"_tag\":\"custom_block\",\"key\":");
    json_write_text(out, view->key);
    buf_addf(out, ",\"config\":{\"source\":{\"type\":\"%s\"", view->is_project ? "project" : "static");
    write_member(out, "path", view->path);
    write_member(out, "command", view->command);
    write_member(out, "output", view->output);
    buf_addf(out, "},\"manifest\":{\"version\":%.17g", view->version);
    write_member(out, "name", view->name);
    write_member(out, "description", view->description);
    if (view->icon_json != NULL)
        buf_addf(out, ",\"icon\":%s", view->icon_json);
    write_member(out, "slashCommand", view->slash_command);
    buf_adds(out, ",\"dataSources\":{");
    for (size_t i = 0; i < view->source_count; i++) {
        buf_adds(out, i > 0 ? "," : "");
        write_source(worker, &view->sources[i], out);
    }
    buf_adds(out, "}}}}");
}
