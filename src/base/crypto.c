/* Digests, sealing, random bytes and text forms. Must not let OpenSSL's types or error queue out. */
#include "base/crypto.h"

#include "base/crypto_api.h"
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define NONCE_SIZE 12
#define TAG_SIZE 16
_Static_assert(NONCE_SIZE + TAG_SIZE == CRYPTO_SEAL_OVERHEAD, "the header states the overhead");

/* ---- random bytes, comparing ---- */

static enum err_code random_from_device(unsigned char *bytes, size_t len, struct err *err)
{
    int file = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return err_set(err, ERR_IO, "no random bytes: /dev/urandom: %s", strerror(errno));
    while (len > 0) {
        ssize_t got = read(file, bytes, len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            err_set(err, ERR_IO, "no random bytes: /dev/urandom: %s", got < 0 ? strerror(errno) : "is empty");
            close(file);
            return ERR_IO;
        }
        bytes += got;
        len -= (size_t)got;
    }
    close(file);
    return ERR_NONE;
}

enum err_code crypto_random(void *bytes, size_t len, struct err *err)
{
    unsigned char *next = bytes;
    while (len > 0) {
        ssize_t got = getrandom(next, len, 0);
        if (got < 0 && errno == EINTR)
            continue;
        /* A container may forbid the system call; the device is the same source. */
        if (got <= 0)
            return random_from_device(next, len, err);
        next += got;
        len -= (size_t)got;
    }
    return ERR_NONE;
}

bool crypto_equal(const void *a, const void *b, size_t len)
{
    const volatile unsigned char *x = a, *y = b;
    unsigned char difference = 0;
    for (size_t i = 0; i < len; i++)
        difference = (unsigned char)(difference | (x[i] ^ y[i]));
    return difference == 0;
}

void crypto_wipe(void *bytes, size_t len)
{
    if (len > 0)
        explicit_bzero(bytes, len);
}

void crypto_free(void *bytes, size_t len)
{
    if (bytes != NULL)
        crypto_wipe(bytes, len);
    mem_free(bytes);
}

/* ---- digests ---- */

enum err_code crypto_digest(const char *name, const void *bytes, size_t len,
                            unsigned char out[CRYPTO_DIGEST_MAX], size_t *out_len, struct err *err)
{
    const struct crypto_api *ssl = NULL;
    const EVP_MD *digest = NULL;
    enum err_code code = crypto_api_digest(name, &ssl, &digest, err);
    if (code != ERR_NONE)
        return code;
    unsigned size = 0;
    if (ssl->EVP_Digest(bytes, len, out, &size, digest, NULL) != 1)
        return crypto_api_failed(ssl, "compute the digest", err);
    *out_len = size;
    return ERR_NONE;
}

enum err_code crypto_sha256(const void *bytes, size_t len, unsigned char out[32], struct err *err)
{
    unsigned char digest[CRYPTO_DIGEST_MAX];
    size_t size = 0;
    enum err_code code = crypto_digest("sha256", bytes, len, digest, &size, err);
    if (code == ERR_NONE)
        memcpy(out, digest, 32);
    return code;
}

enum err_code crypto_hmac(const char *name, const void *key, size_t key_len, const void *bytes, size_t len,
                          unsigned char out[CRYPTO_DIGEST_MAX], size_t *out_len, struct err *err)
{
    const struct crypto_api *ssl = NULL;
    const EVP_MD *digest = NULL;
    enum err_code code = crypto_api_digest(name, &ssl, &digest, err);
    if (code != ERR_NONE)
        return code;
    if (key_len > INT_MAX)
        return err_set(err, ERR_INVALID, "the HMAC key is longer than %d bytes", INT_MAX);
    unsigned size = 0;
    /* HMAC refuses NULL for an empty message. */
    if (ssl->HMAC(digest, key, (int)key_len, len > 0 ? bytes : "", len, out, &size) == NULL)
        return crypto_api_failed(ssl, "compute the HMAC", err);
    *out_len = size;
    return ERR_NONE;
}

/* ---- sealing ---- */

/* The cipher takes an int at a time. */
#define STEP ((size_t)1 << 30)

typedef int update_function(EVP_CIPHER_CTX *ctx, unsigned char *out, int *out_len, const unsigned char *in,
                            int len);

/* out NULL: additional data. */
static bool feed(update_function *update, EVP_CIPHER_CTX *ctx, unsigned char *out, const unsigned char *in,
                 size_t len)
{
    while (len > 0) {
        size_t step = len < STEP ? len : STEP;
        int written = 0;
        if (update(ctx, out, &written, in, (int)step) != 1)
            return false;
        in += step;
        len -= step;
        if (out != NULL)
            out += step;
    }
    return true;
}

