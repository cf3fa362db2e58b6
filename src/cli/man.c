/* The table of commands in the macros of man(7), as both groff and mandoc read them. */
#include "cli/man.h"

#include <string.h>

#define SOURCE "workers " WORKERS_VERSION

/* Text in the middle of a line. A hyphen is a minus, so that what is copied from the page works. */
static void add_text(struct buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\\')
            buf_adds(out, "\\e");
        else if (text[i] == '-')
            buf_adds(out, "\\-");
        else if (text[i] == '"')
            buf_adds(out, "\\(dq");
        else
            buf_addc(out, text[i]);
    }
}

static void add_word(struct buf *out, const char *text)
{
    add_text(out, text, strlen(text));
}

/* A line of its own, which may begin with what would be a macro. */
static void add_line(struct buf *out, const char *text, size_t len)
{
    if (len > 0 && (text[0] == '.' || text[0] == '\''))
        buf_adds(out, "\\&");
    add_text(out, text, len);
    buf_addc(out, '\n');
}

/* Paragraphs, and lines that are indented, which stay as they are. */
static void add_help(struct buf *out, const char *help)
{
    bool as_is = false, first = true;
    while (*help != '\0') {
        size_t len = strcspn(help, "\n");
        bool indented = help[0] == ' ';
        if (as_is && !indented)
            buf_adds(out, ".fi\n.RE\n");
        if (!as_is && indented)
            buf_adds(out, ".RS 4\n.nf\n");
        as_is = indented;
        size_t blanks = indented ? strspn(help, " ") : 0;
        if (len > 0)
            add_line(out, help + blanks, len - blanks);
        else if (!first && strspn(help, "\n") < strlen(help))
            buf_adds(out, ".PP\n");
        first = false;
        help += len + (help[len] == '\n');
    }
    if (as_is)
        buf_adds(out, ".fi\n.RE\n");
}

static void add_option(struct buf *out, const struct cli_option *option)
{
    buf_adds(out, ".TP\n\\fB");
    if (option->brief != NULL) {
        add_word(out, option->brief);
        buf_adds(out, "\\fR, \\fB");
    }
    add_word(out, option->name);
    buf_adds(out, "\\fR");
    if (option->value != NULL) {
        buf_adds(out, " \\fI");
        add_word(out, option->value);
        buf_adds(out, "\\fR");
    }
    buf_addc(out, '\n');
    add_line(out, option->help, strlen(option->help));
}

static void add_options(struct buf *out, const struct command *command)
{
    static const struct cli_option common[] = {
        {"--server", NULL, "URL|local", "work on that server, or with local not on the one in workers.yaml"},
        {"--worker", NULL, "NAME", "which of the server's workers"},
    };
    for (const struct cli_option *option = command->options; option != NULL && option->name != NULL; option++)
        add_option(out, option);
    for (size_t i = 0; command->remote && i < 2; i++)
        add_option(out, &common[i]);
}

static void add_usage(struct buf *out, const struct command *command)
{
    buf_adds(out, "\\fBworkers ");
    add_word(out, command->name);
    buf_adds(out, "\\fR");
    if (command->arguments[0] != '\0') {
        buf_adds(out, " \\fI");
        add_word(out, command->arguments);
        buf_adds(out, "\\fR");
    }
    buf_adds(out, "\n");
}

static void add_head(struct buf *out, const char *title, const char *name, const char *summary)
{
    buf_addf(out, ".TH %s 1 \"\" \"" SOURCE "\" \"User Commands\"\n.nh\n.ad l\n.SH NAME\n", title);
    add_word(out, name);
    buf_adds(out, " \\- ");
    add_word(out, summary);
    buf_adds(out, "\n");
}

static void add_ends(struct buf *out)
{
    buf_adds(out, ".SH EXIT STATUS\n0 when it is done, 1 when the work failed, 2 for wrong usage, 130 after "
                  "Ctrl\\-C.\n");
}

void man_write_command(const struct command *command, struct buf *out)
{
    char title[128], name[128];
    snprintf(name, sizeof name, "workers-%s", command->name);
    for (char *at = name; *at != '\0'; at++)
        *at = *at == ' ' ? '-' : *at;
    snprintf(title, sizeof title, "%s", name);
    for (char *at = title; *at != '\0'; at++)
        *at = *at >= 'a' && *at <= 'z' ? (char)(*at - 'a' + 'A') : *at;
    add_head(out, title, name, command->summary);
    buf_adds(out, ".SH SYNOPSIS\n");
    add_usage(out, command);
    buf_adds(out, ".SH DESCRIPTION\n");
    add_help(out, command->help);
    if (command->remote || (command->options != NULL && command->options[0].name != NULL)) {
        buf_adds(out, ".SH OPTIONS\n");
        add_options(out, command);
    }
    add_ends(out);
    buf_adds(out, ".SH SEE ALSO\n.BR workers (1)\n");
}

void man_write_all(struct buf *out)
{
    add_head(out, "WORKERS", "workers",
             "run small Lua scripts that sync outside data, give agents tools, and run jobs");
    buf_adds(
        out,
        ".SH SYNOPSIS\n\\fBworkers\\fR \\fICOMMAND\\fR [\\fIarguments\\fR] [\\fIoptions\\fR]\n"
        ".SH DESCRIPTION\nCommands work on the project of the current folder: the nearest folder above with "
        "a "
        "workers.yaml. Results go to standard output, everything else to standard error.\n.SH COMMANDS\n");
    for (int i = 0; cli_commands[i] != NULL; i++) {
        const struct command *command = cli_commands[i];
        buf_adds(out, ".SS ");
        add_usage(out, command);
        add_line(out, command->summary, strlen(command->summary));
        buf_adds(out, ".PP\n");
        add_help(out, command->help);
        add_options(out, command);
    }
    add_ends(out);
    buf_adds(
        out,
        ".SH FILES\n.TP\n\\fIworkers.yaml\\fR\nsettings of a project\n.TP\n\\fI.workers\\fR\nrows, states, "
        "runs, secrets and logs of a project\n.TP\n\\fI.env\\fR\nvariables of a project\n");
}
