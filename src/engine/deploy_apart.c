/* Deploying in a process of its own: the program itself, which reads what to do and says what came of it. */
#include "engine/deploy.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "worker/pack.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define REQUEST_MAX (2 * PACK_MAX)
#define ANSWER_MAX ((size_t)32 * 1024 * 1024)
#define WAIT_MS 120000

extern char **environ;

/* ---- what is asked ---- */

static void write_request(const struct deploy *deploy, struct buf *out)
{
    buf_adds(out, "{\"folder\":");
    json_write_text(out, deploy->folder);
    buf_addf(out, ",\"number\":%lld,\"plan\":%s,\"note\":", (long long)deploy->number,
             deploy->plan ? "true" : "false");
    json_write_text(out, deploy->note != NULL ? deploy->note : "");
    if (deploy->pack != NULL) {
        buf_adds(out, ",\"pack\":");
        buf_add(out, deploy->pack, deploy->pack_len);
    }
    buf_addc(out, '}');
}

static bool flag(const struct buf *text, const char *name)
{
    struct json_slice slice;
    return json_find(buf_text(text), text->len, name, &slice) && slice.len == 4;
}

static int64_t number(const struct buf *text, const char *name)
{
    struct json_slice slice;
    return json_find(buf_text(text), text->len, name, &slice) ? strtoll(slice.text, NULL, 10) : 0;
}

/* ---- this side ---- */

static void start_clean(posix_spawnattr_t *attributes)
{
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    posix_spawnattr_init(attributes);
    posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(attributes, &none);
    posix_spawnattr_setsigdefault(attributes, &all);
}

static bool make_pipe(int ends[2])
{
    return pipe2(ends, O_CLOEXEC) == 0;
}

static void close_end(int *end)
{
    if (*end >= 0)
        close(*end);
    *end = -1;
}

