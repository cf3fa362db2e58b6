/* At the first start there is a token for the owner: in a file that nobody else can read. */
#ifndef WORKERS_SERVER_FIRST_TOKEN_H
#define WORKERS_SERVER_FIRST_TOKEN_H

#include "store/store.h"

/* Writes folder/.workers/token, unless it was written before. */
enum err_code first_token_make(const char *folder, struct store *store, struct err *err) MUST_CHECK;

#endif
