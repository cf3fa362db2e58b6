/* Notes the lines that run. Which lines there are to run is found out by scripts/coverage.lua. */
#include "testing/coverage.h"

#include "base/mem.h"
#include "script/isolate.h"

#include <string.h>

#define LINES_MAX 1000000 /* of one file; what is beyond is not noted */

struct file {
    char *name;
    unsigned char *ran; /* by line */
    size_t room;
    struct file *next;
};

static struct file *files; /* the one that ran last comes first */

static struct file *file_of(const char *name)
{
    struct file **at = &files;
    while (*at != NULL && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    struct file *file = *at;
    if (file == NULL) {
        file = mem_need(sizeof *file);
        file->name = mem_need_str(name);
    } else {
        *at = file->next;
    }
    file->next = files;
    files = file;
    return file;
}

static void on_line(lua_State *L, lua_Debug *where)
{
    lua_getinfo(L, "S", where);
    /* Files of the project are named by their paths below its folder. */
    if (where->source[0] != '@' || where->source[1] == '/' || where->currentline < 0 ||
        where->currentline > LINES_MAX)
        return;
    struct file *file = file_of(where->source + 1);
    size_t line = (size_t)where->currentline;
    if (line >= file->room) {
        size_t room = 2 * line + 256;
        unsigned char *ran = mem_realloc(file->ran, room);
        if (ran == NULL)
            return;
        memset(ran + file->room, 0, room - file->room);
        file->ran = ran;
        file->room = room;
    }
    file->ran[line] = 1;
}

void coverage_start(void)
{
    isolate_watch_lines(on_line);
}

void coverage_write(FILE *out)
{
    while (files != NULL) {
        struct file *file = files;
        const char *separator = "\t";
        fputs(file->name, out);
        for (size_t line = 0; line < file->room; line++) {
            if (!file->ran[line])
                continue;
            fprintf(out, "%s%zu", separator, line);
            separator = " ";
        }
        fputc('\n', out);
        files = file->next;
        mem_free(file->name);
        mem_free(file->ran);
        mem_free(file);
    }
    fflush(out);
}
