/* Gathers what the API tells of one capability, for the diagnosis. */
#include "cli/doctor.h"

#include "base/clock.h"
#include "base/mem.h"
#include "cli/diagnosis.h"
#include "cli/listing.h"
#include "cli/probe.h"

#include <string.h>

#define LOG_PAGES_MAX 20
#define RATE_LIMITED "rate limited;" /* engine/cycle.c */

/* What the evidence points to. */
struct gathering {
    struct target *target;
    const char *key;
    struct evidence evidence;
    struct buf worker, sync, runs, webhooks, dead, state, probe, afresh, kind, limited;
    struct buf why; /* the probe was not tried */
    bool lost;      /* memory was out, and what is there says nothing */
};

static enum err_code get(struct gathering *all, struct buf *path, struct buf *answer, struct err *err)
{
    enum err_code code = target_get(all->target, path, answer, err);
    buf_free(path);
    all->lost = all->lost || code == ERR_NOMEM;
    return code;
}

/* The first element that has that member, or the first of all when name is NULL; a text of NULL: none. */
static struct json_slice find_element(const struct buf *array, const char *name, const char *value)
{
    struct json_slice element, none = {0};
    struct json_scan scan;
    struct err ignored;
    bool more = false, found = false;
    json_scan_init(&scan, buf_text(array), array->len);
    if (json_scan_value(&scan, &ignored) != ERR_NONE || scan.token != JSON_ARRAY)
        return none;
    while (!found && json_scan_element(&scan, &more, &ignored) == ERR_NONE && more) {
        struct buf text;
        if (json_scan_skip(&scan, &element, &ignored) != ERR_NONE)
            return none;
        buf_init(&text, BUF_UNLIMITED);
        if (name != NULL)
            object_add(&element, name, &text);
        found = name == NULL || strcmp(buf_text(&text), value) == 0;
        buf_free(&text);
    }
    return found ? element : none;
}

/* Whether the worker has it, and what it is. */
static enum err_code find_capability(struct gathering *all, struct err *err)
{
    struct buf path, list;
    struct json_slice slice, capability;
    path_make(&path, "", NULL, NULL);
    enum err_code code = get(all, &path, &all->worker, err);
    if (code != ERR_NONE)
        return code;
    buf_init(&list, BUF_UNLIMITED);
    if (json_find(buf_text(&all->worker), all->worker.len, "capabilities", &slice))
        buf_add(&list, slice.text, slice.len);
    capability = find_element(&list, "key", all->key);
    if (capability.text == NULL) {
        code = err_set(err, ERR_NOT_FOUND,
                       "the worker has no capability \"%.100s\": workers capabilities list shows them",
                       all->key);
    } else {
        object_add(&capability, "kind", &all->kind);
        all->evidence.enabled = object_flag(&capability, "enabled") || !object_has(&capability, "enabled");
        all->evidence.kind = buf_text(&all->kind);
    }
    buf_free(&list);
    return code;
}

/* Fine when there is no store yet, or the token is not for it. */
static void find_first(struct gathering *all, const char *base, const char *state, struct buf *answer,
                       struct json_slice *out)
{
    struct buf path;
    struct err ignored;
    path_make(&path, base, NULL, NULL);
    path_query(&path, "key", all->key);
    path_query(&path, "state", state);
    path_query(&path, "limit", "1");
    if (get(all, &path, answer, &ignored) == ERR_NONE)
        *out = find_element(answer, NULL, NULL);
}

static void find_webhook(struct gathering *all)
{
    struct buf path;
    struct err ignored;
    path_make(&path, "/webhooks", NULL, NULL);
    if (get(all, &path, &all->webhooks, &ignored) == ERR_NONE)
        all->evidence.webhook = find_element(&all->webhooks, "key", all->key);
}

/* The last line of the run that says that a rate limit is waited for; none when it went on afterwards. */
static void read_log(struct gathering *all)
{
    struct buf id, path, answer;
    struct err err;
    int64_t after = 0;
    bool more = true;
    buf_init(&id, BUF_UNLIMITED);
    object_add(&all->evidence.run, "id", &id);
    for (int page = 0; page < LOG_PAGES_MAX && more; page++) {
        struct json_scan scan;
        struct json_slice line;
        char number[24];
        snprintf(number, sizeof number, "%lld", (long long)after);
        path_make(&path, "/runs", buf_text(&id), "/logs");
        path_query(&path, "after", number);
        buf_init(&answer, BUF_UNLIMITED);
        enum err_code code = get(all, &path, &answer, &err);
        json_scan_init(&scan, buf_text(&answer), answer.len);
        bool next = code == ERR_NONE && json_scan_value(&scan, &err) == ERR_NONE;
        more = false;
        while (next && json_scan_element(&scan, &next, &err) == ERR_NONE && next) {
            struct buf text, level;
            if (json_scan_skip(&scan, &line, &err) != ERR_NONE)
                break;
            after = object_number(&line, "id");
            more = true;
            buf_init(&text, BUF_UNLIMITED);
            buf_init(&level, BUF_UNLIMITED);
            object_add(&line, "text", &text);
            object_add(&line, "level", &level);
            if (strcmp(buf_text(&level), "http") == 0)
                buf_clear(&all->limited); /* it went on */
            if (strncmp(buf_text(&text), RATE_LIMITED, strlen(RATE_LIMITED)) == 0) {
                buf_clear(&all->limited);
                buf_add(&all->limited, buf_text(&text), text.len);
            }
            buf_free(&text);
            buf_free(&level);
        }
        buf_free(&answer);
    }
    buf_free(&id);
    if (all->limited.len > 0)
        all->evidence.rate_limited = buf_text(&all->limited);
}

