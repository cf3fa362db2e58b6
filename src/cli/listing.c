/* Showing what the API answers. */
#include "cli/listing.h"

#include "base/iso8601.h"

#include <string.h>

#define PAGE_MAX 1000
#define COLUMNS_MAX 16

/* ---- one object ---- */

static bool read_member(const struct json_slice *object, const char *name, struct json_slice *slice,
                        struct json_scan *scan)
{
    struct err ignored;
    if (!json_find(object->text, object->len, name, slice))
        return false;
    json_scan_init(scan, slice->text, slice->len);
    return json_scan_value(scan, &ignored) == ERR_NONE && scan->token != JSON_NULL;
}

void object_add(const struct json_slice *object, const char *name, struct buf *out)
{
    struct json_slice slice;
    struct json_scan scan;
    if (!read_member(object, name, &slice, &scan))
        return;
    if (scan.token == JSON_STRING)
        json_string_copy(&scan, out);
    else
        buf_add(out, slice.text, slice.len);
}

int64_t object_number(const struct json_slice *object, const char *name)
{
    struct json_slice slice;
    struct json_scan scan;
    bool found =
        read_member(object, name, &slice, &scan) && scan.token == JSON_NUMBER && scan.number.is_integer;
    return found ? scan.number.integer : 0;
}

double object_real(const struct json_slice *object, const char *name)
{
    struct json_slice slice;
    struct json_scan scan;
    if (!read_member(object, name, &slice, &scan) || scan.token != JSON_NUMBER)
        return 0;
    return scan.number.is_integer ? (double)scan.number.integer : scan.number.real;
}

bool object_flag(const struct json_slice *object, const char *name)
{
    struct json_slice slice;
    struct json_scan scan;
    return read_member(object, name, &slice, &scan) && scan.token == JSON_TRUE;
}

bool object_has(const struct json_slice *object, const char *name)
{
    struct json_slice slice;
    struct json_scan scan;
    return read_member(object, name, &slice, &scan);
}

int64_t object_time(const struct json_slice *object, const char *name)
{
    struct json_slice slice;
    struct json_scan scan;
    struct iso_time time;
    struct err ignored;
    if (!read_member(object, name, &slice, &scan) || scan.token != JSON_STRING ||
        iso_parse(scan.string.text, scan.string.len, &time, &ignored) != ERR_NONE)
        return 0;
    return iso_unix_ms(&time);
}

/* ---- a table ---- */

static enum err_code add_cell(const struct listing_column *column, const struct json_slice *object,
                              enum cli_format format, struct table_printer *table, struct err *err)
{
    struct buf cell;
    int64_t ms = column->kind != CELL_VALUE ? object_time(object, column->member) : 0;
    buf_init(&cell, BUF_UNLIMITED);
    if (ms == 0 && column->kind == CELL_TIME && format == FORMAT_TABLE)
        buf_adds(&cell, "never");
    else if (column->kind != CELL_VALUE)
        cli_add_time(&cell, format == FORMAT_PLAIN, ms);
    else if (column->write != NULL)
        column->write(object, format == FORMAT_PLAIN, &cell);
    else
        object_add(object, column->member, &cell);
    table_cell(table, buf_text(&cell), cell.len);
    enum err_code code = buf_status(&cell, "a cell", err);
    buf_free(&cell);
    return code;
}

int listing_print(const struct listing *listing, enum cli_format format, const struct buf *array)
{
    struct table_column columns[COLUMNS_MAX];
    struct table_printer table;
    struct json_scan scan;
    struct json_slice object;
    struct err err;
    size_t count = 0;
    bool more = false;
    if (buf_status(array, "the output", &err) != ERR_NONE)
        return cli_fail(&err);
    if (format == FORMAT_JSON)
        return cli_print_json(buf_text(array), array->len);
    for (; listing->columns[count].column.title != NULL && count < COLUMNS_MAX; count++)
        columns[count] = listing->columns[count].column;
    table_init(&table, columns, count);
    json_scan_init(&scan, buf_text(array), array->len);
    enum err_code code = json_scan_value(&scan, &err);
    if (code == ERR_NONE && scan.token != JSON_ARRAY)
        code = err_set(&err, ERR_INVALID, "the answer is no list: is the server of another version?");
    while (code == ERR_NONE && (code = json_scan_element(&scan, &more, &err)) == ERR_NONE && more) {
        code = json_scan_skip(&scan, &object, &err);
        for (size_t i = 0; i < count && code == ERR_NONE; i++)
            code = add_cell(&listing->columns[i], &object, format, &table, &err);
    }
    int result = code == ERR_NONE ? cli_print_table(format, &table, listing->empty) : cli_fail(&err);
    table_free(&table);
    return result;
}