static enum err_code new_cipher(const struct crypto_api **api, EVP_CIPHER_CTX **ctx, struct err *err)
{
    const struct crypto_api *ssl = crypto_api_get(err);
    if (ssl == NULL)
        return ERR_IO;
    if (ssl->aes_256_gcm == NULL)
        return err_set(err, ERR_INVALID, "AES-256-GCM is switched off in this machine's OpenSSL");
    *api = ssl;
    *ctx = ssl->EVP_CIPHER_CTX_new();
    return *ctx != NULL ? ERR_NONE : err_nomem(err);
}

enum err_code crypto_seal(const unsigned char key[CRYPTO_KEY_SIZE], const void *additional,
                          size_t additional_len, const void *plain, size_t len, unsigned char *out,
                          struct err *err)
{
    const struct crypto_api *ssl = NULL;
    EVP_CIPHER_CTX *ctx = NULL;
    unsigned char *body = out + NONCE_SIZE;
    int written = 0;
    enum err_code code = new_cipher(&ssl, &ctx, err);
    if (code != ERR_NONE)
        return code;
    code = crypto_random(out, NONCE_SIZE, err);
    if (code != ERR_NONE)
        goto done;
    if (ssl->EVP_EncryptInit_ex(ctx, ssl->aes_256_gcm, NULL, key, out) != 1 ||
        !feed(ssl->EVP_EncryptUpdate, ctx, NULL, additional, additional_len) ||
        !feed(ssl->EVP_EncryptUpdate, ctx, body, plain, len) ||
        ssl->EVP_EncryptFinal_ex(ctx, body + len, &written) != 1 ||
        ssl->EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, body + len) != 1)
        code = crypto_api_failed(ssl, "seal", err);
done:
    ssl->EVP_CIPHER_CTX_free(ctx);
    return code;
}

enum err_code crypto_open(const unsigned char key[CRYPTO_KEY_SIZE], const void *additional,
                          size_t additional_len, const void *sealed, size_t sealed_len, unsigned char *out,
                          struct err *err)
{
    const struct crypto_api *ssl = NULL;
    EVP_CIPHER_CTX *ctx = NULL;
    const unsigned char *body = (const unsigned char *)sealed + NONCE_SIZE;
    unsigned char tag[TAG_SIZE], nothing[TAG_SIZE];
    int written = 0;
    if (sealed_len < CRYPTO_SEAL_OVERHEAD)
        return err_set(err, ERR_CORRUPT, "a sealed value of %zu bytes is cut short: at least %d expected",
                       sealed_len, CRYPTO_SEAL_OVERHEAD);
    size_t len = sealed_len - CRYPTO_SEAL_OVERHEAD;
    enum err_code code = new_cipher(&ssl, &ctx, err);
    if (code != ERR_NONE)
        return code;
    memcpy(tag, body + len, TAG_SIZE);
    if (ssl->EVP_DecryptInit_ex(ctx, ssl->aes_256_gcm, NULL, key, sealed) != 1 ||
        !feed(ssl->EVP_DecryptUpdate, ctx, NULL, additional, additional_len) ||
        !feed(ssl->EVP_DecryptUpdate, ctx, out, body, len) ||
        ssl->EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, tag) != 1) {
        code = crypto_api_failed(ssl, "open a sealed value", err);
    } else if (ssl->EVP_DecryptFinal_ex(ctx, nothing, &written) != 1) {
        ssl->ERR_clear_error();
        code = err_set(err, ERR_CORRUPT,
                       "a sealed value does not open: it was altered, or sealed with another key or "
                       "for another purpose");
    }
    if (code != ERR_NONE)
        crypto_wipe(out, len);
    ssl->EVP_CIPHER_CTX_free(ctx);
    return code;
}

/* ---- text forms ---- */

static const char hex_digits[] = "0123456789abcdef";
static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base64url_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

size_t crypto_encoded_len(enum crypto_encoding encoding, size_t len)
{
    if (len > SIZE_MAX / 2 - 4)
        return 0;
    switch (encoding) {
    case CRYPTO_HEX:
        return len * 2;
    case CRYPTO_BASE64:
        return (len + 2) / 3 * 4;
    case CRYPTO_BASE64URL:
        return len / 3 * 4 + (len % 3 > 0 ? len % 3 + 1 : 0);
    }
    return 0;
}

static char *encode_hex(const unsigned char *bytes, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++) {
        *out++ = hex_digits[bytes[i] >> 4];
        *out++ = hex_digits[bytes[i] & 15];
    }
    return out;
}

