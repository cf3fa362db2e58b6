/* The database driver: queries with parameters, and what a guarded connection is held to. */
#include "base/buf.h"
#include "base/clock.h"
#include "db/db.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define PATH_SIZE 64

static char path[PATH_SIZE];
static int steps_allowed = -1; /* questions answered with yes; negative for all */

static bool go_on(void *ctx)
{
    (void)ctx;
    if (steps_allowed > 0)
        steps_allowed--;
    return steps_allowed != 0;
}

static struct db_guard guard = {
    .memory_max = (size_t)16 << 20, .value_max = 100000, .hidden = "_own_", .go_on = go_on};

static enum err_code take_columns(void *ctx, int count, const char *const names[])
{
    struct buf *out = ctx;
    for (int i = 0; i < count; i++)
        buf_addf(out, "%s%s", i > 0 ? "," : "", names[i]);
    return ERR_NONE;
}

static enum err_code take_row(void *ctx, int count, const struct db_value values[])
{
    struct buf *out = ctx;
    buf_adds(out, " |");
    for (int i = 0; i < count; i++) {
        buf_adds(out, " ");
        if (values[i].type == DB_NULL)
            buf_adds(out, "NULL");
        else if (values[i].type == DB_INTEGER)
            buf_addf(out, "%lld", (long long)values[i].integer);
        else if (values[i].type == DB_REAL)
            buf_addf(out, "%.17g", values[i].real);
        else if (values[i].type == DB_BLOB)
            buf_addf(out, "blob:%zu", values[i].len);
        else
            buf_add(out, values[i].text, values[i].len);
    }
    return ERR_NONE;
}

/* What the query gives, as text; or its error. The caller frees out. */
static enum err_code query(const struct db_guard *with, const struct db_statement *statement, struct buf *out)
{
    struct err err;
    const struct db_sink sink = {.columns = take_columns, .row = take_row, .ctx = out};
    const struct db_options options = {.read_only = true, .guard = with};
    buf_init(out, (size_t)1 << 20);
    enum err_code code = db_query(&db_sqlite, path, &options, statement, &sink, &err);
    if (code != ERR_NONE) {
        assert_int_equal(err.code, code);
        buf_clear(out);
        buf_adds(out, err.message);
    }
    return code;
}

static void expect(const struct db_guard *with, const char *sql, enum err_code code, const char *text)
{
    struct buf out;
    const struct db_statement statement = {.sql = sql};
    enum err_code got = query(with, &statement, &out);
    if (got != code || strcmp(buf_text(&out), text) != 0)
        print_error("%s\n", sql);
    assert_string_equal(buf_text(&out), text);
    assert_int_equal(got, code);
    buf_free(&out);
}

static void expect_with(const struct db_parameter *parameters, size_t count, const char *sql,
                        enum err_code code, const char *text)
{
    struct buf out;
    const struct db_statement statement = {.sql = sql, .parameters = parameters, .parameter_count = count};
    assert_int_equal(query(&guard, &statement, &out), code);
    assert_string_equal(buf_text(&out), text);
    buf_free(&out);
}

static int setup(void **state)
{
    (void)state;
    struct db *db = NULL;
    struct err err;
    const struct db_options options = {.create = true};
    snprintf(path, sizeof path, "/tmp/db-test.XXXXXX");
    int fd = mkstemp(path);
    if (fd < 0)
        return -1;
    close(fd);
    if (db_sqlite.open(path, &options, &db, &err) != ERR_NONE)
        return -1;
    enum err_code code = db_sqlite.exec(db,
                                        "CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT);"
                                        "INSERT INTO items VALUES(1, 'one'), (2, 'two');"
                                        "CREATE TABLE _own_secrets(name TEXT, value TEXT);"
                                        "INSERT INTO _own_secrets VALUES('token', 'abc');"
                                        "CREATE INDEX by_name ON items(name);"
                                        "CREATE VIEW peek AS SELECT value FROM _own_secrets;",
                                        &err);
    db_sqlite.close(db);
    return code == ERR_NONE ? 0 : -1;
}

static int teardown(void **state)
{
    char beside[PATH_SIZE + 16];
    (void)state;
    unlink(path);
    snprintf(beside, sizeof beside, "%s-wal", path);
    unlink(beside);
    snprintf(beside, sizeof beside, "%s-shm", path);
    unlink(beside);
    return 0;
}

