/* The tables of databases: making them, migrating them, preparing the statements that write them. */
#include "store/store_priv.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "store/convert.h"

#include <stdio.h>
#include <string.h>

#define NAME_MAX_BYTES 1024
#define SQL_MAX ((size_t)4 * 1024 * 1024)

static const char *column_type(enum property_type type)
{
    switch (type) {
    case PROPERTY_NUMBER:
        return "NUMERIC";
    case PROPERTY_CHECKBOX:
        return "BOOLEAN";
    default:
        return "TEXT"; /* dates are ISO 8601, lists and objects JSON */
    }
}

static void add_quoted(struct buf *sql, const char *name)
{
    char quoted[NAME_MAX_BYTES];
    buf_adds(sql, db_quote(name, quoted, sizeof quoted));
}

const char *tables_link_name(const struct database *database, const struct property *property, char *out,
                             size_t size)
{
    char name[NAME_MAX_BYTES / 2];
    snprintf(name, sizeof name, "%s_%s", database->table, property->column);
    return db_quote(name, out, size);
}

/* ---- definitions ---- */

static void write_definition(const struct database *database, struct buf *out)
{
    buf_adds(out, "{\"properties\":{");
    for (size_t i = 0; i < database->property_count; i++) {
        if (i > 0)
            buf_addc(out, ',');
        json_write_text(out, database->properties[i].name);
        buf_addc(out, ':');
        worker_write_property(&database->properties[i], out);
    }
    buf_adds(out, "},\"primaryKeyProperty\":");
    json_write_text(out, database->properties[database->primary_key].name);
    buf_addc(out, '}');
}

/* ---- making ---- */

static void add_column_definition(struct buf *sql, const struct property *property, const char *separator)
{
    buf_adds(sql, separator);
    add_quoted(sql, property->column);
    buf_addf(sql, " %s", column_type(property->type));
    if (property->type == PROPERTY_DATE) {
        char end[NAME_MAX_BYTES / 2];
        snprintf(end, sizeof end, "%s_end", property->column);
        buf_adds(sql, separator);
        add_quoted(sql, end);
        buf_adds(sql, " TEXT");
    }
}

static enum err_code run_sql(struct store *store, struct buf *sql, struct err *err)
{
    enum err_code code = buf_status(sql, "a statement", err);
    if (code == ERR_NONE)
        code = DRIVER(store)->exec(store->db, buf_text(sql), err);
    buf_clear(sql);
    return code;
}

static enum err_code register_column(struct store *store, const struct database *database, size_t index,
                                     struct err *err)
{
    const struct property *property = &database->properties[index];
    char position[24];
    snprintf(position, sizeof position, "%zu", index);
    enum err_code code = db_run(store->db, err,
                                "INSERT INTO _workers_columns(database, property, column_name, type, "
                                "declared, position) VALUES(?1, ?2, ?3, ?4,"
                                " 1, ?5) ON CONFLICT(database, property) DO UPDATE SET column_name = "
                                "excluded.column_name, type = excluded.type,"
                                " declared = 1, position = excluded.position",
                                database->key, property->name, property->column,
                                property_type_name(property->type), position, NULL);
    for (size_t i = 0; i < property->option_count && code == ERR_NONE; i++)
        code = db_run(store->db, err,
                      "INSERT INTO _workers_options(database, property, name, declared) VALUES(?1, ?2, ?3, 1)"
                      " ON CONFLICT(database, property, name) DO UPDATE SET declared = 1",
                      database->key, property->name, property->options[i].name, NULL);
    return code;
}

