/* Environment variables as scripts see them: the process's own, then .env, then the sealed secrets. */
#include "engine/runtime.h"

#include "base/mem.h"
#include "engine/home.h"
#include "worker/dotenv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

struct variable {
    char *name;
    char *value;
    bool is_public; /* no secret, whatever it is called */
    struct variable *next;
};

struct environment {
    struct runtime *runtime;
    struct dotenv file;       /* .env */
    struct variable *secrets; /* from the store, read when first needed */
    struct variable *shared;  /* from the home's, if workers.yaml names some */
    bool secrets_read;
    int64_t stamp;           /* of the store, when they were read */
    struct variable *asked;  /* names that scripts have asked for and got; without values */
    struct variable *hidden; /* names of credentials */
    struct variable *given;  /* by a test, before all others */
};

struct environment *environment_new(struct runtime *runtime)
{
    struct environment *environment = mem_need(sizeof *environment);
    environment->runtime = runtime;
    return environment;
}

static void free_list(struct variable *variable)
{
    while (variable != NULL) {
        struct variable *next = variable->next;
        mem_free(variable->name);
        mem_free(variable->value);
        mem_free(variable);
        variable = next;
    }
}

void environment_free(struct environment *environment)
{
    if (environment == NULL)
        return;
    dotenv_free(&environment->file);
    free_list(environment->secrets);
    free_list(environment->shared);
    free_list(environment->asked);
    free_list(environment->hidden);
    free_list(environment->given);
    mem_free(environment);
}

static enum err_code add(struct variable **list, const char *name, const char *value, size_t len)
{
    struct variable *variable = mem_need(sizeof *variable);
    variable->name = mem_need_str(name);
    variable->value = mem_strndup(value, len);
    if (variable->value == NULL) {
        mem_free(variable->name);
        mem_free(variable);
        return ERR_NOMEM;
    }
    variable->next = *list;
    *list = variable;
    return ERR_NONE;
}

static const struct variable *find_variable(const struct variable *variable, const char *name)
{
    while (variable != NULL && strcmp(variable->name, name) != 0)
        variable = variable->next;
    return variable;
}

static const char *find(const struct variable *list, const char *name)
{
    const struct variable *variable = find_variable(list, name);
    return variable != NULL ? variable->value : NULL;
}

enum err_code environment_load_file(struct environment *environment, const char *path, struct err *err)
{
    enum err_code code = dotenv_load(path, &environment->file, err);
    if (code == ERR_NOT_FOUND)
        return ERR_NONE;
    for (size_t i = 0; code == ERR_NONE && i < environment->file.count; i++)
        redactor_add_perhaps(environment->runtime->redactor, environment->file.entries[i].value,
                             environment->file.entries[i].value_len);
    return code;
}

/* Of earlier versions only the redactor learns: they may be good for somebody still. */
static enum err_code add_to(struct environment *environment, struct variable **list,
                            const struct secret_info *info, const char *value, size_t len)
{
    /* The newest comes first: what it says is public, no earlier version keeps secret. */
    const struct variable *newest = find_variable(*list, info->name);
    bool known = newest != NULL && newest->is_public && strcmp(newest->value, value) == 0;
    if (!info->is_public && !known)
        redactor_add(environment->runtime->redactor, value, len);
    if (!info->current)
        return ERR_NONE;
    enum err_code code = add(list, info->name, value, len);
    if (code == ERR_NONE)
        (*list)->is_public = info->is_public;
    return code;
}

static enum err_code add_secret(void *ctx, const struct secret_info *info, const char *value, size_t len)
{
    struct environment *environment = ctx;
    return add_to(environment, &environment->secrets, info, value, len);
}

/* Of the home's, a worker gets those that its workers.yaml names, and learns of no others. */
static enum err_code add_shared(void *ctx, const struct secret_info *info, const char *value, size_t len)
{
    struct environment *environment = ctx;
    if (!config_env_allowed(environment->runtime->options.config, info->name))
        return ERR_NONE;
    return add_to(environment, &environment->shared, info, value, len);
}

static void say_error(const struct environment *environment, const struct err *err)
{
    const struct runtime_options *options = &environment->runtime->options;
    if (options->log != NULL)
        options->log(options->log_ctx, NULL, NULL, "error", err->message, strlen(err->message));
}

/* That of a deployed worker is the folder that it lies in, that of another the user's. */
static enum err_code find_home(const struct runtime *runtime, char path[HOME_PATH_MAX + 16], struct err *err)
{
    char home[HOME_PATH_MAX];
    const struct runtime_options *options = &runtime->options;
    enum err_code code = ERR_NONE;
    if (options->code != NULL && strcmp(options->code, options->folder) != 0)
        snprintf(home, sizeof home, "%.*s", (int)(strrchr(options->folder, '/') - options->folder),
                 options->folder);
    else
        code = home_folder(home, err);
    if (code == ERR_NONE)
        snprintf(path, HOME_PATH_MAX + 16, "%s/.workers", home);
    return code;
}

