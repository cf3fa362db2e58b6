/* Brokered credentials: which header goes where, and what is in it. */
#include "worker/credential.h"

#include "base/json.h"
#include "worker/worker.h"

#include <string.h>

#define SECRET_MAX ((size_t)32 * 1024) /* bytes */

const struct credential *worker_credential(const struct worker *worker, const char *key)
{
    for (size_t i = 0; i < worker->credential_count; i++)
        if (strcmp(worker->credentials[i].key, key) == 0)
            return &worker->credentials[i];
    return NULL;
}

static bool covers(const char *domain, const char *host)
{
    size_t len = strlen(host);
    if (len > 1 && host[len - 1] == '.') /* a name with its root */
        len--;
    size_t domain_len = strlen(domain);
    if (domain[0] != '*')
        return len == domain_len && memcmp(domain, host, len) == 0;
    domain++; /* ".example.com" */
    domain_len--;
    return len > domain_len && memcmp(host + len - domain_len, domain, domain_len) == 0;
}

bool credential_each_header(const struct worker *worker, const char *host, credential_each_fn *each,
                            void *ctx)
{
    for (size_t i = 0; i < worker->credential_count; i++) {
        const struct credential *credential = &worker->credentials[i];
        for (size_t r = 0; r < credential->rule_count; r++) {
            const struct credential_rule *rule = &credential->rules[r];
            for (size_t t = 0; t < rule->transform_count && covers(rule->domain, host); t++)
                for (size_t h = 0; h < rule->transforms[t].header_count; h++)
                    if (!each(ctx, credential, &rule->transforms[t].headers[h]))
                        return false;
        }
    }
    return true;
}

enum err_code credential_fill(const struct credential *credential, const struct credential_header *header,
                              const char *secret, struct buf *out, struct err *err)
{
    size_t len = strlen(secret);
    if (len == 0 || len > SECRET_MAX)
        return err_set(err, ERR_INVALID, "the value of credential \"%s\" is %s", credential->key,
                       len == 0 ? "empty" : "longer than 32 KiB");
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)secret[i] < 0x20 || secret[i] == 0x7f)
            return err_set(
                err, ERR_INVALID,
                "the value of credential \"%s\" has a control character, such as a line end; set it "
                "again without",
                credential->key);
    const char *marker = strstr(header->template, CREDENTIAL_MARKER);
    buf_add(out, header->template, (size_t)(marker - header->template));
    buf_add(out, secret, len);
    buf_adds(out, marker + strlen(CREDENTIAL_MARKER));
    return buf_status(out, "a header with a credential", err);
}

void credential_write(const struct credential *credential, struct buf *out)
{
    buf_adds(out, "{\"key\":");
    json_write_text(out, credential->key);
    buf_adds(out, ",\"network\":[");
    for (size_t r = 0; r < credential->rule_count; r++) {
        const struct credential_rule *rule = &credential->rules[r];
        buf_adds(out, r > 0 ? ",{\"domain\":" : "{\"domain\":");
        json_write_text(out, rule->domain);
        buf_adds(out, ",\"transform\":[");
        for (size_t t = 0; t < rule->transform_count; t++) {
            buf_adds(out, t > 0 ? ",{\"headers\":{" : "{\"headers\":{");
            for (size_t h = 0; h < rule->transforms[t].header_count; h++) {
                if (h > 0)
                    buf_addc(out, ',');
                json_write_text(out, rule->transforms[t].headers[h].name);
                buf_addc(out, ':');
                json_write_text(out, rule->transforms[t].headers[h].template);
            }
            buf_adds(out, "}}");
        }
        buf_adds(out, "]}");
    }
    buf_adds(out, "]}");
}