/* The link table of a two-way relation, and the view that shows it from the other side. */
static enum err_code make_links(struct store *store, const struct worker *worker,
                                const struct database *database, const struct property *property,
                                struct err *err)
{
    char link[NAME_MAX_BYTES], index[NAME_MAX_BYTES], view[NAME_MAX_BYTES], name[NAME_MAX_BYTES / 2];
    struct buf column;
    struct buf sql;
    buf_init(&column, NAME_MAX_BYTES);
    buf_init(&sql, SQL_MAX);
    text_snake_case(property->related_property, strlen(property->related_property), &column);
    tables_link_name(database, property, link, sizeof link);
    snprintf(name, sizeof name, "_%s_%s_back", database->table, property->column);
    db_quote(name, index, sizeof index);
    const struct database *related = &worker->databases[worker_database(worker, property->related_database)];
    snprintf(name, sizeof name, "%s_%s", related->table, buf_text(&column));
    db_quote(name, view, sizeof view);
    buf_addf(&sql,
             "CREATE TABLE IF NOT EXISTS %s(_key TEXT NOT NULL, related_key TEXT NOT NULL, PRIMARY KEY(_key, "
             "related_key))"
             " WITHOUT ROWID;",
             link);
    buf_addf(&sql, "CREATE INDEX IF NOT EXISTS %s ON %s(related_key, _key);", index, link);
    /* A related property that is declared itself has a link table of its own by that name. */
    if (database_property(related, property->related_property, strlen(property->related_property)) == NULL)
        buf_addf(&sql,
                 "CREATE VIEW IF NOT EXISTS %s AS SELECT related_key AS _key, _key AS related_key FROM %s;",
                 view, link);
    enum err_code code = column.failed ? err_nomem(err) : run_sql(store, &sql, err);
    buf_free(&sql);
    buf_free(&column);
    return code;
}

static enum err_code make_all_links(struct store *store, const struct worker *worker,
                                    const struct database *database, struct err *err)
{
    enum err_code code = ERR_NONE;
    for (size_t i = 0; i < database->property_count && code == ERR_NONE; i++)
        if (database->properties[i].two_way)
            code = make_links(store, worker, database, &database->properties[i], err);
    return code;
}

static enum err_code create_table(struct store *store, const struct worker *worker,
                                  const struct database *database, const char *definition, struct err *err)
{
    struct buf sql;
    buf_init(&sql, SQL_MAX);
    buf_adds(&sql, "CREATE TABLE ");
    add_quoted(&sql, database->table);
    buf_adds(&sql,
             "(_id INTEGER PRIMARY KEY, _key TEXT NOT NULL UNIQUE, _icon TEXT, _cover TEXT, _content TEXT,"
             " _upstream_updated_at TEXT, _synced_at TEXT NOT NULL");
    for (size_t i = 0; i < database->property_count; i++)
        add_column_definition(&sql, &database->properties[i], ", ");
    buf_addc(&sql, ')');
    enum err_code code = run_sql(store, &sql, err);
    buf_free(&sql);
    char now[24];
    snprintf(now, sizeof now, "%lld", (long long)clock_now_ms());
    if (code == ERR_NONE)
        code = db_run(store->db, err,
                      "INSERT INTO _workers_databases(key, table_name, title, definition, created_at) "
                      "VALUES(?1, ?2, ?3, ?4, ?5)",
                      database->key, database->table, database->initial_title, definition, now, NULL);
    for (size_t i = 0; i < database->property_count && code == ERR_NONE; i++)
        code = register_column(store, database, i, err);
    return code == ERR_NONE ? make_all_links(store, worker, database, err) : code;
}

/* ---- changing ---- */

/* What the store knows of one property. */
struct known_column {
    char column[256];
    char type[32];
    bool exists;
};

static enum err_code known_property(struct store *store, const char *database, const char *property,
                                    struct known_column *out, struct err *err)
{
    struct db_stmt *stmt = NULL;
    *out = (struct known_column){0};
    enum err_code code = store_prepare(
        store, &stmt, "SELECT column_name, type FROM _workers_columns WHERE database = ?1 AND property = ?2",
        err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, database);
    bind_str(stmt, 2, property);
    enum db_step step = DRIVER(store)->step(stmt, err);
    if (step == DB_ROW) {
        size_t len = 0;
        out->exists = true;
        snprintf(out->column, sizeof out->column, "%s", DRIVER(store)->column_text(stmt, 0, &len));
        snprintf(out->type, sizeof out->type, "%s", DRIVER(store)->column_text(stmt, 1, &len));
    }
    DRIVER(store)->finalize(stmt);
    return step == DB_FAILED ? err->code : ERR_NONE;
}

