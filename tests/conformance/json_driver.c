/* The far end of json_suite.py. Reads cases from stdin, each as its length in decimal, a newline and that
 * many bytes; answers each with a line, "ok" or "refused " and the message. What was accepted must also
 * encode, and decode again. */
#include "modules/json.h"
#include "script/budget.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>

__attribute__((weak)) void budget_tick(lua_State *L)
{
    (void)L;
}

static const char *judge(lua_State *L, const char *text, size_t len, struct err *err)
{
    struct buf out;
    const char *verdict = "ok";
    buf_init(&out, 64 << 20);
    if (json_decode(L, text, len, err) != ERR_NONE)
        verdict = "refused";
    else if (json_encode(L, -1, NULL, &out, err) != ERR_NONE)
        verdict = "accepted, but cannot be encoded:";
    else if (json_decode(L, buf_text(&out), out.len, err) != ERR_NONE)
        verdict = "accepted, but what it became is refused:";
    lua_settop(L, 0);
    buf_free(&out);
    return verdict;
}

int main(void)
{
    lua_State *L = luaL_newstate();
    size_t len;
    while (L != NULL && scanf("%zu", &len) == 1 && getchar() == '\n' && len < (size_t)1 << 30) {
        /* Exactly as long as the case, so that AddressSanitizer sees any byte read beyond it. */
        char *text = malloc(len > 0 ? len : 1);
        if (text == NULL || fread(text, 1, len, stdin) != len)
            return 1;
        struct err err = {.message = ""};
        const char *verdict = judge(L, text, len, &err);
        printf("%s %s\n", verdict, err.message);
        fflush(stdout);
        free(text);
    }
    lua_close(L);
    return 0;
}
