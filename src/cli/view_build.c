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
#include <unistd.h>

/* The exit status as of waitpid, or -1. Standard output stays for results. */
static int run_command(const char *folder, const char *command)
{
    pid_t pid = fork();
    if (pid == 0) {
        if (chdir(folder) != 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
            _exit(126);
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    int status = -1;
    while (pid > 0 && waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return -1;
        kill(pid, SIGTERM); /* whoever catches signals wants to end */
    }
    return pid > 0 ? status : -1;
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

enum err_code view_build(const char *code, const struct view *view, struct err *err)
{
    char folder[PATH_MAX], page[PATH_MAX + 16], inside[PATH_MAX / 4];
    struct stat status;
    if (view_check(code, view, err) != ERR_NONE)
        return err->code;
    if (!view->is_project)
        return ERR_NONE;
    snprintf(folder, sizeof folder, "%s/%s", code, view->path);
    cli_note("building view %s: %s", view->key, view->command);
    int result = run_command(folder, view->command);
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
