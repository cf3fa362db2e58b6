/* What the workers of a home share under a server: the tokens that are good for all of them.
 *
 * Who owns what: whoever opens it closes it. The loop's thread only. */
#ifndef WORKERS_SERVER_HOME_STORE_H
#define WORKERS_SERVER_HOME_STORE_H

#include "store/store.h"

struct home_store;

/* Makes the home when it is not there, and at the first start a token for its owner, in .workers/token. */
enum err_code home_store_open(const char *home, struct home_store **out, struct err *err) MUST_CHECK;
void home_store_close(struct home_store *home);
/* Whether others have changed it. */
bool home_store_poll(struct home_store *home);
/* We have changed it ourselves. */
void home_store_reread(struct home_store *home);
/* Whether the token is good for the home, and for what. */
bool home_store_token(struct home_store *home, const char *token, size_t len, enum token_scope *scope);

#endif
