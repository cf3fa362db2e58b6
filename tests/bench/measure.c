/* Runs a command and writes what it took to a file: a small parent of its own, because the peak memory that
 * the system reports for a process starts with that of whoever forked it. Must not print anything itself.
 *
 *     measure FILE COMMAND [ARGUMENT…]
 *
 * FILE gets {"seconds", "cpu", "peak_kib"}. Ends as the command did; 127 when it cannot be started. */
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

int main(int argc, char **argv)
{
    struct rusage usage;
    int status = 0;
    if (argc < 3)
        return 2;
    double start = now();
    pid_t pid = fork();
    if (pid == 0) {
        execvp(argv[2], argv + 2);
        perror(argv[2]);
        _exit(127);
    }
    if (pid < 0 || wait4(pid, &status, 0, &usage) != pid)
        return 127;
    double took = now() - start;
    FILE *file = fopen(argv[1], "w");
    if (file == NULL)
        return 127;
    fprintf(file, "{\"seconds\":%.9f,\"cpu\":%.6f,\"peak_kib\":%ld}\n", took,
            seconds(usage.ru_utime) + seconds(usage.ru_stime), usage.ru_maxrss);
    if (fclose(file) != 0)
        return 127;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
