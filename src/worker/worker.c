/* The declarations of one worker and its manifest. Must not know Lua. */
#include "worker/worker.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/number.h"
#include "base/text.h"
#include "worker/json_schema.h"

#include <string.h>

/* The version of the SDK whose manifest ours equals. */
#define SDK_VERSION "0.9.2"

static const char *const kind_names[] = {"sync", "tool", "webhook", "automation", "job"};

static const char *const type_names[PROPERTY_TYPE_COUNT] = {
    "title", "text",   "url",          "email",  "phone_number", "checkbox", "file",     "number",
    "date",  "select", "multi_select", "status", "people",       "place",    "relation",
};

struct worker *worker_new(void)
{
    struct worker *worker = mem_zalloc(sizeof *worker);
    if (worker != NULL)
        arena_init(&worker->arena);
    return worker;
}

void worker_free(struct worker *worker)
{
    if (worker == NULL)
        return;
    for (size_t i = 0; i < worker->capability_count; i++) {
        json_schema_free(worker->capabilities[i].input_schema);
        json_schema_free(worker->capabilities[i].output_schema);
    }
    arena_free(&worker->arena);
    mem_free(worker);
}

const struct capability *worker_capability(const struct worker *worker, const char *key)
{
    for (size_t i = 0; i < worker->capability_count; i++)
        if (strcmp(worker->capabilities[i].key, key) == 0)
            return &worker->capabilities[i];
    return NULL;
}

static void no_capability(const struct worker *worker, const char *key, int kind, struct err *err)
{
    const char *what = kind == CAPABILITY_ANY ? "capability" : kind_names[kind];
    size_t count = 0;
    const char **keys = mem_alloc((worker->capability_count + 1) * sizeof *keys);
    for (size_t i = 0; keys != NULL && i < worker->capability_count; i++)
        if (kind == CAPABILITY_ANY || (int)worker->capabilities[i].kind == kind)
            keys[count++] = worker->capabilities[i].key;
    int nearest = keys != NULL ? text_nearest(key, strlen(key), keys, count) : -1;
    if (nearest >= 0)
        err_set(err, ERR_NOT_FOUND, "the worker has no %s \"%s\"; did you mean \"%s\"?", what, key,
                keys[nearest]);
    else
        err_set(err, ERR_NOT_FOUND, "the worker has no %s \"%s\": workers capabilities list shows them", what,
                key);
    mem_free(keys);
}

const struct capability *worker_find(const struct worker *worker, const char *key, int kind, struct err *err)
{
    const struct capability *capability = worker_capability(worker, key);
    if (capability == NULL) {
        no_capability(worker, key, kind, err);
        return NULL;
    }
    if (kind == CAPABILITY_ANY || (int)capability->kind == kind)
        return capability;
    err_set(err, ERR_INVALID, "\"%s\" is a %s, not a %s", key, kind_names[capability->kind],
            kind_names[kind]);
    return NULL;
}

const struct oauth *worker_oauth(const struct worker *worker, const char *key)
{
    for (size_t i = 0; i < worker->oauth_count; i++)
        if (strcmp(worker->oauths[i].key, key) == 0)
            return &worker->oauths[i];
    return NULL;
}

const struct pacer *worker_pacer(const struct worker *worker, const char *key)
{
    for (size_t i = 0; i < worker->pacer_count; i++)
        if (strcmp(worker->pacers[i].key, key) == 0)
            return &worker->pacers[i];
    return NULL;
}

size_t worker_database(const struct worker *worker, const char *key)
{
    for (size_t i = 0; i < worker->database_count; i++)
        if (strcmp(worker->databases[i].key, key) == 0)
            return i;
    return SIZE_MAX;
}

const struct property *database_property(const struct database *database, const char *name, size_t len)
{
    for (size_t i = 0; i < database->property_count; i++) {
        const struct property *property = &database->properties[i];
        if (property->name_len == len && memcmp(property->name, name, len) == 0)
            return property;
    }
    return NULL;
}

const char *capability_kind_name(enum capability_kind kind)
{
    return kind_names[kind];
}

const char *property_type_name(enum property_type type)
{
    return type_names[type];
}

enum property_type property_type_of(const char *name)
{
    for (int i = 0; i < PROPERTY_TYPE_COUNT; i++)
        if (strcmp(type_names[i], name) == 0)
            return (enum property_type)i;
    return PROPERTY_TYPE_COUNT;
}

