/* Finds libcurl at run time. Must not be reached before the first request. */
#include "net/curl_api.h"
#include "base/mem.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define LIBRARY "libcurl.so.4"
#define OLDEST_VERSION 0x075500 /* 7.85.0: CURLOPT_PROTOCOLS_STR */

static struct curl_api loaded;
static bool is_loaded;
static atomic_ulong refused; /* libcurl's resolver threads allocate too */

static void *checked(void *block)
{
    if (block == NULL)
        atomic_fetch_add(&refused, 1);
    return block;
}

static void *api_malloc(size_t size)
{
    return checked(mem_alloc(size));
}

static void *api_realloc(void *block, size_t size)
{
    return checked(mem_realloc(block, size));
}

static char *api_strdup(const char *text)
{
    return checked(mem_strndup(text, strlen(text)));
}

static void *api_calloc(size_t count, size_t size)
{
    if (size > 0 && count > SIZE_MAX / size)
        return checked(NULL);
    return checked(mem_zalloc(count * size));
}

unsigned long curl_api_refused_allocations(void)
{
    return atomic_load(&refused);
}

enum err_code curl_api_open(const char *library, struct curl_api *api, struct err *err)
{
    /* Lazy binding: most of what libcurl pulls in (LDAP, Kerberos, SSH) is never called. */
    void *handle = dlopen(library, RTLD_LAZY | RTLD_LOCAL);
    if (handle == NULL) {
        const char *reason = dlerror();
        return err_set(err, ERR_NOT_FOUND,
                       "HTTP needs libcurl, which could not be loaded (%s); install the package libcurl4",
                       reason != NULL ? reason : library);
    }
#define CURL_API_LOAD(function)                                                                              \
    api->function = (__typeof__(api->function))dlsym(handle, "curl_" #function);                             \
    if (api->function == NULL) {                                                                             \
        dlclose(handle);                                                                                     \
        return err_set(err, ERR_NOT_FOUND, "%s lacks curl_%s; install the package libcurl4, 7.85 or newer",  \
                       library, #function);                                                                  \
    }
    CURL_API_FUNCTIONS(CURL_API_LOAD)
#undef CURL_API_LOAD
    const curl_version_info_data *version = api->version_info(CURLVERSION_NOW);
    if (version->version_num < OLDEST_VERSION) {
        err_set(err, ERR_NOT_FOUND,
                "HTTP needs libcurl 7.85 or newer, %s is %s; upgrade the package libcurl4", library,
                version->version);
        dlclose(handle);
        return ERR_NOT_FOUND;
    }
    return ERR_NONE;
}

const struct curl_api *curl_api_get(struct err *err)
{
    if (is_loaded)
        return &loaded;
    if (curl_api_open(LIBRARY, &loaded, err) != ERR_NONE)
        return NULL;
    if (loaded.global_init_mem(CURL_GLOBAL_DEFAULT, api_malloc, mem_free, api_realloc, api_strdup,
                               api_calloc) != CURLE_OK) {
        err_set(err, ERR_NOMEM, "libcurl could not be initialised: out of memory or TLS is broken");
        return NULL;
    }
    is_loaded = true;
    return &loaded;
}
