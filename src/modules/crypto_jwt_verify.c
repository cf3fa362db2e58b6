/* Reading and verifying JSON Web Tokens. Must not trust anything of a token before its signature, nor let a
 * token choose how it is verified.
 *
 * What is refused although some accept it: the algorithm "none", a header with "crit", a name that occurs
 * twice, padded base64url, a token for an audience when the caller names none (RFC 7519, section 4.1.3). */
#include "modules/crypto_jwt_priv.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/json.h"
#include "modules/json.h"
#include "script/budget.h"
#include "script/options.h"
#include "script/script_error.h"

#include <lauxlib.h>
#include <math.h>
#include <string.h>

#define LEEWAY_MAX 86400 /* seconds */
#define SHOWN_MAX 64     /* bytes of a claim in a message */

/* ---- reading ---- */

struct part {
    const char *text;
    size_t len;
};

struct token {
    struct part header;
    struct part claims;
    struct part signature;
    size_t signed_len; /* of the text that is signed: header, dot, claims */
};

static int refuse(lua_State *L, const char *function, const char *code, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static int refuse(lua_State *L, const char *function, const char *code, const char *format, ...)
{
    struct err why;
    va_list arguments;
    va_start(arguments, format);
    err_vset(&why, ERR_INVALID, format, arguments);
    va_end(arguments);
    return script_raise(L, "JwtError", code, "crypto.%s: %s", function, why.message);
}

/* Splits argument 1 at its dots. */
static void split(lua_State *L, const char *function, struct token *token)
{
    size_t len = 0, dots = 0;
    const char *text = crypto_need_bytes(L, function, 1, "token", &len);
    const char *at[2] = {NULL, NULL};
    if (len > JWT_TOKEN_MAX)
        refuse(L, function, "malformed", "the token is longer than %zu bytes", JWT_TOKEN_MAX);
    if (len >= 7 && strncasecmp(text, "Bearer ", 7) == 0)
        refuse(L, function, "malformed", "the token begins with \"Bearer\"; leave that word out");
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '.' && dots++ < 2)
            at[dots - 1] = text + i;
    }
    if (dots != 2)
        refuse(L, function, "malformed", "the token has %zu parts, not the 3 of a signed one%s", dots + 1,
               dots == 4 ? "; it is encrypted, it seems" : "");
    token->header = (struct part){text, (size_t)(at[0] - text)};
    token->claims = (struct part){at[0] + 1, (size_t)(at[1] - at[0]) - 1};
    token->signature = (struct part){at[1] + 1, (size_t)(text + len - at[1]) - 1};
    token->signed_len = (size_t)(at[1] - text);
}

/* Pushes the decoded bytes as a userdata. */
static const char *push_decoded(lua_State *L, const char *function, const struct part *part, const char *what,
                                size_t *len)
{
    struct err err;
    char *bytes = lua_newuserdatauv(L, crypto_decoded_max(CRYPTO_BASE64URL, part->len) + 1, 0);
    if (part->len > 0 && memchr(part->text, '=', part->len) != NULL)
        refuse(L, function, "malformed", "the token's %s is padded with '='", what);
    if (crypto_decode(CRYPTO_BASE64URL, part->text, part->len, bytes, len, &err) != ERR_NONE)
        refuse(L, function, "malformed", "the token's %s is %s", what, err.message);
    return bytes;
}

/* How many members the object has, also those whose name comes again. */
static enum err_code count_members(const char *text, size_t len, size_t *count, struct err *err)
{
    struct json_scan scan;
    bool more = false;
    *count = 0;
    json_scan_init(&scan, text, len);
    enum err_code code = json_scan_value(&scan, err);
    if (code == ERR_NONE && scan.token != JSON_OBJECT)
        return err_set(err, ERR_INVALID, "it is no object");
    while (code == ERR_NONE && (code = json_scan_member(&scan, &more, err)) == ERR_NONE && more) {
        (*count)++;
        code = json_scan_value(&scan, err);
        if (code == ERR_NONE)
            code = json_scan_skip(&scan, NULL, err);
    }
    return code;
}

/* Pushes the part's JSON object as a table. Parsers disagree about a name that occurs twice, so that it could
 * mean one thing to who signed and another here (RFC 7515, section 4; RFC 7519, section 4). */
