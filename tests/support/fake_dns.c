/* A name server for tests, preloaded: FAKE_DNS="evil.test=127.0.0.1;two.test=192.0.2.1|::1" says which name
 * has which address, and with "|" which it has the next time. Other names are looked up as usual. */
#include <dlfcn.h>
#include <netdb.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int lookup_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);

/* The address of the nth look-up of the entry, whose addresses stand at text; the last one stays. */
static void nth(const char *text, int n, char *out, size_t size)
{
    size_t len = strcspn(text, "|;");
    for (; n > 0 && text[len] == '|'; n--) {
        text += len + 1;
        len = strcspn(text, "|;");
    }
    snprintf(out, size, "%.*s", (int)len, text);
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **result)
{
    static int calls;
    lookup_fn *real;
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    const char *list = getenv("FAKE_DNS");
    size_t len = name != NULL ? strlen(name) : 0;
    for (const char *at = list; at != NULL && *at != '\0'; at += strcspn(at, ";"), at += *at == ';') {
        if (len == 0 || strncmp(at, name, len) != 0 || at[len] != '=')
            continue;
        char address[64];
        struct addrinfo numeric = hints != NULL ? *hints : (struct addrinfo){0};
        nth(at + len + 1, __atomic_fetch_add(&calls, 1, __ATOMIC_SEQ_CST), address, sizeof address);
        numeric.ai_flags = AI_NUMERICHOST;
        numeric.ai_family = AF_UNSPEC;
        return real(address, service, &numeric, result);
    }
    return real(name, service, hints, result);
}