static enum err_code column_exists(struct store *store, const char *table, const char *column, bool *out,
                                   struct err *err)
{
    struct db_stmt *stmt = NULL;
    enum err_code code =
        store_prepare(store, &stmt, "SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2", err);
    if (code != ERR_NONE)
        return code;
    bind_str(stmt, 1, table);
    bind_str(stmt, 2, column);
    enum db_step step = DRIVER(store)->step(stmt, err);
    *out = step == DB_ROW;
    DRIVER(store)->finalize(stmt);
    return step == DB_FAILED ? err->code : ERR_NONE;
}

static enum err_code add_column(struct store *store, const struct database *database,
                                const struct property *property, struct err *err)
{
    struct buf sql;
    char add[NAME_MAX_BYTES + 64];
    char table[NAME_MAX_BYTES];
    buf_init(&sql, SQL_MAX);
    snprintf(add, sizeof add, "; ALTER TABLE %s ADD COLUMN ", db_quote(database->table, table, sizeof table));
    add_column_definition(&sql, property, add);
    enum err_code code = run_sql(store, &sql, err);
    buf_free(&sql);
    return code;
}

/* Converts every value of a column to the property's type, or refuses with the first value that does not
 * convert. */
static enum err_code convert_column(struct store *store, const struct database *database,
                                    const struct property *property, enum property_type from, struct err *err)
{
    char table[NAME_MAX_BYTES], column[NAME_MAX_BYTES];
    struct buf sql, value;
    struct db_stmt *read = NULL, *write = NULL;
    int64_t refused = 0, rows = 0;
    char first[256] = "";
    buf_init(&sql, SQL_MAX);
    buf_init(&value, BUF_UNLIMITED);
    db_quote(database->table, table, sizeof table);
    db_quote(property->column, column, sizeof column);
    /* The old values move aside, so that the column gets its new type. */
    buf_addf(&sql, "ALTER TABLE %s RENAME COLUMN %s TO _old_value", table, column);
    enum err_code code = run_sql(store, &sql, err);
    bool had_end = from == PROPERTY_DATE;
    if (code == ERR_NONE && had_end) {
        char end[NAME_MAX_BYTES], name[NAME_MAX_BYTES / 2];
        snprintf(name, sizeof name, "%s_end", property->column);
        buf_addf(&sql, "ALTER TABLE %s RENAME COLUMN %s TO _old_end", table, db_quote(name, end, sizeof end));
        code = run_sql(store, &sql, err);
    }
    if (code == ERR_NONE)
        code = add_column(store, database, property, err);
    if (code == ERR_NONE) {
        buf_addf(&sql, "SELECT _id, _key, _old_value FROM %s WHERE _old_value IS NOT NULL ORDER BY _id",
                 table);
        code = buf_status(&sql, "a statement", err);
        if (code == ERR_NONE)
            code = store_prepare(store, &read, buf_text(&sql), err);
        buf_clear(&sql);
    }
    if (code == ERR_NONE) {
        buf_addf(&sql, "UPDATE %s SET %s = ?2 WHERE _id = ?1", table, column);
        code = store_prepare(store, &write, buf_text(&sql), err);
        buf_clear(&sql);
    }
    while (code == ERR_NONE) {
        enum db_step step = DRIVER(store)->step(read, err);
        if (step == DB_FAILED)
            code = err->code;
        if (step != DB_ROW)
            break;
        rows++;
        struct cell cell;
        if (!convert_stored(read, 2, from, property->type, &value, &cell)) {
            if (refused++ == 0) {
                size_t key_len = 0, text_len = 0;
                const char *key = DRIVER(store)->column_text(read, 1, &key_len);
                const char *text = DRIVER(store)->column_text(read, 2, &text_len);
                snprintf(first, sizeof first, "row \"%.*s\" has %.*s", (int)(key_len < 80 ? key_len : 80),
                         key, (int)(text_len < 80 ? text_len : 80), text);
            }
            continue;
        }
        DRIVER(store)->bind_integer(write, 1, DRIVER(store)->column_integer(read, 0));
        bind_cell(write, 2, &cell);
        code = store_step(store, write, err);
    }
    if (read != NULL)
        DRIVER(store)->finalize(read);
    if (write != NULL)
        DRIVER(store)->finalize(write);
    if (code == ERR_NONE && refused > 0)
        code = err_set(err, ERR_CONFLICT,
                       "database \"%s\": property \"%s\" cannot change from %s to %s: %lld of its %lld "
                       "values do not convert "
                       "(%s). Nothing was changed. Give the property another name, or keep its type",
                       database->key, property->name, property_type_name(from),
                       property_type_name(property->type), (long long)refused, (long long)rows, first);
    if (code == ERR_NONE) {
        buf_addf(&sql, "ALTER TABLE %s DROP COLUMN _old_value", table);
        if (had_end)
            buf_addf(&sql, "; ALTER TABLE %s DROP COLUMN _old_end", table);
        code = run_sql(store, &sql, err);
    }
    buf_free(&sql);
    buf_free(&value);
    return code;
}

