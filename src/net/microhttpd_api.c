/* Finds libmicrohttpd at run time. */
#include "net/microhttpd_api.h"

#include <dlfcn.h>
#include <stdbool.h>

#define LIBRARY "libmicrohttpd.so.12"

static struct microhttpd_api loaded;
static bool is_loaded;

const struct microhttpd_api *microhttpd_api_get(struct err *err)
{
    if (is_loaded)
        return &loaded;
    void *handle = dlopen(LIBRARY, RTLD_LAZY | RTLD_LOCAL);
    if (handle == NULL) {
        const char *reason = dlerror();
        err_set(err, ERR_NOT_FOUND,
                "an HTTP server needs libmicrohttpd, which could not be loaded (%s); install the package "
                "libmicrohttpd12",
                reason != NULL ? reason : LIBRARY);
        return NULL;
    }
#define MICROHTTPD_API_LOAD(function)                                                                        \
    loaded.function = (__typeof__(loaded.function))dlsym(handle, "MHD_" #function);                          \
    if (loaded.function == NULL) {                                                                           \
        dlclose(handle);                                                                                     \
        err_set(err, ERR_NOT_FOUND, "%s lacks MHD_%s; install the package libmicrohttpd12, 0.9.75 or newer", \
                LIBRARY, #function);                                                                         \
        return NULL;                                                                                         \
    }
    MICROHTTPD_API_FUNCTIONS(MICROHTTPD_API_LOAD)
#undef MICROHTTPD_API_LOAD
    is_loaded = true;
    return &loaded;
}
