/* Filters and sorts in JSON, made into SQL. Values are bound, names are looked up: nothing of what the asker
 * writes gets into a statement. */
#include "store/store_priv.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/zoned.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#define DEPTH_MAX 8 /* filters within filters */
#define PARAMETERS_MAX 200
#define FILTERS_MAX 500 /* SQLite takes expressions that are 1000 deep, and a list of n is n deep */
#define PART_MAX 1000   /* bytes of a text that is looked for in others */
#define NAME_SHOWN 100  /* bytes of a name in a message */
#define SORTS_MAX 5
#define FIRST_PARAMETER 3 /* after limit and offset */

enum operator{
    EQUALS,
    NOT_EQUALS,
    IN,
    CONTAINS,
    STARTS_WITH,
    GREATER_THAN,
    AT_LEAST,
    LESS_THAN,
    AT_MOST,
    IS_EMPTY,
    OPERATOR_COUNT,
};

static const char *const operator_names[] = {"equals",      "notEquals", "in",       "contains", "startsWith",
                                             "greaterThan", "atLeast",   "lessThan", "atMost",   "isEmpty"};

struct parameter {
    enum { BIND_INTEGER, BIND_REAL, BIND_TEXT } type;
    int64_t integer;
    double real;
    char *text;
    size_t len;
};

struct translation {
    const struct rows_query *query;
    struct buf sql;
    int filters;
    struct parameter parameters[PARAMETERS_MAX];
    int count;
};

/* ---- properties and values ---- */

/* So many bytes of a name go into a message: no character is cut in two. */
static size_t shown(const struct json_scan *name)
{
    size_t len = name->string.len < NAME_SHOWN ? name->string.len : NAME_SHOWN;
    while (len > 0 && len < name->string.len && ((unsigned char)name->string.text[len] & 0xc0) == 0x80)
        len--;
    return len;
}

/* As the asker calls it. */
static const char *name_of(const struct translation *t, const struct property *property)
{
    return t->query->names[property - t->query->database->properties];
}

static const struct property *find_property(const struct translation *t, const struct json_scan *name,
                                            struct err *err)
{
    const struct database *database = t->query->database;
    for (size_t i = 0; i < database->property_count; i++)
        if (t->query->names[i] != NULL && json_string_is(name, t->query->names[i]))
            return &database->properties[i];
    err_set(err, ERR_INVALID, "there is no property \"%.*s\"", (int)shown(name), name->string.text);
    return NULL;
}

static bool is_list(enum property_type type)
{
    return type == PROPERTY_MULTI_SELECT || type == PROPERTY_PEOPLE || type == PROPERTY_RELATION;
}

static bool is_object(enum property_type type)
{
    return type == PROPERTY_PLACE || type == PROPERTY_FILE;
}

/* The property in an SQL expression that compares as people expect: dates by the moment they mean. What
 * JavaScript takes for one and the calendar does not, as the 30th of February, SQLite knows. */
static void add_column(struct translation *t, const struct property *property)
{
    char quoted[2100];
    db_quote(property->column, quoted, sizeof quoted);
    if (property->type == PROPERTY_DATE)
        buf_addf(&t->sql,
                 "coalesce(" DB_MOMENT "(%s), 1000 * unixepoch(substr(%s, 1, instr(%s || '[', '[') - 1)))",
                 quoted, quoted, quoted);
    else
        buf_adds(&t->sql, quoted);
}

static struct parameter *add_parameter(struct translation *t, struct err *err)
{
    if (t->count == PARAMETERS_MAX) {
        err_set(err, ERR_LIMIT, "the filter has more than %d values", PARAMETERS_MAX);
        return NULL;
    }
    buf_addf(&t->sql, "?%d", FIRST_PARAMETER + t->count);
    return &t->parameters[t->count++];
}

static enum err_code wrong_value(const struct translation *t, const struct property *property,
                                 const char *wanted, struct err *err)
{
    return err_set(err, ERR_INVALID, "property \"%s\" is compared with %s", name_of(t, property), wanted);
}