static void push_object(lua_State *L, const char *function, const struct part *part, const char *what)
{
    size_t len = 0, members = 0, names = 0;
    struct err err;
    const char *text = push_decoded(L, function, part, what, &len);
    if (count_members(text, len, &members, &err) != ERR_NONE || json_decode(L, text, len, &err) != ERR_NONE)
        refuse(L, function, "malformed", "the token's %s is not a JSON object: %s", what, err.message);
    for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1))
        names++;
    if (names != members)
        refuse(L, function, "malformed", "the token's %s has a name twice", what);
    lua_remove(L, -2);
    budget_tick(L);
}

/* Pushes a member of the table at index; raw access. */
static int push_member(lua_State *L, int index, const char *name)
{
    lua_pushstring(L, name);
    return lua_rawget(L, index);
}

/* What of the text on top of the stack may stand in a message. */
static const char *show(lua_State *L, char out[SHOWN_MAX])
{
    size_t len = 0, i = 0;
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, &len) : "?";
    for (; i < len && i < SHOWN_MAX - 4; i++)
        out[i] = text[i] >= ' ' && text[i] < 0x7f ? text[i] : '?';
    memcpy(out + i, i < len ? "..." : "", i < len ? 4 : 1);
    return out;
}

int crypto_lua_jwt_decode(lua_State *L)
{
    struct token token;
    split(L, "jwtDecode", &token);
    lua_settop(L, 1);
    push_object(L, "jwtDecode", &token.header, "header");
    push_object(L, "jwtDecode", &token.claims, "payload");
    lua_insert(L, -2);
    return 2;
}

/* ---- verifying ---- */

static const struct option_spec verify_options[] = {
    {"algorithms", OPTION_TABLE, true, "those that are accepted, as in { \"RS256\" }"},
    {"issuer", OPTION_ANY, false, NULL},
    {"audience", OPTION_ANY, false, NULL},
    {"leeway", OPTION_NUMBER, false, "seconds"},
    {"now", OPTION_INTEGER, false, "Unix milliseconds"},
    {NULL, 0, false, NULL},
};

struct rules {
    bool accepted[JWT_ALGORITHM_COUNT];
    double leeway; /* seconds */
    double now;    /* seconds */
};

/* Marks what the option "algorithms" accepts; one at least must go with the key. */
static void read_algorithms(lua_State *L, int options, const struct jwt_signer *signer, struct rules *rules)
{
    bool one_fits = false;
    lua_getfield(L, options, "algorithms");
    lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
    if (count == 0 || count > (lua_Integer)JWT_ALGORITHM_COUNT)
        luaL_error(L, "crypto.jwtVerify: option \"algorithms\": a list of one to %d names expected",
                   (int)JWT_ALGORITHM_COUNT);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, -1, i);
        const struct jwt_algorithm *algorithm = jwt_need_algorithm(L, "jwtVerify", "algorithms");
        rules->accepted[algorithm - jwt_algorithms] = true;
        one_fits = one_fits || algorithm->family == signer->family;
        lua_pop(L, 1);
    }
    if (!one_fits)
        luaL_error(L, "crypto.jwtVerify: option \"algorithms\": none of them goes with argument 2 (key): %s",
                   signer->description);
    lua_pop(L, 1);
}

/* Raises unless the option is absent, a text or a list of texts. */
static void check_texts(lua_State *L, int options, const char *name)
{
    int type = lua_getfield(L, options, name);
    lua_Integer count = type == LUA_TTABLE ? (lua_Integer)lua_rawlen(L, -1) : 0;
    bool sound = type == LUA_TNIL || (type == LUA_TSTRING && lua_rawlen(L, -1) > 0) || count > 0;
    for (lua_Integer i = 1; i <= count && sound; i++) {
        sound = lua_rawgeti(L, -1, i) == LUA_TSTRING;
        lua_pop(L, 1);
    }
    if (!sound)
        luaL_error(
            L, "crypto.jwtVerify: option \"%s\": a non-empty string or a list of strings expected, got %s",
            name, luaL_typename(L, -1));
    lua_pop(L, 1);
}

