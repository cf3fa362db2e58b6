/* workers webhooks send: a delivery to a webhook of the project's own, as its provider would send it. */
#include "cli/listing.h"

#include "base/json.h"
#include "engine/sending.h"
#include "server/beacon.h"

#include <string.h>

#define ADDRESS_MAX ((size_t)4096)

struct send {
    bool json;
    const char *key;
    bool has_verify;
    int result;
};

/* The answer's body, as JSON when it is that. */
static void add_body(struct buf *out, const struct http_response *response)
{
    struct err ignored;
    if (json_check(response->body, response->body_len, &ignored) == ERR_NONE)
        buf_add(out, response->body, response->body_len);
    else if (json_write_string(out, response->body, response->body_len, &ignored) != ERR_NONE)
        buf_adds(out, "\"(not valid UTF-8)\"");
}

static void print_json(const struct http_response *response, bool is_signed)
{
    struct buf out, pretty;
    struct err err;
    buf_init(&out, BUF_UNLIMITED);
    buf_init(&pretty, BUF_UNLIMITED);
    buf_addf(&out, "{\"status\":%d,\"signed\":%s,\"body\":", response->status, is_signed ? "true" : "false");
    add_body(&out, response);
    buf_addc(&out, '}');
    if (json_reindent(buf_text(&out), out.len, &pretty, &err) == ERR_NONE)
        printf("%s\n", buf_text(&pretty));
    buf_free(&out);
    buf_free(&pretty);
}

static void done(void *ctx, struct sending *sending, const struct sending_end *end)
{
    struct send *send = ctx;
    struct err err;
    (void)sending;
    if (end->response == NULL) {
        err_set(&err, ERR_IO, "%s", end->message);
        send->result = cli_fail(&err);
        return;
    }
    const struct http_response *response = end->response;
    if (send->has_verify && !end->is_signed)
        cli_note("not signed: verify of %s does not come from workers.webhooks", send->key);
    if (send->json) {
        print_json(response, end->is_signed);
    } else {
        printf("%d\n", response->status);
        fwrite(response->body, 1, response->body_len, stdout);
        if (response->body_len > 0 && response->body[response->body_len - 1] != '\n')
            putchar('\n');
    }
    send->result = response->status >= 200 && response->status <= 299 ? EXIT_DONE : EXIT_FAILED_WORK;
}

/* "Name: value" becomes a field; false when it is no header. */
static bool read_header(const char *text, struct http_field *field)
{
    const char *colon = strchr(text, ':');
    if (colon == NULL || colon == text)
        return false;
    field->name = (struct http_slice){text, (size_t)(colon - text)};
    field->value = http_slice(colon + 1 + strspn(colon + 1, " \t"));
    return true;
}

/* Where the webhook is reached on the server that serves the project. */
static enum err_code find_address(struct target *target, const char *key, struct buf *out, struct err *err)
{
    char base[BEACON_URL_MAX];
    struct buf answer, path, name;
    struct json_scan scan;
    struct json_slice webhook;
    bool more = false;
    enum err_code code = target->remote == NULL ? beacon_read(target->project.folder, base, err) : ERR_NONE;
    buf_init(&answer, BUF_UNLIMITED);
    buf_init(&name, BUF_UNLIMITED);
    path_make(&path, "/webhooks", NULL, NULL);
    if (code == ERR_NONE)
        code = target_get(target, &path, &answer, err);
    json_scan_init(&scan, buf_text(&answer), answer.len);
    if (code == ERR_NONE)
        code = json_scan_value(&scan, err);
    while (code == ERR_NONE && (code = json_scan_element(&scan, &more, err)) == ERR_NONE && more) {
        code = json_scan_skip(&scan, &webhook, err);
        buf_clear(&name);
        object_add(&webhook, "key", &name);
        if (code == ERR_NONE && strcmp(buf_text(&name), key) == 0)
            object_add(&webhook, "url", out);
    }
    if (code == ERR_NONE && out->len == 0)
        code = err_set(err, ERR_NOT_FOUND, "the server has no webhook \"%s\"", key);
    buf_free(&answer);
    buf_free(&path);
    buf_free(&name);
    return code == ERR_NONE ? buf_status(out, "the address", err) : code;
}