static void test_parameters(void **state)
{
    (void)state;
    const struct db_parameter numbered[] = {
        {.number = 2, .value = {.type = DB_TEXT, .text = "two", .len = 3}},
        {.number = 1, .value = {.type = DB_INTEGER, .integer = INT64_MIN}}};
    const struct db_parameter named[] = {{.name = "id", .value = {.type = DB_INTEGER, .integer = 2}},
                                         {.name = "x", .value = {.type = DB_NULL}}};
    expect_with(numbered, 2, "SELECT ?1 AS a, name FROM items WHERE name = ?2", ERR_NONE,
                "a,name | -9223372036854775808 two");
    expect_with(numbered, 2, "SELECT ? AS a, ? AS b", ERR_NONE, "a,b | -9223372036854775808 two");
    expect_with(named, 2, "SELECT name, :x IS NULL AS n FROM items WHERE id = @id", ERR_NONE,
                "name,n | two 1");
    expect_with(named, 2, "SELECT :id", ERR_INVALID, "the statement has no parameter :x");
    expect_with(numbered, 2, "SELECT ?1", ERR_INVALID, "the statement has no parameter ?2");
    expect_with(numbered, 2, "SELECT ?1, ?2, ?3", ERR_INVALID, "the parameter ?3 is missing");
    expect_with(numbered, 2, "SELECT ?, ?, ?", ERR_INVALID, "the parameter ?3 is missing");
    expect_with(named, 2, "SELECT :id, $x, :y", ERR_INVALID, "the parameter :y is missing");
    expect_with(numbered, 2, "SELECT :a, :b", ERR_INVALID, "the parameter :a is missing");
    const struct db_parameter blob[] = {
        {.number = 1, .value = {.type = DB_BLOB, .text = "\0\xff", .len = 2}}};
    expect_with(blob, 1, "SELECT ?1 AS b, hex(?1) AS h", ERR_NONE, "b,h | blob:2 00FF");
}

static void test_statements(void **state)
{
    (void)state;
    expect(&guard, "SELECT 1 AS a; -- one\n /* two */ ;", ERR_NONE, "a | 1");
    expect(&guard, "SELECT 1; SELECT 2", ERR_INVALID, "give one statement at a time");
    expect(&guard, "SELECT 1; nonsense", ERR_INVALID, "give one statement at a time");
    expect(&guard, " -- nothing", ERR_INVALID, "the statement is empty");
    expect(&guard, "SELECT nope FROM items", ERR_INVALID, "no such column: nope");
    /* Our own statements are told where it happened. */
    expect(NULL, "SELECT nope FROM items", ERR_INVALID, "database: no such column: nope");
}

static void test_what_is_refused(void **state)
{
    (void)state;
    static const char only_select[] = "only SELECT can be used here; nothing is written or attached";
    static const char *const writes[] = {
        "INSERT INTO items VALUES(3, 'x')",
        "UPDATE items SET name = ''",
        "DELETE FROM items",
        "DROP TABLE items",
        "CREATE TABLE x(a)",
        "CREATE TEMP TABLE x(a)",
        "CREATE TEMP VIEW x AS SELECT 1",
        "CREATE INDEX i ON items(name)",
        "CREATE VIRTUAL TABLE x USING fts5(a)",
        "ALTER TABLE items ADD y",
        "REINDEX",
        "ANALYZE",
        "BEGIN",
        "COMMIT",
        "SAVEPOINT x",
        "ATTACH ':memory:' AS x",
        "DETACH main",
        "UPDATE items SET name = '' RETURNING name",
        "REPLACE INTO items VALUES(1, '')",
        "WITH x AS (SELECT 1) DELETE FROM items",
    };
    for (size_t i = 0; i < sizeof writes / sizeof writes[0]; i++)
        expect(&guard, writes[i], ERR_DENIED, only_select);
    expect(&guard, "VACUUM INTO '/tmp/copy.db'", ERR_DENIED, only_select);
    expect(&guard, "DELETE FROM sqlite_schema", ERR_INVALID, "table sqlite_master may not be modified");
    expect(&guard, "UPDATE sqlite_schema SET sql = ''", ERR_INVALID,
           "table sqlite_master may not be modified");
    expect(&guard, "PRAGMA writable_schema = 1", ERR_DENIED, "PRAGMA writable_schema cannot be used here");
    expect(&guard, "PRAGMA query_only = 0", ERR_DENIED, "PRAGMA query_only cannot be used here");
    expect(&guard, "PRAGMA temp_store_directory = '/'", ERR_DENIED,
           "PRAGMA temp_store_directory cannot be used here");
    expect(&guard, "SELECT * FROM pragma_database_list", ERR_DENIED,
           "PRAGMA database_list cannot be used here");
    expect(&guard, "SELECT load_extension('x')", ERR_DENIED,
           "the function load_extension cannot be used here");
    expect(&guard, "SELECT fts3_tokenizer('simple')", ERR_DENIED,
           "the function fts3_tokenizer cannot be used here");
    expect(&guard, "SELECT json_patch('{}', '{}')", ERR_DENIED,
           "the function json_patch cannot be used here");
    /* What only describes or takes apart stays. */
    expect(&guard, "SELECT name FROM pragma_table_info('items') ORDER BY cid", ERR_NONE, "name | id | name");
    expect(&guard, "SELECT sum(value) AS s FROM json_each('[1,2,3]')", ERR_NONE, "s | 6");
    expect(&guard, "SELECT count(*) AS n FROM sqlite_master WHERE name = 'items'", ERR_NONE, "n | 1");
}

