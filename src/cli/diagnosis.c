/* The rules by which a failure gets a name and a remedy. They look at the words that run records have
 * (base/failure.h), and at messages only where there are none: in records of versions before those. */
#include "cli/diagnosis.h"

#include "cli/listing.h"

#include <string.h>

#define OVERDUE_MS (10 * 60 * 1000)
#define NAME_MAX_BYTES 128
#define REMEDY_MAX 400
#define WORD_ROOM ((size_t)256)
#define ABANDONED "the process ended before the run did" /* store/syncs.c */

struct failed {
    struct buf name, code, message;
    int64_t status;
};

struct cause {
    const char *check; /* what it is called */
    const char *code;  /* of the failure; NULL for any */
    int status, last;  /* of HTTP: from, to; 0 for any */
    const char *what;
    const char *remedy;  /* {key} stands for the capability */
    const char *command; /* one that the message has and that is the remedy then, with the word after it */
};

/* The first that fits counts. */
static const struct cause causes[] = {
    {"credentials", "not_set", 0, 0, "a variable is not set", "workers env set NAME", "workers env set "},
    {"credentials", "credential", 0, 0, "a credential has no value", "workers env set NAME",
     "workers env set "},
    {"access", "no_access", 0, 0, "there is no access on behalf of anybody, or no longer",
     "workers oauth start KEY (workers oauth status lists them)", "workers oauth start "},
    {"access", "failed", 0, 0, "the provider has given no token",
     "look at the message, and at workers oauth status; it is asked again with the next run", NULL},
    {"webhook", "verification", 0, 0, "a delivery is not genuine, or the secret is another one",
     "set the secret that the provider signs with: workers env set NAME", NULL},
    {"rate_limit", "rate_limited", 0, 0, "the service says that there are too many requests",
     "declare a pacer that is as slow as the service asks for, and use it in the requests: { pacer = … }",
     NULL},
    {"rate_limit", NULL, 429, 429, "the service says that there are too many requests",
     "declare a pacer that is as slow as the service asks for, and use it in the requests: { pacer = … }",
     NULL},
    {"refused", NULL, 401, 401, "the service does not accept the token: it is wrong, expired or revoked",
     "set a good one with workers env set NAME, or ask for access again with workers oauth start KEY",
     "workers env set "},
    {"refused", NULL, 403, 403, "the token is not allowed to do this",
     "give it the permission at the service, or set another one with workers env set NAME",
     "workers env set "},
    {"upstream", NULL, 404, 404, "the service does not have what is asked for",
     "look at the address in the message; what was renamed or deleted there has to be changed in the script",
     NULL},
    {"upstream", NULL, 500, 599, "the service has failed",
     "wait: it is tried again by itself. If it lasts, ask those who run the service", NULL},
    {"upstream", NULL, 300, 499, "the service refuses the request",
     "look at its answer in the message, and at the request: workers runs logs ID", NULL},
    {"timeout", "timeout", 0, 0, "the service did not answer in time",
     "ask for smaller pages, or give the request more time: { timeout = seconds }", NULL},
    {"timeout", "TIMEOUT", 0, 0, "execute took longer than it may",
     "return smaller pages, or raise limits.wall in workers.yaml", NULL},
    {"limit", "LIMIT", 0, 0, "a limit was reached", "return smaller pages, or raise it in workers.yaml",
     NULL},
    {"no_progress", "no_progress", 0, 0, "the cursor did not advance",
     "return where the next page begins as nextState, or hasMore = false on the last page", NULL},
    {"schema", "invalid_page", 0, 0, "what execute returned does not fit the declared schema",
     "change the script or its schema at the line in the message, then try workers run --preview {key}",
     NULL},
    {"network", "dns", 0, 0, "the name of the service has no address",
     "check the host name in the message, and this machine's name server: getent hosts HOST", NULL},
    {"network", "connect", 0, 0, "nobody answers at the address of the service",
     "check address and port in the message, and whether a firewall or a proxy (HTTPS_PROXY) is in between",
     NULL},
    {"network", "tls", 0, 0, "the service cannot be trusted (TLS)",
     "check the clock and the CA certificates with workers doctor; SSL_CERT_FILE names others", NULL},
    {"network", "reset", 0, 0, "the service broke the connection off",
     "wait: it is tried again by itself. If it lasts, ask for smaller pages", NULL},
    {"network", "protocol", 0, 0, "what answers there is not HTTP as it should be",
     "check address and port in the message", NULL},
    {"network", "redirect", 0, 0, "the service sends elsewhere", "use the address that it has now", NULL},
    {"network", "url", 0, 0, "the address is none", "check the address in the message", NULL},
    {"upstream", "too_large", 0, 0, "the answer is larger than it may be",
     "ask for smaller pages, or raise the option maxBody of the request", NULL},
    {"upstream", "json", 0, 0, "the service did not answer with JSON",
     "look at its answer in the message; a page for people often means that the address or the token is "
     "wrong",
     NULL},
    {"permissions", "denied", 0, 0, "the script may not connect there",
     "add the line that the message names to permissions in workers.yaml", NULL},
    {"dry_run", "dry_run", 0, 0, "it sends requests that change something", "", NULL},
    {"lease", "CONFLICT", 0, 0, "another process has taken the sync over",
     "let one process run it: workers serve, or workers run, not both", NULL},
    {"store", "IO", 0, 0, "the store could not be written or read",
     "free some space, and make .workers writable: workers doctor looks at both", NULL},
    {"store", "CORRUPT", 0, 0, "the store is damaged",
     "put it back from a backup; workers doctor says what is wrong with it", NULL},
    {"memory", "NOMEM", 0, 0, "the machine has no memory left", "end other programs, or return smaller pages",
     NULL},
};

