/* Keeping and showing what an examination has found. */
#include "cli/findings.h"

#include "base/json.h"
#include "base/mem.h"
#include "cli/cli.h"

#include <stdarg.h>
#include <string.h>

#define LINE_MAX_BYTES 1000

static const char *const level_names[] = {"ok", "warn", "fail"};

void findings_free(struct findings *findings)
{
    for (size_t i = 0; i < findings->count; i++) {
        mem_free(findings->items[i].text);
        mem_free(findings->items[i].remedy);
    }
    findings->count = 0;
}

static char *first_line(const char *text)
{
    size_t len = strcspn(text, "\r\n");
    char *line = mem_strndup(text, len < LINE_MAX_BYTES ? len : LINE_MAX_BYTES);
    return line != NULL ? line : mem_need_str("");
}

void findings_add(struct findings *findings, enum finding_level level, const char *check, const char *remedy,
                  const char *format, ...)
{
    struct err text;
    va_list arguments;
    if (findings->count == FINDINGS_MAX)
        return;
    va_start(arguments, format);
    err_vset(&text, ERR_NONE, format, arguments);
    va_end(arguments);
    findings->items[findings->count++] =
        (struct finding){.level = level,
                         .check = check,
                         .text = first_line(text.message),
                         .remedy = remedy[0] != '\0' ? first_line(remedy) : NULL};
}

bool findings_failed(const struct findings *findings)
{
    for (size_t i = 0; i < findings->count; i++)
        if (findings->items[i].level == FINDING_FAIL)
            return true;
    return false;
}

static void print_level(enum finding_level level)
{
    static const char *const colors[] = {"32", "33", "31"};
    if (cli_color(stdout))
        printf("\033[%sm%-4s\033[0m  ", colors[level], level_names[level]);
    else
        printf("%-4s  ", level_names[level]);
}

void findings_print(const struct findings *findings)
{
    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *finding = &findings->items[i];
        print_level(finding->level);
        printf("%s: ", finding->check);
        cli_write(stdout, finding->text, strlen(finding->text));
        putchar('\n');
        if (finding->remedy == NULL)
            continue;
        fputs("      ", stdout);
        cli_write(stdout, finding->remedy, strlen(finding->remedy));
        putchar('\n');
    }
}

void findings_json(const struct findings *findings, struct buf *out)
{
    buf_addf(out, "{\"ok\":%s,\"checks\":[", findings_failed(findings) ? "false" : "true");
    for (size_t i = 0; i < findings->count; i++) {
        const struct finding *finding = &findings->items[i];
        buf_addf(out, "%s{\"check\":\"%s\",\"level\":\"%s\",\"message\":", i > 0 ? "," : "", finding->check,
                 level_names[finding->level]);
        json_write_text(out, finding->text);
        if (finding->remedy != NULL) {
            buf_adds(out, ",\"remedy\":");
            json_write_text(out, finding->remedy);
        }
        buf_addc(out, '}');
    }
    buf_adds(out, "]}");
}