static enum err_code alter_property(struct store *store, const struct database *database, size_t index,
                                    struct buf *report, struct err *err)
{
    const struct property *property = &database->properties[index];
    struct known_column known;
    enum err_code code = known_property(store, database->key, property->name, &known, err);
    if (code != ERR_NONE)
        return code;
    enum property_type from = known.exists ? property_type_of(known.type) : PROPERTY_TYPE_COUNT;
    bool taken = false;
    if (!known.exists || strcmp(known.column, property->column) != 0) {
        code = column_exists(store, database->table, property->column, &taken, err);
        if (code == ERR_NONE && taken)
            return err_set(err, ERR_CONFLICT,
                           "database \"%s\": property \"%s\" needs column %s, which still holds the values "
                           "of a property that "
                           "was removed; give the property another name",
                           database->key, property->name, property->column);
        if (code == ERR_NONE)
            code = add_column(store, database, property, err);
        buf_addf(report, "added %s.%s (%s)\n", database->table, property->column,
                 property_type_name(property->type));
    } else if (from != property->type) {
        code = convert_column(store, database, property, from, err);
        buf_addf(report, "changed %s.%s from %s to %s\n", database->table, property->column, known.type,
                 property_type_name(property->type));
    }
    return code == ERR_NONE ? register_column(store, database, index, err) : code;
}

/* Properties that are gone keep their columns; saying so is all there is to do. */
static enum err_code note_removed(struct store *store, const struct database *database, struct buf *report,
                                  struct err *err)
{
    struct db_stmt *stmt = NULL;
    enum err_code code = store_prepare(
        store, &stmt,
        "SELECT property, column_name FROM _workers_columns WHERE database = ?1 AND declared = 1", err);
    if (code != ERR_NONE)
        return code;
    struct buf gone;
    buf_init(&gone, SQL_MAX);
    bind_str(stmt, 1, database->key);
    enum db_step step;
    while ((step = DRIVER(store)->step(stmt, err)) == DB_ROW) {
        size_t len = 0, column_len = 0;
        const char *name = DRIVER(store)->column_text(stmt, 0, &len);
        if (database_property(database, name, len) != NULL)
            continue;
        const char *column = DRIVER(store)->column_text(stmt, 1, &column_len);
        buf_addf(report, "%s.%s is no longer declared; the column and its values stay\n", database->table,
                 column);
        buf_add(&gone, name, len + 1); /* with its NUL */
    }
    code = step == DB_FAILED ? err->code : buf_status(&gone, "the list of properties", err);
    DRIVER(store)->finalize(stmt);
    for (size_t at = 0; at < gone.len && code == ERR_NONE; at += strlen(gone.data + at) + 1)
        code = db_run(store->db, err,
                      "UPDATE _workers_columns SET declared = 0 WHERE database = ?1 AND property = ?2",
                      database->key, gone.data + at, NULL);
    buf_free(&gone);
    return code;
}