/* ---- asking for it ---- */

/* Appends the elements of an array to another that is open; last gets the id of the last, for the next page.
 */
static enum err_code take_page(const struct buf *page, const char *member, struct buf *array,
                               struct buf *last, int64_t *count, struct err *err)
{
    struct json_slice slice = {buf_text(page), page->len}, object;
    struct json_scan scan;
    bool more = false;
    if (member != NULL && !json_find(slice.text, slice.len, member, &slice))
        return err_set(err, ERR_INVALID, "the answer has no \"%s\": is the server of another version?",
                       member);
    json_scan_init(&scan, slice.text, slice.len);
    enum err_code code = json_scan_value(&scan, err);
    if (code == ERR_NONE && scan.token != JSON_ARRAY)
        code = err_set(err, ERR_INVALID, "the answer is no list: is the server of another version?");
    while (code == ERR_NONE && (code = json_scan_element(&scan, &more, err)) == ERR_NONE && more) {
        code = json_scan_skip(&scan, &object, err);
        buf_adds(array, array->len > 1 ? "," : "");
        buf_add(array, object.text, object.len);
        buf_clear(last);
        object_add(&object, "id", last);
        (*count)++;
    }
    return code;
}

static enum err_code ask_pages(struct target *target, const struct listing *listing, const char *path,
                               int64_t limit, struct buf *array, struct err *err)
{
    enum err_code code = ERR_NONE;
    int64_t left = limit, got = 0, wanted = 0;
    struct buf page, asked, last;
    buf_init(&page, BUF_UNLIMITED);
    buf_init(&asked, BUF_UNLIMITED);
    buf_init(&last, BUF_UNLIMITED);
    do {
        char number[24];
        buf_clear(&page);
        buf_clear(&asked);
        wanted = left < PAGE_MAX ? left : PAGE_MAX;
        got = 0;
        snprintf(number, sizeof number, "%lld", (long long)wanted);
        buf_adds(&asked, path);
        path_query(&asked, "limit", limit > 0 ? number : NULL);
        path_query(&asked, "before", last.len > 0 ? buf_text(&last) : NULL);
        const struct question question = {.method = "GET", .path = &asked};
        code = target_ask(target, &question, &page, err);
        if (code == ERR_NONE)
            code = take_page(&page, listing->member, array, &last, &got, err);
        left -= got;
    } while (code == ERR_NONE && left > 0 && got == wanted);
    buf_addc(array, ']');
    buf_free(&page);
    buf_free(&asked);
    buf_free(&last);
    return code == ERR_NONE ? buf_status(array, "the answer", err) : code;
}

int listing_run(const struct cli_args *args, const struct listing *listing, const char *path)
{
    struct target target;
    struct err err;
    struct buf array;
    int64_t limit = listing->limit;
    const char *given = limit > 0 ? cli_value(args, "--limit") : NULL;
    if (given != NULL && (!cli_number(given, &limit) || limit < 1))
        return cli_usage(args, "--limit must be a whole number of at least 1");
    int result = target_open(args, &target);
    if (result != EXIT_DONE)
        return result;
    buf_init(&array, BUF_UNLIMITED);
    buf_addc(&array, '[');
    if (ask_pages(&target, listing, path, limit, &array, &err) != ERR_NONE)
        result = target_fail(&target, &err);
    else
        result = listing_print(listing, cli_format(args), &array);
    buf_free(&array);
    target_close(&target);
    return result;
}

int listing_one(const struct cli_args *args, const char *base, const char *id)
{
    struct buf path, answer;
    path_make(&path, base, id, NULL);
    buf_init(&answer, BUF_UNLIMITED);
    const struct question question = {.method = "GET", .path = &path};
    int result = cli_ask(args, &question, &answer);
    if (result == EXIT_DONE)
        result = cli_print_json(buf_text(&answer), answer.len);
    buf_free(&path);
    buf_free(&answer);
    return result;
}