/* The text of the current token: the caller's to free with the translation. lower: as SQL's lower() has it.
 */
static enum err_code take_text(struct parameter *parameter, const struct json_scan *scan, bool lower,
                               struct err *err)
{
    struct buf text;
    buf_init(&text, BUF_UNLIMITED);
    json_string_copy(scan, &text);
    enum err_code code = buf_status(&text, "the filter", err);
    parameter->type = BIND_TEXT;
    if (code == ERR_NONE)
        parameter->text = buf_take(&text, &parameter->len);
    for (size_t i = 0; i < parameter->len && lower; i++)
        if (parameter->text[i] >= 'A' && parameter->text[i] <= 'Z')
            parameter->text[i] = (char)(parameter->text[i] + ('a' - 'A'));
    buf_free(&text);
    return code;
}

static enum err_code add_date(struct translation *t, const struct property *property,
                              const struct json_scan *scan, struct err *err)
{
    char text[128]; /* no date is longer, with a time zone's name */
    int64_t ms = 0;
    struct err ignored;
    size_t len =
        scan->token == JSON_STRING && scan->string.len < sizeof text ? json_unescape(scan->string, text) : 0;
    if (len == 0 || zoned_parse(text, len, &ms, &ignored) != ERR_NONE)
        return wrong_value(t, property, "a date or a time, as in \"2026-01-31\"", err);
    struct parameter *parameter = add_parameter(t, err);
    if (parameter == NULL)
        return err->code;
    *parameter = (struct parameter){.type = BIND_INTEGER, .integer = ms};
    return ERR_NONE;
}

/* The value that scan stands at, for a property that is compared with it. */
static enum err_code add_value(struct translation *t, const struct property *property,
                               const struct json_scan *scan, struct err *err)
{
    enum property_type type = property->type;
    if (type == PROPERTY_DATE)
        return add_date(t, property, scan, err);
    if (type == PROPERTY_NUMBER && scan->token != JSON_NUMBER)
        return wrong_value(t, property, "a number", err);
    if (type == PROPERTY_CHECKBOX && scan->token != JSON_TRUE && scan->token != JSON_FALSE)
        return wrong_value(t, property, "true or false", err);
    if (type != PROPERTY_NUMBER && type != PROPERTY_CHECKBOX && scan->token != JSON_STRING)
        return wrong_value(t, property, "a text", err);
    struct parameter *parameter = add_parameter(t, err);
    if (parameter == NULL)
        return err->code;
    if (type == PROPERTY_CHECKBOX)
        *parameter = (struct parameter){.type = BIND_INTEGER, .integer = scan->token == JSON_TRUE};
    else if (type != PROPERTY_NUMBER)
        return take_text(parameter, scan, false, err);
    else if (scan->number.is_integer)
        *parameter = (struct parameter){.type = BIND_INTEGER, .integer = scan->number.integer};
    else
        *parameter = (struct parameter){.type = BIND_REAL, .real = scan->number.real};
    return ERR_NONE;
}

/* ---- conditions ---- */

static bool fits(enum operator op, enum property_type type)
{
    switch (op) {
    case IS_EMPTY:
        return true;
    case CONTAINS:
        return is_list(type) || (!is_object(type) && type != PROPERTY_NUMBER && type != PROPERTY_CHECKBOX &&
                                 type != PROPERTY_DATE);
    case STARTS_WITH:
        return !is_list(type) && !is_object(type) && type != PROPERTY_NUMBER && type != PROPERTY_CHECKBOX &&
               type != PROPERTY_DATE;
    case GREATER_THAN:
    case AT_LEAST:
    case LESS_THAN:
    case AT_MOST:
        return !is_list(type) && !is_object(type) && type != PROPERTY_CHECKBOX;
    default:
        return !is_list(type) && !is_object(type);
    }
}