static enum err_code migrate_database(struct store *store, const struct worker *worker,
                                      const struct database *database, struct buf *report, struct err *err)
{
    struct db_stmt *stmt = NULL;
    struct buf definition;
    buf_init(&definition, SQL_MAX);
    write_definition(database, &definition);
    enum err_code code = buf_status(&definition, "the definition of a database", err);
    bool exists = false, same = false;
    if (code == ERR_NONE)
        code = store_prepare(store, &stmt, "SELECT definition FROM _workers_databases WHERE key = ?1", err);
    if (code == ERR_NONE) {
        bind_str(stmt, 1, database->key);
        enum db_step step = DRIVER(store)->step(stmt, err);
        if (step == DB_ROW) {
            size_t len = 0;
            const char *known = DRIVER(store)->column_text(stmt, 0, &len);
            exists = true;
            same = len == definition.len && memcmp(known, buf_text(&definition), len) == 0;
        } else if (step == DB_FAILED) {
            code = err->code;
        }
        DRIVER(store)->finalize(stmt);
    }
    if (code == ERR_NONE && !exists) {
        code = create_table(store, worker, database, buf_text(&definition), err);
        buf_addf(report, "created table %s for database \"%s\"\n", database->table, database->key);
    } else if (code == ERR_NONE && !same) {
        for (size_t i = 0; i < database->property_count && code == ERR_NONE; i++)
            code = alter_property(store, database, i, report, err);
        if (code == ERR_NONE)
            code = note_removed(store, database, report, err);
        if (code == ERR_NONE)
            code = make_all_links(store, worker, database, err);
        if (code == ERR_NONE)
            code = db_run(
                store->db, err,
                "UPDATE _workers_databases SET definition = ?2, revision = revision + 1 WHERE key = ?1",
                database->key, buf_text(&definition), NULL);
    }
    buf_free(&definition);
    return code;
}

/* Whether every database is as declared, found out without writing. */
static bool up_to_date(struct store *store, const struct worker *worker)
{
    struct db_stmt *stmt = NULL;
    struct err ignored;
    bool same =
        store_prepare(store, &stmt, "SELECT 1 FROM _workers_databases WHERE key = ?1 AND definition = ?2",
                      &ignored) == ERR_NONE;
    for (size_t i = 0; i < worker->database_count && same; i++) {
        struct buf definition;
        buf_init(&definition, SQL_MAX);
        write_definition(&worker->databases[i], &definition);
        bind_str(stmt, 1, worker->databases[i].key);
        bind_str(stmt, 2, buf_text(&definition));
        same = DRIVER(store)->step(stmt, &ignored) == DB_ROW;
        DRIVER(store)->reset(stmt);
        buf_free(&definition);
    }
    if (stmt != NULL)
        DRIVER(store)->finalize(stmt);
    return same;
}

enum err_code tables_migrate_within(struct store *store, const struct worker *worker, struct buf *report,
                                    struct err *err)
{
    enum err_code code = ERR_NONE;
    if (up_to_date(store, worker))
        return ERR_NONE;
    for (size_t i = 0; i < worker->database_count && code == ERR_NONE; i++)
        code = migrate_database(store, worker, &worker->databases[i], report, err);
    return code;
}

