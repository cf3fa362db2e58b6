/* Answers of the server's own. */
#include "server/answer.h"

#include "base/buf.h"
#include "base/json.h"

void answer_json(struct http_call *call, int status, const char *json, size_t len)
{
    const struct http_answer_field type = {"content-type", "application/json"};
    http_call_answer(call, status, &type, 1, json, len);
}

void answer_error_later(struct http_call *call, int status, const char *seconds, const char *code,
                        const char *message)
{
    const struct http_answer_field fields[] = {{"content-type", "application/json"},
                                               {"retry-after", seconds}};
    struct buf body;
    struct err ignored;
    buf_init(&body, 8192);
    buf_addf(&body, "{\"error\":{\"code\":\"%s\",\"message\":", code);
    if (json_write_string(&body, message, __builtin_strlen(message), &ignored) != ERR_NONE)
        buf_adds(&body, "\"\"");
    buf_adds(&body, "}}");
    http_call_answer(call, status, fields, seconds != NULL ? 2 : 1, buf_text(&body), body.len);
    buf_free(&body);
}

void answer_error(struct http_call *call, int status, const char *code, const char *message)
{
    answer_error_later(call, status, NULL, code, message);
}
