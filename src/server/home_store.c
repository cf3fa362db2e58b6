/* The home's own store. */
#include "server/home_store.h"

#include "base/mem.h"
#include "engine/home.h"
#include "server/first_token.h"

#include <stdio.h>

struct home_store {
    struct store *store;
    struct token_record *tokens;
    size_t count;
    int64_t others; /* what store_others said when they were read */
    bool changed;   /* since home_store_poll was asked last */
};

/* Those that there were stay when they cannot be read. */
static void read_tokens(struct home_store *home)
{
    struct token_record *tokens = NULL;
    size_t count = 0;
    struct err ignored;
    home->others = store_others(home->store);
    if (store_tokens_read(home->store, &tokens, &count, &ignored) != ERR_NONE)
        return;
    mem_free(home->tokens);
    home->tokens = tokens;
    home->count = count;
}

static void look(struct home_store *home)
{
    if (store_others(home->store) == home->others)
        return;
    read_tokens(home);
    home->changed = true;
}

bool home_store_poll(struct home_store *home)
{
    look(home);
    bool changed = home->changed;
    home->changed = false;
    return changed;
}

void home_store_reread(struct home_store *home)
{
    read_tokens(home);
}

bool home_store_token(struct home_store *home, const char *token, size_t len, enum token_scope *scope)
{
    if (token_find(home->tokens, home->count, token, len, scope))
        return true;
    look(home); /* it may be new */
    return token_find(home->tokens, home->count, token, len, scope);
}

enum err_code home_store_open(const char *folder, struct home_store **out, struct err *err)
{
    char path[HOME_PATH_MAX + 16];
    *out = NULL;
    struct home_store *home = mem_need(sizeof *home);
    snprintf(path, sizeof path, "%s/.workers", folder);
    enum err_code code = home_make(folder, err);
    if (code == ERR_NONE)
        code = store_open(path, true, &home->store, err);
    if (code == ERR_NONE)
        code = first_token_make(folder, home->store, err);
    if (code != ERR_NONE) {
        home_store_close(home);
        return code;
    }
    read_tokens(home);
    *out = home;
    return ERR_NONE;
}

void home_store_close(struct home_store *home)
{
    if (home == NULL)
        return;
    store_close(home->store);
    mem_free(home->tokens);
    mem_free(home);
}
