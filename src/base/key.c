/* Which keys are accepted, and what is done with them. Must not let anything of a private key into a message.
 */
#include "base/key_priv.h"

#include "base/crypto.h"
#include "base/mem.h"

#include <stdio.h>
#include <string.h>

#define P256_NAME "prime256v1"
#define P256_SIZE 32
#define P256_RAW_SIZE (2 * P256_SIZE)
#define P256_DER_MAX 80
#define RSA_EXPONENT_MAX_BITS 64 /* of the public exponent: 65537 everywhere */

/* ---- accepting ---- */

/* Bits of a number of the key, 0 when it has none of that name. */
static int number_bits(const struct crypto_api *ssl, const EVP_PKEY *pkey, const char *name)
{
    BIGNUM *number = NULL;
    int bits = ssl->EVP_PKEY_get_bn_param(pkey, name, &number) == 1 ? ssl->BN_num_bits(number) : 0;
    ssl->BN_clear_free(number);
    return bits;
}

static bool exponent_is_sound(const struct crypto_api *ssl, const EVP_PKEY *pkey)
{
    BIGNUM *exponent = NULL;
    bool sound = ssl->EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &exponent) == 1 &&
                 ssl->BN_num_bits(exponent) <= RSA_EXPONENT_MAX_BITS && ssl->BN_is_odd(exponent) == 1 &&
                 ssl->BN_is_one(exponent) == 0;
    ssl->BN_clear_free(exponent);
    return sound;
}

/* The modulus alone does not bound the time that a signature takes: each of these numbers could be as long as
 * the text that the key came from. */
static enum err_code check_rsa(const struct crypto_api *ssl, const EVP_PKEY *pkey, int bits, struct err *err)
{
    static const char *const private_numbers[] = {
        OSSL_PKEY_PARAM_RSA_D,         OSSL_PKEY_PARAM_RSA_FACTOR1,   OSSL_PKEY_PARAM_RSA_FACTOR2,
        OSSL_PKEY_PARAM_RSA_EXPONENT1, OSSL_PKEY_PARAM_RSA_EXPONENT2, OSSL_PKEY_PARAM_RSA_COEFFICIENT1,
    };
    if (bits < KEY_RSA_MIN_BITS || bits > KEY_RSA_MAX_BITS)
        return err_set(err, ERR_INVALID, "an RSA key of %d bits: %d to %d are accepted", bits,
                       KEY_RSA_MIN_BITS, KEY_RSA_MAX_BITS);
    if (!exponent_is_sound(ssl, pkey))
        return err_set(err, ERR_INVALID, "an RSA key whose public exponent is even, 1 or longer than %d bits",
                       RSA_EXPONENT_MAX_BITS);
    for (size_t i = 0; i < sizeof private_numbers / sizeof private_numbers[0]; i++)
        if (number_bits(ssl, pkey, private_numbers[i]) > bits)
            return err_set(err, ERR_INVALID, "an RSA key with a number longer than its modulus");
    if (number_bits(ssl, pkey, OSSL_PKEY_PARAM_RSA_FACTOR3) > 0)
        return err_set(err, ERR_INVALID, "an RSA key of more than two primes");
    return ERR_NONE;
}

static enum err_code check_curve(const struct crypto_api *ssl, const EVP_PKEY *pkey, struct err *err)
{
    char name[64] = "of its own parameters";
    size_t len = 0;
    if (ssl->EVP_PKEY_get_group_name(pkey, name, sizeof name, &len) == 1 && strcmp(name, P256_NAME) == 0)
        return ERR_NONE;
    return err_set(err, ERR_INVALID, "a key on the curve %s; the one supported is P-256 (" P256_NAME ")",
                   name);
}

enum err_code key_accept(const struct crypto_api *ssl, EVP_PKEY *pkey, bool is_private, struct key **out,
                         struct err *err)
{
    struct key *key = NULL;
    enum key_type type = KEY_RSA;
    enum err_code code = ERR_NONE;
    int bits = ssl->EVP_PKEY_get_bits(pkey);
    switch (ssl->EVP_PKEY_get_base_id(pkey)) {
    case EVP_PKEY_RSA:
        code = check_rsa(ssl, pkey, bits, err);
        break;
    case EVP_PKEY_EC:
        type = KEY_P256;
        code = check_curve(ssl, pkey, err);
        break;
    case EVP_PKEY_ED25519:
        type = KEY_ED25519;
        break;
    default:
        code = err_set(err, ERR_INVALID, "a key of another kind than RSA, P-256 and Ed25519");
    }
    if (code == ERR_NONE) {
        key = mem_alloc(sizeof *key);
        if (key == NULL)
            code = err_nomem(err);
    }
    ssl->ERR_clear_error();
    if (code != ERR_NONE) {
        ssl->EVP_PKEY_free(pkey);
        return code;
    }
    *key = (struct key){.pkey = pkey, .type = type, .is_private = is_private, .bits = bits};
    *out = key;
    return ERR_NONE;
}

void key_free(struct key *key)
{
    if (key == NULL)
        return;
    const struct crypto_api *ssl = crypto_api_get(NULL);
    if (ssl != NULL)
        ssl->EVP_PKEY_free(key->pkey); /* which wipes the private numbers */
    mem_free(key);
}

enum key_type key_type(const struct key *key)
{
    return key->type;
}

bool key_is_private(const struct key *key)
{
    return key->is_private;
}

void key_describe(const struct key *key, char out[KEY_DESCRIPTION_SIZE])
{
    const char *half = key->is_private ? "private" : "public";
    if (key->type == KEY_RSA)
        snprintf(out, KEY_DESCRIPTION_SIZE, "RSA %s key of %d bits", half, key->bits);
    else
        snprintf(out, KEY_DESCRIPTION_SIZE, "%s %s key", key->type == KEY_P256 ? "P-256" : "Ed25519", half);
}

