/* What the files of workers.crypto share; nothing else includes this.
 *
 * Who owns what: a key box owns its key until the box is closed or collected. */
#ifndef WORKERS_MODULES_CRYPTO_PRIV_H
#define WORKERS_MODULES_CRYPTO_PRIV_H

#include "base/err.h"
#include "base/key.h"

#include <lua.h>

/* The string at index; raises for anything else. function is without "crypto.", what names the argument. */
const char *crypto_need_bytes(lua_State *L, const char *function, int index, const char *what, size_t *len);
int crypto_raise(lua_State *L, const char *function, const struct err *err);

/* The key in the box at index; raises when it is closed. NULL when the value is no box. */
const struct key *crypto_to_key(lua_State *L, const char *function, int index);

/* crypto_key.c */
void crypto_open_keys(lua_State *L);
int crypto_lua_private_key(lua_State *L);
int crypto_lua_public_key(lua_State *L);
int crypto_lua_key_from_jwk(lua_State *L);
int crypto_lua_sign(lua_State *L);
int crypto_lua_verify(lua_State *L);

/* crypto_jwt.c, crypto_jwt_verify.c */
int crypto_lua_jwt_sign(lua_State *L);
int crypto_lua_jwt_verify(lua_State *L);
int crypto_lua_jwt_decode(lua_State *L);

#endif