/* For records that have no words: what their messages have in them. */
static const struct {
    const char *part, *code;
    int status;
} patterns[] = {
    {"workers env set ", "not_set", 0},
    {"workers oauth start ", "no_access", 0},
    {"cursor did not advance", "no_progress", 0},
    {"another process has taken over sync", "CONFLICT", 0},
    {"the disk is full", "IO", 0},
    {"the file system failed", "IO", 0},
    {"the store is read-only", "IO", 0},
    {": 401", NULL, 401},
    {": 403", NULL, 403},
    {": 429", NULL, 429},
};

/* ---- what has failed ---- */

static void failed_init(struct failed *failed)
{
    *failed = (struct failed){0};
    buf_init(&failed->name, WORD_ROOM);
    buf_init(&failed->code, WORD_ROOM);
    buf_init(&failed->message, BUF_UNLIMITED);
}

static void failed_free(struct failed *failed)
{
    buf_free(&failed->name);
    buf_free(&failed->code);
    buf_free(&failed->message);
}

static void read_patterns(struct failed *failed)
{
    for (size_t i = 0; i < sizeof patterns / sizeof patterns[0]; i++) {
        if (strstr(buf_text(&failed->message), patterns[i].part) == NULL)
            continue;
        buf_adds(&failed->code, patterns[i].code != NULL ? patterns[i].code : "");
        failed->status = patterns[i].status;
        return;
    }
}

/* Of a run; false when it has not failed. */
static bool read_run(const struct json_slice *run, struct failed *failed)
{
    if (run->text == NULL || !object_has(run, "exitCode") || object_number(run, "exitCode") != 1)
        return false;
    object_add(run, "errorName", &failed->name);
    object_add(run, "errorCode", &failed->code);
    object_add(run, "error", &failed->message);
    failed->status = object_number(run, "errorStatus");
    if (failed->name.len == 0)
        read_patterns(failed);
    return true;
}

/* One execute alone does not fail for want of progress; the next one would. */
static bool stands_still(const struct evidence *evidence)
{
    struct json_slice value, next;
    const struct json_slice *call = &evidence->probe, *state = &evidence->state;
    return call->text != NULL && state->text != NULL && json_find(call->text, call->len, "value", &value) &&
           object_flag(&value, "hasMore") && json_find(value.text, value.len, "nextState", &next) &&
           next.len == state->len && memcmp(next.text, state->text, next.len) == 0;
}

