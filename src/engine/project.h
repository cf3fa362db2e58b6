/* A project: its folder, its workers.yaml, its script.
 *
 * Who owns what: whoever opens a project frees it, after every runtime that it was loaded into. */
#ifndef WORKERS_ENGINE_PROJECT_H
#define WORKERS_ENGINE_PROJECT_H

#include "engine/runtime.h"

#define PROJECT_VERSIONS "versions" /* the folder beside .workers with what was deployed */

struct project {
    struct config config;
    char folder[4096];
    char code[4096]; /* where its files are: the folder, or that of a version */
    char script[4096];
    bool has_file;   /* there is a workers.yaml */
    int64_t version; /* that was deployed; 0 for a project that is its own folder */
};

/* The project of a script; or, when that is NULL, the one that the folder lies in. For a script that is a
 * folder, the project that it lies in. */
enum err_code project_open(const char *script, const char *folder, struct project *out,
                           struct err *err) MUST_CHECK;
/* A version of the worker in folder, unpacked into code. The project is closed, as workers serve runs it. */
enum err_code project_open_version(const char *folder, const char *code, struct project *out,
                                   struct err *err) MUST_CHECK;
void project_free(struct project *project);
/* Opens the project's runtime with its .env, and loads the script. loop: see struct runtime_options. */
enum err_code project_load(const struct project *project, uv_loop_t *loop, log_sink log, void *ctx,
                           struct runtime **out, struct script_error *error) MUST_CHECK;

#endif