static enum err_code add_empty(struct translation *t, const struct property *property,
                               const struct json_scan *scan, struct err *err)
{
    char quoted[2100];
    if (scan->token != JSON_TRUE && scan->token != JSON_FALSE)
        return err_set(err, ERR_INVALID, "\"isEmpty\" is true or false");
    db_quote(property->column, quoted, sizeof quoted);
    buf_addf(&t->sql, "%s(%s IS NULL OR %s = '%s')", scan->token == JSON_FALSE ? "NOT " : "", quoted, quoted,
             is_list(property->type) ? "[]" : "");
    return ERR_NONE;
}

static enum err_code add_in(struct translation *t, const struct property *property, struct json_scan *scan,
                            struct err *err)
{
    bool more = false, first = true;
    if (scan->token != JSON_ARRAY)
        return err_set(err, ERR_INVALID, "\"in\" takes a list");
    add_column(t, property);
    buf_adds(&t->sql, " IN (");
    enum err_code code = ERR_NONE;
    while (code == ERR_NONE && (code = json_scan_element(scan, &more, err)) == ERR_NONE && more) {
        buf_adds(&t->sql, first ? "" : ", ");
        first = false;
        code = add_value(t, property, scan, err);
    }
    buf_addc(&t->sql, ')');
    return code;
}

static enum err_code add_contains(struct translation *t, const struct property *property, enum operator op,
                                  const struct json_scan *scan, struct err *err)
{
    char quoted[2100], table[2100];
    if (scan->token != JSON_STRING)
        return wrong_value(t, property, "a text", err);
    db_quote(property->column, quoted, sizeof quoted);
    bool list = is_list(property->type);
    if (!list && scan->string.len > PART_MAX)
        return err_set(err, ERR_LIMIT, "\"%s\" looks for a text of at most %d bytes", operator_names[op],
                       PART_MAX);
    if (list) /* json_each has columns of its own: "type", "value", … */
        buf_addf(&t->sql, "EXISTS (SELECT 1 FROM json_each(%s.%s) AS _each WHERE _each.value = ",
                 db_quote(t->query->database->table, table, sizeof table), quoted);
    else
        buf_addf(&t->sql, "instr(lower(%s), ", quoted);
    struct parameter *parameter = add_parameter(t, err);
    if (parameter == NULL)
        return err->code;
    buf_adds(&t->sql, list ? ")" : op == STARTS_WITH ? ") = 1" : ") > 0");
    return take_text(parameter, scan, !list, err);
}

static enum err_code add_condition(struct translation *t, const struct property *property, enum operator op,
                                   struct json_slice value, struct err *err)
{
    static const char *const signs[] = {
        [EQUALS] = " IS ",   [NOT_EQUALS] = " IS NOT ", [GREATER_THAN] = " > ",
        [AT_LEAST] = " >= ", [LESS_THAN] = " < ",       [AT_MOST] = " <= "};
    struct json_scan scan;
    json_scan_init(&scan, value.text, value.len);
    enum err_code code = json_scan_value(&scan, err);
    if (code != ERR_NONE)
        return code;
    if (!fits(op, property->type))
        return err_set(err, ERR_INVALID, "\"%s\" does not fit property \"%s\", which is of the type \"%s\"",
                       operator_names[op], name_of(t, property), property_type_name(property->type));
    switch (op) {
    case IS_EMPTY:
        return add_empty(t, property, &scan, err);
    case IN:
        return add_in(t, property, &scan, err);
    case CONTAINS:
    case STARTS_WITH:
        return add_contains(t, property, op, &scan, err);
    default:
        add_column(t, property);
        buf_adds(&t->sql, signs[op]);
        return add_value(t, property, &scan, err);
    }
}

static enum err_code add_filter(struct translation *t, struct json_slice filter, int depth, struct err *err);