/* Of the sync that was tried; false when it has not failed. */
static bool read_probe(const struct evidence *evidence, struct failed *failed)
{
    struct json_slice error;
    const struct json_slice *call = &evidence->probe;
    if (stands_still(evidence)) {
        buf_adds(&failed->name, "Error");
        buf_adds(&failed->code, "no_progress");
        buf_adds(&failed->message, "execute returned hasMore = true with the same nextState it was given");
        return true;
    }
    if (call->text == NULL || !json_find(call->text, call->len, "error", &error))
        return false;
    object_add(&error, "name", &failed->name);
    object_add(&error, "code", &failed->code);
    object_add(&error, "message", &failed->message);
    failed->status = object_number(&error, "status");
    return true;
}

static const struct cause *find_cause(const struct failed *failed)
{
    /* Also with other statuses than 429. */
    bool limited = strcmp(buf_text(&failed->name), "RateLimitError") == 0;
    const char *word = limited ? "rate_limited" : buf_text(&failed->code);
    for (size_t i = 0; i < sizeof causes / sizeof causes[0]; i++) {
        const struct cause *cause = &causes[i];
        bool code = cause->code == NULL || strcmp(cause->code, word) == 0;
        bool status =
            cause->status == 0 || (failed->status >= cause->status && failed->status <= cause->last);
        if (code && status)
            return cause;
    }
    return NULL;
}

/* ---- remedies ---- */

