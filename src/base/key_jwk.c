/* Keys from JSON Web Keys. Must not let a key through whose private half is not that of its public one. */
#include "base/key_priv.h"

#include "base/crypto.h"

#include <string.h>

#define NUMBER_MAX (KEY_RSA_MAX_BITS / 8) /* bytes */
#define COORDINATE_SIZE 32                /* bytes: P-256, Ed25519 */

const char *const key_jwk_names[KEY_JWK_COUNT] = {
    [KEY_JWK_KTY] = "kty", [KEY_JWK_CRV] = "crv", [KEY_JWK_USE] = "use", [KEY_JWK_N] = "n",
    [KEY_JWK_E] = "e",     [KEY_JWK_D] = "d",     [KEY_JWK_P] = "p",     [KEY_JWK_Q] = "q",
    [KEY_JWK_DP] = "dp",   [KEY_JWK_DQ] = "dq",   [KEY_JWK_QI] = "qi",   [KEY_JWK_X] = "x",
    [KEY_JWK_Y] = "y",
};

static bool is(const struct key_jwk_member *member, const char *text)
{
    return member->text != NULL && member->len == strlen(text) &&
           memcmp(member->text, text, member->len) == 0;
}

/* Decodes a member. size 0: from 1 to NUMBER_MAX bytes; else exactly so many. */
static enum err_code decode(const struct key_jwk_member *members, enum key_jwk_name name, size_t size,
                            unsigned char out[NUMBER_MAX + 2], size_t *len, struct err *err)
{
    const struct key_jwk_member *member = &members[name];
    struct err why;
    if (member->text == NULL || member->len == 0)
        return err_set(err, ERR_INVALID, "the JWK has no member \"%s\"", key_jwk_names[name]);
    if (crypto_decoded_max(CRYPTO_BASE64URL, member->len) > NUMBER_MAX + 2)
        return err_set(err, ERR_INVALID, "the JWK's member \"%s\" is longer than %d bytes",
                       key_jwk_names[name], NUMBER_MAX);
    /* The reason could quote a character of a private number. */
    if (memchr(member->text, '=', member->len) != NULL ||
        crypto_decode(CRYPTO_BASE64URL, member->text, member->len, out, len, &why) != ERR_NONE)
        return err_set(err, ERR_INVALID, "the JWK's member \"%s\" is not base64url without padding",
                       key_jwk_names[name]);
    if (size > 0 && *len != size)
        return err_set(err, ERR_INVALID, "the JWK's member \"%s\" must be %zu bytes, not %zu",
                       key_jwk_names[name], size, *len);
    return ERR_NONE;
}

/* ---- RSA and P-256: a list of parameters ---- */

struct builder {
    const struct crypto_api *ssl;
    const struct key_jwk_member *members;
    OSSL_PARAM_BLD *list;
    BIGNUM *numbers[8]; /* the list refers to them */
    size_t count;
    unsigned char point[1 + 2 * COORDINATE_SIZE]; /* likewise */
};

static enum err_code add_number(struct builder *builder, enum key_jwk_name name, const char *parameter,
                                size_t size, struct err *err)
{
    unsigned char bytes[NUMBER_MAX + 2];
    size_t len = 0;
    enum err_code code = decode(builder->members, name, size, bytes, &len, err);
    if (code != ERR_NONE)
        return code;
    BIGNUM *number = builder->ssl->BN_bin2bn(bytes, (int)len, NULL);
    crypto_wipe(bytes, sizeof bytes);
    if (number == NULL)
        return err_nomem(err);
    builder->numbers[builder->count++] = number;
    return builder->ssl->OSSL_PARAM_BLD_push_BN(builder->list, parameter, number) == 1 ? ERR_NONE
                                                                                       : err_nomem(err);
}

