/* What every engine shares. */
#include "db/db.h"

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