static enum err_code add_list(struct translation *t, struct json_slice list, const char *joint, int depth,
                              struct err *err)
{
    struct json_scan scan;
    struct json_slice item;
    bool more = false, first = true;
    json_scan_init(&scan, list.text, list.len);
    enum err_code code = json_scan_value(&scan, err);
    if (code == ERR_NONE && scan.token != JSON_ARRAY)
        return err_set(err, ERR_INVALID, "\"and\" and \"or\" take a list of filters");
    buf_addc(&t->sql, '(');
    while (code == ERR_NONE && (code = json_scan_element(&scan, &more, err)) == ERR_NONE && more) {
        buf_adds(&t->sql, first ? "" : joint);
        first = false;
        code = json_scan_skip(&scan, &item, err);
        if (code == ERR_NONE)
            code = add_filter(t, item, depth + 1, err);
    }
    buf_adds(&t->sql, first ? (joint[1] == 'A' ? "1)" : "0)") : ")");
    return code;
}

/* What a filter says, as it is written. */
struct words {
    const char *joint;                   /* "and", "or", "not"; NULL when it is a condition */
    int op;                              /* of a condition; -1 for none */
    struct json_slice operand, property; /* property: text is NULL when it names none */
};

/* One member of a filter, whose name and value have been read. */
static enum err_code read_member(struct words *words, const struct json_scan *name, struct json_slice value,
                                 struct err *err)
{
    static const char *const joints[] = {"and", "or", "not"};
    const char *joint = NULL;
    int op = -1;
    if (json_string_is(name, "property")) {
        words->property = value;
        return ERR_NONE;
    }
    for (int i = 0; i < OPERATOR_COUNT; i++)
        op = json_string_is(name, operator_names[i]) ? i : op;
    for (size_t i = 0; i < sizeof joints / sizeof joints[0]; i++)
        joint = json_string_is(name, joints[i]) ? joints[i] : joint;
    if (op < 0 && joint == NULL)
        return err_set(
            err, ERR_INVALID,
            "a filter has no \"%.*s\"; it has property, and, or, not, equals, notEquals, in, contains, "
            "startsWith, greaterThan, atLeast, lessThan, atMost and isEmpty",
            (int)shown(name), name->string.text);
    if (words->op >= 0 || words->joint != NULL)
        return err_set(err, ERR_INVALID, "a filter has one condition: join several with \"and\"");
    words->op = op;
    words->joint = joint;
    words->operand = value;
    return ERR_NONE;
}

/* {"and": […]}, {"or": […]}, {"not": {…}}, or {"property": …, and an operator: …}. */
static enum err_code read_words(struct json_slice filter, struct words *words, struct err *err)
{
    struct json_scan scan;
    struct json_slice value;
    bool more = false;
    *words = (struct words){.op = -1};
    json_scan_init(&scan, filter.text, filter.len);
    enum err_code code = json_scan_value(&scan, err);
    if (code == ERR_NONE && scan.token != JSON_OBJECT)
        return err_set(err, ERR_INVALID,
                       "a filter is an object, as in {\"property\": \"Name\", \"equals\": \"x\"}");
    while (code == ERR_NONE && (code = json_scan_member(&scan, &more, err)) == ERR_NONE && more) {
        const struct json_scan name = scan;
        code = json_scan_value(&scan, err);
        if (code == ERR_NONE)
            code = json_scan_skip(&scan, &value, err);
        if (code == ERR_NONE)
            code = read_member(words, &name, value, err);
    }
    if (code == ERR_NONE &&
        ((words->joint != NULL) == (words->property.text != NULL) || (words->joint == NULL && words->op < 0)))
        code =
            err_set(err, ERR_INVALID,
                    "a filter needs a property and a condition, as in {\"property\": \"Name\", \"equals\": "
                    "\"x\"}; or \"and\", \"or\" or \"not\"");
    return code;
}

