/* libFuzzer harness for keys: no text may crash, leak or take long, and what is read must sign and verify.
 *
 * The first byte chooses: 0 and 1 a PEM text (private, public), 2 the members of a JWK, one a line. The rest
 * is the text.
 */
#include "base/clock.h"
#include "base/key.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOWEST_MS 10000 /* under sanitizers, on a busy machine */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct key *key)
{
    const char *digest = key_type(key) == KEY_ED25519 ? NULL : "sha256";
    char description[KEY_DESCRIPTION_SIZE];
    unsigned char signature[KEY_SIGNATURE_MAX] = {0};
    size_t len = 64;
    bool good = false;
    struct err err;
    key_describe(key, description);
    for (int form = KEY_ECDSA_DER; form <= KEY_ECDSA_RAW; form++) {
        bool has_signed =
            key_sign(key, digest, (enum key_ecdsa_form)form, "data", 4, signature, &len, &err) == ERR_NONE;
        if (has_signed && (!key_is_private(key) || len > KEY_SIGNATURE_MAX))
            abort();
        if (key_verify(key, digest, (enum key_ecdsa_form)form, "data", 4, signature, len, &good, &err) !=
            ERR_NONE)
            continue;
        if (good && !has_signed)
            abort();
    }
}

static enum err_code read_jwk(const char *text, size_t len, struct key **key, struct err *err)
{
    struct key_jwk_member members[KEY_JWK_COUNT] = {{NULL, 0}};
    for (int i = 0; i < KEY_JWK_COUNT && len > 0; i++) {
        const char *end = memchr(text, '\n', len);
        size_t line = end != NULL ? (size_t)(end - text) : len;
        if (line > 0)
            members[i] = (struct key_jwk_member){text, line};
        text += line + (end != NULL);
        len -= line + (end != NULL);
    }
    return key_from_jwk(members, key, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct key *key = NULL;
    struct err err;
    enum err_code code;
    if (size == 0)
        return 0;
    int64_t begin = clock_mono_ms();
    const char *text = (const char *)data + 1;
    if (data[0] == 0)
        code = key_read_private(text, size - 1, "horse", 5, &key, &err);
    else if (data[0] == 1)
        code = key_read_public(text, size - 1, &key, &err);
    else
        code = read_jwk(text, size - 1, &key, &err);
    if ((code == ERR_NONE) != (key != NULL))
        abort();
    if (key != NULL)
        use(key);
    key_free(key);
    if (clock_mono_ms() - begin > SLOWEST_MS) {
        fprintf(stderr, "took %lld ms\n", (long long)(clock_mono_ms() - begin));
        abort();
    }
    return 0;
}
