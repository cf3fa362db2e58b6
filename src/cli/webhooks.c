/* The project of a command about webhooks. */
#include "cli/webhooks.h"

void webhooks_close(struct webhooks_project *project)
{
    store_close(project->store);
    runtime_free(project->runtime);
    project_free(&project->project);
}

int webhooks_open(struct webhooks_project *project)
{
    struct err err;
    struct script_error error;
    *project = (struct webhooks_project){0};
    if (project_open(NULL, ".", &project->project, &err) != ERR_NONE)
        return cli_fail(&err);
    script_error_init(&error);
    int result = EXIT_DONE;
    if (cli_runtime_open(&project->project, NULL, NULL, &project->runtime, &error) != ERR_NONE)
        result = cli_fail_script(&error);
    else if (cli_store_open(&project->project, true, &project->store, &err) != ERR_NONE)
        result = cli_fail(&err);
    script_error_free(&error);
    if (result != EXIT_DONE)
        webhooks_close(project);
    return result;
}

const struct capability *webhooks_find(const struct webhooks_project *project, const char *key,
                                       struct err *err)
{
    const struct capability *webhook = worker_capability(project->runtime->worker, key);
    if (webhook != NULL && webhook->kind == CAPABILITY_WEBHOOK)
        return webhook;
    if (webhook != NULL)
        err_set(err, ERR_INVALID, "\"%s\" is a %s, not a webhook", key, capability_kind_name(webhook->kind));
    else
        err_set(err, ERR_NOT_FOUND, "the worker has no webhook \"%s\": workers webhooks list shows them",
                key);
    return NULL;
}

void webhooks_add_address(const struct webhooks_project *project, const struct capability *webhook,
                          const char *base, const struct endpoint *endpoint, struct buf *out)
{
    char name[CONFIG_NAME_MAX + 1];
    buf_addf(out, "%s/webhooks/%s/%s/%s", base,
             config_name(&project->project.config, project->project.folder, name), endpoint->secret,
             webhook->key);
}
