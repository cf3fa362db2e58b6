/* What every engine shares. */
#include "db/db.h"

#include "base/mem.h"

#include <stdarg.h>
#include <string.h>

enum err_code db_run(struct db *db, struct err *err, const char *sql, ...)
{
    struct db_stmt *stmt = NULL;
    enum err_code code = db->driver->prepare(db, sql, &stmt, err);
    if (code != ERR_NONE)
        return code;
    va_list arguments;
    va_start(arguments, sql);
    int index = 1;
    for (const char *text = va_arg(arguments, const char *); text != NULL;
         text = va_arg(arguments, const char *))
        db->driver->bind_text(stmt, index++, text, strlen(text));
    va_end(arguments);
    enum db_step step = DB_ROW;
    while (step == DB_ROW)
        step = db->driver->step(stmt, err);
    db->driver->finalize(stmt);
    return step == DB_DONE ? ERR_NONE : err != NULL ? err->code : ERR_IO;
}

enum err_code db_integer(struct db *db, const char *sql, int64_t absent, int64_t *out, struct err *err)
{
    struct db_stmt *stmt = NULL;
    enum err_code code = db->driver->prepare(db, sql, &stmt, err);
    if (code != ERR_NONE)
        return code;
    *out = absent;
    enum db_step step = db->driver->step(stmt, err);
    if (step == DB_ROW && db->driver->column_type(stmt, 0) != DB_NULL)
        *out = db->driver->column_integer(stmt, 0);
    if (step == DB_FAILED)
        code = err != NULL ? err->code : ERR_IO;
    db->driver->finalize(stmt);
    return code;
}

/* ---- queries ---- */

static void bind(struct db_stmt *stmt, int index, const struct db_value *value)
{
    const struct db_driver *driver = stmt->db->driver;
    switch (value->type) {
    case DB_NULL:
        driver->bind_null(stmt, index);
        break;
    case DB_INTEGER:
        driver->bind_integer(stmt, index, value->integer);
        break;
    case DB_REAL:
        driver->bind_real(stmt, index, value->real);
        break;
    case DB_TEXT:
        driver->bind_text(stmt, index, value->text, value->len);
        break;
    case DB_BLOB:
        driver->bind_blob(stmt, index, value->text, value->len);
        break;
    }
}

/* Whether the parameter is meant for what the statement calls name at index. */
static bool is_meant(const struct db_parameter *parameter, const char *name, int index)
{
    if (name == NULL || name[0] == '?')
        return parameter->name == NULL && parameter->number == index;
    return parameter->name != NULL && strcmp(parameter->name, name + 1) == 0;
}

static enum err_code bind_all(struct db_stmt *stmt, const struct db_statement *statement, struct err *err)
{
    const struct db_driver *driver = stmt->db->driver;
    int wanted = driver->parameter_count(stmt);
    bool *used = mem_zalloc(statement->parameter_count + 1);
    if (used == NULL)
        return err_nomem(err);
    enum err_code code = ERR_NONE;
    for (int index = 1; index <= wanted && code == ERR_NONE; index++) {
        const char *name = driver->parameter_name(stmt, index);
        bool found = false;
        for (size_t i = 0; i < statement->parameter_count; i++) {
            if (!is_meant(&statement->parameters[i], name, index))
                continue;
            bind(stmt, index, &statement->parameters[i].value);
            used[i] = found = true;
        }
        if (!found && name != NULL)
            code = err_set(err, ERR_INVALID, "the parameter %s is missing", name);
        else if (!found)
            code = err_set(err, ERR_INVALID, "the parameter ?%d is missing", index);
    }
    for (size_t i = 0; i < statement->parameter_count && code == ERR_NONE; i++) {
        const struct db_parameter *parameter = &statement->parameters[i];
        if (!used[i] && parameter->name != NULL)
            code = err_set(err, ERR_INVALID, "the statement has no parameter :%s", parameter->name);
        else if (!used[i])
            code = err_set(err, ERR_INVALID, "the statement has no parameter ?%d", parameter->number);
    }
    mem_free(used);
    return code;
}

static enum err_code read_rows(struct db_stmt *stmt, const struct db_sink *sink, struct err *err)
{
    const struct db_driver *driver = stmt->db->driver;
    int count = driver->column_count(stmt);
    const char **names = mem_need((size_t)(count + 1) * sizeof *names);
    struct db_value *values = mem_need((size_t)(count + 1) * sizeof *values);
    for (int i = 0; i < count; i++)
        names[i] = driver->column_name(stmt, i);
    enum err_code code = sink->columns(sink->ctx, count, names);
    enum db_step step = DB_DONE;
    while (code == ERR_NONE && (step = driver->step(stmt, err)) == DB_ROW) {
        for (int i = 0; i < count; i++)
            values[i] = driver->column_value(stmt, i);
        code = sink->row(sink->ctx, count, values);
    }
    if (code == ERR_NONE && step == DB_FAILED)
        code = err->code;
    mem_free(names);
    mem_free(values);
    return code;
}

enum err_code db_query(const struct db_driver *driver, const char *address, const struct db_options *options,
                       const struct db_statement *statement, const struct db_sink *sink, struct err *err)
{
    struct db *db = NULL;
    struct db_stmt *stmt = NULL;
    enum err_code code = driver->open(address, options, &db, err);
    if (code != ERR_NONE)
        return code;
    code = driver->prepare(db, statement->sql, &stmt, err);
    if (code == ERR_NONE)
        code = bind_all(stmt, statement, err);
    if (code == ERR_NONE)
        code = read_rows(stmt, sink, err);
    if (stmt != NULL)
        driver->finalize(stmt);
    driver->close(db);
    return code;
}

const char *db_quote(const char *name, char *out, size_t size)
{
    size_t at = 0;
    out[at++] = '"';
    for (; *name != '\0' && at + 3 < size; name++) {
        if (*name == '"')
            out[at++] = '"';
        out[at++] = *name;
    }
    out[at++] = '"';
    out[at] = '\0';
    return out;
}
