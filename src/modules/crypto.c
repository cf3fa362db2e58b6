/* workers.crypto: digests, random bytes and text forms for scripts; keys are in crypto_key.c, tokens in
 * crypto_jwt.c. Must not hold malloc'd memory across Lua calls.
 *
 * Strings are bytes. Every function does its work in one go and then ticks the CPU limit: the longest string
 * that a script's memory limit allows takes well under a second. */
#include "base/crypto.h"

#include "base/id.h"
#include "modules/crypto_priv.h"
#include "modules/modules.h"
#include "script/budget.h"

#include <string.h>

#include <lauxlib.h>
#include <lua.h>

#define RANDOM_MAX 65536

const char *crypto_need_bytes(lua_State *L, const char *function, int index, const char *what, size_t *len)
{
    if (lua_type(L, index) != LUA_TSTRING)
        luaL_error(L, "crypto.%s: argument %d (%s): string expected, got %s", function, index, what,
                   luaL_typename(L, index));
    return lua_tolstring(L, index, len);
}

int crypto_raise(lua_State *L, const char *function, const struct err *err)
{
    return luaL_error(L, "crypto.%s: %s", function, err->message);
}

/* Names have no NUL in them, so the C string is the whole. */
static const char *need_name(lua_State *L, const char *function)
{
    size_t len;
    const char *name = crypto_need_bytes(L, function, 1, "name", &len);
    return strlen(name) == len ? name : "";
}

/* ---- results ---- */

static const char *const form_names[] = {
    [CRYPTO_HEX] = "hex", [CRYPTO_BASE64] = "base64", [CRYPTO_BASE64URL] = "base64url"};
#define RAW (-1)

/* An enum crypto_encoding or RAW. */
static int need_form(lua_State *L, const char *function, int index)
{
    if (lua_isnoneornil(L, index))
        return CRYPTO_HEX;
    const char *name = lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : "";
    for (int i = CRYPTO_HEX; i <= CRYPTO_BASE64URL; i++) {
        if (strcmp(name, form_names[i]) == 0)
            return i;
    }
    if (strcmp(name, "raw") != 0)
        luaL_error(L,
                   "crypto.%s: argument %d (encoding): \"hex\", \"base64\", \"base64url\" or \"raw\" "
                   "expected, got %s",
                   function, index, luaL_tolstring(L, index, NULL));
    return RAW;
}

static void push_encoded(lua_State *L, enum crypto_encoding encoding, const void *bytes, size_t len)
{
    size_t size = crypto_encoded_len(encoding, len);
    luaL_Buffer buffer;
    crypto_encode(encoding, bytes, len, luaL_buffinitsize(L, &buffer, size + 1));
    luaL_pushresultsize(&buffer, size);
}

static int push_digest(lua_State *L, int form, const unsigned char *digest, size_t len)
{
    budget_tick(L);
    if (form == RAW)
        lua_pushlstring(L, (const char *)digest, len);
    else
        push_encoded(L, (enum crypto_encoding)form, digest, len);
    return 1;
}

/* ---- digests ---- */

static int crypto_lua_sha256(lua_State *L)
{
    size_t len;
    const char *bytes = crypto_need_bytes(L, "sha256", 1, "data", &len);
    int form = need_form(L, "sha256", 2);
    unsigned char digest[32];
    struct err err;
    if (crypto_sha256(bytes, len, digest, &err) != ERR_NONE)
        return crypto_raise(L, "sha256", &err);
    return push_digest(L, form, digest, sizeof digest);
}

static int crypto_lua_digest(lua_State *L)
{
    size_t len, size = 0;
    const char *name = need_name(L, "digest");
    const char *bytes = crypto_need_bytes(L, "digest", 2, "data", &len);
    int form = need_form(L, "digest", 3);
    unsigned char digest[CRYPTO_DIGEST_MAX];
    struct err err;
    if (crypto_digest(name, bytes, len, digest, &size, &err) != ERR_NONE)
        return crypto_raise(L, "digest", &err);
    return push_digest(L, form, digest, size);
}

static int crypto_lua_hmac(lua_State *L)
{
    size_t len, key_len, size = 0;
    const char *name = need_name(L, "hmac");
    const char *key = crypto_need_bytes(L, "hmac", 2, "key", &key_len);
    const char *bytes = crypto_need_bytes(L, "hmac", 3, "data", &len);
    int form = need_form(L, "hmac", 4);
    unsigned char digest[CRYPTO_DIGEST_MAX];
    struct err err;
    if (crypto_hmac(name, key, key_len, bytes, len, digest, &size, &err) != ERR_NONE)
        return crypto_raise(L, "hmac", &err);
    return push_digest(L, form, digest, size);
}

