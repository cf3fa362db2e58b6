/* libFuzzer harness for workers.xml: no text may crash or leak, in pieces it is read as in one,
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

int luaopen_workers_xml(lua_State *L);
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
    "local options = { doctype = bit(0), comments = bit(1), instructions = bit(2), keepWhitespace = bit(3), "
    "encoding = bit(4) and 'ISO-8859-1' or nil }\n"
    "local ok, tree = pcall(xml.parse, text, options)\n"
    "local at, step, events = 1, bits % 5 + 1, 0\n"
    "local function source()\n"
    "  local piece = text:sub(at, at + step - 1)\n"
    "  at = at + step\n"
    "  return piece ~= '' and piece or nil\n"
    "end\n"
    "local good, problem = pcall(function()\n"
    "  for _ in xml.events(source, options) do events = events + 1 end\n"
    "end)\n"
    "local function out_of_memory(value) return type(value) == 'string' and value:find 'memory' end\n"
    "if out_of_memory(tree) or out_of_memory(problem) then return end\n"
    "if ok ~= good then error(('WRONG: %s, in pieces %s'):format(tree, problem)) end\n"
    "if not ok then return end\n"
    "xml.text(tree)\n"
    "xml.findAll(tree, '*/*')\n"
    "local function same(a, b)\n"
    "  if type(a) ~= 'table' or type(b) ~= 'table' then return a == b end\n"
    "  for _, key in ipairs { 'name', 'namespace', 'prefix', 'comment', 'instruction', 'data' } do\n"
    "    if a[key] ~= b[key] then return false end\n"
    "  end\n"
    "  for key, value in pairs(a.attributes or {}) do\n"
    "    if b.attributes[key] ~= value then return false end\n"
    "  end\n"
    "  for i = 1, math.max(#a, #b) do\n"
    "    if not same(a[i], b[i]) then return false end\n"
    "  end\n"
    "  return true\n"
    "end\n"
    "-- What is read comes back from its encoding.\n"
    "local encoded, again = pcall(xml.encode, tree)\n"
    "if not encoded then\n"
    "  if out_of_memory(again) then return end\n"
    "  -- In ISO-8859-1 expat takes three characters for letters that no edition of XML has in names.\n"
    "  if again:find('cannot be the name', 1, true) and text:find '[\\xaa\\xb5\\xba]' then return end\n"
    "  error('WRONG: ' .. again)\n"
    "end\n"
    "options.encoding, options.keepWhitespace = nil, true\n"
    "local read, second = pcall(xml.parse, again, options)\n"
    "if out_of_memory(second) then return end\n"
    "if not read then error('WRONG: ' .. second) end\n"
    "if not same(tree, second) then error('WRONG: it comes back as another tree from ' .. again) end\n";

static int run(lua_State *L)
{
    luaL_requiref(L, "xml", luaopen_workers_xml, 1);
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