enum err_code tables_migrate(struct store *store, const struct worker *worker, struct buf *report,
                             struct err *err)
{
    if (up_to_date(store, worker))
        return ERR_NONE;
    bool current = true;
    enum err_code code = DRIVER(store)->begin(store->db, err);
    if (code != ERR_NONE)
        return code;
    code = store_version_current(store, &current, err);
    if (code == ERR_NONE && !current) /* its tables would not be those of the code that runs */
        code = err_set(err, ERR_BUSY, "another version of the worker was deployed in this moment");
    if (code == ERR_NONE)
        code = tables_migrate_within(store, worker, report, err);
    return store_finish(store, code, err);
}

/* ---- preparing ---- */

enum column_list {
    LIST_READ, /* what an upsert compares: it has the key, and writes the time anew */
    LIST_READ_BY_ID,
    LIST_NAMES,
    LIST_PARAMETERS,
};

/* The columns in the order of struct table. */
static void add_columns(struct buf *sql, const struct database *database, enum column_list list)
{
    static const char *const fixed[][FIXED_COLUMNS] = {
        [LIST_READ] = {"_id", "NULL", "_icon", "_cover", "_content", "_upstream_updated_at", "NULL"},
        [LIST_READ_BY_ID] = {"_id", "_key", "_icon", "_cover", "_content", "_upstream_updated_at", "NULL"},
        [LIST_NAMES] = {"_id", "_key", "_icon", "_cover", "_content", "_upstream_updated_at", "_synced_at"},
        [LIST_PARAMETERS] = {"?1", "?2", "?3", "?4", "?5", "?6", "?7"},
    };
    for (int i = 0; i < FIXED_COLUMNS; i++)
        buf_addf(sql, "%s%s", i > 0 ? "," : "", fixed[list][i]);
    int index = FIXED_COLUMNS + 1;
    for (size_t i = 0; i < database->property_count; i++) {
        const struct property *property = &database->properties[i];
        for (int part = 0; part < (property->type == PROPERTY_DATE ? 2 : 1); part++, index++) {
            if (list == LIST_PARAMETERS) {
                buf_addf(sql, ",?%d", index);
                continue;
            }
            char name[NAME_MAX_BYTES / 2];
            snprintf(name, sizeof name, "%s%s", property->column, part == 1 ? "_end" : "");
            buf_addc(sql, ',');
            add_quoted(sql, name);
        }
    }
}

static void add_assignments(struct buf *sql, const struct database *database)
{
    buf_adds(sql, "_icon=?3,_cover=?4,_content=?5,_upstream_updated_at=?6,_synced_at=?7");
    int index = FIXED_COLUMNS + 1;
    for (size_t i = 0; i < database->property_count; i++) {
        const struct property *property = &database->properties[i];
        for (int part = 0; part < (property->type == PROPERTY_DATE ? 2 : 1); part++, index++) {
            char name[NAME_MAX_BYTES / 2];
            snprintf(name, sizeof name, "%s%s", property->column, part == 1 ? "_end" : "");
            buf_addc(sql, ',');
            add_quoted(sql, name);
            buf_addf(sql, "=?%d", index);
        }
    }
}

static enum err_code prepare_sql(struct store *store, struct buf *sql, struct db_stmt **out, struct err *err)
{
    enum err_code code = buf_status(sql, "a statement", err);
    if (code == ERR_NONE)
        code = store_prepare(store, out, buf_text(sql), err);
    buf_clear(sql);
    return code;
}

static enum err_code prepare_links(struct store *store, struct table *table, struct buf *sql, struct err *err)
{
    const struct database *database = table->database;
    enum err_code code = ERR_NONE;
    table->link_insert = mem_need((database->property_count + 1) * sizeof *table->link_insert);
    table->link_remove = mem_need((database->property_count + 1) * sizeof *table->link_remove);
    for (size_t i = 0; i < database->property_count && code == ERR_NONE; i++) {
        char link[NAME_MAX_BYTES];
        if (!database->properties[i].two_way)
            continue;
        table->has_links = true;
        tables_link_name(database, &database->properties[i], link, sizeof link);
        buf_addf(sql, "INSERT INTO %s(_key, related_key) VALUES(?1, ?2) ON CONFLICT DO NOTHING", link);
        code = prepare_sql(store, sql, &table->link_insert[i], err);
        if (code == ERR_NONE) {
            buf_addf(sql, "DELETE FROM %s WHERE _key = ?1", link);
            code = prepare_sql(store, sql, &table->link_remove[i], err);
        }
    }
    return code;
}

