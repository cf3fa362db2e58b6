/* Looking after processes. Must not do any of their work: what can crash is not here. */
#include "server/supervisor.h"

#include "base/clock.h"
#include "base/mem.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROCESSES_MAX 64
#define LOOK_MS 500
#define RESTART_FIRST_MS 100
#define RESTART_LAST_MS 30000
#define STEADY_MS 10000 /* a process that has lived so long may be started again at once */

struct process {
    pid_t pid; /* 0 while there is none */
    int64_t started_ms;
    int64_t start_at_ms; /* when there is none */
    int64_t pause_ms;    /* before the next start */
};

struct supervisor {
    const struct supervisor_options *options;
    struct process processes[PROCESSES_MAX];
    struct pulse *pulses; /* shared memory */
    bool stopping, ready;
    int64_t kill_at_ms;
    int exit_code;
};

/* ---- systemd (sd_notify(3)) ---- */

static void tell_systemd(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = path != NULL ? strlen(path) : 0;
    if (len == 0 || len >= sizeof address.sun_path || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(address.sun_path, path, len);
    if (address.sun_path[0] == '@') /* the abstract namespace */
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    (void)!sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&address,
                  (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
    close(fd);
}

/* ---- processes ---- */

static void say(const struct supervisor *supervisor, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void say(const struct supervisor *supervisor, const char *format, ...)
{
    char line[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    supervisor->options->say(line);
}

static void start(struct supervisor *supervisor, int index, const sigset_t *before)
{
    struct process *process = &supervisor->processes[index];
    struct pulse *pulse = &supervisor->pulses[index];
    pid_t parent = getpid();
    atomic_store(&pulse->beat_ms, clock_mono_ms());
    atomic_store(&pulse->ready, 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM); /* nobody would look after it */
        if (getppid() != parent)
            _exit(0);
        sigprocmask(SIG_SETMASK, before, NULL);
        int code = supervisor->options->process(supervisor->options->ctx, index, pulse);
        fflush(NULL);
        _exit(code);
    }
    process->started_ms = clock_mono_ms();
    process->pid = pid > 0 ? pid : 0;
    if (pid < 0) {
        say(supervisor, "cannot start a process: %s", strerror(errno));
        process->start_at_ms = process->started_ms + RESTART_LAST_MS;
    }
}

static void signal_all(const struct supervisor *supervisor, int number)
{
    for (int i = 0; i < supervisor->options->processes; i++)
        if (supervisor->processes[i].pid != 0)
            kill(supervisor->processes[i].pid, number);
}

static void stop(struct supervisor *supervisor)
{
    if (supervisor->stopping) { /* asked twice */
        signal_all(supervisor, SIGTERM);
        return;
    }
    supervisor->stopping = true;
    supervisor->kill_at_ms = clock_mono_ms() + supervisor->options->grace_ms;
    tell_systemd("STOPPING=1");
    signal_all(supervisor, SIGTERM);
}

static int index_of(const struct supervisor *supervisor, pid_t pid)
{
    for (int i = 0; i < supervisor->options->processes; i++)
        if (supervisor->processes[i].pid == pid)
            return i;
    return -1;
}

static void died(struct supervisor *supervisor, int index, int status)
{
    struct process *process = &supervisor->processes[index];
    int64_t now = clock_mono_ms();
    pid_t pid = process->pid;
    process->pid = 0;
    /* Where all have run, a reason not to start is one that may pass: a full disk, a script half written. */
    if (WIFEXITED(status) && WEXITSTATUS(status) == SUPERVISOR_CANNOT_START && !supervisor->ready) {
        supervisor->exit_code = 1;
        stop(supervisor);
    }
    if (supervisor->stopping)
        return;
    bool steady = now - process->started_ms >= STEADY_MS;
    process->pause_ms = steady || process->pause_ms == 0 ? RESTART_FIRST_MS : process->pause_ms * 2;
    if (process->pause_ms > RESTART_LAST_MS)
        process->pause_ms = RESTART_LAST_MS;
    process->start_at_ms = now + process->pause_ms;
    if (WIFSIGNALED(status))
        say(supervisor, "process %ld died of signal %d (%s); starting another", (long)pid, WTERMSIG(status),
            strsignal(WTERMSIG(status)));
    else
        say(supervisor, "process %ld ended with code %d; starting another", (long)pid, WEXITSTATUS(status));
    /* Others take up what it was at. */
    signal_all(supervisor, SIGUSR1);
}

static void collect(struct supervisor *supervisor)
{
    int status = 0;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        int index = index_of(supervisor, pid);
        if (index >= 0)
            died(supervisor, index, status);
    }
}

static bool look(struct supervisor *supervisor, const sigset_t *before)
{
    int64_t now = clock_mono_ms();
    int alive = 0, ready = 0;
    for (int i = 0; i < supervisor->options->processes; i++) {
        struct process *process = &supervisor->processes[i];
        if (process->pid == 0 && !supervisor->stopping && now >= process->start_at_ms)
            start(supervisor, i, before);
        if (process->pid == 0)
            continue;
        alive++;
        ready += atomic_load(&supervisor->pulses[i].ready) != 0;
        if (now - atomic_load(&supervisor->pulses[i].beat_ms) > supervisor->options->stuck_ms ||
            (supervisor->stopping && now >= supervisor->kill_at_ms)) {
            say(supervisor, "process %ld %s; it is killed", (long)process->pid,
                supervisor->stopping ? "does not stop" : "is stuck");
            kill(process->pid, SIGKILL);
            atomic_store(&supervisor->pulses[i].beat_ms, now);
        }
    }
    if (ready == supervisor->options->processes && !supervisor->ready) {
        supervisor->ready = true;
        tell_systemd("READY=1");
    }
    if (supervisor->ready && !supervisor->stopping)
        tell_systemd("WATCHDOG=1");
    return alive > 0 || !supervisor->stopping;
}

void supervisor_tell_others(void)
{
    if (getppid() > 1)
        kill(getppid(), SIGUSR1);
}

int supervisor_run(const struct supervisor_options *options)
{
    struct supervisor supervisor = {.options = options};
    size_t size = PROCESSES_MAX * sizeof *supervisor.pulses;
    sigset_t waited, before;
    void *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED || options->processes < 1 || options->processes > PROCESSES_MAX) {
        options->say("cannot start: out of memory, or not from 1 to 64 processes");
        return 1;
    }
    supervisor.pulses = shared;
    sigemptyset(&waited);
    const int numbers[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR1};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        sigaddset(&waited, numbers[i]);
    sigprocmask(SIG_BLOCK, &waited, &before);
    while (look(&supervisor, &before)) {
        const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
        int number = sigtimedwait(&waited, NULL, &pause);
        if (number == SIGTERM || number == SIGINT)
            stop(&supervisor);
        else if (number == SIGHUP)
            signal_all(&supervisor, SIGHUP);
        else if (number == SIGUSR1)
            signal_all(&supervisor, SIGUSR1);
        collect(&supervisor);
    }
    munmap(shared, size);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return supervisor.exit_code;
}
