/* Errors as values. Must not allocate. */
#include "base/err.h"

#include <stdio.h>
#include <string.h>

static void mark_truncation(struct err *err, int written)
{
    if (written >= (int)sizeof err->message)
        memcpy(err->message + sizeof err->message - 4, "...", 4);
}

enum err_code err_vset(struct err *err, enum err_code code, const char *format, va_list arguments)
{
    if (err == NULL)
        return code;
    err->code = code;
    mark_truncation(err, vsnprintf(err->message, sizeof err->message, format, arguments));
    return code;
}

enum err_code err_set(struct err *err, enum err_code code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    err_vset(err, code, format, arguments);
    va_end(arguments);
    return code;
}

enum err_code err_context(struct err *err, const char *format, ...)
{
    if (err == NULL)
        return ERR_INTERNAL;
    char context[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(context, sizeof context, format, arguments);
    va_end(arguments);
    char inner[ERR_MESSAGE_MAX];
    memcpy(inner, err->message, sizeof inner);
    mark_truncation(err, snprintf(err->message, sizeof err->message, "%s: %s", context, inner));
    return err->code;
}

enum err_code err_nomem(struct err *err)
{
    return err_set(err, ERR_NOMEM, "out of memory");
}

const char *err_code_name(enum err_code code)
{
    switch (code) {
    case ERR_NONE:
        return "NONE";
    case ERR_NOMEM:
        return "NOMEM";
    case ERR_INVALID:
        return "INVALID";
    case ERR_NOT_FOUND:
        return "NOT_FOUND";
    case ERR_CONFLICT:
        return "CONFLICT";
    case ERR_BUSY:
        return "BUSY";
    case ERR_LIMIT:
        return "LIMIT";
    case ERR_IO:
        return "IO";
    case ERR_CORRUPT:
        return "CORRUPT";
    case ERR_TIMEOUT:
        return "TIMEOUT";
    case ERR_CANCELLED:
        return "CANCELLED";
    case ERR_SCRIPT:
        return "SCRIPT";
    case ERR_DENIED:
        return "DENIED";
    case ERR_INTERNAL:
        return "INTERNAL";
    }
    return "UNKNOWN";
}