/* Those that there were stay when they cannot be read. */
static void read_shared(struct environment *environment)
{
    const struct secret_query query = {.versions = true, .reveal = true};
    char path[HOME_PATH_MAX + 16];
    struct variable *before = environment->shared;
    struct store *store = NULL;
    struct err err;
    if (!environment->runtime->options.config->permissions.env.given)
        return;
    environment->shared = NULL;
    enum err_code code = find_home(environment->runtime, path, &err);
    if (code == ERR_NONE)
        code = store_open(path, false, &store, &err);
    if (code == ERR_NONE)
        code = store_secrets_each(store, &query, add_shared, environment, &err);
    store_close(store);
    if (code == ERR_NONE || code == ERR_NOT_FOUND || code == ERR_CORRUPT) { /* no home, no variables */
        free_list(before);
        if (code == ERR_CORRUPT)
            say_error(environment, &err);
        return;
    }
    say_error(environment, &err);
    free_list(environment->shared);
    environment->shared = before;
}

void environment_read_store(struct environment *environment, struct store *store)
{
    const struct secret_query query = {.versions = true, .reveal = true};
    struct err err;
    int64_t stamp = 0;
    enum err_code code = store_secrets_stamp(store, &stamp, &err);
    if (code == ERR_NONE && environment->secrets_read && stamp == environment->stamp)
        return;
    struct variable *before = environment->secrets;
    environment->secrets = NULL;
    environment->secrets_read = true;
    environment->stamp = stamp;
    if (code == ERR_NONE)
        code = store_secrets_each(store, &query, add_secret, environment, &err);
    if (code == ERR_NONE || code == ERR_CORRUPT) {
        free_list(before);
        if (code == ERR_CORRUPT)
            say_error(environment, &err);
    } else { /* the next one who asks reads them again */
        say_error(environment, &err);
        free_list(environment->secrets);
        environment->secrets = before;
        environment->stamp = -1;
    }
    read_shared(environment);
}

/* On a connection of its own: the runtime's store may be at work on another thread. */
static void read_secrets(struct environment *environment)
{
    struct store *store = NULL;
    struct err err;
    environment->secrets_read = false;
    if (store_open(environment->runtime->store_folder, false, &store, &err) == ERR_NONE)
        environment_read_store(environment, store);
    else
        read_shared(environment);
    environment->secrets_read = true; /* and do not ask again when there is no store */
    store_close(store);
}

void environment_read_again(struct environment *environment)
{
    if (environment->secrets_read)
        read_secrets(environment);
}

bool environment_changed(struct environment *environment, int64_t stamp)
{
    if (!environment->secrets_read || environment->stamp == stamp)
        return false;
    read_secrets(environment);
    return true;
}

static bool names_a_secret(const char *name)
{
    static const char *const words[] = {"KEY", "TOKEN", "SECRET", "PASS", "AUTH", "CREDENTIAL", "COOKIE"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcasestr(name, words[i]) != NULL)
            return true;
    return false;
}

static bool has_name(const struct variable *list, const char *name)
{
    return find_variable(list, name) != NULL;
}

static void add_name(struct variable **list, const char *name)
{
    if (has_name(*list, name))
        return;
    struct variable *variable = mem_need(sizeof *variable);
    variable->name = mem_need_str(name);
    variable->next = *list;
    *list = variable;
}

/* Whoever may see it. */
static const char *value_of(struct environment *environment, const char *name)
{
    const char *value = find(environment->given, name);
    if (value != NULL)
        return value;
    if (strcmp(name, TOKEN_VARIABLE) == 0) /* it is the user's, and often good for more than this worker */
        return NULL;
    const struct config *config = environment->runtime->options.config;
    value = config->closed && !config->permissions.env.given ? NULL : getenv(name);
    if (value != NULL)
        return value;
    const struct dotenv_entry *entry = dotenv_get(&environment->file, name);
    if (entry != NULL)
        return entry->value;
    if (!environment->secrets_read)
        read_secrets(environment);
    value = find(environment->secrets, name);
    return value != NULL ? value : find(environment->shared, name);
}

const char *environment_get(struct environment *environment, const char *name)
{
    if (!config_env_allowed(environment->runtime->options.config, name) ||
        has_name(environment->hidden, name))
        return NULL;
    const char *value = value_of(environment, name);
    if (value == NULL)
        return NULL;
    const struct variable *sealed = find_variable(environment->secrets, name);
    if (sealed == NULL)
        sealed = find_variable(environment->shared, name);
    if (names_a_secret(name) && !(sealed != NULL && sealed->value == value && sealed->is_public))
        redactor_add(environment->runtime->redactor, value, strlen(value));
    add_name(&environment->asked, name);
    return value;
}

enum err_code environment_hide(struct environment *environment, const char *name, struct err *err)
{
    if (has_name(environment->asked, name))
        return err_set(
            err, ERR_DENIED,
            "the script has read the variable %s before; a credential is for no script to read: take "
            "env.get(\"%s\") away",
            name, name);
    add_name(&environment->hidden, name);
    return ERR_NONE;
}

const char *environment_credential(struct environment *environment, const char *name)
{
    const char *value = value_of(environment, name);
    if (value != NULL) {
        redactor_add(environment->runtime->redactor, value, strlen(value));
        redactor_add(environment->runtime->credentials, value, strlen(value));
    }
    return value;
}

enum err_code environment_give(struct environment *environment, const char *name, const char *value,
                               bool if_unset)
{
    if (if_unset && find(environment->given, name) == NULL && value_of(environment, name) != NULL)
        return ERR_NONE;
    struct variable *variable = mem_need(sizeof *variable);
    variable->name = mem_need_str(name);
    variable->value = mem_strndup(value, strlen(value));
    variable->next = environment->given;
    environment->given = variable;
    return variable->value != NULL ? ERR_NONE : ERR_NOMEM;
}

void environment_take_back(struct environment *environment)
{
    free_list(environment->given);
    environment->given = NULL;
}
