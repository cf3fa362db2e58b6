/* The files of a view, read as a browser asks for them.
 *
 * Who owns what: a file that was read is the caller's: view_file_free. */
#ifndef WORKERS_SERVER_VIEW_FILES_H
#define WORKERS_SERVER_VIEW_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VIEW_FILE_MAX ((size_t)16 * 1024 * 1024)

struct view_file {
    char *bytes;
    size_t len;
    const char *type;
};

/* False when there is none that may be read: neither the view's folder, which is relative to the project's,
 * may lead out of that one, nor the path out of the view's folder, and none to what is hidden or to the
 * sample rows, by links neither. The client's files (workers-view.js, workers-view.css) are in every view. */
bool view_file_read(const char *project, const char *folder, const char *path, struct view_file *out);
void view_file_free(struct view_file *file);
/* Another number after a file of the folder has changed, come or gone. Not looked at: what is hidden,
 * node_modules, and the folder or file of that path in it (NULL for none). */
uint64_t view_files_mark(const char *root, const char *but);
/* Another mark for other bytes. */
uint64_t view_mark_mix(uint64_t mark, const void *bytes, size_t len);

#endif