static void test_hidden_tables(void **state)
{
    (void)state;
    static const char own[] = "the table _own_secrets belongs to the program and cannot be read";
    static const char *const ways[] = {
        "SELECT * FROM _own_secrets",
        "SELECT value FROM main.\"_OWN_SECRETS\"",
        "SELECT count(*) FROM \"_OWN_Secrets\" AS x",
        "SELECT rowid FROM _own_secrets",
        "SELECT 1 WHERE 'abc' IN (SELECT value FROM _own_secrets)",
        "SELECT (SELECT max(value) FROM _own_secrets)",
        "SELECT name FROM items WHERE EXISTS (SELECT 1 FROM _own_secrets WHERE value > 'a')",
        "SELECT * FROM items UNION ALL SELECT * FROM _own_secrets",
        "WITH x AS (SELECT * FROM _own_secrets) SELECT * FROM x",
        "WITH items AS (SELECT * FROM _own_secrets) SELECT * FROM items",
        "SELECT * FROM peek",
        "EXPLAIN SELECT * FROM _own_secrets",
    };
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        struct buf out;
        const struct db_statement statement = {.sql = ways[i]};
        if (query(&guard, &statement, &out) != ERR_DENIED)
            print_error("%s\n", ways[i]);
        assert_non_null(strstr(buf_text(&out), " belongs to the program and cannot be read"));
        buf_free(&out);
    }
    expect(&guard, ways[0], ERR_DENIED, own);
    expect(&guard, "SELECT * FROM dbstat", ERR_DENIED,
           "the table dbstat belongs to the program and cannot be read");
    expect(&guard, "SELECT * FROM sqlite_stmt", ERR_DENIED,
           "the table sqlite_stmt belongs to the program and cannot be read");
    expect(NULL, ways[0], ERR_NONE, "name,value | token abc");
}

static void test_bounds(void **state)
{
    (void)state;
    expect(&guard, "SELECT length(zeroblob(100000)) AS n", ERR_NONE, "n | 100000");
    expect(&guard, "SELECT zeroblob(1000000000)", ERR_LIMIT,
           "a value is too large; the largest has 100000 bytes");
    expect(&guard, "SELECT hex(randomblob(60000))", ERR_LIMIT,
           "a value is too large; the largest has 100000 bytes");
    static const char needs[] =
        "the query needs more than 16 MiB of memory: sort and group fewer rows, or smaller values";
    expect(&guard,
           "WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT x FROM r ORDER BY x DESC",
           ERR_LIMIT, needs);
    /* Every name of a WITH is expanded wherever it is used. */
    struct buf doubling;
    buf_init(&doubling, 8192);
    buf_adds(&doubling, "WITH a0 AS (SELECT 1 AS x)");
    for (int i = 1; i < 30; i++)
        buf_addf(&doubling, ", a%d AS (SELECT a.x FROM a%d a, a%d b)", i, i - 1, i - 1);
    buf_adds(&doubling, " SELECT count(*) FROM a29");
    expect(&guard, buf_text(&doubling), ERR_LIMIT, needs);
    buf_free(&doubling);
    /* The next query has all its memory again. */
    expect(&guard, "SELECT count(*) AS n FROM items", ERR_NONE, "n | 2");
    expect(&guard, "SELECT 'a' LIKE '%' || hex(zeroblob(60))", ERR_INVALID,
           "LIKE or GLOB pattern too complex");
}

static void test_being_stopped(void **state)
{
    (void)state;
    steps_allowed = 1000;
    expect(&guard, "WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT count(*) FROM r",
           ERR_CANCELLED, "interrupted");
    assert_int_equal(steps_allowed, 0);
    steps_allowed = -1;
}

static unsigned seed = 1;

static unsigned chance(unsigned below)
{
    seed = seed * 1103515245 + 12345;
    return (seed >> 16) % below;
}

