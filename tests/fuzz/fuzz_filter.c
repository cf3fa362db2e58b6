/* libFuzzer harness for the filters and sorts of views: whatever they are, the answer is JSON or an error of
 * the asker's. An error of SQL would mean that something of the input got into a statement.
 *
 * The input is the filter, a NUL and the sorts; either may be empty. */
#include "base/json.h"
#include "store/store.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NAME, KEY, COUNT, DONE, DUE, KIND, TAGS, PLACE, HIDDEN, PROPERTY_COUNT };

static struct property properties[PROPERTY_COUNT] = {
    [NAME] = {.name = "Name", .column = "name", .type = PROPERTY_TITLE},
    [KEY] = {.name = "ID", .column = "id", .type = PROPERTY_TEXT},
    [COUNT] = {.name = "Count", .column = "count", .type = PROPERTY_NUMBER},
    [DONE] = {.name = "Done", .column = "done", .type = PROPERTY_CHECKBOX},
    [DUE] = {.name = "Due", .column = "due", .type = PROPERTY_DATE},
    [KIND] = {.name = "K\"i'nd", .column = "k_i_nd", .type = PROPERTY_SELECT},
    [TAGS] = {.name = "Tags", .column = "tags", .type = PROPERTY_MULTI_SELECT},
    [PLACE] = {.name = "Place", .column = "place", .type = PROPERTY_PLACE},
    [HIDDEN] = {.name = "Hidden", .column = "hidden", .type = PROPERTY_TEXT},
};
static struct database database = {.key = "tasks",
                                   .where = "",
                                   .type = "managed",
                                   .table = "tasks",
                                   .initial_title = "Tasks",
                                   .primary_key = KEY,
                                   .properties = properties,
                                   .property_count = PROPERTY_COUNT};
static struct worker worker = {.databases = &database, .database_count = 1};
static const char *names[PROPERTY_COUNT];
static struct store *store;
static char folder[] = "/tmp/workers-fuzz-XXXXXX";

static void broken(const char *what, const struct err *err)
{
    fprintf(stderr, "%s: %s\n", what, err != NULL ? err->message : "");
    abort();
}

static struct cell text_cell(const char *text)
{
    return (struct cell){.type = CELL_TEXT, .text = text, .len = strlen(text)};
}

static void write_rows(void)
{
    static const char *const dates[] = {"2026-01-31", "2026-02-01T10:00:00+01:00[Europe/Berlin]",
                                        "2026-02-01T10:00:00Z"};
    static const struct change_extras no_extras = {0};
    static const struct cell none = {.type = CELL_NULL};
    const struct capability sync = {.kind = CAPABILITY_SYNC, .key = "fill", .mode = SYNC_INCREMENTAL};
    struct property_value values[3][3];
    struct change changes[3];
    struct page page = {.changes = changes, .count = 3};
    struct sync_lease lease = {0};
    struct page_counts counts;
    struct sweep_outcome sweep;
    const struct page_end end = {0};
    struct err err;
    static const char *const keys[] = {"1", "2", "3"};
    for (int i = 0; i < 3; i++) {
        values[i][0] = (struct property_value){.property = KEY, .value = text_cell(keys[i]), .end = &none};
        values[i][1] = (struct property_value){.property = DUE, .value = text_cell(dates[i]), .end = &none};
        values[i][2] =
            (struct property_value){.property = TAGS, .value = text_cell("[\"a\",\"b\"]"), .end = &none};
        changes[i] = (struct change){
            .key = keys[i], .key_len = 1, .values = values[i], .value_count = 3, .extras = &no_extras};
    }
    if (store_sync_begin(store, &sync, NULL, &lease, &err) != ERR_NONE ||
        store_page_begin(store, &lease, false, &err) != ERR_NONE ||
        store_page_write(store, &page, NULL, &err) != ERR_NONE ||
        store_page_end(store, &sync, &lease, &end, &counts, &sweep, &err) != ERR_NONE || counts.added != 3)
        broken("no rows", &err);
    sync_lease_free(&lease);
}

static void begin(void)
{
    struct buf report;
    struct err err;
    for (int i = 0; i < PROPERTY_COUNT; i++) {
        properties[i].name_len = strlen(properties[i].name);
        names[i] = i == HIDDEN ? NULL : properties[i].name;
    }
    buf_init(&report, BUF_UNLIMITED);
    if (mkdtemp(folder) == NULL || store_open(folder, true, &store, &err) != ERR_NONE ||
        store_use(store, &worker, &report, &err) != ERR_NONE)
        broken("no store", &err);
    buf_free(&report);
    write_rows();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (store == NULL)
        begin();
    const char *text = (const char *)data;
    const char *nul = size > 0 ? memchr(text, '\0', size) : NULL;
    size_t filter_len = nul != NULL ? (size_t)(nul - text) : size;
    size_t sorts_len = nul != NULL ? size - filter_len - 1 : 0;
    struct rows_query query = {.database = &database, .names = names, .extras = true, .limit = 2};
    if (filter_len > 0)
        query.filter = (struct json_slice){text, filter_len};
    if (sorts_len > 0)
        query.sorts = (struct json_slice){nul + 1, sorts_len};
    struct buf out;
    struct err err = {0};
    buf_init(&out, (size_t)1024 * 1024);
    enum err_code code = store_rows_query(folder, &query, NULL, &out, &err);
    if (code == ERR_NONE && json_check(buf_text(&out), out.len, &err) != ERR_NONE)
        broken("the answer is not JSON", &err);
    if (code != ERR_NONE && code != ERR_INVALID && code != ERR_LIMIT)
        broken("not an error of the asker", &err);
    if (code != ERR_NONE && err.message[0] == '\0')
        broken("an error without a message", NULL);
    buf_free(&out);
    return 0;
}