/* Its standard error is ours: a crash is seen in the log. */
static enum err_code start(pid_t *pid, int *to, int *from, struct err *err)
{
    static char word[] = DEPLOY_WORD, name[] = "workers";
    char *const argv[] = {name, word, NULL};
    int in[2] = {-1, -1}, out[2] = {-1, -1};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    if (!make_pipe(in) || !make_pipe(out)) {
        close_end(&in[0]);
        close_end(&in[1]);
        return err_set(err, ERR_IO, "cannot make a pipe: %s", strerror(errno));
    }
    start_clean(&attributes);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    int failure = posix_spawn(pid, "/proc/self/exe", &actions, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    close_end(&in[0]);
    close_end(&out[1]);
    *to = in[1];
    *from = out[0];
    if (failure == 0)
        return ERR_NONE;
    close_end(to);
    close_end(from);
    return err_set(err, ERR_IO, "cannot start another process: %s", strerror(failure));
}

/* Writes the request and reads the answer, whichever can be done. */
static enum err_code talk(int *to, int from, const struct buf *request, struct buf *answer, struct err *err)
{
    size_t sent = 0;
    int64_t end = clock_mono_ms() + WAIT_MS;
    fcntl(*to, F_SETFL, O_NONBLOCK);
    for (;;) {
        struct pollfd ends[2] = {{.fd = from, .events = POLLIN}, {.fd = *to, .events = POLLOUT}};
        int64_t left = end - clock_mono_ms();
        if (left <= 0)
            return err_set(err, ERR_TIMEOUT, "the script was not loaded within %d s", WAIT_MS / 1000);
        if (poll(ends, *to >= 0 ? 2 : 1, (int)left) < 0 && errno != EINTR)
            return err_set(err, ERR_IO, "cannot wait for the other process: %s", strerror(errno));
        if (*to >= 0 && ends[1].revents != 0) {
            ssize_t count = write(*to, buf_text(request) + sent, request->len - sent);
            sent += count > 0 ? (size_t)count : 0;
            if (sent == request->len || (count < 0 && errno != EAGAIN && errno != EINTR))
                close_end(to);
        }
        if (ends[0].revents != 0) {
            char *room = buf_reserve(answer, 64 * 1024);
            ssize_t count = room != NULL ? read(from, room, 64 * 1024) : -1;
            if (room == NULL)
                return buf_status(answer, "the answer", err);
            if (count == 0)
                return ERR_NONE;
            answer->len += count > 0 ? (size_t)count : 0;
            answer->data[answer->len] = '\0';
        }
    }
}

/* {"code":…,"message":…} or {"answer":…} */
static enum err_code read_answer(const struct buf *said, int status, struct buf *answer, struct err *err)
{
    struct json_slice slice;
    struct json_scan scan;
    struct buf message;
    if (json_find(buf_text(said), said->len, "answer", &slice)) {
        buf_add(answer, slice.text, slice.len);
        return buf_status(answer, "the answer", err);
    }
    if (!json_find_string(buf_text(said), said->len, "message", &scan))
        return err_set(err, ERR_INTERNAL, "the process that loads the script ended %s %d",
                       WIFSIGNALED(status) ? "by signal" : "with",
                       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    buf_init(&message, ERR_MESSAGE_MAX);
    json_string_copy(&scan, &message);
    err_set(err, (enum err_code)number(said, "code"), "%s", buf_text(&message));
    buf_free(&message);
    return err->code;
}

enum err_code deploy_apart(const struct deploy *deploy, struct buf *answer, struct err *err)
{
    struct buf request, said;
    pid_t pid = 0;
    int to = -1, from = -1, status = 0;
    buf_init(&request, REQUEST_MAX);
    buf_init(&said, ANSWER_MAX);
    write_request(deploy, &request);
    enum err_code code = buf_status(&request, "the pack", err);
    if (code == ERR_NONE)
        code = start(&pid, &to, &from, err);
    if (code == ERR_NONE) {
        code = talk(&to, from, &request, &said, err);
        if (code != ERR_NONE)
            kill(pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
    }
    close_end(&to);
    close_end(&from);
    if (code == ERR_NONE)
        code = read_answer(&said, status, answer, err);
    buf_free(&request);
    buf_free(&said);
    return code;
}

/* ---- the other side ---- */

static enum err_code read_all(struct buf *out, struct err *err)
{
    for (;;) {
        char *room = buf_reserve(out, 64 * 1024);
        ssize_t count = room != NULL ? read(STDIN_FILENO, room, 64 * 1024) : -1;
        if (room == NULL)
            return buf_status(out, "the request", err);
        if (count < 0 && errno != EINTR)
            return err_set(err, ERR_IO, "cannot read the request: %s", strerror(errno));
        if (count == 0)
            return ERR_NONE;
        out->len += count > 0 ? (size_t)count : 0;
        out->data[out->len] = '\0';
    }
}

static enum err_code run_request(const struct buf *request, struct buf *answer, struct err *err)
{
    struct json_slice pack = {NULL, 0};
    char *folder = json_find_copy(buf_text(request), request->len, "folder");
    char *note = json_find_copy(buf_text(request), request->len, "note");
    json_find(buf_text(request), request->len, "pack", &pack);
    const struct deploy deploy = {.folder = folder,
                                  .pack = pack.text,
                                  .pack_len = pack.len,
                                  .number = number(request, "number"),
                                  .plan = flag(request, "plan"),
                                  .note = note};
    enum err_code code = folder != NULL ? deploy_run(&deploy, answer, err)
                                        : err_set(err, ERR_INVALID, "the request has no folder");
    mem_free(folder);
    mem_free(note);
    return code;
}

/* What a script prints must not come in between: the answer goes to where standard output was, and that to
 * standard error. */
int deploy_apart_main(void)
{
    struct buf request, answer;
    struct err err;
    int out = dup(STDOUT_FILENO);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    buf_init(&request, REQUEST_MAX);
    buf_init(&answer, ANSWER_MAX);
    buf_adds(&answer, "{\"answer\":");
    enum err_code code = read_all(&request, &err);
    if (code == ERR_NONE)
        code = run_request(&request, &answer, &err);
    if (code != ERR_NONE) {
        struct err ignored;
        buf_clear(&answer);
        buf_addf(&answer, "{\"code\":%d,\"message\":", (int)code);
        if (json_write_string(&answer, err.message, strlen(err.message), &ignored) != ERR_NONE)
            buf_adds(&answer, "\"what is wrong is not UTF-8\"");
    }
    buf_addc(&answer, '}');
    size_t done = 0;
    while (done < answer.len) {
        ssize_t count = write(out, answer.data + done, answer.len - done);
        if (count < 0 && errno != EINTR)
            break;
        done += count > 0 ? (size_t)count : 0;
    }
    close(out);
    buf_free(&request);
    buf_free(&answer);
    return code == ERR_NONE ? 0 : 1;
}