/* The time taken tells the lengths apart, and nothing else. */
static int crypto_lua_equal(lua_State *L)
{
    size_t a_len, b_len;
    const char *a = crypto_need_bytes(L, "equal", 1, "a", &a_len);
    const char *b = crypto_need_bytes(L, "equal", 2, "b", &b_len);
    lua_pushboolean(L, a_len == b_len && crypto_equal(a, b, a_len));
    budget_tick(L);
    return 1;
}

/* ---- random ---- */

static int crypto_lua_random_bytes(lua_State *L)
{
    int is_integer = 0;
    lua_Integer count = lua_type(L, 1) == LUA_TNUMBER ? lua_tointegerx(L, 1, &is_integer) : 0;
    if (!is_integer || count < 0 || count > RANDOM_MAX)
        return luaL_error(L, "crypto.randomBytes: argument 1 (count): integer from 0 to %d expected, got %s",
                          RANDOM_MAX, luaL_tolstring(L, 1, NULL));
    luaL_Buffer buffer;
    char *bytes = luaL_buffinitsize(L, &buffer, (size_t)count);
    struct err err;
    if (crypto_random(bytes, (size_t)count, &err) != ERR_NONE)
        return crypto_raise(L, "randomBytes", &err);
    luaL_pushresultsize(&buffer, (size_t)count);
    return 1;
}

static int crypto_lua_uuid(lua_State *L)
{
    char text[ID_UUID_SIZE];
    struct err err;
    if (id_uuid4(text, &err) != ERR_NONE)
        return crypto_raise(L, "uuid", &err);
    lua_pushstring(L, text);
    return 1;
}

static int crypto_lua_uuid7(lua_State *L)
{
    char text[ID_UUID_SIZE];
    struct err err;
    if (id_uuid7(text, &err) != ERR_NONE)
        return crypto_raise(L, "uuid7", &err);
    lua_pushstring(L, text);
    return 1;
}

/* ---- text forms ---- */

static int encode(lua_State *L, const char *function, enum crypto_encoding encoding)
{
    size_t len;
    const char *bytes = crypto_need_bytes(L, function, 1, "data", &len);
    push_encoded(L, encoding, bytes, len);
    budget_tick(L);
    return 1;
}

static int decode(lua_State *L, const char *function, enum crypto_encoding encoding)
{
    size_t len, size = 0;
    const char *text = crypto_need_bytes(L, function, 1, "text", &len);
    luaL_Buffer buffer;
    char *bytes = luaL_buffinitsize(L, &buffer, crypto_decoded_max(encoding, len));
    struct err err;
    if (crypto_decode(encoding, text, len, bytes, &size, &err) != ERR_NONE)
        return crypto_raise(L, function, &err);
    luaL_pushresultsize(&buffer, size);
    budget_tick(L);
    return 1;
}

static int crypto_lua_hex(lua_State *L)
{
    return encode(L, "hex", CRYPTO_HEX);
}

static int crypto_lua_from_hex(lua_State *L)
{
    return decode(L, "fromHex", CRYPTO_HEX);
}

static int crypto_lua_base64(lua_State *L)
{
    return encode(L, "base64", CRYPTO_BASE64);
}

static int crypto_lua_from_base64(lua_State *L)
{
    return decode(L, "fromBase64", CRYPTO_BASE64);
}

static int crypto_lua_base64url(lua_State *L)
{
    return encode(L, "base64url", CRYPTO_BASE64URL);
}

static int crypto_lua_from_base64url(lua_State *L)
{
    return decode(L, "fromBase64url", CRYPTO_BASE64URL);
}