static enum err_code check_relation(const struct worker *worker, const struct database *database,
                                    const struct property *property, struct err *err)
{
    size_t related = worker_database(worker, property->related_database);
    if (related == SIZE_MAX)
        return err_set(
            err, ERR_INVALID,
            "%sdatabase \"%s\": property \"%s\" is a relation to \"%s\", which is not declared: add "
            "worker:database(\"%s\", …)",
            database->where, database->key, property->name, property->related_database,
            property->related_database);
    /* The other side of a two-way relation has a name of its own; a declared property must not carry it. */
    const struct database *other = &worker->databases[related];
    if (property->two_way && other != database &&
        database_property(other, property->related_property, strlen(property->related_property)) != NULL) {
        const struct property *back =
            database_property(other, property->related_property, strlen(property->related_property));
        if (back->type != PROPERTY_RELATION || strcmp(back->related_database, database->key) != 0)
            return err_set(
                err, ERR_INVALID,
                "%sdatabase \"%s\": the related property \"%s\" of \"%s\" is already a property of \"%s\" "
                "that is no relation back",
                database->where, database->key, property->related_property, property->name, other->key);
    }
    return ERR_NONE;
}

/* The link table of a two-way relation, <table>_<property>, and its view from the other side share the
 * databases' names. */
static enum err_code check_link_names(const struct worker *worker, const struct database *database,
                                      const struct property *property, struct err *err)
{
    const struct database *related = &worker->databases[worker_database(worker, property->related_database)];
    struct buf name;
    enum err_code code = ERR_NONE;
    for (int side = 0; side < 2 && code == ERR_NONE; side++) {
        buf_init(&name, 8192);
        buf_addf(&name, "%s_", side == 0 ? database->table : related->table);
        if (side == 0)
            buf_adds(&name, property->column);
        else
            text_snake_case(property->related_property, strlen(property->related_property), &name);
        code = buf_status(&name, "the name of a relation's table", err);
        for (size_t i = 0; i < worker->database_count && code == ERR_NONE; i++)
            if (strcmp(worker->databases[i].table, buf_text(&name)) == 0)
                code = err_set(err, ERR_INVALID,
                               "%sdatabase \"%s\": the two-way relation \"%s\" needs the name %s, which is "
                               "the table of database "
                               "\"%s\": rename one",
                               database->where, database->key, property->name, buf_text(&name),
                               worker->databases[i].key);
        buf_free(&name);
    }
    return code;
}

static enum err_code check_sub_items(const struct database *database, struct err *err)
{
    if (database->sub_items_parent == NULL)
        return ERR_NONE;
    const struct property *parent =
        database_property(database, database->sub_items_parent, strlen(database->sub_items_parent));
    const struct property *child =
        database_property(database, database->sub_items_child, strlen(database->sub_items_child));
    const struct property *held = parent != NULL ? parent : child;
    const char *other = parent != NULL ? database->sub_items_child : database->sub_items_parent;
    if (held == NULL || held->type != PROPERTY_RELATION ||
        strcmp(held->related_database, database->key) != 0 || !held->two_way ||
        strcmp(held->related_property, other) != 0)
        return err_set(
            err, ERR_INVALID,
            "%sdatabase \"%s\": subItems needs a two-way relation of the database to itself: [\"%s\"] = "
            "Schema.relation(\"%s\", { twoWay = true, relatedPropertyName = \"%s\" })",
            database->where, database->key, database->sub_items_parent, database->key,
            database->sub_items_child);
    return ERR_NONE;
}

enum err_code worker_check(struct worker *worker, struct err *err)
{
    for (size_t i = 0; i < worker->database_count; i++) {
        const struct database *database = &worker->databases[i];
        for (size_t k = 0; k < i; k++)
            if (strcmp(worker->databases[k].table, database->table) == 0)
                return err_set(err, ERR_INVALID,
                               "%sdatabases \"%s\" and \"%s\" would both be stored in table %s: rename one",
                               database->where, worker->databases[k].key, database->key, database->table);
        for (size_t k = 0; k < database->property_count; k++) {
            if (database->properties[k].type != PROPERTY_RELATION)
                continue;
            enum err_code code = check_relation(worker, database, &database->properties[k], err);
            if (code == ERR_NONE && database->properties[k].two_way)
                code = check_link_names(worker, database, &database->properties[k], err);
            if (code != ERR_NONE)
                return code;
        }
        enum err_code code = check_sub_items(database, err);
        if (code != ERR_NONE)
            return code;
    }
    return ERR_NONE;
}

