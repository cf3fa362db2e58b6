/* Which stored values survive a change of type. Must not lose anything: what does not convert exactly is
 * refused. */
#include "store/convert.h"

#include "base/iso8601.h"
#include "base/json.h"
#include "base/number.h"

#include <string.h>

static bool is_text(enum property_type type)
{
    switch (type) {
    case PROPERTY_TITLE:
    case PROPERTY_TEXT:
    case PROPERTY_URL:
    case PROPERTY_EMAIL:
    case PROPERTY_PHONE:
    case PROPERTY_SELECT:
    case PROPERTY_STATUS:
        return true;
    default:
        return false;
    }
}

static bool is_list(enum property_type type)
{
    return type == PROPERTY_MULTI_SELECT || type == PROPERTY_PEOPLE || type == PROPERTY_RELATION;
}

static bool set_text(struct cell *out, const char *text, size_t len)
{
    *out = (struct cell){.type = CELL_TEXT, .text = text, .len = len};
    return true;
}

static bool to_text(struct db_stmt *row, int column, enum property_type from, struct buf *scratch,
                    struct cell *out)
{
    const struct db_driver *driver = row->db->driver;
    char digits[NUMBER_TEXT_MAX];
    size_t len = 0;
    if (is_text(from) || from == PROPERTY_DATE) {
        const char *text = driver->column_text(row, column, &len);
        return set_text(out, text, len);
    }
    if (from == PROPERTY_CHECKBOX)
        return driver->column_integer(row, column) != 0 ? set_text(out, "true", 4)
                                                        : set_text(out, "false", 5);
    if (from != PROPERTY_NUMBER)
        return false;
    len = driver->column_type(row, column) == DB_INTEGER
              ? number_format_integer(driver->column_integer(row, column), digits)
              : number_format_js(driver->column_real(row, column), digits);
    buf_clear(scratch);
    buf_add(scratch, digits, len);
    return !scratch->failed && set_text(out, buf_text(scratch), scratch->len);
}

static bool to_number(const char *text, size_t len, struct cell *out)
{
    struct number number;
    if (number_parse(text, len, &number) != NUMBER_OK)
        return false;
    *out = number.is_integer ? (struct cell){.type = CELL_INTEGER, .integer = number.integer}
                             : (struct cell){.type = CELL_REAL, .real = number.real};
    return true;
}

static bool one_item_list(const char *text, size_t len, struct buf *scratch, struct cell *out)
{
    struct err ignored;
    buf_clear(scratch);
    buf_addc(scratch, '[');
    if (json_write_string(scratch, text, len, &ignored) != ERR_NONE)
        return false;
    buf_addc(scratch, ']');
    return !scratch->failed && set_text(out, buf_text(scratch), scratch->len);
}

bool convert_stored(struct db_stmt *row, int column, enum property_type from, enum property_type to,
                    struct buf *scratch, struct cell *out)
{
    const struct db_driver *driver = row->db->driver;
    struct iso_time time;
    struct err ignored;
    size_t len = 0;
    if (from == to || (is_list(from) && is_list(to))) {
        const char *text = driver->column_text(row, column, &len);
        return set_text(out, text, len);
    }
    if (is_text(to))
        return to_text(row, column, from, scratch, out);
    if (from == PROPERTY_CHECKBOX && to == PROPERTY_NUMBER) {
        *out = (struct cell){.type = CELL_INTEGER, .integer = driver->column_integer(row, column)};
        return true;
    }
    if (from == PROPERTY_NUMBER && to == PROPERTY_CHECKBOX) {
        *out = (struct cell){.type = CELL_INTEGER, .integer = driver->column_integer(row, column)};
        return driver->column_type(row, column) == DB_INTEGER && (out->integer == 0 || out->integer == 1);
    }
    if (!is_text(from))
        return false;
    const char *text = driver->column_text(row, column, &len);
    switch (to) {
    case PROPERTY_NUMBER:
        return to_number(text, len, out);
    case PROPERTY_CHECKBOX:
        *out = (struct cell){.type = CELL_INTEGER, .integer = len == 4 && memcmp(text, "true", 4) == 0};
        return out->integer == 1 || (len == 5 && memcmp(text, "false", 5) == 0);
    case PROPERTY_DATE:
        return iso_parse(text, len, &time, &ignored) == ERR_NONE && set_text(out, text, len);
    case PROPERTY_MULTI_SELECT:
    case PROPERTY_PEOPLE:
    case PROPERTY_RELATION:
        return one_item_list(text, len, scratch, out);
    default:
        return false;
    }
}
