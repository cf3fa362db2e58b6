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

/* False when there is none that may be read: the path must not lead out of the folder, nor to what is hidden,
 * nor to the sample rows. The client's files (workers-view.js, workers-view.css) are in every view. */
bool view_file_read(const char *root, const char *path, struct view_file *out);
void view_file_free(struct view_file *file);
/* Another number after a file of the folder has changed, come or gone. Not looked at: what is hidden,
 * node_modules, and the folder or file of that name at the top (NULL for none). */
uint64_t view_files_mark(const char *root, const char *but);

#endif
