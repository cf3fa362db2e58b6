/* Definition files for editors. Those of modules in C are printed from what they register, those of modules
 * in Lua are their annotated sources: nothing is written twice, so nothing can differ. */
#include "cli/types.h"

#include "base/buf.h"
#include "base/embed.h"
#include "cli/files.h"
#include "modules/modules.h"
#include "script/functions.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

/* The part of a module's name behind the last dot: what scripts call it. */
static const char *last_part(const char *module)
{
    const char *dot = strrchr(module, '.');
    return dot != NULL ? dot + 1 : module;
}

/* A module in C. One without docs gets a class of which nothing is known. */
static void print_module(const struct script_module *module, struct buf *out)
{
    const struct script_docs *docs = module->docs;
    const char *name = last_part(module->name);
    buf_addf(out, "---@meta %s\n\n", module->name);
    if (docs != NULL && docs->types != NULL)
        buf_addf(out, "%s\n", docs->types);
    if (docs != NULL)
        buf_addf(out, "---%s.\n", docs->help);
    buf_addf(out, "---@class %s\n", module->name);
    for (int i = 0; docs != NULL && docs->functions[i].name != NULL; i++) {
        const struct script_function *function = &docs->functions[i];
        buf_addf(out, "---@field %s fun%s %s\n", function->name, function->signature, function->help);
    }
    if (docs == NULL)
        buf_adds(out, "---@field [string] any\n");
    buf_addf(out, "local %s = {}\n\nreturn %s\n", name, name);
}

/* Writes the file of a module: a.b is folder/a/b.lua. */
static enum err_code write_module(const char *folder, const char *module, const struct buf *text,
                                  struct err *err)
{
    char path[PATH_MAX];
    int base = snprintf(path, sizeof path, "%s/", folder);
    if (base < 0 || (size_t)base + strlen(module) + sizeof ".lua" > sizeof path)
        return err_set(err, ERR_IO, "the path of the definition files is too long");
    snprintf(path + base, sizeof path - (size_t)base, "%s", module);
    for (char *at = path + base; *at != '\0'; at++)
        if (*at == '.')
            *at = '/';
    char *slash = strrchr(path, '/');
    *slash = '\0';
    enum err_code code = files_make_folder(path, err);
    *slash = '/';
    strncat(path, ".lua", sizeof path - strlen(path) - 1);
    return code == ERR_NONE ? files_write(path, buf_text(text), text->len, err) : code;
}

/* The module that an embedded file of lua/ is: "lua/workers/j.lua" is "workers.j". false for other files. */
static bool module_of(const struct embedded_file *file, char *name, size_t size)
{
    size_t len = strlen(file->name);
    if (strncmp(file->name, "lua/", 4) != 0 || len < 8 || strcmp(file->name + len - 4, ".lua") != 0)
        return false;
    if (snprintf(name, size, "%.*s", (int)(len - 8), file->name + 4) >= (int)size)
        return false;
    for (char *at = name; *at != '\0'; at++)
        if (*at == '/')
            *at = '.';
    return true;
}

enum err_code types_write(const char *folder, size_t *count, struct err *err)
{
    struct buf text;
    enum err_code code = ERR_NONE;
    size_t written = 0;
    buf_init(&text, BUF_UNLIMITED);
    for (size_t i = 0; workers_modules[i].name != NULL && code == ERR_NONE; i++, written++) {
        buf_clear(&text);
        print_module(&workers_modules[i], &text);
        code = buf_status(&text, "a definition file", err);
        if (code == ERR_NONE)
            code = write_module(folder, workers_modules[i].name, &text, err);
    }
    for (size_t i = 0; i < lua_file_count && code == ERR_NONE; i++) {
        char name[128];
        if (!module_of(&lua_files[i], name, sizeof name))
            continue;
        buf_clear(&text);
        buf_addf(&text, "---@meta %s\n\n", name);
        buf_add(&text, lua_files[i].begin, (size_t)(lua_files[i].end - lua_files[i].begin));
        code = buf_status(&text, "a definition file", err);
        if (code == ERR_NONE)
            code = write_module(folder, name, &text, err);
        written++;
    }
    const struct embedded_file *view = embed_find(web_files, VIEW_TYPES);
    char path[PATH_MAX];
    if (code == ERR_NONE && snprintf(path, sizeof path, "%s/" VIEW_TYPES, folder) >= (int)sizeof path)
        code = err_set(err, ERR_IO, "the path of the definition files is too long");
    if (code == ERR_NONE)
        code = files_write(path, view->begin, (size_t)(view->end - view->begin), err);
    buf_free(&text);
    if (count != NULL)
        *count = written + 1;
    return code;
}

enum err_code types_write_project(const char *project, size_t *count, struct err *err)
{
    char folder[PATH_MAX];
    if (snprintf(folder, sizeof folder, "%s/%s", project, TYPES_FOLDER) >= (int)sizeof folder)
        return err_set(err, ERR_IO, "the path of the definition files is too long");
    char *slash = strrchr(folder, '/');
    *slash = '\0';
    if (mkdir(folder, 0700) != 0 && errno != EEXIST) /* as the store makes it: secrets will be in there */
        return err_set(err, ERR_IO, "cannot make the folder %s: %s", folder, strerror(errno));
    *slash = '/';
    return types_write(folder, count, err);
}