/* ---- trying it ---- */

/* A replace sync begins each cycle without one. */
static bool goes_on_from_state(const struct json_slice *sync)
{
    struct buf mode;
    buf_init(&mode, BUF_UNLIMITED);
    object_add(sync, "mode", &mode);
    bool goes_on = strcmp(buf_text(&mode), "incremental") == 0 ||
                   (object_flag(sync, "cycleOpen") && object_number(sync, "cyclePages") > 0);
    buf_free(&mode);
    return goes_on;
}

static void try_sync(struct gathering *all)
{
    struct evidence *evidence = &all->evidence;
    struct json_slice state, tried;
    struct buf path;
    struct err err;
    bool has_state = false;
    if (goes_on_from_state(&evidence->sync) && object_number(&evidence->sync, "stateBytes") > 0) {
        path_make(&path, "/syncs", all->key, "/state");
        if (get(all, &path, &all->state, &err) == ERR_NONE)
            has_state = json_find(buf_text(&all->state), all->state.len, "state", &state);
    }
    if (has_state)
        evidence->state = state;
    if (probe_sync(all->target, all->key, has_state ? &state : NULL, &all->probe, &err) != ERR_NONE) {
        all->lost = all->lost || err.code == ERR_NOMEM;
        buf_adds(&all->why, err.message);
        evidence->not_probed = buf_text(&all->why);
        return;
    }
    tried = (struct json_slice){buf_text(&all->probe), all->probe.len};
    evidence->probe = tried;
    if (has_state && diagnosis_may_be_state(&tried) &&
        probe_sync(all->target, all->key, NULL, &all->afresh, &err) == ERR_NONE)
        evidence->afresh = (struct json_slice){buf_text(&all->afresh), all->afresh.len};
}

/* Only what is to run by itself, and nobody is running. */
static const char *why_not(const struct evidence *evidence, bool wanted)
{
    if (!wanted)
        return "--no-probe";
    if (!evidence->enabled)
        return "it is paused";
    return object_flag(&evidence->sync, "running") ? "it is running" : NULL;
}

static enum err_code gather(struct gathering *all, bool probe, struct err *err)
{
    struct evidence *evidence = &all->evidence;
    struct buf path;
    enum err_code code = find_capability(all, err);
    if (code != ERR_NONE)
        return code;
    find_first(all, "/runs", NULL, &all->runs, &evidence->run);
    if (strcmp(evidence->kind, "sync") != 0) {
        if (strcmp(evidence->kind, "tool") != 0)
            find_first(all, "/deliveries", "dead", &all->dead, &evidence->dead);
        if (strcmp(evidence->kind, "webhook") == 0)
            find_webhook(all);
        return ERR_NONE;
    }
    path_make(&path, "/syncs", all->key, NULL);
    code = get(all, &path, &all->sync, err);
    if (code != ERR_NONE)
        return code;
    evidence->sync = (struct json_slice){buf_text(&all->sync), all->sync.len};
    if (evidence->run.text != NULL &&
        (!object_has(&evidence->run, "exitCode") || object_number(&evidence->run, "exitCode") == 130))
        read_log(all);
    evidence->not_probed = why_not(evidence, probe);
    if (evidence->not_probed == NULL)
        try_sync(all);
    return ERR_NONE;
}

enum err_code doctor_capability(struct target *target, const char *key, bool probe, struct findings *out,
                                struct err *err)
{
    struct gathering all = {.target = target, .key = key};
    struct buf *list[] = {&all.worker, &all.sync,   &all.runs, &all.webhooks, &all.dead, &all.state,
                          &all.probe,  &all.afresh, &all.kind, &all.limited,  &all.why};
    char url[BEACON_URL_MAX];
    struct err ignored;
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        buf_init(list[i], BUF_UNLIMITED);
    all.evidence = (struct evidence){.key = key, .now_ms = clock_now_ms()};
    all.evidence.unserved =
        target->remote == NULL && beacon_read(target->project.folder, url, &ignored) != ERR_NONE;
    enum err_code code = gather(&all, probe, err);
    for (size_t i = 0; i < sizeof list / sizeof list[0] && code == ERR_NONE; i++)
        code = buf_status(list[i], "what the API tells", err);
    if (code == ERR_NONE && all.lost)
        code = err_nomem(err);
    if (code == ERR_NONE)
        diagnose(&all.evidence, out);
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        buf_free(list[i]);
    return code;
}
