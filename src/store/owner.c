/* Who holds a lease: a process, by machine, process id and start time, so that one that died is known at once
 * on its machine. */
#include "store/store_priv.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The start time of a process in clock ticks since boot (field 22 of /proc/PID/stat), 0 when there is no such
 * process. */
static unsigned long long process_start(long pid)
{
    char path[64], line[1024];
    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return 0;
    size_t len = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[len] = '\0';
    /* The name in parentheses may hold spaces; fields are counted after its end. */
    const char *at = strrchr(line, ')');
    for (int field = 2; at != NULL && field < 22; field++)
        at = strchr(at + 1, ' ');
    if (at != NULL &&
        (strncmp(strrchr(line, ')'), ") Z", 3) == 0 || strncmp(strrchr(line, ')'), ") X", 3) == 0))
        return 0; /* a zombie runs no more */
    return at != NULL ? strtoull(at + 1, NULL, 10) : 0;
}

/* Boot and process-id namespace: within one of these, process ids mean the same. */
static void machine_name(char out[80])
{
    char boot[48] = "unknown";
    struct stat status = {0};
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file != NULL) {
        if (fgets(boot, sizeof boot, file) != NULL)
            boot[strcspn(boot, "\n")] = '\0';
        fclose(file);
    }
    if (stat("/proc/self/ns/pid", &status) != 0)
        status.st_ino = 0;
    snprintf(out, 80, "%.40s/%llu", boot, (unsigned long long)status.st_ino);
}

void owner_name(char out[OWNER_SIZE])
{
    char machine[80];
    machine_name(machine);
    snprintf(out, OWNER_SIZE, "%s %ld %llu", machine, (long)getpid(), process_start((long)getpid()));
}

bool owner_is_gone(const char *owner)
{
    char machine[80];
    machine_name(machine);
    size_t len = strlen(machine);
    if (strncmp(owner, machine, len) != 0 || owner[len] != ' ')
        return false;
    char *end = NULL;
    long pid = strtol(owner + len, &end, 10);
    unsigned long long start = strtoull(end, NULL, 10);
    return start == 0 || process_start(pid) != start;
}

int64_t owner_process(const char *owner)
{
    const char *pid = strchr(owner, ' ');
    return pid != NULL ? strtoll(pid + 1, NULL, 10) : 0;
}

/* Leases run by the clock that nobody sets, which all processes of a machine share: when the wall clock
 * jumps, or the machine wakes up, none has run out. One that ends later than any can was written before the
 * last boot. */
int64_t lease_until(void)
{
    return clock_mono_ms() + LEASE_MS;
}

bool lease_is_over(int64_t expires_ms)
{
    return expires_ms <= clock_mono_ms() || expires_ms > lease_until();
}

bool owner_holds(const char *owner, int64_t expires_ms)
{
    return owner != NULL && !lease_is_over(expires_ms) && !owner_is_gone(owner);
}