static char *encode_base64(const unsigned char *bytes, size_t len, const char *alphabet, bool padded,
                           char *out)
{
    for (; len >= 3; len -= 3, bytes += 3) {
        uint32_t group = (uint32_t)bytes[0] << 16 | (uint32_t)bytes[1] << 8 | bytes[2];
        for (int shift = 18; shift >= 0; shift -= 6)
            *out++ = alphabet[group >> shift & 63];
    }
    if (len == 0)
        return out;
    uint32_t group = (uint32_t)bytes[0] << 16 | (len == 2 ? (uint32_t)bytes[1] << 8 : 0);
    *out++ = alphabet[group >> 18 & 63];
    *out++ = alphabet[group >> 12 & 63];
    if (len == 2)
        *out++ = alphabet[group >> 6 & 63];
    for (; padded && len < 3; len++)
        *out++ = '=';
    return out;
}

void crypto_encode(enum crypto_encoding encoding, const void *bytes, size_t len, char *out)
{
    if (encoding == CRYPTO_HEX)
        out = encode_hex(bytes, len, out);
    else if (encoding == CRYPTO_BASE64)
        out = encode_base64(bytes, len, base64_digits, true, out);
    else
        out = encode_base64(bytes, len, base64url_digits, false, out);
    *out = '\0';
}

void crypto_encode_to(enum crypto_encoding encoding, const void *bytes, size_t len, struct buf *out)
{
    size_t text_len = crypto_encoded_len(encoding, len);
    char *text = buf_reserve(out, text_len + 1);
    if (text == NULL)
        return;
    crypto_encode(encoding, bytes, len, text);
    out->len += text_len;
}

size_t crypto_decoded_max(enum crypto_encoding encoding, size_t len)
{
    return encoding == CRYPTO_HEX ? len / 2 : len / 4 * 3 + 2;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static int base64_value(char c, bool url)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == (url ? '-' : '+'))
        return 62;
    return c == (url ? '_' : '/') ? 63 : -1;
}

static enum err_code foreign_character(const char *what, const char *text, size_t at, struct err *err)
{
    unsigned char c = (unsigned char)text[at];
    if (c > ' ' && c < 127)
        return err_set(err, ERR_INVALID, "not %s: character '%c' at position %zu", what, c, at + 1);
    return err_set(err, ERR_INVALID, "not %s: byte 0x%02x at position %zu", what, c, at + 1);
}

static enum err_code decode_hex(const char *text, size_t len, unsigned char *out, size_t *out_len,
                                struct err *err)
{
    int high = 0;
    for (size_t i = 0; i < len; i++) {
        int value = hex_value(text[i]);
        if (value < 0)
            return foreign_character("hex", text, i, err);
        if (i % 2 == 0)
            high = value;
        else
            out[i / 2] = (unsigned char)(high << 4 | value);
    }
    if (len % 2 != 0)
        return err_set(err, ERR_INVALID, "not hex: an even number of digits expected, got %zu", len);
    *out_len = len / 2;
    return ERR_NONE;
}

static enum err_code decode_base64(const char *text, size_t len, bool url, unsigned char *out,
                                   size_t *out_len, struct err *err)
{
    const char *what = url ? "base64url" : "base64";
    size_t digits = len, padding = 0;
    while (digits > 0 && padding < 2 && text[digits - 1] == '=') {
        digits--;
        padding++;
    }
    uint32_t group = 0;
    size_t written = 0;
    for (size_t i = 0; i < digits; i++) {
        int value = base64_value(text[i], url);
        if (value < 0)
            return foreign_character(what, text, i, err);
        group = group << 6 | (uint32_t)value;
        if (i % 4 == 3) {
            out[written++] = (unsigned char)(group >> 16);
            out[written++] = (unsigned char)(group >> 8);
            out[written++] = (unsigned char)group;
            group = 0;
        }
    }
    size_t rest = digits % 4;
    if (rest == 1)
        return err_set(err, ERR_INVALID, "not %s: cut short, %zu digits", what, digits);
    size_t wanted = rest == 0 ? 0 : 4 - rest;
    if (padding != wanted && !(url && padding == 0))
        return err_set(err, ERR_INVALID, "not %s: %zu '=' at the end expected, got %zu", what, wanted,
                       padding);
    /* Bits that belong to no byte must be zero, or several texts would stand for the same bytes. */
    if ((rest == 2 && (group & 15) != 0) || (rest == 3 && (group & 3) != 0))
        return err_set(err, ERR_INVALID, "not %s: bits left over in the digit at position %zu", what, digits);
    if (rest == 2)
        out[written++] = (unsigned char)(group >> 4);
    if (rest == 3) {
        out[written++] = (unsigned char)(group >> 10);
        out[written++] = (unsigned char)(group >> 2);
    }
    *out_len = written;
    return ERR_NONE;
}

enum err_code crypto_decode(enum crypto_encoding encoding, const char *text, size_t len, void *out,
                            size_t *out_len, struct err *err)
{
    if (encoding == CRYPTO_HEX)
        return decode_hex(text, len, out, out_len, err);
    return decode_base64(text, len, encoding == CRYPTO_BASE64URL, out, out_len, err);
}
