/* Keys and signatures of workers.crypto. Must not give a script anything of a key but its type and size. */
#include "modules/crypto_priv.h"

#include "script/budget.h"
#include "script/options.h"

#include <lauxlib.h>
#include <string.h>

#define KEY_BOX "workers.crypto.key"
#define MAX_KEYS 256 /* open at once in one isolate: their memory is not Lua's */

/* What the keys of one isolate share; in the registry. */
struct shared {
    int open_keys;
};
static const char shared_key = 'k';

struct key_box {
    struct shared *shared;
    struct key *key; /* NULL when closed */
};

/* ---- the box ---- */

static int key_box_close(lua_State *L)
{
    struct key_box *box = luaL_checkudata(L, 1, KEY_BOX);
    if (box->key != NULL)
        box->shared->open_keys--;
    key_free(box->key);
    box->key = NULL;
    return 0;
}

static int key_box_tostring(lua_State *L)
{
    const struct key_box *box = luaL_checkudata(L, 1, KEY_BOX);
    char text[KEY_DESCRIPTION_SIZE] = "closed key";
    if (box->key != NULL)
        key_describe(box->key, text);
    lua_pushstring(L, text);
    return 1;
}

void crypto_open_keys(lua_State *L)
{
    static const luaL_Reg metamethods[] = {
        {"__gc", key_box_close}, {"__close", key_box_close}, {"__tostring", key_box_tostring}, {NULL, NULL}};
    static const luaL_Reg methods[] = {{"close", key_box_close}, {NULL, NULL}};
    if (luaL_newmetatable(L, KEY_BOX)) {
        luaL_setfuncs(L, metamethods, 0);
        luaL_newlib(L, methods);
        lua_setfield(L, -2, "__index");
        lua_pushliteral(L, "key"); /* a script that got at __gc could leave keys behind */
        lua_setfield(L, -2, "__metatable");
        struct shared *shared = lua_newuserdatauv(L, sizeof *shared, 0);
        *shared = (struct shared){0};
        lua_rawsetp(L, LUA_REGISTRYINDEX, &shared_key);
    }
    lua_pop(L, 1);
}

static struct key_box *push_box(lua_State *L, const char *function)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &shared_key);
    struct shared *shared = lua_touserdata(L, -1);
    lua_pop(L, 1);
    if (shared->open_keys >= MAX_KEYS) {
        lua_gc(L, LUA_GCCOLLECT); /* closes the keys that nobody uses any more */
        if (shared->open_keys >= MAX_KEYS)
            luaL_error(L, "crypto.%s: %d keys are open already; close those that are done with: key:close()",
                       function, MAX_KEYS);
    }
    struct key_box *box = lua_newuserdatauv(L, sizeof *box, 0);
    *box = (struct key_box){.shared = shared};
    luaL_setmetatable(L, KEY_BOX);
    return box;
}

/* The end of a function that fills the box on top of the stack. */
static int return_box(lua_State *L, const char *function, struct key_box *box, enum err_code code,
                      const struct err *err)
{
    if (code != ERR_NONE)
        return crypto_raise(L, function, err);
    box->shared->open_keys++;
    budget_tick(L);
    return 1;
}

const struct key *crypto_to_key(lua_State *L, const char *function, int index)
{
    const struct key_box *box = luaL_testudata(L, index, KEY_BOX);
    if (box == NULL)
        return NULL;
    if (box->key == NULL)
        luaL_error(L, "crypto.%s: argument %d (key): the key is closed", function, index);
    return box->key;
}

static const struct key *need_key(lua_State *L, const char *function)
{
    const struct key *key = crypto_to_key(L, function, 1);
    if (key == NULL)
        luaL_error(L, "crypto.%s: argument 1 (key): a key expected, as crypto.privateKey gives it, got %s",
                   function, luaL_typename(L, 1));
    return key;
}

/* ---- reading ---- */

int crypto_lua_private_key(lua_State *L)
{
    size_t len = 0, passphrase_len = 0;
    const char *pem = crypto_need_bytes(L, "privateKey", 1, "pem", &len);
    const char *passphrase = NULL;
    if (!lua_isnoneornil(L, 2))
        passphrase = crypto_need_bytes(L, "privateKey", 2, "passphrase", &passphrase_len);
    struct key_box *box = push_box(L, "privateKey");
    struct err err;
    enum err_code code = key_read_private(pem, len, passphrase, passphrase_len, &box->key, &err);
    return return_box(L, "privateKey", box, code, &err);
}

