/* What making and checking JSON Web Tokens share; nothing else includes this.
 *
 * Who owns what: a struct jwt_signer points into the arguments of the call. */
#ifndef WORKERS_MODULES_CRYPTO_JWT_PRIV_H
#define WORKERS_MODULES_CRYPTO_JWT_PRIV_H

#include "modules/crypto_priv.h"

#define JWT_TOKEN_MAX ((size_t)256 * 1024) /* bytes; servers take some 8 KiB in a header */

/* Whose key goes with whose algorithm. */
enum jwt_family { JWT_SECRET, JWT_RSA, JWT_P256, JWT_ED25519 };

struct jwt_algorithm {
    const char *name;
    enum jwt_family family;
    const char *digest; /* NULL: part of the algorithm */
    const char *takes;  /* the key, for messages */
};

#define JWT_ALGORITHM_COUNT 8
#define JWT_ALGORITHM_NAMES "HS256, HS384, HS512, RS256, RS384, RS512, ES256, EdDSA"
extern const struct jwt_algorithm jwt_algorithms[JWT_ALGORITHM_COUNT];

/* NULL when there is none of that name. */
const struct jwt_algorithm *jwt_find_algorithm(const char *name, size_t len);
/* The algorithm of an option, whose value is on top of the stack; raises for what is none. */
const struct jwt_algorithm *jwt_need_algorithm(lua_State *L, const char *function, const char *option);

/* What a token is signed or verified with: a secret, or a key pair. */
struct jwt_signer {
    enum jwt_family family;
    const char *secret;
    size_t secret_len;
    const struct key *key;
    char description[KEY_DESCRIPTION_SIZE]; /* for messages */
};

/* Reads argument 2; raises for what is neither a secret nor a key. */
void jwt_need_signer(lua_State *L, const char *function, struct jwt_signer *signer);

#endif
