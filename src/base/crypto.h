/* Digests, authenticated encryption, random bytes and their text forms.
 *
 * Who owns what: callers own all buffers; the libcrypto handles belong to this file and live as long as the
 * process.
 *
 * libcrypto is loaded when it is first needed (about a millisecond, which short commands must not pay).
 * Random bytes, comparing and the text forms need none of it. All functions may be called from any thread. */
#ifndef WORKERS_BASE_CRYPTO_H
#define WORKERS_BASE_CRYPTO_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>

/* From the kernel. ERR_IO when it has none to give. */
enum err_code crypto_random(void *bytes, size_t len, struct err *err) MUST_CHECK;

#define CRYPTO_DIGEST_MAX 64
#define CRYPTO_DIGEST_NAMES "md5, sha1, sha256, sha384, sha512"

/* 32 bytes of SHA-256 (FIPS 180-4). Fails only when libcrypto cannot be loaded. */
enum err_code crypto_sha256(const void *bytes, size_t len, unsigned char out[32], struct err *err) MUST_CHECK;

/* name is one of CRYPTO_DIGEST_NAMES; ERR_INVALID for another, with the list. out_len is set to 16 … 64. */
enum err_code crypto_digest(const char *name, const void *bytes, size_t len,
                            unsigned char out[CRYPTO_DIGEST_MAX], size_t *out_len,
                            struct err *err) MUST_CHECK;

/* RFC 2104 over the same digests; keys of any length up to INT_MAX. */
enum err_code crypto_hmac(const char *name, const void *key, size_t key_len, const void *bytes, size_t len,
                          unsigned char out[CRYPTO_DIGEST_MAX], size_t *out_len, struct err *err) MUST_CHECK;

/* Takes as long for equal bytes as for different ones. */
bool crypto_equal(const void *a, const void *b, size_t len);

/* Overwrites in a way that the compiler does not drop. */
void crypto_wipe(void *bytes, size_t len);
/* The same, then mem_free. NULL is fine. */
void crypto_free(void *bytes, size_t len);

/* Secrets at rest: AES-256-GCM (NIST SP 800-38D). The sealed form is a random nonce of 12 bytes, the
 * encrypted bytes and a tag of 16. The additional data (say, the name under which a secret is kept) is not
 * stored in it, but it must be the same to open it: a sealed value moved elsewhere does not open. One key is
 * good for 2^32 sealed values. */
#define CRYPTO_KEY_SIZE 32
#define CRYPTO_SEAL_OVERHEAD 28

/* out takes len + CRYPTO_SEAL_OVERHEAD bytes, all of them; it must not overlap the input. */
enum err_code crypto_seal(const unsigned char key[CRYPTO_KEY_SIZE], const void *additional,
                          size_t additional_len, const void *plain, size_t len, unsigned char *out,
                          struct err *err) MUST_CHECK;

/* out takes sealed_len - CRYPTO_SEAL_OVERHEAD bytes, all of them. ERR_CORRUPT when the sealed bytes were
 * changed or cut, or key or additional data are others; out then holds nothing of the secret. */
enum err_code crypto_open(const unsigned char key[CRYPTO_KEY_SIZE], const void *additional,
                          size_t additional_len, const void *sealed, size_t sealed_len, unsigned char *out,
                          struct err *err) MUST_CHECK;

/* A key that two sides have when each has seen the other's public half: X25519 (RFC 7748), and an HMAC-SHA256
 * of both public halves, the smaller first, with what came of it. */
#define CRYPTO_EXCHANGE_SIZE 32
enum err_code crypto_exchange_new(unsigned char private_half[CRYPTO_EXCHANGE_SIZE],
                                  unsigned char public_half[CRYPTO_EXCHANGE_SIZE],
                                  struct err *err) MUST_CHECK;
/* ERR_INVALID when the other side's half is none that leads to a secret. */
enum err_code crypto_exchange_key(const unsigned char private_half[CRYPTO_EXCHANGE_SIZE],
                                  const unsigned char other_public[CRYPTO_EXCHANGE_SIZE],
                                  unsigned char key[CRYPTO_KEY_SIZE], struct err *err) MUST_CHECK;

enum crypto_encoding {
    CRYPTO_HEX,       /* written in lower case, read in either (RFC 4648 section 8) */
    CRYPTO_BASE64,    /* with padding, which is required in reading too (RFC 4648 section 4) */
    CRYPTO_BASE64URL, /* written without padding, read with all of it or none (RFC 4648 section 5) */
};

/* Characters of the text form, without the NUL that crypto_encode adds; 0 when that would not fit in a
 * size_t. */
size_t crypto_encoded_len(enum crypto_encoding encoding, size_t len);
/* out takes crypto_encoded_len + 1 bytes. */
void crypto_encode(enum crypto_encoding encoding, const void *bytes, size_t len, char *out);

/* The same, appended. */
void crypto_encode_to(enum crypto_encoding encoding, const void *bytes, size_t len, struct buf *out);

/* An upper bound for crypto_decode's out. */
size_t crypto_decoded_max(enum crypto_encoding encoding, size_t len);
/* Strict: no blanks, no foreign characters, no bits left over after the last byte. ERR_INVALID names the
 * character's position, counted from 1. */
enum err_code crypto_decode(enum crypto_encoding encoding, const char *text, size_t len, void *out,
                            size_t *out_len, struct err *err) MUST_CHECK;

#endif
