/* What kind of failure something ended with, for programs that decide by it; people have the message.
 *
 * Who owns what: it holds no pointers and needs no release. */
#ifndef WORKERS_BASE_FAILURE_H
#define WORKERS_BASE_FAILURE_H

#define FAILURE_WORD_MAX 32

struct failure {
    char name[FAILURE_WORD_MAX]; /* "HttpError", "RateLimitError", "Error"; empty: it did not fail */
    char code[FAILURE_WORD_MAX]; /* "dns", "http_status", "LIMIT" (err_code_name); empty for none */
    int status;                  /* of HTTP; 0 for none */
};

/* Scripts choose what their errors are called, and could choose a secret: a name is kept when it is of
 * letters and ends in "Error", a code when it is of small letters and underscores, or a number of three
 * digits, or one of our own in capitals. A name that is not kept becomes "Error". */
void failure_set(struct failure *failure, const char *name, const char *code, int status);

#endif