static void read_rules(lua_State *L, int options, const struct jwt_signer *signer, struct rules *rules)
{
    *rules = (struct rules){.leeway = 0};
    options_check(L, options, verify_options, "crypto.jwtVerify");
    read_algorithms(L, options, signer, rules);
    check_texts(L, options, "issuer");
    check_texts(L, options, "audience");
    rules->leeway = options_number(L, options, "leeway", 0);
    if (!(rules->leeway >= 0 && rules->leeway <= LEEWAY_MAX))
        luaL_error(L, "crypto.jwtVerify: option \"leeway\": 0 to %d seconds expected", LEEWAY_MAX);
    rules->now = options_number(L, options, "now", (double)clock_now_ms()) / 1000;
}

/* The algorithm that the header names, if the rules and the key allow it. */
static const struct jwt_algorithm *check_header(lua_State *L, int header, const struct rules *rules,
                                                const struct jwt_signer *signer)
{
    size_t len = 0;
    if (push_member(L, header, "alg") != LUA_TSTRING)
        refuse(L, "jwtVerify", "malformed", "the token's header names no algorithm");
    const char *name = lua_tolstring(L, -1, &len);
    const struct jwt_algorithm *algorithm = jwt_find_algorithm(name, len);
    if (algorithm == NULL && len == 4 && strncasecmp(name, "none", 4) == 0)
        refuse(L, "jwtVerify", "algorithm", "the token is not signed: its algorithm is \"none\"");
    if (algorithm == NULL || !rules->accepted[algorithm - jwt_algorithms])
        refuse(L, "jwtVerify", "algorithm",
               "the token is signed with %s, which option \"algorithms\" does not accept",
               algorithm != NULL ? algorithm->name : "an unknown algorithm");
    if (algorithm->family != signer->family)
        refuse(L, "jwtVerify", "algorithm",
               "the token is signed with %s, which takes %s; the key given is %s", algorithm->name,
               algorithm->takes, signer->description);
    if (push_member(L, header, "crit") != LUA_TNIL)
        refuse(L, "jwtVerify", "malformed",
               "the token's header has extensions that must be understood (crit)");
    lua_pop(L, 2);
    return algorithm;
}

static void check_signature(lua_State *L, const struct token *token, const struct jwt_signer *signer,
                            const struct jwt_algorithm *algorithm)
{
    size_t len = 0;
    bool good = false;
    struct err err;
    enum err_code code;
    const char *text = token->header.text;
    const char *signature = push_decoded(L, "jwtVerify", &token->signature, "signature", &len);
    if (signer->key != NULL) {
        code = key_verify(signer->key, algorithm->digest, KEY_ECDSA_RAW, text, token->signed_len, signature,
                          len, &good, &err);
    } else {
        unsigned char expected[CRYPTO_DIGEST_MAX];
        size_t expected_len = 0;
        code = crypto_hmac(algorithm->digest, signer->secret, signer->secret_len, text, token->signed_len,
                           expected, &expected_len, &err);
        good = code == ERR_NONE && len == expected_len && crypto_equal(expected, signature, len);
        crypto_wipe(expected, sizeof expected);
    }
    if (code != ERR_NONE)
        crypto_raise(L, "jwtVerify", &err);
    if (!good)
        refuse(L, "jwtVerify", "signature", "the token's signature is not that of the key");
    lua_pop(L, 1);
    budget_tick(L);
}

/* NaN when the claim is not there. RFC 7519 lets dates have fractions. */
static double read_date(lua_State *L, int claims, const char *name)
{
    double seconds = (double)NAN;
    int type = push_member(L, claims, name);
    if (type == LUA_TNUMBER)
        seconds = lua_tonumber(L, -1);
    else if (type != LUA_TNIL)
        refuse(L, "jwtVerify", "malformed", "the token's claim \"%s\" is no number", name);
    lua_pop(L, 1);
    return seconds;
}

static void check_times(lua_State *L, int claims, const struct rules *rules)
{
    double expires = read_date(L, claims, "exp");
    double begins = read_date(L, claims, "nbf");
    read_date(L, claims, "iat");
    if (rules->now - rules->leeway >= expires)
        refuse(L, "jwtVerify", "expired", "the token has expired %.0f seconds ago", rules->now - expires);
    if (rules->now + rules->leeway < begins)
        refuse(L, "jwtVerify", "notYet", "the token is valid in %.0f seconds, not yet", begins - rules->now);
}

