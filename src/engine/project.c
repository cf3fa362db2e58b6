/* Finding a project, and putting its script into a runtime. */
#include "engine/project.h"

#include "base/mem.h"
#include "store/store.h"
#include "worker/dotenv.h"
#include "worker/pack.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void folder_of(const char *path, char *out, size_t size)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    snprintf(out, size, "%.*s", (int)len, path);
}

static enum err_code find_script(const char *script, struct project *out, struct err *err)
{
    char absolute[PATH_MAX];
    if (realpath(script, absolute) == NULL)
        return err_set(err, ERR_NOT_FOUND, "cannot read %s: %s", script, strerror(errno));
    snprintf(out->script, sizeof out->script, "%s", absolute);
    return ERR_NONE;
}

/* ---- what was deployed ---- */

enum err_code project_open_version(const char *folder, const char *code, struct project *out, struct err *err)
{
    char file[PATH_MAX + 32];
    *out = (struct project){0};
    snprintf(out->folder, sizeof out->folder, "%s", folder);
    snprintf(out->code, sizeof out->code, "%s", code);
    snprintf(file, sizeof file, "%s/" CONFIG_FILE, code);
    enum err_code result = config_load(file, &out->config, err);
    out->has_file = result == ERR_NONE;
    if (result == ERR_NOT_FOUND) {
        config_default(&out->config);
        result = ERR_NONE;
    }
    if (result != ERR_NONE)
        return result;
    /* It is called what its folder is. */
    mem_free(out->config.name);
    const char *slash = strrchr(out->folder, '/');
    out->config.name = mem_need_str(slash != NULL ? slash + 1 : out->folder);
    config_close(&out->config);
    if (snprintf(out->script, sizeof out->script, "%s/%s", out->code, out->config.main) >=
        (int)sizeof out->script)
        result = err_set(err, ERR_INVALID, "the path of the main script is too long");
    else if (access(out->script, F_OK) != 0)
        result = err_set(err, ERR_NOT_FOUND,
                         "there is no script %s: main in workers.yaml names it (src/main.lua unless given)",
                         out->config.main);
    if (result != ERR_NONE)
        project_free(out);
    return result;
}

/* Its files come from the store, and are put beside it when they are not there. */
static enum err_code open_deployed(const char *folder, struct project *out, struct err *err)
{
    char path[PATH_MAX], digest[PACK_DIGEST_SIZE];
    struct store *store = NULL;
    struct buf pack;
    int64_t number = 0;
    buf_init(&pack, PACK_MAX);
    snprintf(path, sizeof path, "%.*s/.workers", PATH_MAX - 32, folder);
    enum err_code code = store_open(path, false, &store, err);
    if (code == ERR_NONE)
        code = store_version_active(store, &number, err);
    if (code == ERR_NONE && number == 0)
        code = err_set(err, ERR_NOT_FOUND, "nothing is deployed to %s yet: workers deploy", folder);
    if (code == ERR_NONE)
        code = store_version_read(store, number, &pack, NULL, digest, err);
    store_close(store);
    if (code == ERR_NONE) {
        snprintf(path, sizeof path, "%.*s/" PROJECT_VERSIONS, PATH_MAX - 80, folder);
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            code = err_set(err, ERR_IO, "cannot make %s: %s", path, strerror(errno));
        snprintf(path, sizeof path, "%.*s/" PROJECT_VERSIONS "/%s", PATH_MAX - 80, folder, digest);
    }
    if (code == ERR_NONE) {
        code = pack_unpack(buf_text(&pack), pack.len, path, err);
    }
    buf_free(&pack);
    if (code == ERR_NONE)
        code = project_open_version(folder, path, out, err);
    out->version = number;
    return code;
}

/* Not a project of its own, nor what a script alone has left behind. */
static bool is_deployed(const char *folder)
{
    char path[PATH_MAX + 32];
    struct stat status;
    struct store *store = NULL;
    struct err ignored;
    int64_t number = 0;
    snprintf(path, sizeof path, "%s/" CONFIG_FILE, folder);
    if (stat(path, &status) == 0)
        return false;
    snprintf(path, sizeof path, "%s/.workers", folder);
    bool deployed = store_open(path, false, &store, &ignored) == ERR_NONE &&
                    store_version_active(store, &number, &ignored) == ERR_NONE && number > 0;
    store_close(store);
    return deployed;
}

/* ---- a project of its own ---- */