static void write_options(const struct property *property, int group, struct buf *out)
{
    bool first = true;
    buf_adds(out, "\"options\":[");
    for (size_t i = 0; i < property->option_count; i++) {
        const struct select_option *option = &property->options[i];
        if (option->group != group)
            continue;
        buf_adds(out, first ? "{\"name\":" : ",{\"name\":");
        json_write_text(out, option->name);
        if (option->color != NULL) {
            buf_adds(out, ",\"color\":");
            json_write_text(out, option->color);
        }
        buf_addc(out, '}');
        first = false;
    }
    buf_addc(out, ']');
}

void worker_write_property(const struct property *property, struct buf *out)
{
    buf_addf(out, "{\"type\":\"%s\"", property_type_name(property->type));
    switch (property->type) {
    case PROPERTY_NUMBER:
    case PROPERTY_DATE:
        if (property->format != NULL) {
            buf_adds(out, property->type == PROPERTY_NUMBER ? ",\"format\":" : ",\"date_format\":");
            json_write_text(out, property->format);
        }
        break;
    case PROPERTY_SELECT:
    case PROPERTY_MULTI_SELECT:
        buf_addc(out, ',');
        write_options(property, 0, out);
        break;
    case PROPERTY_STATUS:
        buf_adds(out, ",\"groups\":[");
        for (size_t i = 0; i < property->group_count; i++) {
            buf_adds(out, i > 0 ? ",{\"name\":" : "{\"name\":");
            json_write_text(out, property->groups[i]);
            buf_addc(out, ',');
            write_options(property, (int)i, out);
            buf_addc(out, '}');
        }
        buf_addc(out, ']');
        break;
    case PROPERTY_RELATION:
        buf_adds(out, ",\"relatedDatabaseKey\":");
        json_write_text(out, property->related_database);
        buf_addf(out, ",\"config\":{\"twoWay\":%s", property->two_way ? "true" : "false");
        if (property->two_way) {
            buf_adds(out, ",\"relatedPropertyName\":");
            json_write_text(out, property->related_property);
        }
        buf_addc(out, '}');
        break;
    default:
        break;
    }
    buf_addc(out, '}');
}

static void write_database(const struct database *database, struct buf *out)
{
    buf_adds(out, "{\"key\":");
    json_write_text(out, database->key);
    buf_adds(out, ",\"config\":{\"type\":");
    json_write_text(out, database->type);
    buf_adds(out, ",\"initialTitle\":");
    json_write_text(out, database->initial_title);
    buf_adds(out, ",\"primaryKeyProperty\":");
    json_write_text(out, database->properties[database->primary_key].name);
    buf_adds(out, ",\"schema\":{");
    if (database->icon_json != NULL) {
        buf_adds(out, "\"databaseIcon\":");
        buf_adds(out, database->icon_json);
        buf_addc(out, ',');
    }
    buf_adds(out, "\"properties\":{");
    for (size_t i = 0; i < database->property_count; i++) {
        if (i > 0)
            buf_addc(out, ',');
        json_write_text(out, database->properties[i].name);
        buf_addc(out, ':');
        worker_write_property(&database->properties[i], out);
    }
    buf_addc(out, '}');
    if (database->sub_items_parent != NULL) {
        buf_adds(out, ",\"subItems\":{\"parentPropertyName\":");
        json_write_text(out, database->sub_items_parent);
        buf_adds(out, ",\"childPropertyName\":");
        json_write_text(out, database->sub_items_child);
        buf_addc(out, '}');
    }
    buf_adds(out, "}}}");
}

static void write_plain_number(struct buf *out, double value)
{
    char text[NUMBER_TEXT_MAX];
    buf_add(out, text, number_format_js(value, text));
}