static enum err_code add_filter(struct translation *t, struct json_slice filter, int depth, struct err *err)
{
    struct words words;
    struct json_scan name;
    if (depth > DEPTH_MAX)
        return err_set(err, ERR_LIMIT, "the filters lie more than %d deep within each other", DEPTH_MAX);
    if (++t->filters > FILTERS_MAX)
        return err_set(err, ERR_LIMIT, "there are more than %d filters within each other", FILTERS_MAX);
    enum err_code code = read_words(filter, &words, err);
    if (code != ERR_NONE)
        return code;
    if (words.joint != NULL && strcmp(words.joint, "not") == 0) {
        buf_adds(&t->sql, "NOT coalesce(");
        code = add_filter(t, words.operand, depth + 1, err);
        buf_adds(&t->sql, ", 0)");
        return code;
    }
    if (words.joint != NULL)
        return add_list(t, words.operand, strcmp(words.joint, "and") == 0 ? " AND " : " OR ", depth, err);
    json_scan_init(&name, words.property.text, words.property.len);
    code = json_scan_value(&name, err);
    if (code == ERR_NONE && name.token != JSON_STRING)
        code = err_set(err, ERR_INVALID, "\"property\" is the name of one");
    const struct property *property = code == ERR_NONE ? find_property(t, &name, err) : NULL;
    return property != NULL ? add_condition(t, property, (enum operator)words.op, words.operand, err)
                            : err->code;
}

/* ---- sorts ---- */

static enum err_code add_sort(struct translation *t, struct json_slice sort, struct err *err)
{
    struct json_scan name, direction;
    bool down = false;
    if (!json_find_string(sort.text, sort.len, "property", &name))
        return err_set(err, ERR_INVALID,
                       "a sort is an object, as in {\"property\": \"Name\", \"direction\": "
                       "\"ascending\"}");
    if (json_find_string(sort.text, sort.len, "direction", &direction)) {
        down = json_string_is(&direction, "descending");
        if (!down && !json_string_is(&direction, "ascending"))
            return err_set(err, ERR_INVALID, "\"direction\" is \"ascending\" or \"descending\"");
    }
    const struct property *property = find_property(t, &name, err);
    if (property == NULL)
        return err->code;
    if (is_object(property->type))
        return err_set(err, ERR_INVALID,
                       "rows cannot be sorted by property \"%s\", which is of the type \"%s\"",
                       name_of(t, property), property_type_name(property->type));
    add_column(t, property); /* what has no value comes last */
    buf_adds(&t->sql, " IS NULL, ");
    add_column(t, property);
    buf_adds(&t->sql, down ? " DESC, " : ", ");
    return ERR_NONE;
}

static enum err_code add_sorts(struct translation *t, struct err *err)
{
    struct json_scan scan;
    struct json_slice item;
    bool more = false;
    buf_adds(&t->sql, " ORDER BY ");
    enum err_code code = ERR_NONE;
    if (t->query->sorts.text != NULL) {
        json_scan_init(&scan, t->query->sorts.text, t->query->sorts.len);
        code = json_scan_value(&scan, err);
        if (code == ERR_NONE && scan.token != JSON_ARRAY)
            code = err_set(err, ERR_INVALID, "\"sorts\" is a list");
        int count = 0;
        while (code == ERR_NONE && (code = json_scan_element(&scan, &more, err)) == ERR_NONE && more) {
            code = json_scan_skip(&scan, &item, err);
            if (code == ERR_NONE && ++count > SORTS_MAX)
                code = err_set(err, ERR_LIMIT, "there are more than %d sorts", SORTS_MAX);
            if (code == ERR_NONE)
                code = add_sort(t, item, err);
        }
    }
    buf_adds(&t->sql, "_key LIMIT ?1 OFFSET ?2");
    return code;
}

/* ---- the query ---- */

static void bind(struct db_stmt *stmt, int index, const struct parameter *parameter)
{
    const struct db_driver *driver = stmt->db->driver;
    if (parameter->type == BIND_INTEGER)
        driver->bind_integer(stmt, index, parameter->integer);
    else if (parameter->type == BIND_REAL)
        driver->bind_real(stmt, index, parameter->real);
    else
        driver->bind_text(stmt, index, parameter->text, parameter->len);
}

