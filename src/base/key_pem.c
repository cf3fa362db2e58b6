/* Keys from PEM texts (RFC 7468). Must not ask anybody for a passphrase, as OpenSSL's own reader would, and
 * must not start a derivation whose length the text decides. */
#include "base/key_priv.h"

#include "base/crypto.h"

#include <string.h>

/* One block of a PEM text. Its bytes may be a private key. */
struct block {
    char *name;   /* "PRIVATE KEY" */
    char *header; /* lines such as "DEK-Info: …", mostly empty */
    unsigned char *bytes;
    long len;
};

struct passphrase {
    const char *text; /* NULL: none given */
    size_t len;
};

typedef enum err_code read_block(const struct crypto_api *ssl, struct block *block,
                                 const struct passphrase *passphrase, EVP_PKEY **out, struct err *err);

static void block_free(const struct crypto_api *ssl, struct block *block)
{
    if (block->bytes != NULL)
        ssl->CRYPTO_clear_free(block->bytes, (size_t)block->len, __FILE__, __LINE__);
    ssl->CRYPTO_free(block->name, __FILE__, __LINE__);
    ssl->CRYPTO_free(block->header, __FILE__, __LINE__);
    *block = (struct block){0};
}

static enum err_code damaged(const struct block *block, struct err *err)
{
    return err_set(err, ERR_INVALID, "the %s in the PEM text is damaged or cut short", block->name);
}

static enum err_code need_passphrase(const struct passphrase *passphrase, struct err *err)
{
    if (passphrase->text == NULL)
        return err_set(err, ERR_INVALID, "the key is encrypted: give its passphrase");
    if (passphrase->len > KEY_PASSPHRASE_MAX)
        return err_set(err, ERR_INVALID, "the passphrase is longer than %zu bytes", KEY_PASSPHRASE_MAX);
    return ERR_NONE;
}

static enum err_code wrong_passphrase(struct err *err)
{
    return err_set(err, ERR_INVALID, "the passphrase does not open the key, or the key is damaged");
}

/* ---- PKCS#8 ---- */

static enum err_code take_pkcs8(const struct crypto_api *ssl, PKCS8_PRIV_KEY_INFO *info, EVP_PKEY **out,
                                struct err *err)
{
    *out = ssl->EVP_PKCS82PKEY(info);
    ssl->PKCS8_PRIV_KEY_INFO_free(info);
    return *out != NULL ? ERR_NONE
                        : err_set(err, ERR_INVALID, "the PRIVATE KEY holds no key that can be used");
}

static enum err_code read_pkcs8(const struct crypto_api *ssl, struct block *block,
                                const struct passphrase *passphrase, EVP_PKEY **out, struct err *err)
{
    const unsigned char *at = block->bytes;
    (void)passphrase;
    PKCS8_PRIV_KEY_INFO *info = ssl->d2i_PKCS8_PRIV_KEY_INFO(NULL, &at, block->len);
    if (info != NULL && at == block->bytes + block->len)
        return take_pkcs8(ssl, info, out, err);
    ssl->PKCS8_PRIV_KEY_INFO_free(info);
    return damaged(block, err);
}

/* The number of PBKDF2 iterations that the key asks for; 0 when it is not PBES2 with PBKDF2. */
static int64_t iterations(const struct crypto_api *ssl, const X509_SIG *sealed)
{
    const X509_ALGOR *algorithm = NULL;
    const ASN1_OBJECT *name = NULL;
    const void *value = NULL;
    PBE2PARAM *scheme = NULL;
    PBKDF2PARAM *derivation = NULL;
    int64_t count = 0;
    int type = 0;

    ssl->X509_SIG_get0(sealed, &algorithm, NULL);
    ssl->X509_ALGOR_get0(&name, &type, &value, algorithm);
    if (ssl->OBJ_obj2nid(name) != NID_pbes2 || type != V_ASN1_SEQUENCE)
        return 0;
    const ASN1_STRING *text = value;
    const unsigned char *at = text->data;
    scheme = ssl->d2i_PBE2PARAM(NULL, &at, text->length);
    if (scheme != NULL) {
        ssl->X509_ALGOR_get0(&name, &type, &value, scheme->keyfunc);
        if (ssl->OBJ_obj2nid(name) == NID_id_pbkdf2 && type == V_ASN1_SEQUENCE) {
            text = value;
            at = text->data;
            derivation = ssl->d2i_PBKDF2PARAM(NULL, &at, text->length);
        }
    }
    if (derivation != NULL && ssl->ASN1_INTEGER_get_int64(&count, derivation->iter) != 1)
        count = INT64_MAX;
    ssl->PBKDF2PARAM_free(derivation);
    ssl->PBE2PARAM_free(scheme);
    return count;
}

