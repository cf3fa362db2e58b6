/* worker:oauth: from the Lua table to the declaration. */
#include "worker/declare.h"
#include "worker/declare_priv.h"

#include "base/text.h"
#include "net/address.h"
#include "script/options.h"

#include <lauxlib.h>
#include <string.h>

#define PARAMETERS_MAX 20
#define ISSUER_MAX 1000
#define PROVIDERS_MAX 64
#define ACCESS_MS_MAX 2000000000 /* 23 days */

static const struct option_spec oauth_options[] = {
    {"name", OPTION_STRING, false, "what people see"},
    {"provider", OPTION_STRING, false, "\"github\": fills in what is known of it"},
    {"authorizationEndpoint", OPTION_STRING, false, "\"https://example.com/oauth/authorize\""},
    {"tokenEndpoint", OPTION_STRING, false, "\"https://example.com/oauth/token\""},
    {"refreshEndpoint", OPTION_STRING, false, "\"https://example.com/oauth/refresh\""},
    {"deviceAuthorizationEndpoint", OPTION_STRING, false, "\"https://example.com/oauth/device\""},
    {"revocationEndpoint", OPTION_STRING, false, "\"https://example.com/oauth/revoke\""},
    {"issuer", OPTION_STRING, false, "\"https://accounts.example.com\""},
    {"clientId", OPTION_STRING, true, "the id, or \"$NAME\" of a variable"},
    {"clientSecret", OPTION_STRING, false, "\"$NAME\" of a variable"},
    {"scope", OPTION_TEXT, false, "\"read write\""},
    {"authorizationParams", OPTION_TABLE, false, "{ access_type = \"offline\" }"},
    {"callbackUrl", OPTION_STRING, false, "\"http://127.0.0.1:8322/oauth/callback\""},
    {"accessTokenExpireMs", OPTION_NUMBER, false, "milliseconds"},
    {"grant", OPTION_STRING, false, "\"code\", \"client\" or \"device\""},
    {"clientAuth", OPTION_STRING, false, "\"body\", \"basic\" or \"none\""},
    {"pkce", OPTION_BOOLEAN, false, "true or false"},
    {NULL, 0, false, NULL},
};

/* Raises, and says what could be meant. */
static void refuse_provider(lua_State *L, const char *name, const char *where)
{
    const char *names[PROVIDERS_MAX];
    const struct oauth_provider *provider = NULL;
    struct luaL_Buffer known;
    size_t count = 0;
    luaL_buffinit(L, &known);
    for (; count < PROVIDERS_MAX && (provider = oauth_provider(count)) != NULL; count++) {
        names[count] = provider->key;
        luaL_addstring(&known, count > 0 ? ", " : "");
        luaL_addstring(&known, provider->key);
    }
    luaL_pushresult(&known);
    int nearest = text_nearest(name, strlen(name), names, count);
    luaL_error(L,
               "%s: nothing is known of the provider \"%s\"%s%s%s: give authorizationEndpoint and "
               "tokenEndpoint, or issuer. Known are %s",
               where, name, nearest >= 0 ? "; did you mean \"" : "", nearest >= 0 ? names[nearest] : "",
               nearest >= 0 ? "\"?" : "", lua_tostring(L, -1));
}

/* One of the words; its place. */
static int read_word(lua_State *L, int index, const char *name, const char *const words[], int absent,
                     const char *where)
{
    const char *text = options_string(L, index, name, NULL);
    if (text == NULL)
        return absent;
    for (int i = 0; words[i] != NULL; i++)
        if (strcmp(words[i], text) == 0)
            return i;
    return luaL_error(L, "%s: option \"%s\" must be \"%s\", \"%s\" or \"%s\", not \"%s\"", where, name,
                      words[0], words[1], words[2], text);
}

/* The option, or what is known of the provider. */
static const char *read_url(lua_State *L, struct worker *worker, int index, const char *name,
                            const char *known, const char *where)
{
    const char *text = options_string(L, index, name, known);
    if (text != NULL && strncmp(text, "https://", 8) != 0 && strncmp(text, "http://", 7) != 0)
        luaL_error(L, "%s: option \"%s\" must be a URL that begins with https:// (or http://, for tests)",
                   where, name);
    return declare_keep(L, worker, text);
}

/* What it says decides where tokens are sent: nobody on the way may change it. */
static const char *read_issuer(lua_State *L, struct worker *worker, int index, const char *where)
{
    const char *text = options_string(L, index, "issuer", NULL);
    if (text == NULL)
        return NULL;
    bool tls = strncmp(text, "https://", 8) == 0, plain = strncmp(text, "http://", 7) == 0;
    const char *host = text + (tls ? 8 : plain ? 7 : 0);
    size_t host_len = strcspn(host, "/");
    if (host_len == 0 || strpbrk(text, "?#@ \t\r\n") != NULL || strlen(text) > ISSUER_MAX ||
        !(tls || (plain && address_names_loopback(host, host_len))))
        luaL_error(L,
                   "%s: option \"issuer\" must be a URL that begins with https:// (http:// only for this "
                   "machine) and has no query",
                   where);
    return declare_keep(L, worker, text);
}

/* In the order of their names, which a table of Lua has not. */
static void add_parameter(struct oauth *oauth, struct oauth_parameter parameter)
{
    size_t at = oauth->parameter_count++;
    for (; at > 0 && strcmp(oauth->parameters[at - 1].name, parameter.name) > 0; at--)
        oauth->parameters[at] = oauth->parameters[at - 1];
    oauth->parameters[at] = parameter;
}