static enum err_code prepare_table(struct store *store, struct table *table, const struct database *database,
                                   struct err *err)
{
    char name[NAME_MAX_BYTES];
    struct buf sql;
    buf_init(&sql, SQL_MAX);
    db_quote(database->table, name, sizeof name);
    table->database = database;
    table->first_column = mem_need((database->property_count + 1) * sizeof *table->first_column);
    table->columns = FIXED_COLUMNS;
    for (size_t i = 0; i < database->property_count; i++) {
        table->first_column[i] = table->columns;
        table->columns += database->properties[i].type == PROPERTY_DATE ? 2 : 1;
    }
    buf_adds(&sql, "SELECT ");
    add_columns(&sql, database, LIST_READ);
    buf_addf(&sql, " FROM %s WHERE _key = ?1", name);
    enum err_code code = prepare_sql(store, &sql, &table->select, err);
    if (code == ERR_NONE) {
        buf_adds(&sql, "SELECT ");
        add_columns(&sql, database, LIST_READ_BY_ID);
        buf_addf(&sql, " FROM %s WHERE _id = ?1", name);
        code = prepare_sql(store, &sql, &table->select_by_id, err);
    }
    if (code == ERR_NONE) {
        buf_addf(&sql, "INSERT INTO %s(", name);
        add_columns(&sql, database, LIST_NAMES);
        buf_adds(&sql, ") VALUES(");
        add_columns(&sql, database, LIST_PARAMETERS);
        buf_addc(&sql, ')');
        code = prepare_sql(store, &sql, &table->insert, err);
    }
    if (code == ERR_NONE) {
        buf_addf(&sql, "UPDATE %s SET ", name);
        add_assignments(&sql, database);
        buf_adds(&sql, " WHERE _id=?1");
        code = prepare_sql(store, &sql, &table->update, err);
    }
    if (code == ERR_NONE) {
        buf_addf(&sql, "DELETE FROM %s WHERE _id = ?1", name);
        code = prepare_sql(store, &sql, &table->remove, err);
    }
    if (code == ERR_NONE)
        code = prepare_links(store, table, &sql, err);
    buf_free(&sql);
    return code;
}

enum err_code tables_prepare(struct store *store, const struct worker *worker, struct err *err)
{
    enum err_code code = ERR_NONE;
    store->worker = worker;
    store->tables = mem_need((worker->database_count + 1) * sizeof *store->tables);
    store->touched = mem_need((worker->database_count + 1) * sizeof *store->touched);
    for (size_t i = 0; i < worker->database_count && code == ERR_NONE; i++)
        code = prepare_table(store, &store->tables[i], &worker->databases[i], err);
    return code;
}

static void finalize(struct db_stmt *stmt)
{
    if (stmt != NULL)
        stmt->db->driver->finalize(stmt);
}

void tables_release(struct store *store)
{
    for (size_t i = 0; store->worker != NULL && i < store->worker->database_count; i++) {
        struct table *table = &store->tables[i];
        finalize(table->select);
        finalize(table->select_by_id);
        finalize(table->insert);
        finalize(table->update);
        finalize(table->remove);
        finalize(table->row_json);
        for (size_t k = 0; table->link_insert != NULL && k < table->database->property_count; k++) {
            finalize(table->link_insert[k]);
            finalize(table->link_remove[k]);
        }
        mem_free(table->link_insert);
        mem_free(table->link_remove);
        mem_free(table->first_column);
        mem_free(store->touched[i].ids);
    }
    mem_free(store->tables);
    mem_free(store->touched);
    store->tables = NULL;
    store->touched = NULL;
    store->worker = NULL;
}
