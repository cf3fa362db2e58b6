/* Finds libcrypto at run time. Must not be reached by commands that compute no digest. */
#include "base/crypto_api.h"

#include "base/crypto.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#define LIBRARY "libcrypto.so.3"

static const struct {
    const char *name;
    const char *openssl_name;
} digest_names[] = {
    {"md5", "MD5"}, {"sha1", "SHA1"}, {"sha256", "SHA2-256"}, {"sha384", "SHA2-384"}, {"sha512", "SHA2-512"},
};
#define DIGEST_COUNT (sizeof digest_names / sizeof digest_names[0])

static struct crypto_api loaded;
static EVP_MD *digests[DIGEST_COUNT]; /* NULL when the installed OpenSSL is configured not to offer it */
static pthread_once_t loaded_once = PTHREAD_ONCE_INIT;
static char load_failure[256]; /* empty: loaded */

static bool load_symbols(void *library)
{
    static const char *const names[] = {
#define NAME(name) #name,
        CRYPTO_API_FUNCTIONS(NAME)
#undef NAME
    };
    void *symbols[sizeof names / sizeof names[0]];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        symbols[i] = dlsym(library, names[i]);
        if (symbols[i] == NULL)
            return false;
    }
    size_t next = 0;
#define STORE(name) memcpy(&loaded.name, &symbols[next++], sizeof loaded.name);
    CRYPTO_API_FUNCTIONS(STORE)
#undef STORE
    return true;
}

static void load(void)
{
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL || !load_symbols(library)) {
        const char *why = dlerror();
        struct err text;
        err_set(&text, ERR_IO, "%s", why != NULL ? why : "a function is missing");
        memcpy(load_failure, text.message, sizeof load_failure - 1);
        return;
    }
    for (size_t i = 0; i < DIGEST_COUNT; i++)
        digests[i] = loaded.EVP_MD_fetch(NULL, digest_names[i].openssl_name, NULL);
    loaded.aes_256_gcm = loaded.EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    loaded.ERR_clear_error();
}

const struct crypto_api *crypto_api_get(struct err *err)
{
    pthread_once(&loaded_once, load);
    if (load_failure[0] == '\0')
        return &loaded;
    err_set(err, ERR_IO, "cannot load OpenSSL 3 (%s); install the package libssl3", load_failure);
    return NULL;
}

enum err_code crypto_api_digest(const char *name, const struct crypto_api **api, const EVP_MD **digest,
                                struct err *err)
{
    size_t i = 0;
    while (i < DIGEST_COUNT && strcmp(name, digest_names[i].name) != 0)
        i++;
    if (i == DIGEST_COUNT)
        return err_set(err, ERR_INVALID, "unknown digest \"%s\"; use one of " CRYPTO_DIGEST_NAMES, name);
    *api = crypto_api_get(err);
    if (*api == NULL)
        return ERR_IO;
    if (digests[i] == NULL)
        return err_set(err, ERR_INVALID, "digest %s is switched off in this machine's OpenSSL", name);
    *digest = digests[i];
    return ERR_NONE;
}

enum err_code crypto_api_failed(const struct crypto_api *api, const char *what, struct err *err)
{
    char reason[160] = "no reason given";
    unsigned long code = api->ERR_peek_last_error();
    if (code != 0)
        api->ERR_error_string_n(code, reason, sizeof reason);
    api->ERR_clear_error();
    return err_set(err, ERR_INTERNAL, "OpenSSL could not %s: %s", what, reason);
}
