/* libcrypto, loaded when it is first needed. For the files of base/ that wrap it (crypto.c, key*.c) and
 * nobody else: none of OpenSSL's types and no entry of its error queue may get past them.
 *
 * Who owns what: the library and the digests fetched from it live as long as the process; the table is shared
 * and read-only. */
#ifndef WORKERS_BASE_CRYPTO_API_H
#define WORKERS_BASE_CRYPTO_API_H

#include "base/err.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <openssl/x509.h>

/* Every function of libcrypto that is used, declared once: the pointer's type is that of the header. */
#define CRYPTO_API_FUNCTIONS(X)                                                                              \
    X(ASN1_INTEGER_get_int64)                                                                                \
    X(BIO_free)                                                                                              \
    X(BIO_new_mem_buf)                                                                                       \
    X(BN_bin2bn)                                                                                             \
    X(BN_bn2binpad)                                                                                          \
    X(BN_clear_free)                                                                                         \
    X(BN_is_odd)                                                                                             \
    X(BN_is_one)                                                                                             \
    X(BN_num_bits)                                                                                           \
    X(CRYPTO_clear_free)                                                                                     \
    X(CRYPTO_free)                                                                                           \
    X(ECDSA_SIG_free)                                                                                        \
    X(ECDSA_SIG_get0)                                                                                        \
    X(ECDSA_SIG_new)                                                                                         \
    X(ECDSA_SIG_set0)                                                                                        \
    X(ERR_clear_error)                                                                                       \
    X(ERR_error_string_n)                                                                                    \
    X(ERR_peek_last_error)                                                                                   \
    X(EVP_CIPHER_CTX_ctrl)                                                                                   \
    X(EVP_CIPHER_CTX_free)                                                                                   \
    X(EVP_CIPHER_CTX_new)                                                                                    \
    X(EVP_CIPHER_fetch)                                                                                      \
    X(EVP_DecryptFinal_ex)                                                                                   \
    X(EVP_DecryptInit_ex)                                                                                    \
    X(EVP_DecryptUpdate)                                                                                     \
    X(EVP_Digest)                                                                                            \
    X(EVP_DigestSign)                                                                                        \
    X(EVP_DigestSignInit)                                                                                    \
    X(EVP_DigestVerify)                                                                                      \
    X(EVP_DigestVerifyInit)                                                                                  \
    X(EVP_EncryptFinal_ex)                                                                                   \
    X(EVP_EncryptInit_ex)                                                                                    \
    X(EVP_EncryptUpdate)                                                                                     \
    X(EVP_MD_CTX_free)                                                                                       \
    X(EVP_MD_CTX_new)                                                                                        \
    X(EVP_MD_fetch)                                                                                          \
    X(EVP_PKCS82PKEY)                                                                                        \
    X(OpenSSL_version)                                                                                       \
    X(EVP_PKEY_CTX_free)                                                                                     \
    X(EVP_PKEY_CTX_new)                                                                                      \
    X(EVP_PKEY_CTX_new_from_name)                                                                            \
    X(EVP_PKEY_derive)                                                                                       \
    X(EVP_PKEY_derive_init)                                                                                  \
    X(EVP_PKEY_derive_set_peer)                                                                              \
    X(EVP_PKEY_free)                                                                                         \
    X(EVP_PKEY_fromdata)                                                                                     \
    X(EVP_PKEY_fromdata_init)                                                                                \
    X(EVP_PKEY_get_base_id)                                                                                  \
    X(EVP_PKEY_get_bits)                                                                                     \
    X(EVP_PKEY_get_bn_param)                                                                                 \
    X(EVP_PKEY_get_group_name)                                                                               \
    X(EVP_PKEY_get_raw_public_key)                                                                           \
    X(EVP_PKEY_get_size)                                                                                     \
    X(EVP_PKEY_new_raw_private_key)                                                                          \
    X(EVP_PKEY_new_raw_public_key)                                                                           \
    X(HMAC)                                                                                                  \
    X(OBJ_obj2nid)                                                                                           \
    X(OSSL_PARAM_BLD_free)                                                                                   \
    X(OSSL_PARAM_BLD_new)                                                                                    \
    X(OSSL_PARAM_BLD_push_BN)                                                                                \
    X(OSSL_PARAM_BLD_push_octet_string)                                                                      \
    X(OSSL_PARAM_BLD_push_utf8_string)                                                                       \
    X(OSSL_PARAM_BLD_to_param)                                                                               \
    X(OSSL_PARAM_free)                                                                                       \
    X(PBE2PARAM_free)                                                                                        \
    X(PBKDF2PARAM_free)                                                                                      \
    X(PEM_do_header)                                                                                         \
    X(PEM_get_EVP_CIPHER_INFO)                                                                               \
    X(PEM_read_bio)                                                                                          \
    X(PKCS8_PRIV_KEY_INFO_free)                                                                              \
    X(PKCS8_decrypt)                                                                                         \
    X(X509_ALGOR_get0)                                                                                       \
    X(X509_SIG_free)                                                                                         \
    X(X509_SIG_get0)                                                                                         \
    X(X509_free)                                                                                             \
    X(X509_get_pubkey)                                                                                       \
    X(d2i_ECDSA_SIG)                                                                                         \
    X(d2i_PBE2PARAM)                                                                                         \
    X(d2i_PBKDF2PARAM)                                                                                       \
    X(d2i_PKCS8_PRIV_KEY_INFO)                                                                               \
    X(d2i_PUBKEY)                                                                                            \
    X(d2i_PrivateKey)                                                                                        \
    X(d2i_PublicKey)                                                                                         \
    X(d2i_X509)                                                                                              \
    X(d2i_X509_SIG)                                                                                          \
    X(i2d_ECDSA_SIG)

#define CRYPTO_API_FIELD(name) __typeof__(&name) name;
struct crypto_api {
    CRYPTO_API_FUNCTIONS(CRYPTO_API_FIELD)
    EVP_CIPHER *aes_256_gcm; /* NULL when the installed OpenSSL is configured not to offer it */
};
#undef CRYPTO_API_FIELD

/* Loads the library at the first call. NULL and ERR_IO when it cannot be had; the message names the package.
 * May be called from any thread. */
const struct crypto_api *crypto_api_get(struct err *err);

/* The digest of one of CRYPTO_DIGEST_NAMES, and the table. ERR_INVALID for another name, and for a digest
 * that the installed OpenSSL is configured not to offer. */
enum err_code crypto_api_digest(const char *name, const struct crypto_api **api, const EVP_MD **digest,
                                struct err *err) MUST_CHECK;

/* ERR_INTERNAL with "OpenSSL could not <what>" and OpenSSL's reason, which holds nothing of the data; empties
 * the error queue. */
enum err_code crypto_api_failed(const struct crypto_api *api, const char *what, struct err *err);

#endif
