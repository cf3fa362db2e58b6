/* The writes of the measured sync in plain C on SQLite: the floor that no runtime can go below. Must not use
 * anything of the program but the SQLite that it is linked with.
 *
 *     plain_sync DATABASE
 *
 * Per row a SELECT by key, then an INSERT when there is none and an UPDATE when a value differs; 100 rows and
 * the state in a transaction. The table, the pragmas and the values are those of the other peers. Prints
 * {"rows", "pages", "ms"}. */
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROWS 100000
#define PAGE 100

enum column {
    ID,
    KEY,
    ICON,
    COVER,
    CONTENT,
    UPSTREAM,
    SYNCED,
    NAME,
    TASK_ID,
    STATUS,
    POINTS,
    DUE,
    DUE_END,
    DONE
};

struct row {
    char key[32], name[64], due[32];
    const char *status;
    double points;
    bool done;
};

static sqlite3 *db;

static void check(int result)
{
    if (result == SQLITE_OK || result == SQLITE_DONE || result == SQLITE_ROW)
        return;
    fprintf(stderr, "plain_sync: %s\n", sqlite3_errmsg(db));
    exit(1);
}

static void run(const char *sql)
{
    check(sqlite3_exec(db, sql, NULL, NULL, NULL));
}

static sqlite3_stmt *prepare(const char *sql)
{
    sqlite3_stmt *stmt = NULL;
    check(sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL));
    return stmt;
}

static void finish(sqlite3_stmt *stmt)
{
    check(sqlite3_step(stmt));
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
}

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void make_row(int n, struct row *row)
{
    static const char *const statuses[] = {"Open", "In progress", "Blocked", "Done"};
    snprintf(row->key, sizeof row->key, "task-%d", n);
    snprintf(row->name, sizeof row->name, "Task number %d of the backlog", n);
    snprintf(row->due, sizeof row->due, "2025-%02d-%02d", n % 12 + 1, n % 28 + 1);
    row->status = statuses[n % 4];
    row->points = n % 1000 + 0.5;
    row->done = n % 3 == 0;
}

static bool same_text(sqlite3_stmt *stmt, int column, const char *text)
{
    const char *stored = (const char *)sqlite3_column_text(stmt, column);
    return stored != NULL && strcmp(stored, text) == 0;
}

static bool unchanged(sqlite3_stmt *stored, const struct row *row)
{
    return same_text(stored, NAME, row->name) && same_text(stored, TASK_ID, row->key) &&
           same_text(stored, STATUS, row->status) && sqlite3_column_double(stored, POINTS) == row->points &&
           same_text(stored, DUE, row->due) && sqlite3_column_type(stored, DUE_END) == SQLITE_NULL &&
           sqlite3_column_int(stored, DONE) == row->done;
}

/* ?1 is the id of an update and unset for an insert. */
static void bind_row(sqlite3_stmt *stmt, const struct row *row, const char *synced)
{
    sqlite3_bind_text(stmt, SYNCED + 1, synced, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, NAME + 1, row->name, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, TASK_ID + 1, row->key, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, STATUS + 1, row->status, -1, SQLITE_STATIC);
    sqlite3_bind_double(stmt, POINTS + 1, row->points);
    sqlite3_bind_text(stmt, DUE + 1, row->due, -1, SQLITE_STATIC);
    sqlite3_bind_int(stmt, DONE + 1, row->done);
}

static void write_row(sqlite3_stmt *find, sqlite3_stmt *insert, sqlite3_stmt *update, const struct row *row,
                      const char *synced)
{
    sqlite3_bind_text(find, 1, row->key, -1, SQLITE_STATIC);
    int found = sqlite3_step(find);
    check(found);
    bool write = found == SQLITE_ROW && !unchanged(find, row);
    sqlite3_int64 id = found == SQLITE_ROW ? sqlite3_column_int64(find, ID) : 0;
    sqlite3_reset(find);
    sqlite3_clear_bindings(find);
    if (found == SQLITE_DONE) {
        sqlite3_bind_text(insert, KEY + 1, row->key, -1, SQLITE_STATIC);
        bind_row(insert, row, synced);
        finish(insert);
    } else if (write) {
        sqlite3_bind_int64(update, ID + 1, id);
        bind_row(update, row, synced);
        finish(update);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: plain_sync DATABASE\n");
        return 2;
    }
    check(sqlite3_open_v2(argv[1], &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                          NULL));
    run("PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA "
        "cache_size=-32768;"
        "CREATE TABLE IF NOT EXISTS tasks(_id INTEGER PRIMARY KEY, _key TEXT NOT NULL UNIQUE, _icon TEXT, "
        "_cover TEXT,"
        " _content TEXT, _upstream_updated_at TEXT, _synced_at TEXT NOT NULL, task_name TEXT, task_id TEXT, "
        "status TEXT,"
        " points NUMERIC, due TEXT, due_end TEXT, done BOOLEAN);"
        "CREATE TABLE IF NOT EXISTS syncs(key TEXT PRIMARY KEY, state TEXT) WITHOUT ROWID;");
    sqlite3_stmt *find = prepare("SELECT * FROM tasks WHERE _key = ?1");
    sqlite3_stmt *insert =
        prepare("INSERT INTO tasks VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)");
    sqlite3_stmt *update =
        prepare("UPDATE tasks SET _synced_at = ?7, task_name = ?8, task_id = ?9, status = ?10,"
                " points = ?11, due = ?12, due_end = ?13, done = ?14 WHERE _id = ?1");
    sqlite3_stmt *set_state =
        prepare("INSERT INTO syncs(key, state) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET"
                " state = excluded.state");
    sqlite3_stmt *begin = prepare("BEGIN IMMEDIATE");
    sqlite3_stmt *commit = prepare("COMMIT");
    double started = now_ms();
    int pages = 0;
    for (int first = 0; first < ROWS; first += PAGE, pages++) {
        char synced[32], state[32];
        time_t now = time(NULL);
        struct tm parts;
        strftime(synced, sizeof synced, "%Y-%m-%dT%H:%M:%S.000Z", gmtime_r(&now, &parts));
        finish(begin);
        for (int i = 1; i <= PAGE; i++) {
            struct row row;
            make_row(first + i, &row);
            write_row(find, insert, update, &row, synced);
        }
        snprintf(state, sizeof state, "{\"page\":%d}", pages + 2);
        sqlite3_bind_text(set_state, 1, "tasksSync", -1, SQLITE_STATIC);
        if (first + PAGE < ROWS)
            sqlite3_bind_text(set_state, 2, state, -1, SQLITE_STATIC);
        finish(set_state);
        finish(commit);
    }
    printf("{\"rows\":%d,\"pages\":%d,\"ms\":%.1f}\n", ROWS, pages, now_ms() - started);
    sqlite3_stmt *const stmts[] = {find, insert, update, set_state, begin, commit};
    for (size_t i = 0; i < sizeof stmts / sizeof stmts[0]; i++)
        sqlite3_finalize(stmts[i]);
    sqlite3_close(db);
    return 0;
}