static void write_sync(const struct worker *worker, const struct capability *sync, struct buf *out)
{
    const struct database *database = &worker->databases[sync->database];
    buf_adds(out, "\"databaseKey\":");
    json_write_text(out, database->key);
    buf_adds(out, ",\"primaryKeyProperty\":");
    json_write_text(out, database->properties[database->primary_key].name);
    if (sync->mode_given)
        buf_addf(out, ",\"mode\":\"%s\"", sync->mode == SYNC_REPLACE ? "replace" : "incremental");
    if (sync->schedule_given) {
        buf_adds(out, ",\"schedule\":");
        schedule_write(&sync->schedule, out);
    }
}

static enum err_code write_tool(const struct capability *tool, struct buf *out)
{
    buf_adds(out, ",\"schema\":");
    enum err_code code = json_schema_write(tool->input_schema, out);
    if (code == ERR_NONE && tool->output_schema != NULL) {
        buf_adds(out, ",\"outputSchema\":");
        code = json_schema_write(tool->output_schema, out);
    }
    if (tool->hints_given) {
        buf_adds(out, ",\"hints\":{");
        if (tool->read_only_hint >= 0)
            buf_addf(out, "\"readOnlyHint\":%s", tool->read_only_hint ? "true" : "false");
        buf_addc(out, '}');
    }
    if (tool->has_dry_run)
        buf_adds(out, ",\"dryRun\":true");
    return code;
}

static enum err_code write_capability(const struct worker *worker, const struct capability *capability,
                                      struct buf *out)
{
    enum err_code code = ERR_NONE;
    buf_addf(out, "{\"_tag\":\"%s\",\"key\":", capability_kind_name(capability->kind));
    json_write_text(out, capability->key);
    buf_adds(out, ",\"config\":{");
    if (capability->kind == CAPABILITY_SYNC) {
        write_sync(worker, capability, out);
    } else {
        buf_adds(out, "\"title\":");
        json_write_text(out, capability->title);
        buf_adds(out, ",\"description\":");
        json_write_text(out, capability->description);
        if (capability->kind == CAPABILITY_TOOL)
            code = write_tool(capability, out);
        if (capability->has_verify)
            buf_adds(out, ",\"hasVerify\":true");
        if (capability->kind == CAPABILITY_JOB) {
            buf_adds(out, ",\"schedule\":");
            schedule_write(&capability->schedule, out);
        }
    }
    buf_adds(out, "}}");
    return code;
}

enum err_code worker_manifest(const struct worker *worker, struct buf *out)
{
    enum err_code code = ERR_NONE;
    buf_adds(out, "{\"sdkVersion\":\"" SDK_VERSION "\",\"workersVersion\":\"" WORKERS_VERSION
                  "\",\"credentials\":[");
    for (size_t i = 0; i < worker->credential_count; i++) {
        if (i > 0)
            buf_addc(out, ',');
        credential_write(&worker->credentials[i], out);
    }
    buf_adds(out, "],\"databases\":[");
    for (size_t i = 0; i < worker->database_count; i++) {
        if (i > 0)
            buf_addc(out, ',');
        write_database(&worker->databases[i], out);
    }
    buf_adds(out, "],\"xldbs\":[],\"pacers\":[");
    for (size_t i = 0; i < worker->pacer_count; i++) {
        buf_adds(out, i > 0 ? ",{\"key\":" : "{\"key\":");
        json_write_text(out, worker->pacers[i].key);
        buf_adds(out, ",\"config\":{\"allowedRequests\":");
        write_plain_number(out, worker->pacers[i].allowed_requests);
        buf_adds(out, ",\"intervalMs\":");
        write_plain_number(out, worker->pacers[i].interval_ms);
        buf_adds(out, "}}");
    }
    buf_adds(out, "],\"capabilities\":[");
    size_t oauths = 0, views = 0;
    for (size_t i = 0; i <= worker->capability_count && code == ERR_NONE; i++) {
        for (; oauths < worker->oauth_count && worker->oauths[oauths].before == i; oauths++) {
            buf_adds(out, i + oauths + views > 0 ? "," : "");
            oauth_write(&worker->oauths[oauths], out);
        }
        for (; views < worker->view_count && worker->views[views].before == i; views++) {
            buf_adds(out, i + oauths + views > 0 ? "," : "");
            view_write(worker, &worker->views[views], out);
        }
        if (i == worker->capability_count)
            break;
        buf_adds(out, i + oauths + views > 0 ? "," : "");
        code = write_capability(worker, &worker->capabilities[i], out);
    }
    buf_adds(out, "]}");
    return code;
}