static enum err_code read_rows(struct db *db, const struct translation *t, struct buf *out, struct err *err)
{
    const struct db_driver *driver = db->driver;
    const struct rows_query *query = t->query;
    struct db_stmt *stmt = NULL;
    enum db_step step = DB_DONE;
    int64_t count = 0;
    enum err_code code = query_prepare_rows(db, query->database, buf_text(&t->sql), &stmt, err);
    if (code != ERR_NONE)
        return code;
    driver->bind_integer(stmt, 1, query->limit + 1); /* one more tells whether there are more */
    driver->bind_integer(stmt, 2, query->offset);
    for (int i = 0; i < t->count; i++)
        bind(stmt, FIRST_PARAMETER + i, &t->parameters[i]);
    buf_adds(out, "{\"rows\":[");
    while (code == ERR_NONE && (step = driver->step(stmt, err)) == DB_ROW && count++ < query->limit) {
        size_t len = 0;
        const char *key = driver->column_text(stmt, driver->column_count(stmt) - 1, &len);
        buf_adds(out, count > 1 ? ",{\"key\":" : "{\"key\":");
        code = json_write_string(out, key, len, err);
        buf_adds(out, ",\"row\":");
        if (code == ERR_NONE)
            code = query_write_named(stmt, query->database, query->names, query->extras, out, err);
        buf_addc(out, '}');
    }
    if (code == ERR_NONE && step == DB_FAILED)
        code = err->code;
    buf_addf(out, "],\"hasMore\":%s", count > query->limit ? "true" : "false");
    driver->finalize(stmt);
    return code;
}

static enum err_code read_revision(struct db *db, const char *database, int64_t *revision, struct err *err)
{
    struct db_stmt *stmt = NULL;
    *revision = 0;
    enum err_code code =
        db->driver->prepare(db, "SELECT revision + 1 FROM _workers_databases WHERE key = ?1", &stmt, err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, database);
    enum db_step step = db->driver->step(stmt, err);
    if (step == DB_ROW)
        *revision = db->driver->column_integer(stmt, 0);
    db->driver->finalize(stmt);
    return step == DB_FAILED ? err->code : ERR_NONE;
}

enum err_code store_revision(struct store *store, const char *database, int64_t *revision, struct err *err)
{
    return read_revision(store->db, database, revision, err);
}

static enum err_code open_store(const char *folder, const struct db_guard *guard, struct db **db,
                                struct err *err)
{
    char path[PATH_MAX];
    const struct db_options options = {.read_only = true, .busy_timeout_ms = 5000, .guard = guard};
    enum err_code code = store_path(folder, path, sizeof path, err);
    return code == ERR_NONE ? db_sqlite.open(path, &options, db, err) : code;
}

enum err_code store_rows_query(const char *folder, const struct rows_query *query,
                               const struct db_guard *guard, struct buf *out, struct err *err)
{
    struct db *db = NULL;
    struct translation *t = mem_need(sizeof *t);
    int64_t revision = 0;
    *t = (struct translation){.query = query};
    buf_init(&t->sql, BUF_UNLIMITED);
    enum err_code code = ERR_NONE;
    if (query->filter.text != NULL) {
        buf_adds(&t->sql, " WHERE ");
        code = add_filter(t, query->filter, 0, err);
        if (code != ERR_NONE)
            code = err_context(err, "filter");
    }
    if (code == ERR_NONE && (code = add_sorts(t, err)) != ERR_NONE)
        code = err_context(err, "sorts");
    if (code == ERR_NONE)
        code = buf_status(&t->sql, "the query", err);
    if (code == ERR_NONE)
        code = open_store(folder, guard, &db, err);
    if (code == ERR_NONE)
        /* Before the rows: who has older rows with a newer revision would never ask again. */
        code = read_revision(db, query->database->key, &revision, err);
    if (code == ERR_NONE)
        code = read_rows(db, t, out, err);
    if (db != NULL)
        db->driver->close(db);
    buf_addf(out, ",\"revision\":%lld}", (long long)revision);
    for (int i = 0; i < t->count; i++)
        mem_free(t->parameters[i].text);
    buf_free(&t->sql);
    mem_free(t);
    return code;
}
