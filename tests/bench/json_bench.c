/* Decoding and encoding speed of the JSON codec beside lua-cjson, on the files given as arguments.
 *
 * Each file is decoded into Lua tables and encoded again, in a state of its own, again and again for about a
 * second; the best round counts, for the others had company on the machine. MB is 10^6 bytes of JSON text. */
#include "base/buf.h"
#include "modules/json.h"
#include "script/budget.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int luaopen_cjson_peer(lua_State *L);

__attribute__((weak)) void budget_tick(lua_State *L)
{
    (void)L;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Seconds of the best of the rounds that fit into a second; stack: argument, function. */
static double best_call(lua_State *L, size_t *result_len)
{
    double best = 1e9;
    double begin = now();
    int rounds = 0;
    while (now() - begin < 1.0 || rounds < 3) {
        lua_pushvalue(L, 2);
        lua_pushvalue(L, 1);
        double start = now();
        if (lua_pcall(L, 1, 1, 0) != LUA_OK) {
            fprintf(stderr, "%s\n", lua_tostring(L, -1));
            exit(1);
        }
        double took = now() - start;
        if (took < best)
            best = took;
        if (lua_type(L, -1) == LUA_TSTRING)
            *result_len = lua_rawlen(L, -1);
        lua_pop(L, 1);
        rounds++;
    }
    return best;
}

struct speed {
    double decode; /* seconds */
    double encode;
    size_t encoded; /* bytes */
};

static struct speed measure(lua_CFunction open, const char *text, size_t len)
{
    lua_State *L = luaL_newstate();
    size_t encoded = 0;
    struct speed speed;
    open(L); /* 1: the module, replaced by the argument below */
    lua_getfield(L, 1, "decode");
    lua_getfield(L, 1, "encode");
    lua_replace(L, 1);
    lua_pushlstring(L, text, len);
    lua_insert(L, 1); /* text, encode, decode */
    lua_insert(L, 2); /* text, decode, encode */
    speed.decode = best_call(L, &encoded);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    lua_replace(L, 1);
    lua_remove(L, 2); /* value, encode */
    speed.encode = best_call(L, &encoded);
    speed.encoded = encoded;
    lua_close(L);
    return speed;
}

static char *read_whole(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        exit(1);
    }
    struct buf text;
    buf_init(&text, (size_t)1 << 30);
    char block[65536];
    size_t got;
    while ((got = fread(block, 1, sizeof block, file)) > 0)
        buf_add(&text, block, got);
    fclose(file);
    return buf_take(&text, len);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: json_bench FILE.json...\n");
        return 2;
    }
    printf("%10s  %8s %8s %6s  %8s %8s %6s  %s\n", "bytes", "decode", "cjson", "ratio", "encode", "cjson",
           "ratio", "file (MB/s)");
    for (int i = 1; i < argc; i++) {
        size_t len;
        char *text = read_whole(argv[i], &len);
        if (text == NULL)
            continue;
        struct speed ours = measure(luaopen_workers_json, text, len);
        struct speed peer = measure(luaopen_cjson_peer, text, len);
        /* Both are credited with our text: the peer's escapes of '/' make its own longer, not faster. */
        double read = (double)len / 1e6;
        double written = (double)ours.encoded / 1e6;
        printf("%10zu  %8.1f %8.1f %6.2f  %8.1f %8.1f %6.2f  %s\n", len, read / ours.decode,
               read / peer.decode, peer.decode / ours.decode, written / ours.encode, written / peer.encode,
               peer.encode / ours.encode, argv[i]);
        fflush(stdout);
        free(text);
    }
    return 0;
}