static enum err_code open_project(const char *script, const char *folder, struct project *out,
                                  struct err *err)
{
    char file[PATH_MAX], store[PATH_MAX + 32], absolute[PATH_MAX];
    struct stat status;
    *out = (struct project){0};
    const char *place = "here";
    if (script != NULL && stat(script, &status) == 0 && S_ISDIR(status.st_mode)) {
        place = folder = script;
        script = NULL;
    }
    if (realpath(folder, absolute) == NULL)
        return err_set(err, ERR_NOT_FOUND, "the folder cannot be opened: %s", strerror(errno));
    snprintf(store, sizeof store, "%s/.workers/worker.db", absolute);
    enum err_code code = script != NULL ? find_script(script, out, err) : ERR_NONE;
    if (code != ERR_NONE)
        return code;
    if (script == NULL && is_deployed(absolute))
        return open_deployed(absolute, out, err);
    code = config_find(script != NULL ? out->script : folder, file, sizeof file, err);
    if (code == ERR_NONE) {
        out->has_file = true;
        folder_of(file, out->folder, sizeof out->folder);
        code = config_load(file, &out->config, err);
    } else if (code == ERR_NOT_FOUND && script != NULL) {
        /* A script alone is a project of its own. */
        config_default(&out->config);
        folder_of(out->script, out->folder, sizeof out->folder);
        return ERR_NONE;
    } else if (code == ERR_NOT_FOUND && access(store, F_OK) == 0) {
        /* What a script alone has left behind: its rows, runs and secrets can be looked at from its folder.
         */
        config_default(&out->config);
        snprintf(out->folder, sizeof out->folder, "%s", absolute);
        return ERR_NONE; /* without a script, see project_load */
    } else if (code == ERR_NOT_FOUND) {
        return err_set(
            err, code,
            "there is no workers.yaml %s%s or in a folder above: give a script, as in: workers run "
            "script.lua, or make a project: workers new",
            place == folder ? "in " : "", place);
    }
    if (code == ERR_NONE && script == NULL &&
        snprintf(out->script, sizeof out->script, "%s/%s", out->folder, out->config.main) >=
            (int)sizeof out->script)
        code = err_set(err, ERR_INVALID, "the path of the main script is too long");
    if (code == ERR_NONE && script == NULL && access(out->script, F_OK) != 0)
        code = err_set(err, ERR_NOT_FOUND,
                       "there is no script %s: main in workers.yaml names it (src/main.lua unless given); "
                       "make the file, or "
                       "correct the line",
                       out->script);
    if (code != ERR_NONE)
        project_free(out);
    return code;
}

enum err_code project_open(const char *script, const char *folder, struct project *out, struct err *err)
{
    enum err_code code = open_project(script, folder, out, err);
    if (code == ERR_NONE && out->code[0] == '\0')
        snprintf(out->code, sizeof out->code, "%s", out->folder);
    return code;
}

void project_free(struct project *project)
{
    config_free(&project->config);
}

/* What a script raises while it loads may hold what it has read from the environment. */
static void redact_error(struct runtime *runtime, struct script_error *error)
{
    char **texts[] = {&error->message, &error->traceback};
    for (int i = 0; i < 2; i++) {
        char *text = *texts[i];
        if (text == NULL)
            continue;
        *texts[i] = runtime_redacted(runtime, text);
        mem_free(text);
    }
}

enum err_code project_load(const struct project *project, uv_loop_t *loop, log_sink log, void *ctx,
                           struct runtime **out, struct script_error *error)
{
    char env[PATH_MAX];
    struct err err;
    *out = NULL;
    if (project->script[0] == '\0')
        return script_error_set(
            error, ERR_NOT_FOUND,
            "there is no workers.yaml here to name the script: write one with main: script.lua, or use "
            "workers run script.lua");
    const struct runtime_options options = {.folder = project->folder,
                                            .code = project->code,
                                            .version = project->version,
                                            .script = project->script,
                                            .config = &project->config,
                                            .log = log,
                                            .log_ctx = ctx,
                                            .loop = loop};
    enum err_code code = runtime_open(&options, out, &err);
    if (code == ERR_NONE && snprintf(env, sizeof env, "%s/.env", project->folder) < (int)sizeof env)
        code = environment_load_file((*out)->environment, env, &err);
    if (code != ERR_NONE)
        script_error_set(error, code, "%s", err.message);
    else
        code = runtime_load(*out, error);
    if (code != ERR_NONE) {
        if (*out != NULL)
            redact_error(*out, error);
        runtime_free(*out);
        *out = NULL;
    }
    return code;
}
