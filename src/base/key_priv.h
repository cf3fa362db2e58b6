/* What the files of base/key.h share; nothing else includes this.
 *
 * Who owns what: a struct key owns its EVP_PKEY. */
#ifndef WORKERS_BASE_KEY_PRIV_H
#define WORKERS_BASE_KEY_PRIV_H

#include "base/crypto_api.h"
#include "base/key.h"

struct key {
    EVP_PKEY *pkey;
    enum key_type type;
    bool is_private;
    int bits;
};

/* Makes a key of pkey, which is taken over and released on failure. ERR_INVALID for a key that is not
 * supported, or whose numbers would make its use slow. */
enum err_code key_accept(const struct crypto_api *ssl, EVP_PKEY *pkey, bool is_private, struct key **out,
                         struct err *err) MUST_CHECK;

#endif