static enum err_code add_rsa(struct builder *builder, bool is_private, struct err *err)
{
    static const struct {
        enum key_jwk_name name;
        const char *parameter;
    } numbers[] = {
        {KEY_JWK_N, OSSL_PKEY_PARAM_RSA_N},          {KEY_JWK_E, OSSL_PKEY_PARAM_RSA_E},
        {KEY_JWK_D, OSSL_PKEY_PARAM_RSA_D},          {KEY_JWK_P, OSSL_PKEY_PARAM_RSA_FACTOR1},
        {KEY_JWK_Q, OSSL_PKEY_PARAM_RSA_FACTOR2},    {KEY_JWK_DP, OSSL_PKEY_PARAM_RSA_EXPONENT1},
        {KEY_JWK_DQ, OSSL_PKEY_PARAM_RSA_EXPONENT2}, {KEY_JWK_QI, OSSL_PKEY_PARAM_RSA_COEFFICIENT1},
    };
    size_t count = is_private ? 3 : 2;
    /* Of the primes and what follows from them all are there, or none (RFC 7518, section 6.3.2). */
    for (size_t i = 3; is_private && i < sizeof numbers / sizeof numbers[0]; i++)
        if (builder->members[numbers[i].name].text != NULL)
            count = sizeof numbers / sizeof numbers[0];
    for (size_t i = 0; i < count; i++) {
        enum err_code code = add_number(builder, numbers[i].name, numbers[i].parameter, 0, err);
        if (code != ERR_NONE)
            return code;
    }
    return ERR_NONE;
}

static enum err_code add_p256(struct builder *builder, bool is_private, struct err *err)
{
    unsigned char bytes[NUMBER_MAX + 2];
    size_t len = 0;
    if (!is(&builder->members[KEY_JWK_CRV], "P-256"))
        return err_set(err, ERR_INVALID, "the JWK's member \"crv\" must be \"P-256\" for an EC key");
    builder->point[0] = POINT_CONVERSION_UNCOMPRESSED;
    for (size_t i = 0; i < 2; i++) {
        enum err_code code =
            decode(builder->members, i == 0 ? KEY_JWK_X : KEY_JWK_Y, COORDINATE_SIZE, bytes, &len, err);
        if (code != ERR_NONE)
            return code;
        memcpy(builder->point + 1 + i * COORDINATE_SIZE, bytes, COORDINATE_SIZE);
    }
    if (builder->ssl->OSSL_PARAM_BLD_push_utf8_string(builder->list, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1",
                                                      0) != 1 ||
        builder->ssl->OSSL_PARAM_BLD_push_octet_string(builder->list, OSSL_PKEY_PARAM_PUB_KEY, builder->point,
                                                       sizeof builder->point) != 1)
        return err_nomem(err);
    return is_private ? add_number(builder, KEY_JWK_D, OSSL_PKEY_PARAM_PRIV_KEY, COORDINATE_SIZE, err)
                      : ERR_NONE;
}

static enum err_code make(struct builder *builder, const char *type, bool is_private, EVP_PKEY **out,
                          struct err *err)
{
    const struct crypto_api *ssl = builder->ssl;
    enum err_code code = ERR_NONE;
    OSSL_PARAM *parameters = ssl->OSSL_PARAM_BLD_to_param(builder->list);
    EVP_PKEY_CTX *ctx = ssl->EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (parameters == NULL || ctx == NULL || ssl->EVP_PKEY_fromdata_init(ctx) != 1)
        code = err_nomem(err);
    else if (ssl->EVP_PKEY_fromdata(ctx, out, is_private ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY,
                                    parameters) != 1)
        code = err_set(err, ERR_INVALID, "the JWK is no %s key: its numbers do not make one", type);
    ssl->EVP_PKEY_CTX_free(ctx);
    ssl->OSSL_PARAM_free(parameters);
    return code;
}

static enum err_code from_numbers(const struct crypto_api *ssl, const struct key_jwk_member *members,
                                  bool is_rsa, bool is_private, EVP_PKEY **out, struct err *err)
{
    struct builder builder = {.ssl = ssl, .members = members, .list = ssl->OSSL_PARAM_BLD_new()};
    if (builder.list == NULL)
        return err_nomem(err);
    enum err_code code = is_rsa ? add_rsa(&builder, is_private, err) : add_p256(&builder, is_private, err);
    if (code == ERR_NONE)
        code = make(&builder, is_rsa ? "RSA" : "EC", is_private, out, err);
    ssl->OSSL_PARAM_BLD_free(builder.list);
    for (size_t i = 0; i < builder.count; i++)
        ssl->BN_clear_free(builder.numbers[i]);
    return code;
}

