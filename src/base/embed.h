/* Files that are part of the binary (cmake/Embed.cmake).
 *
 * Who owns what: everything is read-only data of the program and lives as long as it does. */
#ifndef WORKERS_BASE_EMBED_H
#define WORKERS_BASE_EMBED_H

#include <stddef.h>

struct embedded_file {
    const char *name; /* path relative to the embedded folder */
    const char *begin;
    const char *end; /* one past the last byte; a NUL follows */
};

extern const struct embedded_file lua_files[];
extern const size_t lua_file_count;
extern const struct embedded_file template_files[];
extern const size_t template_file_count;
extern const struct embedded_file completion_files[];
extern const size_t completion_file_count;
extern const struct embedded_file web_files[];
extern const size_t web_file_count;

/* NULL when there is none of that name. */
const struct embedded_file *embed_find(const struct embedded_file *files, const char *name);

#endif
