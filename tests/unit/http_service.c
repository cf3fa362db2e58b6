/* A server that misbehaves (tests/support/http_server.py), and one request to it. */
#include "http_service.h"

#include "base/buf.h"
#include "base/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the server ---------------------------------------------------------------------------------- */

struct server plain;
struct server secure;
static char folder[] = "/tmp/http_service.XXXXXX";
char certificate[64];
static char key[64];

static int start_server(struct server *server, bool tls)
{
    int in[2];
    int out[2];
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0)
        return -1;
    server->pid = fork();
    if (server->pid == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        if (tls)
            execlp("python3", "python3", HTTP_SERVER, "--exit-with-stdin", "--tls", certificate, key,
                   (char *)NULL);
        else
            execlp("python3", "python3", HTTP_SERVER, "--exit-with-stdin", (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    server->stdin_fd = in[1];
    FILE *line = fdopen(out[0], "r");
    char text[16] = "";
    bool read = line != NULL && fgets(text, sizeof text, line) != NULL;
    if (line != NULL)
        fclose(line);
    server->port = (int)strtol(text, NULL, 10);
    return read && server->port > 0 ? 0 : -1;
}

static void stop_server(struct server *server)
{
    close(server->stdin_fd);
    waitpid(server->pid, NULL, 0);
}

static int make_certificate(void)
{
    char command[512];
    snprintf(
        command, sizeof command,
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost "
        "-addext subjectAltName=DNS:localhost -keyout %s -out %s 2>/dev/null",
        key, certificate);
    return system(command);
}

int start_servers(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(certificate, sizeof certificate, "%s/cert.pem", folder);
    snprintf(key, sizeof key, "%s/key.pem", folder);
    return make_certificate() != 0 || start_server(&plain, false) != 0 || start_server(&secure, true) != 0;
}

int stop_servers(void **state)
{
    (void)state;
    stop_server(&plain);
    stop_server(&secure);
    unlink(certificate);
    unlink(key);
    return rmdir(folder);
}

/* ---- one request and what came of it ------------------------------------------------------------- */

uv_loop_t loop;
struct http_client *client;
struct http_request request;
char url_text[70000];

int open_client(void **state)
{
    (void)state;
    struct err err;
    uv_loop_init(&loop);
    client = http_client_new(&loop, &err);
    http_request_init(&request);
    return client == NULL;
}

int close_client(void **state)
{
    (void)state;
    http_client_free(client);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop); /* not 0 when a handle was left open */
}

void on_done(void *ctx, struct http_response *response, const struct http_failure *failure)
{
    struct outcome *outcome = ctx;
    assert_true((response == NULL) != (failure == NULL));
    outcome->calls++;
    outcome->response = response;
    if (failure != NULL) {
        outcome->error = failure->error;
        snprintf(outcome->message, sizeof outcome->message, "%s", failure->message);
    }
}

void set_url(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(url_text, sizeof url_text, format, arguments);
    va_end(arguments);
    request.url = http_slice(url_text);
}

void set_path(const char *path)
{
    set_url("http://127.0.0.1:%d%s", plain.port, path);
}

struct outcome run(void)
{
    struct outcome outcome = {0};
    struct err err = {0};
    if (http_client_send(client, &request, on_done, &outcome, NULL, &err) != ERR_NONE)
        fail_msg("refused: %s", err.message);
    assert_int_equal(outcome.calls, 0); /* never from inside send */
    uv_run(&loop, UV_RUN_DEFAULT);      /* ends although connections are kept */
    assert_int_equal(outcome.calls, 1);
    assert_int_equal(http_client_pending(client), 0);
    return outcome;
}

struct http_response *expect_status(int status)
{
    struct outcome outcome = run();
    if (outcome.response == NULL)
        fail_msg("%s failed: %s: %s", url_text, http_error_code(outcome.error), outcome.message);
    assert_int_equal(outcome.response->status, status);
    return outcome.response;
}

void expect_body(int status, const char *body)
{
    struct http_response *response = expect_status(status);
    assert_string_equal(response->body, body);
    assert_int_equal(response->body_len, strlen(body));
    http_response_free(response);
}

/* The whole message, with %P for the plain server's port. */
void expect_failure(enum http_error error, const char *message)
{
    struct outcome outcome = run();
    struct buf expected;
    buf_init(&expected, 4096);
    for (const char *c = message; *c != '\0'; c++) {
        if (c[0] == '%' && c[1] == 'P') {
            buf_addf(&expected, "%d", plain.port);
            c++;
        } else {
            buf_addc(&expected, *c);
        }
    }
    if (outcome.response != NULL)
        fail_msg("%s was answered with status %d", url_text, outcome.response->status);
    assert_string_equal(http_error_code(outcome.error), http_error_code(error));
    if (strncmp(outcome.message, buf_text(&expected), expected.len) != 0)
        assert_string_equal(outcome.message, buf_text(&expected));
    buf_free(&expected);
}

void expect_refused(const char *part)
{
    struct outcome outcome = {0};
    struct http_handle *handle = (struct http_handle *)&outcome;
    struct err err = {0};
    assert_int_equal(http_client_send(client, &request, on_done, &outcome, &handle, &err), ERR_INVALID);
    assert_null(handle);
    if (strstr(err.message, part) == NULL)
        assert_string_equal(err.message, part);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(outcome.calls, 0);
}

struct http_field field(const char *name, const char *value)
{
    return (struct http_field){http_slice(name), http_slice(value)};
}

/* Whether the JSON that /echo returned has this text; quotes as ' for legibility. */
void expect_echo(const struct http_response *response, const char *text, bool present)
{
    char *wanted = mem_strndup(text, strlen(text));
    for (char *c = wanted; *c != '\0'; c++)
        if (*c == '\'')
            *c = '"';
    if ((strstr(response->body, wanted) != NULL) != present)
        fail_msg("%s %s: %s", wanted, present ? "is missing" : "should not be there", response->body);
    mem_free(wanted);
}

long count_of(const char *path)
{
    http_request_init(&request);
    set_path(path);
    struct http_response *response = expect_status(200);
    long count = strtol(response->body, NULL, 10);
    http_response_free(response);
    return count;
}