static int send_to(struct target *target, struct send *send, struct sending_request *request, struct err *err)
{
    struct sending *sending = NULL;
    struct buf address;
    buf_init(&address, ADDRESS_MAX);
    enum err_code code = ERR_NONE;
    if (request->url == NULL) {
        code = find_address(target, send->key, &address, err);
        request->url = buf_text(&address);
    }
    if (code == ERR_NONE)
        code = sending_start(target->runtime, request, done, send, &sending, err);
    if (code == ERR_NONE)
        uv_run(target->runtime->loop, UV_RUN_DEFAULT);
    sending_free(sending);
    buf_free(&address);
    return code == ERR_NONE ? send->result : cli_fail(err);
}

static int run(const struct cli_args *args)
{
    struct target target;
    struct http_field headers[CLI_MAX_ARGUMENTS];
    struct err err;
    struct buf body;
    struct sending_request request = {.url = cli_value(args, "--url"),
                                      .headers = headers,
                                      .event = cli_value(args, "--event"),
                                      .id = cli_value(args, "--id")};
    const char *text = NULL;
    while ((text = cli_nth_value(args, "--header", (int)request.header_count)) != NULL)
        if (!read_header(text, &headers[request.header_count++]))
            return cli_usage(args, "--header must be a name and a value: \"X-Name: value\"");
    const char *data = cli_value(args, "--data");
    if (cli_read_data(data != NULL ? data : "{}", &body, &err) != ERR_NONE) {
        buf_free(&body);
        return cli_fail(&err);
    }
    request.body = (struct http_slice){buf_text(&body), body.len};
    int result = target_open(args, &target);
    if (result == EXIT_DONE) {
        struct send send = {.json = cli_flag(args, "--json"), .result = EXIT_FAILED_WORK};
        if (target_load(&target, &err) == ERR_NONE)
            request.webhook =
                worker_find(target.runtime->worker, args->positional[0], CAPABILITY_WEBHOOK, &err);
        if (request.webhook != NULL) {
            send.key = request.webhook->key;
            send.has_verify = request.webhook->has_verify;
            result = send_to(&target, &send, &request, &err);
        } else {
            result = target_fail(&target, &err);
        }
        target_close(&target);
    }
    buf_free(&body);
    return result;
}

static const struct cli_option options[] = {
    {"--data", "-d", "JSON|@FILE|-", "the body; {} unless given"},
    {"--url", NULL, "URL", "the address, when it is not that of this project's server"},
    {"--event", NULL, "NAME", "the event, of providers that name it in a header"},
    {"--id", NULL, "ID", "the delivery's id, of providers that have it in a header; random unless given"},
    {"--header", NULL, "NAME:VALUE", "a header, in the place of the one that is made; may be repeated"},
    {"--json", NULL, NULL, "JSON: {\"status\", \"signed\", \"body\"}"},
    {NULL, NULL, NULL, NULL},
};

const struct command cmd_webhooks_send = {
    .name = "webhooks send",
    .arguments = "KEY",
    .summary = "Send a delivery to a webhook, as its provider would",
    .help =
        "The body goes to the server that serves the project, as application/json unless a header says\n"
        "otherwise. It is signed with the secret of the webhook's verify function when that comes from\n"
        "workers.webhooks. Status and body of the answer are printed; the exit code is 1 when the status\n"
        "is not one of 200 to 299.\n\n"
        "Examples:\n  workers webhooks send onPush -d @push.json --event push\n"
        "  workers webhooks send onPush -d '{\"after\":\"6113\"}' --id 72d3162e\n"
        "  workers webhooks send onForm -d 'name=Ada' --header 'Content-Type: "
        "application/x-www-form-urlencoded'\n",
    .options = options,
    .min_arguments = 1,
    .max_arguments = 1,
    .remote = true,
    .run = run,
};