static enum err_code read_encrypted_pkcs8(const struct crypto_api *ssl, struct block *block,
                                          const struct passphrase *passphrase, EVP_PKEY **out,
                                          struct err *err)
{
    const unsigned char *at = block->bytes;
    X509_SIG *sealed = ssl->d2i_X509_SIG(NULL, &at, block->len);
    if (sealed == NULL || at != block->bytes + block->len) {
        ssl->X509_SIG_free(sealed);
        return damaged(block, err);
    }
    enum err_code code = need_passphrase(passphrase, err);
    int64_t count = iterations(ssl, sealed);
    if (code == ERR_NONE && count < 1)
        code = err_set(
            err, ERR_INVALID,
            "the key is not encrypted with PBES2 and PBKDF2; rewrite it with `openssl pkcs8 -topk8 -v2 "
            "aes-256-cbc`");
    if (code == ERR_NONE && count > KEY_PBKDF2_MAX_ITERATIONS)
        code = err_set(err, ERR_INVALID, "the key is encrypted with more than %d iterations of PBKDF2",
                       KEY_PBKDF2_MAX_ITERATIONS);
    PKCS8_PRIV_KEY_INFO *info = NULL;
    if (code == ERR_NONE) {
        info = ssl->PKCS8_decrypt(sealed, passphrase->text, (int)passphrase->len);
        code = info != NULL ? take_pkcs8(ssl, info, out, err) : wrong_passphrase(err);
    }
    ssl->X509_SIG_free(sealed);
    return code;
}

/* ---- PKCS#1, SEC1 ---- */

static int give_passphrase(char *buffer, int size, int writing, void *context)
{
    const struct passphrase *passphrase = context;
    (void)writing;
    if (size < 0 || passphrase->len > (size_t)size)
        return -1;
    memcpy(buffer, passphrase->text, passphrase->len);
    return (int)passphrase->len;
}

/* The older kind of encryption derives its key with one round of MD5, so that it needs no bound. */
static enum err_code decrypt_block(const struct crypto_api *ssl, struct block *block,
                                   const struct passphrase *passphrase, bool *encrypted, struct err *err)
{
    EVP_CIPHER_INFO cipher;
    long len = block->len;
    *encrypted = false;
    if (ssl->PEM_get_EVP_CIPHER_INFO(block->header, &cipher) != 1)
        return damaged(block, err);
    if (cipher.cipher == NULL)
        return ERR_NONE;
    *encrypted = true;
    enum err_code code = need_passphrase(passphrase, err);
    if (code != ERR_NONE)
        return code;
    /* len stays apart: block->len is what there is to wipe. */
    if (ssl->PEM_do_header(&cipher, block->bytes, &len, give_passphrase, (void *)(uintptr_t)passphrase) != 1)
        return wrong_passphrase(err);
    memset(block->bytes + len, 0, (size_t)(block->len - len));
    block->len = len;
    return ERR_NONE;
}

static enum err_code read_typed(const struct crypto_api *ssl, int type, struct block *block,
                                const struct passphrase *passphrase, EVP_PKEY **out, struct err *err)
{
    bool encrypted = false;
    enum err_code code = decrypt_block(ssl, block, passphrase, &encrypted, err);
    if (code != ERR_NONE)
        return code;
    const unsigned char *at = block->bytes;
    *out = ssl->d2i_PrivateKey(type, NULL, &at, block->len);
    if (*out != NULL && at == block->bytes + block->len)
        return ERR_NONE;
    ssl->EVP_PKEY_free(*out);
    *out = NULL;
    return encrypted ? wrong_passphrase(err) : damaged(block, err);
}

static enum err_code read_pkcs1(const struct crypto_api *ssl, struct block *block,
                                const struct passphrase *passphrase, EVP_PKEY **out, struct err *err)
{
    return read_typed(ssl, EVP_PKEY_RSA, block, passphrase, out, err);
}

static enum err_code read_sec1(const struct crypto_api *ssl, struct block *block,
                               const struct passphrase *passphrase, EVP_PKEY **out, struct err *err)
{
    return read_typed(ssl, EVP_PKEY_EC, block, passphrase, out, err);
}

/* ---- public keys ---- */

static enum err_code take_public(const struct crypto_api *ssl, const struct block *block,
                                 const unsigned char *at, EVP_PKEY **out, struct err *err)
{
    if (*out != NULL && at == block->bytes + block->len)
        return ERR_NONE;
    ssl->EVP_PKEY_free(*out);
    *out = NULL;
    return damaged(block, err);
}

static enum err_code read_spki(const struct crypto_api *ssl, struct block *block,
                               const struct passphrase *passphrase, EVP_PKEY **out, struct err *err)
{
    const unsigned char *at = block->bytes;
    (void)passphrase;
    *out = ssl->d2i_PUBKEY(NULL, &at, block->len);
    return take_public(ssl, block, at, out, err);
}

static enum err_code read_public_pkcs1(const struct crypto_api *ssl, struct block *block,
                                       const struct passphrase *passphrase, EVP_PKEY **out, struct err *err)
{
    const unsigned char *at = block->bytes;
    (void)passphrase;
    *out = ssl->d2i_PublicKey(EVP_PKEY_RSA, NULL, &at, block->len);
    return take_public(ssl, block, at, out, err);
}

