/* Lookup among the files in the binary. */
#include "base/embed.h"

#include <string.h>

const struct embedded_file *embed_find(const struct embedded_file *files, const char *name)
{
    for (const struct embedded_file *file = files; file->name != NULL; file++)
        if (strcmp(file->name, name) == 0)
            return file;
    return NULL;
}
