/* JSON Web Tokens of workers.crypto: which key goes with which algorithm, and signing. RFC 7519 in the
 * compact form of RFC 7515, algorithms of RFC 7518 and RFC 8037. Must not take the text of a public key for a
 * secret. */
#include "modules/crypto_jwt_priv.h"

#include "base/crypto.h"
#include "base/text.h"
#include "modules/json.h"
#include "script/budget.h"
#include "script/options.h"

#include <lauxlib.h>
#include <string.h>

#define DATE_MAX 253402300799 /* seconds: the last of the year 9999 */
#define SCRATCH "workers.crypto.scratch"

/* ---- algorithms ---- */

#define SECRET_TEXT "a secret (a string)"

const struct jwt_algorithm jwt_algorithms[JWT_ALGORITHM_COUNT] = {
    {"HS256", JWT_SECRET, "sha256", SECRET_TEXT}, {"HS384", JWT_SECRET, "sha384", SECRET_TEXT},
    {"HS512", JWT_SECRET, "sha512", SECRET_TEXT}, {"RS256", JWT_RSA, "sha256", "an RSA key"},
    {"RS384", JWT_RSA, "sha384", "an RSA key"},   {"RS512", JWT_RSA, "sha512", "an RSA key"},
    {"ES256", JWT_P256, "sha256", "a P-256 key"}, {"EdDSA", JWT_ED25519, NULL, "an Ed25519 key"},
};

const struct jwt_algorithm *jwt_find_algorithm(const char *name, size_t len)
{
    for (size_t i = 0; i < JWT_ALGORITHM_COUNT; i++)
        if (strlen(jwt_algorithms[i].name) == len && memcmp(jwt_algorithms[i].name, name, len) == 0)
            return &jwt_algorithms[i];
    return NULL;
}

const struct jwt_algorithm *jwt_need_algorithm(lua_State *L, const char *function, const char *option)
{
    const char *names[JWT_ALGORITHM_COUNT];
    size_t len = 0;
    const char *name = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : NULL;
    if (name == NULL)
        luaL_error(L, "crypto.%s: option \"%s\": the name of an algorithm expected, got %s", function, option,
                   luaL_typename(L, -1));
    const struct jwt_algorithm *found = jwt_find_algorithm(name, len);
    if (found != NULL)
        return found;
    if (len == 4 && strncasecmp(name, "none", 4) == 0)
        luaL_error(L, "crypto.%s: option \"%s\": \"none\" is refused always: such a token proves nothing",
                   function, option);
    for (size_t i = 0; i < JWT_ALGORITHM_COUNT; i++)
        names[i] = jwt_algorithms[i].name;
    int nearest = text_nearest(name, len, names, JWT_ALGORITHM_COUNT);
    if (nearest >= 0)
        luaL_error(L, "crypto.%s: option \"%s\": unknown algorithm \"%s\"; did you mean \"%s\"?", function,
                   option, name, names[nearest]);
    luaL_error(L, "crypto.%s: option \"%s\": unknown algorithm \"%s\"; use one of " JWT_ALGORITHM_NAMES,
               function, option, name);
    return NULL;
}

/* ---- keys ---- */

/* A public key is no secret: whoever has it could sign with it (RFC 8725, section 2.1). */
static bool looks_like_key(const char *secret, size_t len)
{
    return memmem(secret, len, "-----BEGIN ", 11) != NULL || (len >= 4 && memcmp(secret, "ssh-", 4) == 0);
}

