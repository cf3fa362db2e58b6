/* Asymmetric keys: reading them, signing, verifying.
 *
 * Who owns what: whoever read a key owns it and gives it back with key_free, which wipes it. Buffers are the
 * caller's.
 *
 * RSA of KEY_RSA_MIN_BITS to KEY_RSA_MAX_BITS with two primes, the curve P-256 and Ed25519; every other key
 * is refused when it is read. libcrypto is loaded when it is first needed. No message holds anything of a
 * key, a passphrase or the text they came from. Keys may be used from any thread, each from one at a time. */
#ifndef WORKERS_BASE_KEY_H
#define WORKERS_BASE_KEY_H

#include "base/err.h"

#include <stdbool.h>

#define KEY_TEXT_MAX ((size_t)64 * 1024)  /* bytes of a PEM text; also bounds what a hostile one can cost */
#define KEY_PASSPHRASE_MAX ((size_t)1023) /* bytes */
#define KEY_PBKDF2_MAX_ITERATIONS 1000000 /* a second without hardware for SHA; tools take 2,048 */
#define KEY_RSA_MIN_BITS 2048             /* NIST SP 800-131A; RFC 7518, section 3.3 */
#define KEY_RSA_MAX_BITS 8192             /* one signature then takes some 50 ms */
#define KEY_SIGNATURE_MAX (KEY_RSA_MAX_BITS / 8) /* bytes */
#define KEY_DESCRIPTION_SIZE 48

enum key_type { KEY_RSA, KEY_P256, KEY_ED25519 };

struct key;

/* The first private key in the text: PKCS#8 (RFC 5958), also encrypted with PBES2 and PBKDF2 (RFC 8018);
 * PKCS#1 (RFC 8017, appendix A.1.2) and SEC1 (RFC 5915), also encrypted as RFC 1421 has it. passphrase may be
 * NULL; a key that is not encrypted does not need it. ERR_INVALID says what the text holds instead. Takes up
 * to a second when the key is encrypted, else some 100 microseconds. */
enum err_code key_read_private(const char *pem, size_t len, const char *passphrase, size_t passphrase_len,
                               struct key **out, struct err *err) MUST_CHECK;

/* The first public key in the text: SubjectPublicKeyInfo (RFC 5280), PKCS#1, or that of an X.509 certificate,
 * whose signature and dates nobody checks. ERR_INVALID says what the text holds instead. */
enum err_code key_read_public(const char *pem, size_t len, struct key **out, struct err *err) MUST_CHECK;

/* One member of a JSON Web Key; text NULL when it is not there. */
struct key_jwk_member {
    const char *text;
    size_t len;
};

/* Members of a JSON Web Key (RFC 7517) as they stand in JSON. */
enum key_jwk_name {
    KEY_JWK_KTY,
    KEY_JWK_CRV,
    KEY_JWK_USE,
    KEY_JWK_N,
    KEY_JWK_E,
    KEY_JWK_D,
    KEY_JWK_P,
    KEY_JWK_Q,
    KEY_JWK_DP,
    KEY_JWK_DQ,
    KEY_JWK_QI,
    KEY_JWK_X,
    KEY_JWK_Y,
    KEY_JWK_COUNT,
};
extern const char *const key_jwk_names[KEY_JWK_COUNT];

/* A public key, or a private one when there is "d": RFC 7518, sections 6.2 and 6.3, and RFC 8037, section 2.
 * "use" must be "sig" or missing. Numbers and points are base64url without padding. Of a private key it is
 * checked that its two halves belong together. ERR_INVALID names the member. */
enum err_code key_from_jwk(const struct key_jwk_member members[KEY_JWK_COUNT], struct key **out,
                           struct err *err) MUST_CHECK;

void key_free(struct key *key); /* NULL is fine */

enum key_type key_type(const struct key *key);
bool key_is_private(const struct key *key);
/* "RSA private key of 2048 bits", "P-256 public key", … */
void key_describe(const struct key *key, char out[KEY_DESCRIPTION_SIZE]);

/* How an ECDSA signature is laid out; without meaning for other keys. */
enum key_ecdsa_form {
    KEY_ECDSA_DER, /* the SEQUENCE of two INTEGERs of RFC 3279, section 2.2.3: X.509, openssl(1), most
                      webhooks */
    KEY_ECDSA_RAW, /* r and s of 32 bytes each: JWT (RFC 7518, section 3.4), WebCrypto */
};

/* RSASSA-PKCS1-v1_5 (RFC 8017, section 8.2), ECDSA (FIPS 186-4) or Ed25519 (RFC 8032). digest is "sha256",
 * "sha384" or "sha512", and NULL for Ed25519; else ERR_INVALID, as for a public key. */
enum err_code key_sign(const struct key *key, const char *digest, enum key_ecdsa_form form, const void *data,
                       size_t len, unsigned char out[KEY_SIGNATURE_MAX], size_t *out_len,
                       struct err *err) MUST_CHECK;

/* *good tells whether the signature is one of this key, or of its private half, over the data. A signature of
 * any other shape is not good, and no error. */
enum err_code key_verify(const struct key *key, const char *digest, enum key_ecdsa_form form,
                         const void *data, size_t len, const void *signature, size_t signature_len,
                         bool *good, struct err *err) MUST_CHECK;

#endif
