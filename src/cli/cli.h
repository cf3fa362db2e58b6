/* The command line: one command = one file with one table entry (main.c holds the table).
 *
 * Who owns what: a command owns what it opens; project_free releases a project. Results go to stdout,
 * everything else to stderr. Exit codes: 0 done, 1 the work failed, 2 wrong usage. */
#ifndef WORKERS_CLI_CLI_H
#define WORKERS_CLI_CLI_H

#include "base/err.h"
#include "base/table.h"
#include "engine/project.h"
#include "worker/config.h"

#include <stdbool.h>
#include <stdio.h>

enum { EXIT_DONE = 0, EXIT_FAILED_WORK = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

#define CLI_MAX_OPTIONS 16
#define CLI_MAX_ARGUMENTS 256

struct cli_option {
    const char *name;  /* "--preview"; NULL ends the list */
    const char *brief; /* "-d", or NULL */
    const char *value; /* what it takes, as in "JSON|@FILE|-"; NULL for a flag */
    const char *help;
};

struct cli_args {
    const struct command *command;
    const char
        *values[CLI_MAX_OPTIONS]; /* by position in the command's options; "" for a flag that was given */
    const char *positional[CLI_MAX_ARGUMENTS];
    int count;
    /* Every value in the order given, and the option's position: for options that may be given several times.
     */
    struct {
        int option;
        const char *value;
    } given[CLI_MAX_ARGUMENTS];
    int given_count;
    const char *server, *worker; /* of --server and --worker; NULL when not given */
};

struct command {
    const char *name;      /* "run", "sync status" */
    const char *arguments; /* "SCRIPT [KEY]" */
    const char *summary;   /* one line, for the list */
    const char *help;      /* paragraphs and examples */
    const struct cli_option *options;
    int min_arguments, max_arguments;
    bool remote; /* takes --server and --worker */
    int (*run)(const struct cli_args *args);
};

extern const struct command *const cli_commands[]; /* ends with NULL */

extern const struct command cmd_run, cmd_exec, cmd_manifest, cmd_mcp, cmd_oauth_start, cmd_oauth_token,
    cmd_oauth_status, cmd_oauth_revoke, cmd_oauth_show_redirect_url, cmd_check, cmd_completions, cmd_doctor,
    cmd_sync_status, cmd_sync_trigger, cmd_sync_pause, cmd_sync_resume, cmd_sync_state_get,
    cmd_sync_state_set, cmd_sync_state_reset, cmd_capabilities_list, cmd_capabilities_enable,
    cmd_capabilities_disable, cmd_runs_list, cmd_runs_get, cmd_runs_logs, cmd_db_list, cmd_db_schema,
    cmd_db_query, cmd_db_export, cmd_db_deleted, cmd_db_restore, cmd_serve, cmd_webhooks_list,
    cmd_webhooks_reset, cmd_webhooks_rotate, cmd_webhooks_send, cmd_deliveries_list, cmd_deliveries_get,
    cmd_deliveries_replay, cmd_view_list, cmd_view_open, cmd_view_build, cmd_view_dev, cmd_tokens_list,
    cmd_tokens_make, cmd_tokens_revoke, cmd_env_set, cmd_env_list, cmd_env_unset, cmd_env_versions,
    cmd_env_restore, cmd_env_pull, cmd_env_push, cmd_env_rotate_key, cmd_deploy, cmd_versions, cmd_rollback,
    cmd_create, cmd_list, cmd_get, cmd_rename, cmd_delete, cmd_new, cmd_test, cmd_types, cmd_version,
    cmd_help;

/* Of commands about variables and tokens: those of the home. */
#define CLI_HOME_OPTION                                                                                      \
    {                                                                                                        \
        "--home", NULL, NULL, "of the home: shared by the workers that were deployed to it"                  \
    }

/* ---- arguments ---- */

/* NULL when the option was not given; the last of several. */
const char *cli_value(const struct cli_args *args, const char *option);
/* The nth value, from 0, of an option that may be given several times; NULL when there are not so many. */
const char *cli_nth_value(const struct cli_args *args, const char *option, int n);
bool cli_flag(const struct cli_args *args, const char *option);
/* Says what is wrong and where help is; returns EXIT_USAGE. */
int cli_usage(const struct cli_args *args, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A whole number of at least 0; false when it is none. */
bool cli_number(const char *text, int64_t *out) MUST_CHECK;
/* The text of a -d option: JSON itself, @FILE or - for standard input. */
enum err_code cli_read_data(const char *value, struct buf *out, struct err *err) MUST_CHECK;

/* Asks on the terminal; false, without asking, when there is none. */
bool cli_confirm(const char *question);

/* ---- output ---- */

enum cli_format { FORMAT_TABLE, FORMAT_PLAIN, FORMAT_JSON };
#define CLI_FORMAT_OPTIONS                                                                                   \
    {"--plain", NULL, NULL, "tab-separated, without a header"},                                              \
    {                                                                                                        \
        "--json", NULL, NULL, "JSON"                                                                         \
    }
enum cli_format cli_format(const struct cli_args *args);
/* Prints a table, for FORMAT_TABLE or FORMAT_PLAIN. empty is what to say, on stderr, when there is nothing;
 * NULL for nothing. Returns the exit code. */
int cli_print_table(enum cli_format format, const struct table_printer *table, const char *empty);
/* Prints JSON, indented. */
int cli_print_json(const char *text, size_t len);
bool cli_color(FILE *stream);
/* Writes what a script or somebody else has said: line ends and tabs stay, other control characters become
 * blanks, so that it cannot drive the terminal. */
void cli_write(FILE *stream, const char *text, size_t len);
int cli_terminal_width(FILE *stream); /* 0 when it is no terminal */
/* "error: …" on stderr; returns EXIT_FAILED_WORK. */
int cli_fail(const struct err *err);
int cli_fail_script(const struct script_error *error);
void cli_print_traceback(const char *traceback); /* NULL and empty: nothing */
void cli_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Appends a time as people say it; plain: in UTC. Nothing for 0. */
void cli_add_time(struct buf *out, bool plain, int64_t ms);
const char *cli_duration(uint64_t ms, char *out, size_t size);

/* Runs one capability as workers exec does (cmd_exec.c). args has --data, --json and --stream. */
int cli_exec(const struct cli_args *args, const char *script, const char *key);

/* ---- the project ---- */

/* project_load; log lines go to sink (NULL: to stderr). */
enum err_code cli_runtime_open(const struct project *project, uv_loop_t *loop, log_sink sink, void *ctx,
                               struct runtime **out, struct script_error *error) MUST_CHECK;

/* Lines of the levels "trace" and "http" are kept, but not shown while something runs: the traceback comes
 * with the error, and requests are many. */
bool cli_log_is_shown(const char *level);

#endif
