/* Which words about a failure are kept. */
#include "base/failure.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define SMALL "abcdefghijklmnopqrstuvwxyz"
#define CAPITAL "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

static bool consists_of(const char *text, const char *characters)
{
    size_t len = strlen(text);
    return len > 0 && len < FAILURE_WORD_MAX && strspn(text, characters) == len;
}

static bool is_name(const char *text)
{
    size_t len = strlen(text);
    return consists_of(text, SMALL CAPITAL) && len >= 5 && strcmp(text + len - 5, "Error") == 0;
}

static bool is_code(const char *text)
{
    return consists_of(text, SMALL "_") || consists_of(text, CAPITAL "_") ||
           (strlen(text) == 3 && consists_of(text, "0123456789"));
}

void failure_set(struct failure *failure, const char *name, const char *code, int status)
{
    *failure = (struct failure){.status = status >= 100 && status <= 999 ? status : 0};
    snprintf(failure->name, sizeof failure->name, "%s", is_name(name) ? name : "Error");
    snprintf(failure->code, sizeof failure->code, "%s", is_code(code) ? code : "");
}