int crypto_lua_public_key(lua_State *L)
{
    size_t len = 0;
    const char *pem = crypto_need_bytes(L, "publicKey", 1, "pem", &len);
    struct key_box *box = push_box(L, "publicKey");
    struct err err;
    enum err_code code = key_read_public(pem, len, &box->key, &err);
    return return_box(L, "publicKey", box, code, &err);
}

/* Whether the table in argument 1 has the member, which is pushed. Raw access: no script may run meanwhile.
 */
static bool push_member(lua_State *L, const char *name)
{
    lua_pushstring(L, name);
    return lua_rawget(L, 1) != LUA_TNIL;
}

int crypto_lua_key_from_jwk(lua_State *L)
{
    struct key_jwk_member members[KEY_JWK_COUNT] = {{NULL, 0}};
    if (!lua_istable(L, 1))
        return luaL_error(L, "crypto.keyFromJwk: argument 1 (jwk): table expected, got %s",
                          luaL_typename(L, 1));
    if (!push_member(L, "kty") && push_member(L, "keys"))
        return luaL_error(L,
                          "crypto.keyFromJwk: argument 1 (jwk) is a set of keys; give one of its \"keys\"");
    if (push_member(L, "oth"))
        return luaL_error(L, "crypto.keyFromJwk: an RSA key of more than two primes");
    lua_settop(L, 1);
    luaL_checkstack(L, KEY_JWK_COUNT + 4, NULL);
    for (int i = 0; i < KEY_JWK_COUNT; i++) { /* the strings stay on the stack */
        if (!push_member(L, key_jwk_names[i]))
            continue;
        if (lua_type(L, -1) != LUA_TSTRING)
            return luaL_error(L, "crypto.keyFromJwk: the JWK's member \"%s\" must be a string, got %s",
                              key_jwk_names[i], luaL_typename(L, -1));
        members[i].text = lua_tolstring(L, -1, &members[i].len);
    }
    struct key_box *box = push_box(L, "keyFromJwk");
    struct err err;
    enum err_code code = key_from_jwk(members, &box->key, &err);
    return return_box(L, "keyFromJwk", box, code, &err);
}

/* ---- signatures ---- */

static const struct option_spec sign_options[] = {
    {"hash", OPTION_STRING, false, "\"sha256\", \"sha384\" or \"sha512\""},
    {"format", OPTION_STRING, false, "\"der\" or \"raw\""},
    {NULL, 0, false, NULL},
};

static void read_options(lua_State *L, const char *function, int index, const struct key *key,
                         const char **hash, enum key_ecdsa_form *form)
{
    *hash = key_type(key) == KEY_ED25519 ? NULL : "sha256";
    *form = KEY_ECDSA_DER;
    if (lua_isnoneornil(L, index))
        return;
    options_check(L, index, sign_options, lua_pushfstring(L, "crypto.%s", function));
    lua_pop(L, 1);
    *hash = options_string(L, index, "hash", *hash);
    const char *format = options_string(L, index, "format", "der");
    if (strcmp(format, "raw") == 0)
        *form = KEY_ECDSA_RAW;
    else if (strcmp(format, "der") != 0)
        luaL_error(L, "crypto.%s: option \"format\": \"der\" or \"raw\" expected, got \"%s\"", function,
                   format);
}

int crypto_lua_sign(lua_State *L)
{
    const char *hash = NULL;
    enum key_ecdsa_form form = KEY_ECDSA_DER;
    unsigned char signature[KEY_SIGNATURE_MAX];
    size_t len = 0, size = 0;
    const struct key *key = need_key(L, "sign");
    const char *data = crypto_need_bytes(L, "sign", 2, "data", &len);
    read_options(L, "sign", 3, key, &hash, &form);
    struct err err;
    if (key_sign(key, hash, form, data, len, signature, &size, &err) != ERR_NONE)
        return crypto_raise(L, "sign", &err);
    budget_tick(L);
    lua_pushlstring(L, (const char *)signature, size);
    return 1;
}

int crypto_lua_verify(lua_State *L)
{
    const char *hash = NULL;
    enum key_ecdsa_form form = KEY_ECDSA_DER;
    size_t len = 0, size = 0;
    bool good = false;
    const struct key *key = need_key(L, "verify");
    const char *data = crypto_need_bytes(L, "verify", 2, "data", &len);
    const char *signature = crypto_need_bytes(L, "verify", 3, "signature", &size);
    read_options(L, "verify", 4, key, &hash, &form);
    struct err err;
    if (key_verify(key, hash, form, data, len, signature, size, &good, &err) != ERR_NONE)
        return crypto_raise(L, "verify", &err);
    budget_tick(L);
    lua_pushboolean(L, good);
    return 1;
}
