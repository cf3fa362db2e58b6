/* workers.yaml: what a project sets, and what its scripts may reach. Must not open what scripts ask for; it
 * only says whether they may.
 *
 * Who owns what: a struct config owns all its strings until config_free. Paths go to buffers of the caller.
 */
#ifndef WORKERS_WORKER_CONFIG_H
#define WORKERS_WORKER_CONFIG_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define CONFIG_FILE "workers.yaml"
#define CONFIG_FILE_MAX ((size_t)1024 * 1024) /* bytes */
#define CONFIG_LIST_MAX 1000                  /* entries of one permission list */
#define CONFIG_NAME_MAX 100                   /* bytes of a worker's name */

/* One list of permissions. Not given: not restricted. Given and empty: nothing is allowed. */
struct config_list {
    bool given;
    char **items;
    size_t count;
};

struct config {
    char *name;   /* [A-Za-z0-9._-]{1,100}; NULL when not given, see config_name */
    char *main;   /* relative to the project's folder, without ".." */
    char *store;  /* "sqlite" or a postgresql:// URL, which may hold a password: not for messages */
    char *server; /* http:// or https:// URL; NULL when not given */
    struct {
        uint64_t memory_bytes; /* 1 MiB to 1 TiB */
        uint64_t cpu_ms;       /* 10 ms to 24 h */
        uint64_t wall_ms;      /* 100 ms to 7 d */
        uint64_t tool_ms;      /* the same for a call of a tool: 100 ms to 7 d */
        uint64_t state_bytes;  /* 1 KiB to 1 GiB */
        uint64_t webhooks;     /* taken in a second, 1 to 1,000,000 */
        uint64_t concurrency;  /* executions at once under workers serve, 1 to 10,000 */
    } limits;
    struct {
        struct config_list net;
        struct config_list read;
        struct config_list env;
    } permissions;
    bool closed; /* see config_close */
    struct {
        uint64_t runs_ms;       /* 1 h to 3650 d */
        uint64_t logs_bytes;    /* 1 MiB to 1 TiB */
        uint64_t deleted_ms;    /* 1 h to 3650 d */
        uint64_t history_bytes; /* of runs and deliveries; 1 MiB to 1 TiB */
    } retention;
};

/* Fills every field; whatever was in it before is not freed. */
void config_default(struct config *config);

/* Reads the text of a workers.yaml over the defaults. filename is for messages: "FILE:LINE:COLUMN: what is
 * wrong", counted from 1, columns in characters. On failure nothing is left in config to free. An empty text
 * gives the defaults. ERR_INVALID, ERR_LIMIT (too large) or ERR_NOMEM. */
enum err_code config_parse(const char *text, size_t len, const char *filename, struct config *config,
                           struct err *err) MUST_CHECK;

/* The same for a file; ERR_NOT_FOUND when there is none, ERR_IO when it cannot be read. */
enum err_code config_load(const char *path, struct config *config, struct err *err) MUST_CHECK;

/* All of a plain file of at most max bytes into out, which is initialised here and which the caller frees,
 * whatever comes back. ERR_NOT_FOUND, ERR_IO (also for folders, pipes and devices), ERR_LIMIT, ERR_NOMEM. */
enum err_code config_read_file(const char *path, size_t max, struct buf *out, struct err *err) MUST_CHECK;

/* Looks for workers.yaml in the folder start, or in the folder of the file start, and in every folder above
 * it. path gets its absolute path. ERR_NOT_FOUND when there is none; ERR_INVALID when there is a workers.yml,
 * whose settings would be passed over in silence. */
enum err_code config_find(const char *start, char *path, size_t size, struct err *err) MUST_CHECK;

/* Frees and zeroes; a zeroed config is fine. */
void config_free(struct config *config);

/* The worker's name: as configured, or else made from the last part of project_folder. Returns out. */
const char *config_name(const struct config *config, const char *project_folder,
                        char out[CONFIG_NAME_MAX + 1]);

bool config_store_is_postgresql(const struct config *config);

/* What is not listed is not allowed any more: hosts, folders, and variables of the process. The project's own
 * variables, sealed and of .env, stay open when there is no list. */
void config_close(struct config *config);

/* ---- permissions ---- */

/* Patterns in which '*' stands for any run of characters; case counts. */
bool config_env_allowed(const struct config *config, const char *name);

/* host as a URL has it, IPv6 with or without brackets, in any case; port 0 stands for whichever a pattern
 * names. Patterns: "example.com" (that host), "*.example.com" (its subdomains, not itself), "*" (all); with
 * ":8080" behind it only that port. */
bool config_net_allowed(const struct config *config, const char *host, int port);
/* The same as an error: ERR_DENIED names the line to add. */
enum err_code config_net_check(const struct config *config, const char *host, int port,
                               struct err *err) MUST_CHECK;

/* Whether scripts may connect to an address that a host they may name has resolved to: any that is on the
 * public internet, another only when the list has it as an address ("10.1.2.3", "[::1]:8080"), in a network
 * ("10.0.0.0/8"), or, for loopback, as "localhost". Without a list all are allowed. */
bool config_address_allowed(const struct config *config, const struct sockaddr *socket);
/* The same as an error: ERR_DENIED names the line to add. */
enum err_code config_address_check(const struct config *config, const struct sockaddr *socket,
                                   struct err *err) MUST_CHECK;

/* The absolute path, free of links, of a file or folder that scripts may read. A relative path starts at
 * project_folder. Allowed is what lies below project_folder after links are followed, and, when there is a
 * list, below one of its entries; .workers, .env and .env.* never are.
 *
 * ERR_DENIED names the line to add; ERR_NOT_FOUND is given only for paths that would be allowed, so that
 * nobody learns from it what exists elsewhere. ERR_LIMIT: resolved is too small; ERR_INVALID: an empty or
 * overlong path. */
enum err_code config_read_path(const struct config *config, const char *project_folder, const char *path,
                               char *resolved, size_t size, struct err *err) MUST_CHECK;

#endif
