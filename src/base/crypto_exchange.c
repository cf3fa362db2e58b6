/* Agreeing on a key over a line that others read. */
#include "base/crypto.h"

#include "base/crypto_api.h"

#include <string.h>

#define SIZE CRYPTO_EXCHANGE_SIZE

static enum err_code public_of(const struct crypto_api *ssl, const EVP_PKEY *pair, unsigned char out[SIZE],
                               struct err *err)
{
    size_t len = SIZE;
    if (ssl->EVP_PKEY_get_raw_public_key(pair, out, &len) != 1 || len != SIZE)
        return crypto_api_failed(ssl, "make a key of X25519", err);
    return ERR_NONE;
}

enum err_code crypto_exchange_new(unsigned char private_half[SIZE], unsigned char public_half[SIZE],
                                  struct err *err)
{
    const struct crypto_api *ssl = crypto_api_get(err);
    if (ssl == NULL)
        return err->code;
    enum err_code code = crypto_random(private_half, SIZE, err);
    if (code != ERR_NONE)
        return code;
    EVP_PKEY *pair = ssl->EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, private_half, SIZE);
    code = pair != NULL ? public_of(ssl, pair, public_half, err)
                        : crypto_api_failed(ssl, "make a key of X25519", err);
    ssl->EVP_PKEY_free(pair);
    return code;
}

/* libcrypto refuses a half of small order, which would lead to zeros. */
static bool agree(const struct crypto_api *ssl, EVP_PKEY *own, EVP_PKEY *other, unsigned char shared[SIZE])
{
    size_t len = SIZE;
    EVP_PKEY_CTX *ctx = ssl->EVP_PKEY_CTX_new(own, NULL);
    bool agreed = ctx != NULL && ssl->EVP_PKEY_derive_init(ctx) == 1 &&
                  ssl->EVP_PKEY_derive_set_peer(ctx, other) == 1 &&
                  ssl->EVP_PKEY_derive(ctx, shared, &len) == 1 && len == SIZE;
    ssl->EVP_PKEY_CTX_free(ctx);
    if (!agreed)
        ssl->ERR_clear_error();
    return agreed;
}

enum err_code crypto_exchange_key(const unsigned char private_half[SIZE],
                                  const unsigned char other_public[SIZE], unsigned char key[CRYPTO_KEY_SIZE],
                                  struct err *err)
{
    const struct crypto_api *ssl = crypto_api_get(err);
    unsigned char shared[SIZE], halves[2 * SIZE], digest[CRYPTO_DIGEST_MAX];
    size_t len = 0;
    if (ssl == NULL)
        return err->code;
    EVP_PKEY *own = ssl->EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, private_half, SIZE);
    EVP_PKEY *other = ssl->EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, other_public, SIZE);
    enum err_code code = own != NULL && other != NULL ? public_of(ssl, own, halves, err)
                                                      : crypto_api_failed(ssl, "read a key of X25519", err);
    if (code == ERR_NONE && !agree(ssl, own, other, shared))
        code = err_set(err, ERR_INVALID, "the public key leads to no secret");
    if (code == ERR_NONE) {
        bool first = memcmp(halves, other_public, SIZE) < 0;
        memmove(halves + (first ? 0 : SIZE), halves, SIZE);
        memcpy(halves + (first ? SIZE : 0), other_public, SIZE);
        code = crypto_hmac("sha256", shared, SIZE, halves, sizeof halves, digest, &len, err);
    }
    if (code == ERR_NONE)
        memcpy(key, digest, CRYPTO_KEY_SIZE);
    crypto_wipe(shared, sizeof shared);
    crypto_wipe(digest, sizeof digest);
    ssl->EVP_PKEY_free(own);
    ssl->EVP_PKEY_free(other);
    return code;
}
