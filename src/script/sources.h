/* The Lua files of one project: which file a module name means, and its text, read once and shared by all
 * isolates, so that a cycle under way never mixes two versions of a script.
 *
 * Who owns what: sources owns the texts; they live until sources_free. */
#ifndef WORKERS_SCRIPT_SOURCES_H
#define WORKERS_SCRIPT_SOURCES_H

#include "base/buf.h"
#include "base/err.h"

struct sources;

struct source {
    const char *name; /* path relative to the project's folder, for messages */
    const char *path; /* where it was read; the name of a text that is in memory */
    const char *text;
    size_t len;
};

#define SOURCE_MAX_BYTES ((size_t)16 * 1024 * 1024)

/* root is the project's folder, main_script a path below or beside it. Reads the main script. */
enum err_code sources_open(const char *root, const char *main_script, struct sources **out,
                           struct err *err) MUST_CHECK;
void sources_free(struct sources *sources);

const struct source *sources_main(const struct sources *sources);
/* Text held in memory instead of a file, for tests and fuzzers. */
enum err_code sources_from_text(const char *name, const char *text, size_t len, struct sources **out,
                                struct err *err) MUST_CHECK;
/* Finds module name ("a.b") beside the main script, in src/ and in lua_modules/. ERR_NOT_FOUND lists what was
 * tried. */
enum err_code sources_module(struct sources *sources, const char *name, const struct source **out,
                             struct err *err) MUST_CHECK;

#endif
