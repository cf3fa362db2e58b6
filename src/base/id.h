/* Identifiers: UUIDs of RFC 9562 as text.
 *
 * Who owns what: callers own the buffers. May be called from any thread. */
#ifndef WORKERS_BASE_ID_H
#define WORKERS_BASE_ID_H

#include "base/err.h"

#include <stdint.h>

#define ID_UUID_SIZE 37 /* 36 characters in lower case and the NUL */

/* Random (RFC 9562 section 5.4). Both fail only when the kernel gives no random bytes (ERR_IO). */
enum err_code id_uuid4(char out[ID_UUID_SIZE], struct err *err) MUST_CHECK;

/* Ordered by time (section 5.7): each is greater than all that this process made before, as bytes and as
 * text, even when the clock is set back. The 12 bits after the version count within a millisecond
 * (section 6.2, method 1). */
enum err_code id_uuid7(char out[ID_UUID_SIZE], struct err *err) MUST_CHECK;

/* The same, and greater than previous as well, which another process may have made by a clock that was ahead.
 */
enum err_code id_uuid7_after(const char *previous, char out[ID_UUID_SIZE], struct err *err) MUST_CHECK;

/* The least of version 7 that has the millisecond: all that were made before it are less. */
void id_uuid7_first(int64_t ms, char out[ID_UUID_SIZE]);

#endif