/* ---- the two forms of ECDSA signatures ---- */

static bool der_to_raw(const struct crypto_api *ssl, const unsigned char *der, size_t len,
                       unsigned char raw[P256_RAW_SIZE])
{
    const BIGNUM *r = NULL, *s = NULL;
    ECDSA_SIG *numbers = ssl->d2i_ECDSA_SIG(NULL, &der, (long)len);
    if (numbers == NULL)
        return false;
    ssl->ECDSA_SIG_get0(numbers, &r, &s);
    bool fits = ssl->BN_bn2binpad(r, raw, P256_SIZE) == P256_SIZE &&
                ssl->BN_bn2binpad(s, raw + P256_SIZE, P256_SIZE) == P256_SIZE;
    ssl->ECDSA_SIG_free(numbers);
    return fits;
}

/* The length of the DER form, 0 when memory is out. */
static size_t raw_to_der(const struct crypto_api *ssl, const unsigned char raw[P256_RAW_SIZE],
                         unsigned char der[P256_DER_MAX])
{
    int len = 0;
    unsigned char *end = der;
    ECDSA_SIG *numbers = ssl->ECDSA_SIG_new();
    BIGNUM *r = ssl->BN_bin2bn(raw, P256_SIZE, NULL);
    BIGNUM *s = ssl->BN_bin2bn(raw + P256_SIZE, P256_SIZE, NULL);
    if (numbers != NULL && r != NULL && s != NULL && ssl->ECDSA_SIG_set0(numbers, r, s) == 1) {
        r = s = NULL; /* they are part of numbers now */
        len = ssl->i2d_ECDSA_SIG(numbers, &end);
    }
    ssl->BN_clear_free(r);
    ssl->BN_clear_free(s);
    ssl->ECDSA_SIG_free(numbers);
    return len > 0 ? (size_t)len : 0;
}

/* ---- signing, verifying ---- */

/* *digest is NULL for Ed25519, which hashes by itself. */
static enum err_code choose_digest(const struct key *key, const char *name, const struct crypto_api **ssl,
                                   const EVP_MD **digest, struct err *err)
{
    *digest = NULL;
    *ssl = crypto_api_get(err);
    if (*ssl == NULL)
        return ERR_IO;
    if (key->type == KEY_ED25519)
        return name == NULL ? ERR_NONE
                            : err_set(err, ERR_INVALID, "an Ed25519 key takes no hash: it has its own");
    if (name == NULL ||
        (strcmp(name, "sha256") != 0 && strcmp(name, "sha384") != 0 && strcmp(name, "sha512") != 0))
        return err_set(err, ERR_INVALID, "signatures take the hash \"sha256\", \"sha384\" or \"sha512\"");
    return crypto_api_digest(name, ssl, digest, err);
}

enum err_code key_sign(const struct key *key, const char *digest, enum key_ecdsa_form form, const void *data,
                       size_t len, unsigned char out[KEY_SIGNATURE_MAX], size_t *out_len, struct err *err)
{
    const struct crypto_api *ssl = NULL;
    const EVP_MD *hash = NULL;
    size_t size = KEY_SIGNATURE_MAX;
    enum err_code code = choose_digest(key, digest, &ssl, &hash, err);
    if (code != ERR_NONE)
        return code;
    if (!key->is_private)
        return err_set(err, ERR_INVALID, "a public key cannot sign");
    EVP_MD_CTX *ctx = ssl->EVP_MD_CTX_new();
    if (ctx == NULL)
        return err_nomem(err);
    if (ssl->EVP_DigestSignInit(ctx, NULL, hash, NULL, key->pkey) != 1 ||
        ssl->EVP_DigestSign(ctx, out, &size, data, len) != 1) {
        code = crypto_api_failed(ssl, "sign", err);
    } else if (key->type == KEY_P256 && form == KEY_ECDSA_RAW) {
        unsigned char raw[P256_RAW_SIZE];
        if (der_to_raw(ssl, out, size, raw))
            memcpy(out, raw, size = sizeof raw);
        else
            code = crypto_api_failed(ssl, "convert its own signature", err);
    }
    ssl->EVP_MD_CTX_free(ctx);
    *out_len = size;
    return code;
}

enum err_code key_verify(const struct key *key, const char *digest, enum key_ecdsa_form form,
                         const void *data, size_t len, const void *signature, size_t signature_len,
                         bool *good, struct err *err)
{
    const struct crypto_api *ssl = NULL;
    const EVP_MD *hash = NULL;
    unsigned char der[P256_DER_MAX];
    enum err_code code = choose_digest(key, digest, &ssl, &hash, err);
    if (code != ERR_NONE)
        return code;
    *good = false;
    if (key->type == KEY_P256 && form == KEY_ECDSA_RAW) {
        if (signature_len != P256_RAW_SIZE)
            return ERR_NONE;
        signature_len = raw_to_der(ssl, signature, der);
        if (signature_len == 0)
            return err_nomem(err);
        signature = der;
    }
    EVP_MD_CTX *ctx = ssl->EVP_MD_CTX_new();
    if (ctx == NULL)
        return err_nomem(err);
    if (ssl->EVP_DigestVerifyInit(ctx, NULL, hash, NULL, key->pkey) != 1)
        code = crypto_api_failed(ssl, "verify", err);
    else
        *good = ssl->EVP_DigestVerify(ctx, signature, signature_len, data, len) == 1;
    ssl->ERR_clear_error();
    ssl->EVP_MD_CTX_free(ctx);
    return code;
}
