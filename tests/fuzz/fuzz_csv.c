/* libFuzzer harness for workers.csv: no text may crash or leak, in pieces it is read as in one,
 * and what is read comes back from its own encoding.
 *
 * The first byte chooses after how many allocations Lua runs out of memory (0: never), the second the
 * options; the rest is the text. */
#include "script/budget.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lualib.h>

int luaopen_workers_csv(lua_State *L);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* No isolate here, so no CPU limit. */
__attribute__((weak)) void budget_tick(lua_State *L)
{
    (void)L;
}

struct memory {
    size_t left; /* allocations until memory is out */
};

static void *allocate(void *context, void *block, size_t old_size, size_t size)
{
    struct memory *memory = context;
    if (size == 0) {
        free(block);
        return NULL;
    }
    if (block == NULL || size > old_size) {
        if (memory->left == 0)
            return NULL;
        memory->left--;
    }
    return realloc(block, size);
}

/* Gets the text and the options' bits. */
static const char script[] =
    "local text, bits = ...\n"
    "local function bit(n) return bits >> n & 1 == 1 end\n"
    "local format = { escape = bit(0) and '\\\\' or nil, quote = bit(1) and \"'\" or nil, comment = bit(2) "
    "and '#' or nil }\n"
    "local options = { trim = bit(3), skipEmpty = bit(4), strict = bit(5), header = bit(6), maxField = "
    "bit(7) and 8 or nil }\n"
    "for key, value in pairs(format) do options[key] = value end\n"
    "local ok, rows = pcall(csv.parse, text, options)\n"
    "-- In pieces the same, but that a limit may show elsewhere.\n"
    "local at, step, streamed = 1, bits % 5 + 1, {}\n"
    "local function source()\n"
    "  local piece = text:sub(at, at + step - 1)\n"
    "  at = at + step\n"
    "  return piece ~= '' and piece or nil\n"
    "end\n"
    "local good, problem = pcall(function()\n"
    "  for row in csv.rows(source, options) do streamed[#streamed + 1] = row end\n"
    "end)\n"
    "local function out_of_memory(value) return type(value) == 'string' and value:find 'memory' end\n"
    "if out_of_memory(rows) or out_of_memory(problem) then return end\n"
    "if ok ~= good then error(('WRONG: %s, in pieces %s'):format(rows, problem)) end\n"
    "if not ok then return end\n"
    "local function same(a, b)\n"
    "  for key, value in pairs(a) do\n"
    "    if type(value) == 'table' and not same(value, b[key]) or type(value) ~= 'table' and b[key] ~= value "
    "then return false end\n"
    "  end\n"
    "  return #a == #b\n"
    "end\n"
    "if not same(rows, streamed) then error 'WRONG: other rows in pieces' end\n"
    "if options.header then return end\n"
    "-- What is read comes back from its encoding.\n"
    "local encoded, again = pcall(csv.encode, rows, format)\n"
    "if not encoded then\n"
    "  if out_of_memory(again) then return end\n"
    "  error('WRONG: ' .. again)\n"
    "end\n"
    "local read, second = pcall(csv.parse, again, format)\n"
    "if out_of_memory(second) then return end\n"
    "if not read or not same(rows, second) then error('WRONG: it comes back as something else: ' .. "
    "tostring(second)) end\n";

static int run(lua_State *L)
{
    luaL_requiref(L, "csv", luaopen_workers_csv, 1);
    if (luaL_loadbuffer(L, script, sizeof script - 1, "=fuzz") != LUA_OK)
        return lua_error(L);
    lua_pushlstring(L, lua_touserdata(L, 1), (size_t)lua_tointeger(L, 2));
    lua_pushvalue(L, 3);
    lua_call(L, 2, 0);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct memory memory = {.left = SIZE_MAX};
    lua_State *L = lua_newstate(allocate, &memory);
    if (L == NULL)
        return 0;
    luaL_openlibs(L);
    memory.left = data[0] == 0 ? SIZE_MAX : (size_t)data[0] * 4;
    lua_pushcfunction(L, run);
    lua_pushlightuserdata(L, (void *)(uintptr_t)(data + 2));
    lua_pushinteger(L, (lua_Integer)size - 2);
    lua_pushinteger(L, data[1]);
    if (lua_pcall(L, 3, 0, 0) != LUA_OK) {
        /* Its own checks raise this; anything else is an answer. */
        const char *message = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
        if (strstr(message, "WRONG") != NULL) {
            fprintf(stderr, "%s\n", message);
            abort();
        }
        lua_pop(L, 1);
    }
    memory.left = SIZE_MAX;
    lua_close(L);
    return 0;
}
