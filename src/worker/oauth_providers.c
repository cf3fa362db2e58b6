/* What is known of providers of OAuth: the endpoints and the habits of their documentation. */
#include "worker/declare_priv.h"

#include <string.h>

static const struct oauth_provider providers[] = {
    {"asana",
     {.name = "Asana",
      .authorization_endpoint = "https://app.asana.com/-/oauth_authorize",
      .token_endpoint = "https://app.asana.com/-/oauth_token",
      .revocation_endpoint = "https://app.asana.com/-/oauth_revoke",
      .pkce = true}},
    {"atlassian",
     {.name = "Atlassian",
      .authorization_endpoint =
          "https://auth.atlassian.com/authorize?audience=api.atlassian.com&prompt=consent",
      .token_endpoint = "https://auth.atlassian.com/oauth/token"}},
    {"discord",
     {.name = "Discord",
      .authorization_endpoint = "https://discord.com/oauth2/authorize",
      .token_endpoint = "https://discord.com/api/oauth2/token",
      .revocation_endpoint = "https://discord.com/api/oauth2/token/revoke",
      .pkce = true}},
    {"dropbox",
     {.name = "Dropbox",
      .authorization_endpoint = "https://www.dropbox.com/oauth2/authorize?token_access_type=offline",
      .token_endpoint = "https://api.dropboxapi.com/oauth2/token"}},
    {"figma",
     {.name = "Figma",
      .authorization_endpoint = "https://www.figma.com/oauth",
      .token_endpoint = "https://api.figma.com/v1/oauth/token",
      .refresh_endpoint = "https://api.figma.com/v1/oauth/refresh",
      .client_auth = OAUTH_BASIC}},
    {"github",
     {.name = "GitHub",
      .authorization_endpoint = "https://github.com/login/oauth/authorize",
      .token_endpoint = "https://github.com/login/oauth/access_token",
      .device_endpoint = "https://github.com/login/device/code",
      .pkce = true}},
    {"gitlab",
     {.name = "GitLab",
      .authorization_endpoint = "https://gitlab.com/oauth/authorize",
      .token_endpoint = "https://gitlab.com/oauth/token",
      .device_endpoint = "https://gitlab.com/oauth/authorize_device",
      .revocation_endpoint = "https://gitlab.com/oauth/revoke",
      .pkce = true}},
    {"google",
     {.name = "Google",
      .authorization_endpoint =
          "https://accounts.google.com/o/oauth2/v2/auth?access_type=offline&prompt=consent",
      .token_endpoint = "https://oauth2.googleapis.com/token",
      .device_endpoint = "https://oauth2.googleapis.com/device/code",
      .revocation_endpoint = "https://oauth2.googleapis.com/revoke",
      .pkce = true}},
    {"hubspot",
     {.name = "HubSpot",
      .authorization_endpoint = "https://app.hubspot.com/oauth/authorize",
      .token_endpoint = "https://api.hubapi.com/oauth/v1/token"}},
    {"linear",
     {.name = "Linear",
      .authorization_endpoint = "https://linear.app/oauth/authorize",
      .token_endpoint = "https://api.linear.app/oauth/token",
      .revocation_endpoint = "https://api.linear.app/oauth/revoke",
      .pkce = true}},
    {"microsoft",
     {.name = "Microsoft",
      .authorization_endpoint = "https://login.microsoftonline.com/common/oauth2/v2.0/authorize",
      .token_endpoint = "https://login.microsoftonline.com/common/oauth2/v2.0/token",
      .device_endpoint = "https://login.microsoftonline.com/common/oauth2/v2.0/devicecode",
      .pkce = true}},
    {"notion",
     {.name = "Notion",
      .authorization_endpoint = "https://api.notion.com/v1/oauth/authorize?owner=user",
      .token_endpoint = "https://api.notion.com/v1/oauth/token",
      .client_auth = OAUTH_BASIC}},
    {"salesforce",
     {.name = "Salesforce",
      .authorization_endpoint = "https://login.salesforce.com/services/oauth2/authorize",
      .token_endpoint = "https://login.salesforce.com/services/oauth2/token",
      .revocation_endpoint = "https://login.salesforce.com/services/oauth2/revoke",
      .pkce = true}},
    {"slack",
     {.name = "Slack",
      .authorization_endpoint = "https://slack.com/oauth/v2/authorize",
      .token_endpoint = "https://slack.com/api/oauth.v2.access"}},
    {"spotify",
     {.name = "Spotify",
      .authorization_endpoint = "https://accounts.spotify.com/authorize",
      .token_endpoint = "https://accounts.spotify.com/api/token",
      .client_auth = OAUTH_BASIC}},
    {"stripe",
     {.name = "Stripe",
      .authorization_endpoint = "https://connect.stripe.com/oauth/authorize",
      .token_endpoint = "https://connect.stripe.com/oauth/token"}},
    {"zoom",
     {.name = "Zoom",
      .authorization_endpoint = "https://zoom.us/oauth/authorize",
      .token_endpoint = "https://zoom.us/oauth/token",
      .client_auth = OAUTH_BASIC,
      .pkce = true}},
};

const struct oauth_provider *oauth_provider(size_t n)
{
    return n < sizeof providers / sizeof providers[0] ? &providers[n] : NULL;
}

const struct oauth_provider *oauth_provider_find(const char *name)
{
    const struct oauth_provider *provider = NULL;
    for (size_t i = 0; (provider = oauth_provider(i)) != NULL; i++)
        if (strcmp(provider->key, name) == 0)
            break;
    return provider;
}