void jwt_need_signer(lua_State *L, const char *function, struct jwt_signer *signer)
{
    static const enum jwt_family families[] = {
        [KEY_RSA] = JWT_RSA, [KEY_P256] = JWT_P256, [KEY_ED25519] = JWT_ED25519};
    *signer = (struct jwt_signer){.family = JWT_SECRET, .description = "a secret"};
    signer->key = crypto_to_key(L, function, 2);
    if (signer->key != NULL) {
        signer->family = families[key_type(signer->key)];
        key_describe(signer->key, signer->description);
        return;
    }
    if (lua_type(L, 2) != LUA_TSTRING)
        luaL_error(L, "crypto.%s: argument 2 (key): a secret or a key expected, got %s", function,
                   luaL_typename(L, 2));
    signer->secret = lua_tolstring(L, 2, &signer->secret_len);
    if (signer->secret_len == 0)
        luaL_error(L, "crypto.%s: argument 2 (key): the secret is empty", function);
    if (looks_like_key(signer->secret, signer->secret_len))
        luaL_error(L,
                   "crypto.%s: argument 2 (key) is the text of a key, which is no secret; read it with "
                   "crypto.publicKey or crypto.privateKey",
                   function);
}

/* ---- working memory ---- */

/* Lives in a box, so that an error raised on the way cannot lose it. */
struct scratch {
    struct buf json;
    struct buf token;
};

static int scratch_close(lua_State *L)
{
    struct scratch *scratch = luaL_checkudata(L, 1, SCRATCH);
    buf_free(&scratch->json);
    buf_free(&scratch->token);
    return 0;
}

static struct scratch *push_scratch(lua_State *L)
{
    struct scratch *scratch = lua_newuserdatauv(L, sizeof *scratch, 0);
    buf_init(&scratch->json, JWT_TOKEN_MAX);
    buf_init(&scratch->token, JWT_TOKEN_MAX);
    if (luaL_newmetatable(L, SCRATCH)) {
        static const luaL_Reg closers[] = {{"__gc", scratch_close}, {"__close", scratch_close}, {NULL, NULL}};
        luaL_setfuncs(L, closers, 0);
    }
    lua_setmetatable(L, -2);
    return scratch;
}

/* ---- signing ---- */

static const struct option_spec sign_options[] = {
    {"algorithm", OPTION_STRING, true, "one of " JWT_ALGORITHM_NAMES},
    {"header", OPTION_TABLE, false, "more members of the header, such as { kid = \"…\" }"},
    {NULL, 0, false, NULL},
};

/* Dates are whole seconds. Milliseconds, which the rest of this library counts in, would be a date after the
 * year 9999: a token that never expires. */
static void check_dates(lua_State *L, int claims)
{
    static const char *const names[] = {"exp", "nbf", "iat"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        lua_pushstring(L, names[i]);
        if (lua_rawget(L, claims) != LUA_TNIL) {
            lua_Integer seconds = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : -1;
            if (seconds > DATE_MAX)
                luaL_error(
                    L,
                    "crypto.jwtSign: claim \"%s\": seconds since 1970 expected, got milliseconds; divide by "
                    "1000: ms // 1000",
                    names[i]);
            if (seconds < 0)
                luaL_error(
                    L,
                    "crypto.jwtSign: claim \"%s\": whole seconds since 1970, as an integer, expected, got %s",
                    names[i], lua_type(L, -1) == LUA_TNUMBER ? lua_tostring(L, -1) : luaL_typename(L, -1));
        }
        lua_pop(L, 1);
    }
}

/* Pushes a copy of the option "header" with alg and typ. */
static void push_header(lua_State *L, int options, const struct jwt_algorithm *algorithm)
{
    static const char *const refused[] = {"alg", "crit", "b64"};
    lua_newtable(L);
    int header = lua_gettop(L);
    lua_pushliteral(L, "JWT");
    lua_setfield(L, header, "typ");
    if (lua_getfield(L, options, "header") == LUA_TTABLE) {
        for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
            if (lua_type(L, -2) != LUA_TSTRING)
                luaL_error(L, "crypto.jwtSign: option \"header\": names as keys expected, got a %s key",
                           luaL_typename(L, -2));
            for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
                if (strcmp(lua_tostring(L, -2), refused[i]) == 0)
                    luaL_error(L, "crypto.jwtSign: option \"header\": \"%s\" cannot be set%s", refused[i],
                               i == 0 ? "; the option \"algorithm\" does it" : "");
            lua_pushvalue(L, -2);
            lua_pushvalue(L, -2);
            lua_rawset(L, header);
        }
    }
    lua_settop(L, header);
    lua_pushstring(L, algorithm->name);
    lua_setfield(L, header, "alg");
}