static void read_parameters(lua_State *L, struct worker *worker, int index, struct oauth *oauth,
                            const char *where)
{
    if (lua_getfield(L, index, "authorizationParams") == LUA_TTABLE) {
        oauth->parameters =
            declare_need(L, arena_zalloc(&worker->arena, PARAMETERS_MAX * sizeof *oauth->parameters));
        for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
            if (lua_type(L, -2) != LUA_TSTRING || lua_type(L, -1) != LUA_TSTRING)
                luaL_error(L, "%s: authorizationParams must map names to texts", where);
            if (oauth->parameter_count == PARAMETERS_MAX)
                luaL_error(L, "%s: there are more than %d authorizationParams", where, PARAMETERS_MAX);
            add_parameter(oauth, (struct oauth_parameter){declare_keep(L, worker, lua_tostring(L, -2)),
                                                          declare_keep(L, worker, lua_tostring(L, -1))});
        }
    }
    lua_pop(L, 1);
}

void declare_oauth(lua_State *L, struct worker *worker, const char *key, int index)
{
    static const char *const grants[] = {"code", "client", "device", NULL};
    static const char *const auths[] = {"body", "basic", "none", NULL};
    static const struct oauth nothing = {.pkce = true};
    const char *where = lua_pushfstring(L, "worker:oauth(\"%s\")", key);
    options_check(L, index, oauth_options, where);
    const char *provider = options_string(L, index, "provider", NULL);
    const struct oauth_provider *found = provider != NULL ? oauth_provider_find(provider) : NULL;
    if (provider != NULL && found == NULL)
        refuse_provider(L, provider, where);
    const struct oauth *known = found != NULL ? &found->known : &nothing;
    struct oauth oauth = {.key = declare_keep(L, worker, key),
                          .before = worker->capability_count,
                          .provider = declare_keep(L, worker, provider)};
    oauth.name =
        declare_keep(L, worker, options_string(L, index, "name", known->name != NULL ? known->name : key));
    oauth.authorization_endpoint =
        read_url(L, worker, index, "authorizationEndpoint", known->authorization_endpoint, where);
    oauth.token_endpoint = read_url(L, worker, index, "tokenEndpoint", known->token_endpoint, where);
    bool usual = known->token_endpoint != NULL && strcmp(oauth.token_endpoint, known->token_endpoint) == 0;
    oauth.refresh_endpoint =
        read_url(L, worker, index, "refreshEndpoint", usual ? known->refresh_endpoint : NULL, where);
    oauth.device_endpoint =
        read_url(L, worker, index, "deviceAuthorizationEndpoint", known->device_endpoint, where);
    oauth.revocation_endpoint =
        read_url(L, worker, index, "revocationEndpoint", known->revocation_endpoint, where);
    oauth.issuer = read_issuer(L, worker, index, where);
    oauth.callback_url = read_url(L, worker, index, "callbackUrl", NULL, where);
    oauth.client_id = declare_keep(L, worker, options_string(L, index, "clientId", NULL));
    oauth.client_secret = declare_keep(L, worker, options_string(L, index, "clientSecret", NULL));
    oauth.scope = declare_keep(L, worker, options_string(L, index, "scope", NULL));
    double access_ms = options_number(L, index, "accessTokenExpireMs", 0);
    if (!(access_ms >= 0 && access_ms <= ACCESS_MS_MAX))
        luaL_error(L, "%s: option \"accessTokenExpireMs\" must be 0 to %d, got %f", where, ACCESS_MS_MAX,
                   access_ms);
    oauth.access_ms = (int64_t)access_ms;
    oauth.grant = (enum oauth_grant)read_word(L, index, "grant", grants, OAUTH_CODE, where);
    oauth.client_auth = (enum oauth_client_auth)read_word(
        L, index, "clientAuth", auths, oauth.client_secret != NULL ? (int)known->client_auth : OAUTH_PUBLIC,
        where);
    oauth.pkce = options_boolean(L, index, "pkce", known->pkce || oauth.client_secret == NULL);
    read_parameters(L, worker, index, &oauth, where);
    bool asks = oauth.issuer != NULL;
    if (oauth.token_endpoint == NULL && !asks)
        luaL_error(L, "%s: option \"tokenEndpoint\" is missing: the URL where tokens are given; or issuer",
                   where);
    if (oauth.grant == OAUTH_CODE && oauth.authorization_endpoint == NULL && !asks)
        luaL_error(L, "%s: option \"authorizationEndpoint\" is missing: the URL where people say yes", where);
    if (oauth.grant == OAUTH_DEVICE && oauth.device_endpoint == NULL && !asks)
        luaL_error(L, "%s: option \"deviceAuthorizationEndpoint\" is missing", where);
    if (oauth.client_auth != OAUTH_PUBLIC && oauth.client_secret == NULL)
        luaL_error(L,
                   "%s: option \"clientSecret\" is missing; clientAuth = \"none\" is for clients without one",
                   where);
    worker->oauths =
        declare_grow(L, worker, worker->oauths, worker->oauth_count, &worker->oauth_room, sizeof oauth);
    worker->oauths[worker->oauth_count++] = oauth;
    lua_pop(L, 1);
}
