/* Access by OAuth in the manifest. Must not write a secret. */
#include "worker/oauth.h"

#include "base/json.h"

static void add_text(struct buf *out, const char *name, const char *text)
{
    if (text == NULL)
        return;
    buf_addf(out, ",\"%s\":", name);
    json_write_text(out, text);
}

/* As the SDK has it; what it does not know are keys of ours. */
void oauth_write(const struct oauth *oauth, struct buf *out)
{
    static const char *const grants[] = {
        [OAUTH_CODE] = "code", [OAUTH_CLIENT] = "client", [OAUTH_DEVICE] = "device"};
    static const char *const auths[] = {
        [OAUTH_BODY] = "body", [OAUTH_BASIC] = "basic", [OAUTH_PUBLIC] = "none"};
    buf_adds(out, "{\"_tag\":\"oauth\",\"key\":");
    json_write_text(out, oauth->key);
    buf_addf(out, ",\"config\":{\"type\":\"%s\"",
             oauth->provider != NULL ? "notion_managed" : "user_managed");
    add_text(out, "name", oauth->name);
    add_text(out, "provider", oauth->provider);
    add_text(out, "issuer", oauth->issuer);
    add_text(out, "authorizationEndpoint", oauth->authorization_endpoint);
    add_text(out, "tokenEndpoint", oauth->token_endpoint);
    add_text(out, "refreshEndpoint", oauth->refresh_endpoint);
    add_text(out, "deviceAuthorizationEndpoint", oauth->device_endpoint);
    add_text(out, "revocationEndpoint", oauth->revocation_endpoint);
    add_text(out, "scope", oauth->scope);
    add_text(out, "clientId", oauth->client_id);
    if (oauth->client_secret != NULL && oauth->client_secret[0] == '$')
        add_text(out, "clientSecret", oauth->client_secret);
    if (oauth->parameters != NULL) {
        buf_adds(out, ",\"authorizationParams\":{");
        for (size_t i = 0; i < oauth->parameter_count; i++) {
            buf_adds(out, i > 0 ? "," : "");
            json_write_text(out, oauth->parameters[i].name);
            buf_addc(out, ':');
            json_write_text(out, oauth->parameters[i].value);
        }
        buf_addc(out, '}');
    }
    add_text(out, "callbackUrl", oauth->callback_url);
    if (oauth->access_ms > 0)
        buf_addf(out, ",\"accessTokenExpireMs\":%lld", (long long)oauth->access_ms);
    buf_addf(out, ",\"grant\":\"%s\",\"clientAuth\":\"%s\",\"pkce\":%s}}", grants[oauth->grant],
             auths[oauth->client_auth], oauth->pkce ? "true" : "false");
}