static const struct script_function functions[] = {
    {"sha256", crypto_lua_sha256, "(data: string, encoding?: workers.crypto.Encoding): string",
     "the SHA-256 digest"},
    {"digest", crypto_lua_digest,
     "(name: workers.crypto.Digest, data: string, encoding?: workers.crypto.Encoding): string",
     "the digest of that name"},
    {"hmac", crypto_lua_hmac,
     "(name: workers.crypto.Digest, key: string, data: string, encoding?: workers.crypto.Encoding): string",
     "the keyed digest (RFC 2104)"},
    {"equal", crypto_lua_equal, "(a: string, b: string): boolean",
     "compares without telling by its time where the difference is"},
    {"randomBytes", crypto_lua_random_bytes, "(count: integer): string", "up to 65536 random bytes"},
    {"uuid", crypto_lua_uuid, "(): string", "a random UUID"},
    {"uuid7", crypto_lua_uuid7, "(): string", "a UUID that sorts by time"},
    {"hex", crypto_lua_hex, "(data: string): string", "bytes as hexadecimal digits"},
    {"fromHex", crypto_lua_from_hex, "(text: string): string", "the bytes of hexadecimal digits"},
    {"base64", crypto_lua_base64, "(data: string): string", "bytes as base64, padded"},
    {"fromBase64", crypto_lua_from_base64, "(text: string): string",
     "the bytes of base64, which must be padded"},
    {"base64url", crypto_lua_base64url, "(data: string): string", "bytes as base64url, not padded"},
    {"fromBase64url", crypto_lua_from_base64url, "(text: string): string",
     "the bytes of base64url, padded or not"},
    {"privateKey", crypto_lua_private_key, "(pem: string, passphrase?: string): workers.crypto.Key",
     "the private key in a PEM text"},
    {"publicKey", crypto_lua_public_key, "(pem: string): workers.crypto.Key",
     "the public key in a PEM text, also that of a certificate"},
    {"keyFromJwk", crypto_lua_key_from_jwk, "(jwk: table): workers.crypto.Key",
     "the key of a JSON Web Key: private when it has \"d\""},
    {"sign", crypto_lua_sign,
     "(key: workers.crypto.Key, data: string, options?: workers.crypto.SignOptions): string",
     "the signature, as bytes"},
    {"verify", crypto_lua_verify,
     "(key: workers.crypto.Key, data: string, signature: string, options?: workers.crypto.SignOptions): "
     "boolean",
     "whether the bytes are the key's signature of the data"},
    {"jwtSign", crypto_lua_jwt_sign,
     "(claims: table, key: string|workers.crypto.Key, options: workers.crypto.JwtSignOptions): string",
     "a signed JSON Web Token"},
    {"jwtVerify", crypto_lua_jwt_verify,
     "(token: string, key: string|workers.crypto.Key, options: workers.crypto.JwtVerifyOptions): table, "
     "table",
     "the claims and the header of a token, or a JwtError"},
    {"jwtDecode", crypto_lua_jwt_decode, "(token: string): table, table",
     "the claims and the header of a token that nobody has verified"},
    {NULL, NULL, NULL, NULL},
};

static const char types[] =
    "---@alias workers.crypto.Encoding \"hex\"|\"base64\"|\"base64url\"|\"raw\"\n"
    "---@alias workers.crypto.Digest \"md5\"|\"sha1\"|\"sha256\"|\"sha384\"|\"sha512\"\n"
    "---@alias workers.crypto.Algorithm "
    "\"HS256\"|\"HS384\"|\"HS512\"|\"RS256\"|\"RS384\"|\"RS512\"|\"ES256\"|\"EdDSA\"\n"
    "\n"
    "---@class workers.crypto.Key\n"
    "---@field close fun(self: workers.crypto.Key) wipes the key from memory\n"
    "\n"
    "---@class workers.crypto.SignOptions\n"
    "---@field hash? \"sha256\"|\"sha384\"|\"sha512\"\n"
    "---@field format? \"der\"|\"raw\" of ECDSA signatures\n"
    "\n"
    "---@class workers.crypto.JwtSignOptions\n"
    "---@field algorithm workers.crypto.Algorithm\n"
    "---@field header? table more members of the header, such as kid\n"
    "\n"
    "---@class workers.crypto.JwtVerifyOptions\n"
    "---@field algorithms workers.crypto.Algorithm[] those that are accepted\n"
    "---@field issuer? string|string[]\n"
    "---@field audience? string|string[]\n"
    "---@field leeway? number seconds\n"
    "---@field now? integer Unix milliseconds\n";

const struct script_docs crypto_docs = {
    "Digests, keys, signatures, JSON Web Tokens, random bytes, text forms", functions, types};

int luaopen_workers_crypto(lua_State *L)
{
    crypto_open_keys(L);
    functions_push(L, functions);
    return 1;
}