static enum err_code read_certificate(const struct crypto_api *ssl, struct block *block,
                                      const struct passphrase *passphrase, EVP_PKEY **out, struct err *err)
{
    const unsigned char *at = block->bytes;
    (void)passphrase;
    X509 *certificate = ssl->d2i_X509(NULL, &at, block->len);
    if (certificate != NULL)
        *out = ssl->X509_get_pubkey(certificate);
    ssl->X509_free(certificate);
    return take_public(ssl, block, at, out, err);
}

/* ---- texts ---- */

static const struct {
    const char *name;
    bool is_private;
    read_block *read;
} kinds[] = {
    {"PRIVATE KEY", true, read_pkcs8},        {"ENCRYPTED PRIVATE KEY", true, read_encrypted_pkcs8},
    {"RSA PRIVATE KEY", true, read_pkcs1},    {"EC PRIVATE KEY", true, read_sec1},
    {"PUBLIC KEY", false, read_spki},         {"RSA PUBLIC KEY", false, read_public_pkcs1},
    {"CERTIFICATE", false, read_certificate},
};
#define KIND_COUNT (sizeof kinds / sizeof kinds[0])

static enum err_code check_text(const char *pem, size_t len, struct err *err)
{
    if (len == 0)
        return err_set(err, ERR_INVALID, "the PEM text is empty");
    if (len > KEY_TEXT_MAX)
        return err_set(err, ERR_INVALID, "the PEM text is longer than %zu bytes", KEY_TEXT_MAX);
    if (memchr(pem, '\0', len) != NULL)
        return err_set(err, ERR_INVALID, "the PEM text has a NUL byte in it");
    if (memmem(pem, len, "-----BEGIN ", 11) == NULL)
        return err_set(err, ERR_INVALID, "no PEM text: a line such as -----BEGIN PUBLIC KEY----- expected");
    /* What a key looks like after a trip through an environment variable. */
    if (memchr(pem, '\n', len) == NULL && memchr(pem, '\r', len) == NULL &&
        memmem(pem, len, "\\n", 2) != NULL)
        return err_set(
            err, ERR_INVALID,
            "the PEM text has \"\\n\" as two characters where its lines should end; put line ends there");
    return ERR_NONE;
}

/* What to say when no block was of the kind wanted. other is the name of the first that was not; empty: none.
 */
static enum err_code nothing_fits(bool want_private, const char *other, struct err *err)
{
    if (other[0] == '\0')
        return err_set(err, ERR_INVALID, "the PEM text is damaged or cut short: no block in it is whole");
    return err_set(err, ERR_INVALID, "the PEM text holds a \"%s\", which is no %s key that can be read",
                   other, want_private ? "private" : "public");
}

static void copy_printable(char *out, size_t size, const char *text)
{
    size_t len = 0;
    for (; text[len] != '\0' && len + 1 < size; len++)
        out[len] = text[len] >= ' ' && text[len] < 0x7f ? text[len] : '?';
    out[len] = '\0';
}

static enum err_code read_first(const struct crypto_api *ssl, BIO *text, bool want_private,
                                const struct passphrase *passphrase, struct key **out, struct err *err)
{
    char other[64] = "";
    struct block block = {0};
    while (ssl->PEM_read_bio(text, &block.name, &block.header, &block.bytes, &block.len) == 1) {
        size_t kind = 0;
        while (kind < KIND_COUNT && strcmp(kinds[kind].name, block.name) != 0)
            kind++;
        if (kind < KIND_COUNT && kinds[kind].is_private == want_private) {
            EVP_PKEY *pkey = NULL;
            enum err_code code = kinds[kind].read(ssl, &block, passphrase, &pkey, err);
            block_free(ssl, &block);
            return code == ERR_NONE ? key_accept(ssl, pkey, want_private, out, err) : code;
        }
        if (other[0] == '\0')
            copy_printable(other, sizeof other, block.name);
        block_free(ssl, &block);
    }
    return nothing_fits(want_private, other, err);
}

static enum err_code read_text(const char *pem, size_t len, bool want_private,
                               const struct passphrase *passphrase, struct key **out, struct err *err)
{
    enum err_code code = check_text(pem, len, err);
    if (code != ERR_NONE)
        return code;
    const struct crypto_api *ssl = crypto_api_get(err);
    if (ssl == NULL)
        return ERR_IO;
    BIO *text = ssl->BIO_new_mem_buf(pem, (int)len);
    if (text == NULL)
        return err_nomem(err);
    code = read_first(ssl, text, want_private, passphrase, out, err);
    ssl->BIO_free(text);
    ssl->ERR_clear_error();
    return code;
}

enum err_code key_read_private(const char *pem, size_t len, const char *passphrase, size_t passphrase_len,
                               struct key **out, struct err *err)
{
    const struct passphrase given = {passphrase, passphrase_len};
    return read_text(pem, len, true, &given, out, err);
}

enum err_code key_read_public(const char *pem, size_t len, struct key **out, struct err *err)
{
    const struct passphrase none = {NULL, 0};
    return read_text(pem, len, false, &none, out, err);
}
