/* Loaded with LD_PRELOAD: the wall clock is off by what a file says, and jumps whenever the file changes.
 *
 * MOVED_CLOCK names the file: eight bytes, the milliseconds to add. It is mapped, so all processes see a jump
 * at once, nothing is opened at each look, and no lock is left behind by a process that is killed. Other
 * clocks go on as they are. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const atomic_int_least64_t *offset_ms;

__attribute__((constructor)) static void map_offset(void)
{
    const char *path = getenv("MOVED_CLOCK");
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *mapped = mmap(NULL, sizeof *offset_ms, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped != MAP_FAILED)
        offset_ms = mapped;
}

int clock_gettime(clockid_t id, struct timespec *out)
{
    static __typeof__(&clock_gettime) next;
    if (next == NULL)
        next = (__typeof__(&clock_gettime))dlsym(RTLD_NEXT, "clock_gettime");
    int result = next(id, out);
    if (result != 0 || offset_ms == NULL || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE))
        return result;
    int64_t off = atomic_load_explicit(offset_ms, memory_order_relaxed);
    out->tv_sec += (time_t)(off / 1000);
    out->tv_nsec += (long)(off % 1000) * 1000000;
    if (out->tv_nsec < 0) {
        out->tv_nsec += 1000000000;
        out->tv_sec--;
    } else if (out->tv_nsec >= 1000000000) {
        out->tv_nsec -= 1000000000;
        out->tv_sec++;
    }
    return 0;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL)
        *out = now.tv_sec;
    return now.tv_sec;
}
