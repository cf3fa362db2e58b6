/* libFuzzer harness for JSON Web Tokens: no token may crash, leak or be taken for one that is not signed.
 *
 * The first byte chooses: 0 a token as it stands, else a header and a payload, separated by a zero byte,
 * which the harness signs, so that what lies behind the signature is reached too. */
#include "base/crypto.h"
#include "modules/modules.h"
#include "script/script_error.h"
#include "script/task.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECRET "0123456789abcdef0123456789abcdef"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct isolate *isolate;

static void add_encoded(luaL_Buffer *token, const void *bytes, size_t len)
{
    size_t text_len = crypto_encoded_len(CRYPTO_BASE64URL, len);
    crypto_encode(CRYPTO_BASE64URL, bytes, len, luaL_prepbuffsize(token, text_len + 1));
    luaL_addsize(token, text_len);
}

/* Pushes header.payload.signature of the two texts. */
static void push_signed(lua_State *L, const char *text, size_t len)
{
    unsigned char mac[CRYPTO_DIGEST_MAX];
    size_t mac_len = 0, signed_len = 0;
    struct err err;
    luaL_Buffer token;
    const char *end = memchr(text, '\0', len);
    size_t header_len = end != NULL ? (size_t)(end - text) : len;
    luaL_buffinit(L, &token);
    add_encoded(&token, text, header_len);
    luaL_addchar(&token, '.');
    if (end != NULL)
        add_encoded(&token, end + 1, len - header_len - 1);
    luaL_pushresult(&token);
    const char *signed_text = lua_tolstring(L, -1, &signed_len);
    if (crypto_hmac("sha256", SECRET, strlen(SECRET), signed_text, signed_len, mac, &mac_len, &err) !=
        ERR_NONE)
        abort();
    luaL_buffinit(L, &token);
    luaL_addlstring(&token, signed_text, signed_len);
    luaL_addchar(&token, '.');
    add_encoded(&token, mac, mac_len);
    luaL_pushresult(&token);
    lua_remove(L, -2);
}

/* Arguments: the text, and whether to sign it. */
static int run(lua_State *L)
{
    size_t len = 0;
    const char *text = lua_tolstring(L, 1, &len);
    bool sign = lua_toboolean(L, 2);
    luaL_requiref(L, "workers.crypto", luaopen_workers_crypto, 0);
    if (sign)
        push_signed(L, text, len);
    else
        lua_pushvalue(L, 1);
    int token = lua_gettop(L);
    lua_getfield(L, token - 1, "jwtVerify");
    lua_pushvalue(L, token);
    lua_pushliteral(L, SECRET);
    lua_newtable(L);
    lua_newtable(L);
    lua_pushliteral(L, "HS256");
    lua_rawseti(L, -2, 1);
    lua_setfield(L, -2, "algorithms");
    lua_pushliteral(L, "a");
    lua_setfield(L, -2, "audience");
    bool accepted = lua_pcall(L, 3, 2, 0) == LUA_OK;
    if (accepted && !sign)
        abort(); /* a signature was guessed */
    if (accepted && (!lua_istable(L, -1) || !lua_istable(L, -2)))
        abort();
    lua_settop(L, token);
    lua_getfield(L, token - 1, "jwtDecode");
    lua_pushvalue(L, token);
    bool decoded = lua_pcall(L, 1, 2, 0) == LUA_OK;
    if (accepted && !decoded)
        abort();
    return 0;
}

static void open_isolate(void)
{
    static uv_loop_t loop;
    static const struct isolate_host host = {.ctx = NULL};
    struct scheduler *scheduler = NULL;
    struct err err;
    if (uv_loop_init(&loop) != 0 || scheduler_new(&loop, &scheduler, &err) != ERR_NONE)
        abort();
    const struct isolate_config config = {.scheduler = scheduler, .host = &host, .modules = workers_modules};
    if (isolate_open(&config, &isolate, &err) != ERR_NONE)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct script_error error;
    if (size == 0)
        return 0;
    if (isolate == NULL)
        open_isolate();
    lua_State *L = isolate_state(isolate);
    lua_pushcfunction(L, run);
    lua_pushlstring(L, (const char *)data + 1, size - 1);
    lua_pushboolean(L, data[0] != 0);
    script_error_init(&error);
    if (isolate_call(isolate, 2, 0, &error) != ERR_NONE) {
        fprintf(stderr, "%s\n", error.message);
        abort();
    }
    script_error_free(&error);
    return 0;
}