/* ---- Ed25519 ---- */

static enum err_code from_octets(const struct crypto_api *ssl, const struct key_jwk_member *members,
                                 bool is_private, EVP_PKEY **out, struct err *err)
{
    unsigned char x[NUMBER_MAX + 2], d[NUMBER_MAX + 2], derived[COORDINATE_SIZE];
    size_t len = 0, derived_len = sizeof derived;
    if (!is(&members[KEY_JWK_CRV], "Ed25519"))
        return err_set(err, ERR_INVALID, "the JWK's member \"crv\" must be \"Ed25519\" for an OKP key");
    enum err_code code = decode(members, KEY_JWK_X, COORDINATE_SIZE, x, &len, err);
    if (code == ERR_NONE && is_private)
        code = decode(members, KEY_JWK_D, COORDINATE_SIZE, d, &len, err);
    if (code != ERR_NONE)
        return code;
    *out = is_private ? ssl->EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, d, COORDINATE_SIZE)
                      : ssl->EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x, COORDINATE_SIZE);
    crypto_wipe(d, sizeof d);
    if (*out == NULL)
        return crypto_api_failed(ssl, "make the key", err);
    if (ssl->EVP_PKEY_get_raw_public_key(*out, derived, &derived_len) == 1 &&
        memcmp(derived, x, sizeof derived) == 0)
        return ERR_NONE;
    ssl->EVP_PKEY_free(*out);
    *out = NULL;
    return err_set(err, ERR_INVALID, "the JWK's members \"d\" and \"x\" do not belong together");
}

/* ---- all ---- */

/* A private key whose halves do not belong together makes signatures that its public key refuses. */
static enum err_code check_halves(const struct key *key, struct err *err)
{
    static const char sample[] = "workers";
    unsigned char signature[KEY_SIGNATURE_MAX];
    const char *digest = key->type == KEY_ED25519 ? NULL : "sha256";
    size_t len = 0;
    bool good = false;
    if (key_sign(key, digest, KEY_ECDSA_DER, sample, sizeof sample, signature, &len, err) != ERR_NONE ||
        key_verify(key, digest, KEY_ECDSA_DER, sample, sizeof sample, signature, len, &good, err) !=
            ERR_NONE ||
        !good)
        return err_set(err, ERR_INVALID,
                       "the private and the public members of the JWK do not belong together");
    return ERR_NONE;
}

enum err_code key_from_jwk(const struct key_jwk_member members[KEY_JWK_COUNT], struct key **out,
                           struct err *err)
{
    const struct key_jwk_member *type = &members[KEY_JWK_KTY];
    bool is_private = members[KEY_JWK_D].text != NULL;
    bool is_rsa = is(type, "RSA");
    EVP_PKEY *pkey = NULL;
    struct key *key = NULL;
    if (is(type, "oct"))
        return err_set(err, ERR_INVALID,
                       "the JWK is a secret (kty \"oct\"): what its member \"k\" holds as base64url is the "
                       "secret itself");
    if (!is_rsa && !is(type, "EC") && !is(type, "OKP"))
        return err_set(err, ERR_INVALID, "the JWK's member \"kty\" must be \"RSA\", \"EC\" or \"OKP\"");
    if (members[KEY_JWK_USE].text != NULL && !is(&members[KEY_JWK_USE], "sig"))
        return err_set(err, ERR_INVALID, "the JWK is not for signatures: its member \"use\" is not \"sig\"");
    const struct crypto_api *ssl = crypto_api_get(err);
    if (ssl == NULL)
        return ERR_IO;
    enum err_code code = is(type, "OKP") ? from_octets(ssl, members, is_private, &pkey, err)
                                         : from_numbers(ssl, members, is_rsa, is_private, &pkey, err);
    ssl->ERR_clear_error();
    if (code == ERR_NONE)
        code = key_accept(ssl, pkey, is_private, &key, err);
    if (code == ERR_NONE && is_private)
        code = check_halves(key, err);
    if (code != ERR_NONE) {
        key_free(key);
        return code;
    }
    *out = key;
    return ERR_NONE;
}