/* The command with the word that the message has after it; false when it has none. */
static bool find_command(const char *message, const char *command, char *out, size_t size)
{
    static const char word[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    const char *at = command != NULL ? strstr(message, command) : NULL;
    size_t len = at != NULL ? strspn(at + strlen(command), word) : 0;
    if (len == 0 || len > NAME_MAX_BYTES)
        return false;
    snprintf(out, size, "%s%.*s", command, (int)len, at + strlen(command));
    return true;
}

static void fill_in(const char *remedy, const char *key, char *out, size_t size)
{
    const char *at = strstr(remedy, "{key}");
    if (at == NULL)
        snprintf(out, size, "%s", remedy);
    else
        snprintf(out, size, "%.*s%s%s", (int)(at - remedy), remedy, key, at + strlen("{key}"));
}

static void add_failure(const struct evidence *evidence, const struct failed *failed,
                        enum finding_level level, const char *when, struct findings *out)
{
    const struct cause *cause = find_cause(failed);
    const char *message = buf_text(&failed->message);
    char remedy[REMEDY_MAX];
    struct buf run;
    if (cause != NULL) {
        if (!find_command(message, cause->command, remedy, sizeof remedy))
            fill_in(cause->remedy, evidence->key, remedy, sizeof remedy);
        findings_add(out, level, cause->check, remedy, "%s: %s: %s", when, cause->what, message);
        return;
    }
    buf_init(&run, BUF_UNLIMITED);
    if (evidence->run.text != NULL)
        object_add(&evidence->run, "id", &run);
    if (strncmp(message, ABANDONED, strlen(ABANDONED)) == 0) {
        findings_add(out, level, "process",
                     "look into the log of the system for what ended it: journalctl -k, for want of memory",
                     "%s: %s", when, message);
    } else {
        snprintf(remedy, sizeof remedy, run.len > 0 ? "workers runs get %s" : "workers exec %s",
                 run.len > 0 ? buf_text(&run) : evidence->key);
        findings_add(out, level, "script", remedy, "%s: %s", when, message);
    }
    buf_free(&run);
}

/* ---- what was tried ---- */

/* Such as for a cursor that has expired. */
static bool is_refused_request(int64_t status)
{
    return status >= 400 && status <= 499 && status != 401 && status != 403 && status != 429;
}

/* Whether what was tried has worked. */
static bool ended_well(const struct json_slice *call)
{
    struct json_slice value;
    return call->text != NULL && json_find(call->text, call->len, "value", &value);
}

/* The state makes it fail: without one it works, and the failure is a mistake of the script, or the service
 * refuses what is asked for. */
static bool is_about_state(const struct evidence *evidence, const struct failed *probe)
{
    return ended_well(&evidence->afresh) && (find_cause(probe) == NULL || is_refused_request(probe->status));
}

bool diagnosis_may_be_state(const struct json_slice *call)
{
    struct json_slice error;
    return call->text != NULL && json_find(call->text, call->len, "error", &error) &&
           (!object_has(&error, "code") || is_refused_request(object_number(&error, "status")));
}

static void add_state(const struct evidence *evidence, const struct failed *failed, struct findings *out)
{
    char remedy[REMEDY_MAX];
    snprintf(remedy, sizeof remedy,
             "workers sync state reset %s (workers sync state get %s shows it first; rows stay)",
             evidence->key, evidence->key);
    findings_add(
        out, FINDING_FAIL, "state", remedy,
        "execute fails with the state that is kept, and works without: its shape has changed, or the "
        "service does not take it any more: %s",
        buf_text(&failed->message));
}

static void look_at_probe(const struct evidence *evidence, const struct failed *probe, bool probe_failed,
                          struct findings *out)
{
    const struct cause *cause = find_cause(probe);
    if (evidence->not_probed != NULL)
        findings_add(out, FINDING_OK, "probe", "", "not tried: %s", evidence->not_probed);
    else if (probe_failed && cause != NULL && strcmp(cause->check, "dry_run") == 0)
        findings_add(out, FINDING_OK, "probe", "",
                     "not tried to its end: it sends requests that might change something");
    else if (probe_failed && is_about_state(evidence, probe))
        add_state(evidence, probe, out);
    else if (probe_failed)
        add_failure(evidence, probe, FINDING_FAIL, "tried just now", out);
    else if (ended_well(&evidence->probe))
        findings_add(out, FINDING_OK, "probe", "", "execute works: tried just now, without writing anything");
}

/* ---- how it stands ---- */

static void look_at_sync(const struct evidence *evidence, struct findings *out)
{
    const struct json_slice *sync = &evidence->sync;
    struct buf held;
    char remedy[REMEDY_MAX];
    buf_init(&held, BUF_UNLIMITED);
    object_add(sync, "held", &held);
    /* A run that has found nothing, not even a row that is as it was. */
    const struct json_slice *run = &evidence->run;
    bool empty = run->text != NULL && object_number(run, "added") + object_number(run, "changed") +
                                              object_number(run, "unchanged") + object_number(run, "stale") ==
                                          0;
    if (held.len > 0 && empty) {
        snprintf(remedy, sizeof remedy,
                 "look at what the service answers: workers run --preview %s. If it is right: workers sync "
                 "trigger %s --allow-deletes",
                 evidence->key, evidence->key);
        findings_add(out, FINDING_FAIL, "empty", remedy, "nothing came back, so the sweep is held: %s",
                     buf_text(&held));
    } else if (held.len > 0) {
        snprintf(remedy, sizeof remedy,
                 "if these rows are to go: workers sync trigger %s --allow-deletes; if not, look at what the "
                 "service answers",
                 evidence->key);
        findings_add(out, FINDING_FAIL, "held", remedy, "the sweep waits for your word: %s", buf_text(&held));
    }
    buf_free(&held);
    int64_t due = object_time(sync, "nextRunAt");
    if (evidence->unserved && evidence->enabled && due != 0 && due + OVERDUE_MS < evidence->now_ms)
        findings_add(out, FINDING_WARN, "server", "workers serve",
                     "it has been due for %lld min, and no server runs that would start it",
                     (long long)((evidence->now_ms - due) / 60000));
}

static void look_at_lease(const struct evidence *evidence, struct findings *out)
{
    struct buf by;
    int64_t process = object_number(&evidence->sync, "process");
    char remedy[REMEDY_MAX];
    if (!object_flag(&evidence->sync, "running"))
        return;
    buf_init(&by, BUF_UNLIMITED);
    if (evidence->run.text != NULL)
        object_add(&evidence->run, "startedBy", &by);
    snprintf(remedy, sizeof remedy, "wait for it, or end it: kill %lld", (long long)process);
    if (strcmp(buf_text(&by), "manual") == 0)
        findings_add(out, FINDING_WARN, "lease", remedy,
                     "somebody runs it by hand, in process %lld: until that ends nobody else can run it",
                     (long long)process);
    else
        findings_add(out, FINDING_OK, "lease", "", "it is running, in process %lld", (long long)process);
    buf_free(&by);
}

static void look_at_deliveries(const struct evidence *evidence, struct findings *out)
{
    struct buf text;
    char remedy[REMEDY_MAX];
    buf_init(&text, BUF_UNLIMITED);
    if (evidence->webhook.text != NULL)
        object_add(&evidence->webhook, "state", &text);
    if (strcmp(buf_text(&text), "closed") == 0) {
        snprintf(remedy, sizeof remedy,
                 "set the secret that the provider signs with (workers env set NAME), then workers webhooks "
                 "reset %s",
                 evidence->key);
        findings_add(out, FINDING_FAIL, "webhook", remedy,
                     "it is closed: five verifications in a row have failed");
    }
    buf_clear(&text);
    if (evidence->dead.text != NULL) {
        object_add(&evidence->dead, "id", &text);
        snprintf(remedy, sizeof remedy, "workers deliveries replay %.40s", buf_text(&text));
        buf_clear(&text);
        object_add(&evidence->dead, "error", &text);
        findings_add(out, FINDING_WARN, "deliveries", remedy, "a delivery was given up: %s", buf_text(&text));
    }
    buf_free(&text);
}

/* Trying it writes nothing, and says nothing of a store that could not be written. */
static bool is_shown_by_trying(const struct cause *cause)
{
    return cause == NULL || (strcmp(cause->check, "store") != 0 && strcmp(cause->check, "memory") != 0);
}

/* What fails again for the same cause, or with the same words, is told once. */
static bool is_same_failure(const struct failed *one, const struct failed *other)
{
    return find_cause(one) == find_cause(other) &&
           (find_cause(one) != NULL || strcmp(buf_text(&one->message), buf_text(&other->message)) == 0);
}

static void look_at_last_run(const struct evidence *evidence, const struct failed *last, bool failed,
                             const struct failed *probe, bool probe_failed, struct findings *out)
{
    char remedy[REMEDY_MAX];
    if (evidence->rate_limited != NULL) {
        findings_add(out, FINDING_WARN, "rate_limit",
                     "declare a pacer that is as slow as the service asks for, and use it in the requests: "
                     "{ pacer = … }",
                     "the last run waits, or waited, for the service: %s", evidence->rate_limited);
    }
    if (failed && !probe_failed && ended_well(&evidence->probe) && is_shown_by_trying(find_cause(last))) {
        snprintf(remedy, sizeof remedy, "workers sync trigger %s", evidence->key);
        findings_add(out, FINDING_WARN, "run", remedy,
                     "what has failed the last time works now; it failed with: %s", buf_text(&last->message));
    } else if (failed && !(probe_failed && is_about_state(evidence, probe)) &&
               !(probe_failed && is_same_failure(probe, last))) {
        add_failure(evidence, last, FINDING_FAIL, "the last run failed", out);
    } else if (evidence->run.text == NULL) {
        findings_add(out, FINDING_OK, "run", "", "no run is recorded");
    } else if (!failed && object_has(&evidence->run, "exitCode")) {
        findings_add(out, FINDING_OK, "run", "",
                     object_number(&evidence->run, "exitCode") == 0 ? "the last run went well"
                                                                    : "the last run was stopped");
    }
}

void diagnose(const struct evidence *evidence, struct findings *out)
{
    struct failed last, probe;
    char remedy[REMEDY_MAX];
    failed_init(&last);
    failed_init(&probe);
    bool failed = read_run(&evidence->run, &last);
    bool probe_failed = read_probe(evidence, &probe);
    snprintf(remedy, sizeof remedy,
             strcmp(evidence->kind, "sync") == 0 ? "workers sync resume %s"
                                                 : "workers capabilities enable %s",
             evidence->key);
    if (!evidence->enabled)
        findings_add(out, FINDING_WARN, "disabled", remedy, "it was %s, and does not run by itself",
                     strcmp(evidence->kind, "sync") == 0 ? "paused" : "disabled");
    if (evidence->sync.text != NULL) {
        look_at_lease(evidence, out);
        look_at_sync(evidence, out);
    }
    look_at_last_run(evidence, &last, failed, &probe, probe_failed, out);
    look_at_probe(evidence, &probe, probe_failed, out);
    look_at_deliveries(evidence, out);
    failed_free(&last);
    failed_free(&probe);
}
