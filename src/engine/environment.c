/* Environment variables as scripts see them: the process's own, then .env, then the sealed secrets. */
#include "engine/runtime.h"

#include "base/mem.h"
#include "worker/dotenv.h"

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
static enum err_code add_secret(void *ctx, const struct secret_info *info, const char *value, size_t len)
{
    struct environment *environment = ctx;
    if (!info->is_public)
        redactor_add(environment->runtime->redactor, value, len);
    if (!info->current)
        return ERR_NONE;
    enum err_code code = add(&environment->secrets, info->name, value, len);
    if (code == ERR_NONE)
        environment->secrets->is_public = info->is_public;
    return code;
}

void environment_read_store(struct environment *environment, struct store *store)
{
    const struct runtime_options *options = &environment->runtime->options;
    const struct secret_query query = {.versions = true, .reveal = true};
    struct err err;
    int64_t stamp = 0;
    enum err_code code = store_secrets_stamp(store, &stamp, &err);
    if (code == ERR_NONE && environment->secrets_read && stamp == environment->stamp)
        return;
    free_list(environment->secrets);
    environment->secrets = NULL;
    environment->secrets_read = true;
    environment->stamp = stamp;
    if (code == ERR_NONE)
        code = store_secrets_each(store, &query, add_secret, environment, &err);
    if (code != ERR_NONE && options->log != NULL)
        options->log(options->log_ctx, NULL, NULL, "error", err.message, strlen(err.message));
}

/* On a connection of its own: the runtime's store may be at work on another thread. */
static void read_secrets(struct environment *environment)
{
    struct store *store = NULL;
    struct err err;
    environment->secrets_read = false;
    if (store_open(environment->runtime->store_folder, false, &store, &err) == ERR_NONE)
        environment_read_store(environment, store);
    environment->secrets_read = true; /* and do not ask again when there is no store */
    store_close(store);
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
    return find(environment->secrets, name);
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
