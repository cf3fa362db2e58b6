/* Keys: what is read and refused, signatures of known keys, and what happens when memory is out. */
#include "base/crypto.h"
#include "base/key.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* RFC 8410, section 10.3: the first example of a private key, and its public half of section 10.1. */
static const char private_pem[] = "-----BEGIN PRIVATE KEY-----\n"
                                  "MC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n"
                                  "-----END PRIVATE KEY-----\n";
static const char public_pem[] = "-----BEGIN PUBLIC KEY-----\n"
                                 "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n"
                                 "-----END PUBLIC KEY-----\n";

static struct key *read_private(const char *pem)
{
    struct key *key = NULL;
    struct err err;
    if (key_read_private(pem, strlen(pem), NULL, 0, &key, &err) != ERR_NONE)
        fail_msg("%s", err.message);
    return key;
}

static struct key *read_public(const char *pem)
{
    struct key *key = NULL;
    struct err err;
    if (key_read_public(pem, strlen(pem), &key, &err) != ERR_NONE)
        fail_msg("%s", err.message);
    return key;
}

static void known_halves(void **state)
{
    (void)state;
    char text[KEY_DESCRIPTION_SIZE];
    unsigned char signature[KEY_SIGNATURE_MAX];
    size_t len = 0;
    bool good = false;
    struct err err;
    struct key *private_half = read_private(private_pem);
    struct key *public_half = read_public(public_pem);
    key_describe(private_half, text);
    assert_string_equal(text, "Ed25519 private key");
    key_describe(public_half, text);
    assert_string_equal(text, "Ed25519 public key");
    assert_true(key_is_private(private_half) && !key_is_private(public_half));
    assert_int_equal(key_type(public_half), KEY_ED25519);

    assert_int_equal(key_sign(private_half, NULL, KEY_ECDSA_DER, "data", 4, signature, &len, &err), ERR_NONE);
    assert_int_equal(len, 64);
    assert_int_equal(key_verify(public_half, NULL, KEY_ECDSA_DER, "data", 4, signature, len, &good, &err),
                     ERR_NONE);
    assert_true(good);
    assert_int_equal(key_verify(public_half, NULL, KEY_ECDSA_DER, "date", 4, signature, len, &good, &err),
                     ERR_NONE);
    assert_false(good);
    assert_int_equal(key_sign(public_half, NULL, KEY_ECDSA_DER, "data", 4, signature, &len, &err),
                     ERR_INVALID);
    assert_string_equal(err.message, "a public key cannot sign");
    assert_int_equal(key_sign(private_half, "md5", KEY_ECDSA_DER, "data", 4, signature, &len, &err),
                     ERR_INVALID);
    key_free(private_half);
    key_free(public_half);
    key_free(NULL);
}

/* RFC 8032, section 7.1, test 1: the secret key, its public half, the signature of nothing. */
static void known_signature(void **state)
{
    (void)state;
    struct key_jwk_member members[KEY_JWK_COUNT] = {
        [KEY_JWK_KTY] = {"OKP", 3},
        [KEY_JWK_CRV] = {"Ed25519", 7},
        [KEY_JWK_D] = {"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A", 43},
        [KEY_JWK_X] = {"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", 43},
    };
    unsigned char signature[KEY_SIGNATURE_MAX];
    char text[2 * 64 + 1];
    size_t len = 0;
    struct key *key = NULL;
    struct err err;
    assert_int_equal(key_from_jwk(members, &key, &err), ERR_NONE);
    assert_int_equal(key_sign(key, NULL, KEY_ECDSA_DER, "", 0, signature, &len, &err), ERR_NONE);
    assert_int_equal(len, 64);
    crypto_encode(CRYPTO_HEX, signature, len, text);
    assert_string_equal(text, "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
                              "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b");
    key_free(key);
}

/* Every prefix, and every single byte replaced by each of some others: a key or an error, never more. */
static void damaged_texts(void **state)
{
    (void)state;
    static const char others[] = {'A', '/', '=', '-', '\n', '\0', (char)0xff};
    char copy[sizeof private_pem];
    struct err err;
    unsigned refused = 0;
    for (size_t len = 0; len < sizeof private_pem - 6; len++) {
        struct key *key = NULL;
        assert_int_equal(key_read_private(private_pem, len, NULL, 0, &key, &err), ERR_INVALID);
        assert_null(key);
        assert_null(strstr(err.message, "MC4C"));
    }
    for (size_t at = 0; at < sizeof private_pem - 1; at++) {
        for (size_t i = 0; i < sizeof others; i++) {
            struct key *key = NULL;
            memcpy(copy, private_pem, sizeof copy);
            copy[at] = others[i];
            refused += key_read_private(copy, sizeof copy - 1, NULL, 0, &key, &err) != ERR_NONE;
            key_free(key);
        }
    }
    assert_in_range(refused, 300, sizeof private_pem * sizeof others);
}

/* Memory of ours is out at each allocation in turn. */
static void out_of_memory(void **state)
{
    (void)state;
    struct err err;
    bool read = false;
    for (unsigned long nth = 1; !read; nth++) {
        struct key *key = NULL;
        mem_fail_from(nth);
        enum err_code code = key_read_private(private_pem, sizeof private_pem - 1, NULL, 0, &key, &err);
        mem_fail_from(0);
        read = code == ERR_NONE;
        assert_true(read == (key != NULL));
        if (!read)
            assert_int_equal(code, ERR_NOMEM);
        key_free(key);
        assert_in_range(nth, 1, 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_halves),
        cmocka_unit_test(known_signature),
        cmocka_unit_test(damaged_texts),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