static void add_encoded(struct buf *token, const void *bytes, size_t len)
{
    size_t size = crypto_encoded_len(CRYPTO_BASE64URL, len);
    char *room = buf_reserve(token, size + 1); /* crypto_encode ends with a NUL */
    if (room == NULL)
        return;
    crypto_encode(CRYPTO_BASE64URL, bytes, len, room);
    token->len += size;
}

/* Appends the table at index as a part of the token. */
static void add_part(lua_State *L, struct scratch *scratch, int index, const char *what)
{
    const struct json_encode_options options = {.sort_keys = true};
    struct err err;
    buf_clear(&scratch->json);
    if (json_encode(L, index, &options, &scratch->json, &err) != ERR_NONE)
        luaL_error(L, "crypto.jwtSign: %s: %s", what, err.message);
    if (scratch->json.len == 0 || scratch->json.data[0] != '{')
        luaL_error(L, "crypto.jwtSign: %s: a table with names as keys expected, got a list", what);
    add_encoded(&scratch->token, scratch->json.data, scratch->json.len);
}

static enum err_code make_signature(const struct jwt_signer *signer, const struct jwt_algorithm *algorithm,
                                    const char *text, size_t len, unsigned char out[KEY_SIGNATURE_MAX],
                                    size_t *out_len, struct err *err)
{
    if (signer->key != NULL)
        return key_sign(signer->key, algorithm->digest, KEY_ECDSA_RAW, text, len, out, out_len, err);
    return crypto_hmac(algorithm->digest, signer->secret, signer->secret_len, text, len, out, out_len, err);
}

int crypto_lua_jwt_sign(lua_State *L)
{
    enum { CLAIMS = 1, OPTIONS = 3 };
    struct jwt_signer signer;
    unsigned char signature[KEY_SIGNATURE_MAX];
    size_t len = 0;
    struct err err;
    lua_settop(L, OPTIONS);
    if (!lua_istable(L, CLAIMS))
        return luaL_error(L, "crypto.jwtSign: argument 1 (claims): table expected, got %s",
                          luaL_typename(L, CLAIMS));
    jwt_need_signer(L, "jwtSign", &signer);
    options_check(L, OPTIONS, sign_options, "crypto.jwtSign");
    lua_getfield(L, OPTIONS, "algorithm");
    const struct jwt_algorithm *algorithm = jwt_need_algorithm(L, "jwtSign", "algorithm");
    if (algorithm->family != signer.family || (signer.key != NULL && !key_is_private(signer.key)))
        return luaL_error(L, "crypto.jwtSign: argument 2 (key): %s takes %s%s, got %s", algorithm->name,
                          algorithm->takes, algorithm->family != JWT_SECRET ? " that is private" : "",
                          signer.description);
    check_dates(L, CLAIMS);
    push_header(L, OPTIONS, algorithm);
    int header = lua_gettop(L);
    struct scratch *scratch = push_scratch(L);

    add_part(L, scratch, header, "the header");
    buf_addc(&scratch->token, '.');
    add_part(L, scratch, CLAIMS, "the claims");
    if (make_signature(&signer, algorithm, buf_text(&scratch->token), scratch->token.len, signature, &len,
                       &err) != ERR_NONE)
        return crypto_raise(L, "jwtSign", &err);
    buf_addc(&scratch->token, '.');
    add_encoded(&scratch->token, signature, len);
    if (buf_status(&scratch->token, "the token", &err) != ERR_NONE)
        return crypto_raise(L, "jwtSign", &err);
    budget_tick(L);
    lua_pushlstring(L, scratch->token.data, scratch->token.len);
    buf_free(&scratch->json);
    buf_free(&scratch->token);
    return 1;
}
