/* Building views. */
#include "cli/view_build.h"

#include "cli/cli.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOOK_MS 20

/* The exit status as of waitpid, or -1. Standard output stays for results. A signal may come at any moment,
 * also just before the wait, which then knows nothing of it: so stop is looked at. */
static int run_command(const char *folder, const char *command, const volatile sig_atomic_t *stop)
{
    const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000L};
    bool told = false;
    pid_t pid = fork();
    if (pid == 0) {
        if (chdir(folder) != 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
            _exit(126);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    while (pid > 0) {
        int status = -1;
        pid_t ended = waitpid(pid, &status, stop != NULL ? WNOHANG : 0);
        if (ended == pid)
            return status;
        if (ended < 0 && errno != EINTR)
            return -1;
        if (stop != NULL && *stop != 0 && !told)
            told = kill(pid, SIGTERM) == 0;
        if (stop != NULL)
            nanosleep(&pause, NULL);
    }
    return -1;
}

enum err_code view_check(const char *code, const struct view *view, struct err *err)
{
    char folder[PATH_MAX], page[PATH_MAX + 16];
    struct stat status;
    snprintf(folder, sizeof folder, "%s/%s", code, view->path);
    if (stat(folder, &status) != 0 || !S_ISDIR(status.st_mode))
        return err_set(err, ERR_NOT_FOUND,
                       "view \"%s\": there is no folder %s: make it, or correct path in worker:view",
                       view->key, folder);
    snprintf(page, sizeof page, "%s/" VIEW_PAGE, folder);
    if (!view->is_project && stat(page, &status) != 0)
        return err_set(err, ERR_NOT_FOUND,
                       "view \"%s\": there is no %s: make it, or correct path in worker:view", view->key,
                       page);
    return ERR_NONE;
}

enum err_code view_build(const char *code, const struct view *view, const volatile sig_atomic_t *stop,
                         struct err *err)
{
    char folder[PATH_MAX], page[PATH_MAX + 16], inside[PATH_MAX / 4];
    struct stat status;
    if (view_check(code, view, err) != ERR_NONE)
        return err->code;
    if (!view->is_project)
        return ERR_NONE;
    snprintf(folder, sizeof folder, "%s/%s", code, view->path);
    cli_note("building view %s: %s", view->key, view->command);
    int result = run_command(folder, view->command, stop);
    if (result == -1)
        return err_set(err, ERR_IO, "view \"%s\": cannot start a shell", view->key);
    if (WIFSIGNALED(result))
        return err_set(err, ERR_INVALID, "view \"%s\": \"%s\" was ended by signal %d", view->key,
                       view->command, WTERMSIG(result));
    if (WEXITSTATUS(result) != 0)
        return err_set(err, ERR_INVALID, "view \"%s\": \"%s\" failed in %s with exit code %d", view->key,
                       view->command, folder, WEXITSTATUS(result));
    view_folder(view, inside, sizeof inside);
    if (snprintf(page, sizeof page, "%s/%s/" VIEW_PAGE, code, inside) >= (int)sizeof page ||
        stat(page, &status) != 0)
        return err_set(err, ERR_NOT_FOUND,
                       "view \"%s\": \"%s\" did not make %s: correct command or output in worker:view",
                       view->key, view->command, page);
    return ERR_NONE;
}
