/* Loaded with LD_PRELOAD: from the Nth write on, writes to the store fail, as on a full or a broken disk.
 *
 * FAILING_WRITES_AT is N, counted over all calls that change or flush a file below a folder .workers;
 * FAILING_WRITES_ERRNO the errno they fail with. FAILING_WRITES_COUNT names a file that gets the number of
 * calls when the process ends. FAILING_WRITES_WHILE names a file: as long as it is there, the disk is full,
 * and calls that write or grow a file fail. It must not allocate: it runs inside the calls of everybody. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long calls;

static long number(const char *name)
{
    const char *text = getenv(name);
    return text != NULL ? strtol(text, NULL, 10) : 0;
}

static int is_store(int fd)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (len <= 0)
        return 0;
    path[len] = '\0';
    return strstr(path, "/.workers/") != NULL;
}

/* Whether this call has to fail; errno is set then. */
static int fails(int fd)
{
    int saved = errno;
    int store = is_store(fd);
    errno = saved;
    if (!store)
        return 0;
    long at = number("FAILING_WRITES_AT");
    if (atomic_fetch_add(&calls, 1) + 1 < at || at == 0)
        return 0;
    errno = (int)number("FAILING_WRITES_ERRNO");
    return 1;
}

/* The same for calls that need room. */
static int finds_no_room(int fd)
{
    const char *full = getenv("FAILING_WRITES_WHILE");
    int saved = errno;
    int fails_now = full != NULL && access(full, F_OK) == 0 && is_store(fd);
    errno = fails_now ? ENOSPC : saved;
    return fails_now || fails(fd);
}

__attribute__((destructor)) static void tell_count(void)
{
    const char *path = getenv("FAILING_WRITES_COUNT");
    if (path == NULL)
        return;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return;
    dprintf(fd, "%ld\n", atomic_load(&calls));
    close(fd);
}

/* The next definition of the function, looked up once. */
#define NEXT(name)                                                                                           \
    static __typeof__(&name) next;                                                                           \
    if (next == NULL)                                                                                        \
    next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *bytes, size_t count)
{
    NEXT(write);
    return finds_no_room(fd) ? -1 : next(fd, bytes, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset)
{
    NEXT(pwrite);
    return finds_no_room(fd) ? -1 : next(fd, bytes, count, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset)
{
    NEXT(pwrite64);
    return finds_no_room(fd) ? -1 : next(fd, bytes, count, offset);
}

int fsync(int fd)
{
    NEXT(fsync);
    return fails(fd) ? -1 : next(fd);
}

int fdatasync(int fd)
{
    NEXT(fdatasync);
    return fails(fd) ? -1 : next(fd);
}

int ftruncate(int fd, off_t length)
{
    NEXT(ftruncate);
    return fails(fd) ? -1 : next(fd, length);
}

int ftruncate64(int fd, off64_t length)
{
    NEXT(ftruncate64);
    return fails(fd) ? -1 : next(fd, length);
}

int posix_fallocate(int fd, off_t offset, off_t length)
{
    NEXT(posix_fallocate);
    return finds_no_room(fd) ? errno : next(fd, offset, length);
}

int posix_fallocate64(int fd, off64_t offset, off64_t length)
{
    NEXT(posix_fallocate64);
    return finds_no_room(fd) ? errno : next(fd, offset, length);
}