static void add_text(struct buf *sql)
{
    static const char *const texts[] = {"'", "a", "aa", "ab", "b", "é", "éa", "日", "", "a", "x"};
    unsigned parts = chance(6);
    if (chance(12) == 0) {
        buf_adds(sql, chance(2) == 0 ? "NULL" : chance(2) == 0 ? "1212" : "x'6161c3a962'");
        return;
    }
    buf_adds(sql, "'");
    for (unsigned i = 0; i < parts; i++)
        buf_adds(sql, texts[1 + chance(10)]);
    buf_adds(sql, "'");
}

/* The replaced functions give what SQLite's own give. */
static void test_replaced_functions(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int arguments;
    } functions[] = {{"instr", 2}, {"replace", 3}, {"trim", 2}, {"ltrim", 2}, {"rtrim", 2}};
    for (int round = 0; round < 60; round++) {
        struct buf sql, own, ours;
        buf_init(&sql, 65536);
        for (int i = 0; i < 40; i++) {
            size_t which = chance(5);
            buf_addf(&sql, "%s%s(", i == 0 ? "SELECT quote(" : " || quote(", functions[which].name);
            for (int argument = 0; argument < functions[which].arguments; argument++) {
                buf_adds(&sql, argument > 0 ? ", " : "");
                add_text(&sql);
            }
            buf_adds(&sql, "))");
        }
        const struct db_statement statement = {.sql = buf_text(&sql)};
        assert_int_equal(query(NULL, &statement, &own), ERR_NONE);
        assert_int_equal(query(&guard, &statement, &ours), ERR_NONE);
        assert_string_equal(buf_text(&own), buf_text(&ours));
        buf_free(&sql);
        buf_free(&own);
        buf_free(&ours);
    }
}

/* SQLite's own would take hours here. */
static void test_linear_time(void **state)
{
    (void)state;
    struct db_guard large = guard;
    large.value_max = (size_t)16 << 20;
    large.memory_max = (size_t)128 << 20;
    uint64_t start = clock_thread_cpu_ns();
    expect(
        &large,
        "SELECT instr(t, n) AS i, length(replace(t, n, 'c')) AS r FROM (SELECT hex(zeroblob(4000000)) AS t,"
        " hex(zeroblob(2000000)) || 'b' AS n)",
        ERR_NONE, "i,r | 0 8000000");
    assert_true(clock_thread_cpu_ns() - start < (uint64_t)20 * 1000000000);
    expect(&guard, "SELECT trim('a', hex(zeroblob(33)))", ERR_INVALID,
           "the characters to trim are more than 64 bytes");
}

#define OPENERS 6
#define FILES 100

/* In a process of its own, as SQLite's locks are between processes. begin is the read end of a pipe that is
 * closed when all are there. */
static pid_t open_in_process(const char *file, const int begin[2])
{
    const struct db_options options = {.create = true, .busy_timeout_ms = 15000};
    struct db *db = NULL;
    struct err err;
    char byte;
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    close(begin[1]);
    (void)!read(begin[0], &byte, 1);
    if (db_sqlite.open(file, &options, &db, &err) != ERR_NONE ||
        db_sqlite.exec(db,
                       "BEGIN IMMEDIATE; CREATE TABLE IF NOT EXISTS t(a); INSERT INTO t VALUES(1); COMMIT",
                       &err) != ERR_NONE) {
        fprintf(stderr, "%s\n", err.message);
        _exit(1);
    }
    db_sqlite.close(db);
    _exit(0);
}

/* As the processes of a server do when it is started for the first time. */
static void test_a_new_file_opened_by_several(void **state)
{
    (void)state;
    for (int round = 0; round < FILES; round++) {
        char folder[] = "/tmp/workers-db-XXXXXX", file[PATH_SIZE], beside[PATH_SIZE + 8];
        int begin[2], failed = 0, status = 0;
        pid_t openers[OPENERS];
        assert_non_null(mkdtemp(folder));
        snprintf(file, sizeof file, "%s/new.db", folder);
        assert_int_equal(pipe(begin), 0);
        for (int i = 0; i < OPENERS; i++)
            openers[i] = open_in_process(file, begin);
        close(begin[0]);
        close(begin[1]);
        for (int i = 0; i < OPENERS; i++)
            failed += waitpid(openers[i], &status, 0) != openers[i] || status != 0;
        const char *const suffixes[] = {"", "-wal", "-shm"};
        for (int i = 0; i < 3; i++) {
            snprintf(beside, sizeof beside, "%s%s", file, suffixes[i]);
            unlink(beside);
        }
        rmdir(folder);
        assert_int_equal(failed, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_statements),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_hidden_tables),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_being_stopped),
        cmocka_unit_test(test_replaced_functions),
        cmocka_unit_test(test_linear_time),
        cmocka_unit_test(test_a_new_file_opened_by_several),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