/* Whether the text on top of the stack is the option's value, or in its list. */
static bool is_expected(lua_State *L, int options, const char *name)
{
    bool found = false;
    int text = lua_gettop(L);
    if (lua_getfield(L, options, name) == LUA_TSTRING)
        found = lua_rawequal(L, text, -1);
    else
        for (lua_Integer i = 1; !found && lua_rawgeti(L, text + 1, i) != LUA_TNIL; i++, lua_pop(L, 1))
            found = lua_rawequal(L, text, -1);
    lua_settop(L, text);
    return found;
}

static bool has_option(lua_State *L, int options, const char *name)
{
    bool has = lua_getfield(L, options, name) != LUA_TNIL;
    lua_pop(L, 1);
    return has;
}

static void check_issuer(lua_State *L, int claims, int options)
{
    char shown[SHOWN_MAX];
    int type = push_member(L, claims, "iss");
    if (type != LUA_TNIL && type != LUA_TSTRING)
        refuse(L, "jwtVerify", "malformed", "the token's claim \"iss\" is no string");
    if (has_option(L, options, "issuer")) {
        if (type == LUA_TNIL)
            refuse(L, "jwtVerify", "issuer", "the token names no issuer");
        if (!is_expected(L, options, "issuer"))
            refuse(L, "jwtVerify", "issuer", "the token's issuer is \"%s\", which is not expected",
                   show(L, shown));
    }
    lua_pop(L, 1);
}

static void check_audience(lua_State *L, int claims, int options)
{
    char shown[SHOWN_MAX];
    int type = push_member(L, claims, "aud"); /* one text, or a list of texts */
    bool wanted = has_option(L, options, "audience");
    bool found = false;
    lua_Integer count = type == LUA_TTABLE ? (lua_Integer)lua_rawlen(L, -1) : 0;
    if (type != LUA_TNIL && type != LUA_TSTRING && !(type == LUA_TTABLE && json_is_array(L, -1)))
        refuse(L, "jwtVerify", "malformed", "the token's claim \"aud\" is neither a string nor a list");
    for (lua_Integer i = 1; i <= count; i++) {
        if (lua_rawgeti(L, -1, i) != LUA_TSTRING)
            refuse(L, "jwtVerify", "malformed",
                   "the token's claim \"aud\" has something else than strings in it");
        found = found || (wanted && is_expected(L, options, "audience"));
        lua_pop(L, 1);
    }
    if (type == LUA_TSTRING)
        found = wanted && is_expected(L, options, "audience");
    if (wanted && type == LUA_TNIL)
        refuse(L, "jwtVerify", "audience", "the token names no audience");
    if (!wanted && type != LUA_TNIL)
        refuse(L, "jwtVerify", "audience",
               "the token is for an audience; say with option \"audience\" who you are in its eyes");
    if (wanted && !found && type == LUA_TTABLE)
        refuse(L, "jwtVerify", "audience", "none of the token's audiences is expected");
    if (wanted && !found)
        refuse(L, "jwtVerify", "audience", "the token's audience is \"%s\", which is not expected",
               show(L, shown));
    lua_pop(L, 1);
}

int crypto_lua_jwt_verify(lua_State *L)
{
    enum { OPTIONS = 3, HEADER, CLAIMS };
    struct jwt_signer signer;
    struct rules rules;
    struct token token;
    lua_settop(L, OPTIONS);
    jwt_need_signer(L, "jwtVerify", &signer);
    read_rules(L, OPTIONS, &signer, &rules);
    split(L, "jwtVerify", &token);

    push_object(L, "jwtVerify", &token.header, "header");
    const struct jwt_algorithm *algorithm = check_header(L, HEADER, &rules, &signer);
    check_signature(L, &token, &signer, algorithm);
    push_object(L, "jwtVerify", &token.claims, "payload");
    check_times(L, CLAIMS, &rules);
    check_issuer(L, CLAIMS, OPTIONS);
    check_audience(L, CLAIMS, OPTIONS);
    lua_pushvalue(L, HEADER);
    return 2;
}
