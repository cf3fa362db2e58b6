/* Keeps secrets out of everything that is written: logs, errors, run records.
 *
 * Who owns what: the redactor owns copies of the values it hides. */
#ifndef WORKERS_ENGINE_REDACT_H
#define WORKERS_ENGINE_REDACT_H

#include "base/buf.h"

struct redactor;

struct redactor *redactor_new(void);
void redactor_free(struct redactor *redactor);
/* Hides the value as it is and written as base64 or base64url (wherever in a longer text it stands), hex,
 * percent-encoded or as a string of JSON. Values shorter than 6 bytes are not hidden: they would mangle
 * ordinary text. */
void redactor_add(struct redactor *redactor, const char *value, size_t len);
/* The same for one that may be a secret or an address: results keep it. */
void redactor_add_perhaps(struct redactor *redactor, const char *value, size_t len);
/* The same for one that is good for a while, such as an access token: only the last REDACTOR_PASSING of them
 * are known, so that a process that runs for months does not look for thousands. */
void redactor_add_passing(struct redactor *redactor, const char *value, size_t len);
#define REDACTOR_PASSING 32
/* Appends text with every known value, or its first half and what follows of it, replaced by [redacted]; the
 * longest match wins. */
void redactor_write(const struct redactor *redactor, const char *text, size_t len, struct buf *out);
/* The same for what stands in JSON, as names, strings and numbers, without those that are secrets perhaps.
 * What comes out is JSON, without white space. */
enum err_code redactor_write_json(const struct redactor *redactor, const char *text, size_t len,
                                  struct buf *out, struct err *err) MUST_CHECK;
/* The length of the text without a value, or the beginning of one, that is cut off at its end. */
size_t redactor_safe_length(const struct redactor *redactor, const char *text, size_t len);
bool redactor_has_values(const struct redactor *redactor);

#endif
