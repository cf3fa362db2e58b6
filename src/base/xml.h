/* XML documents (XML 1.0, fifth edition; Namespaces in XML 1.0) as a stream of events over expat, without
 * Lua.
 *
 * Who owns what: the reader owns all its memory, which it takes from the function that it is given; an
 * event's bytes are the reader's and valid until the next xml_reader_feed.
 *
 * Made for documents from strangers. A DOCTYPE is an error unless it is allowed, an entity that it declares
 * always is one. The five predefined entities and character references are expanded, nothing else, and
 * nothing outside the text is ever read. */
#ifndef WORKERS_BASE_XML_H
#define WORKERS_BASE_XML_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define XML_DEPTH_MAX 256                          /* elements inside one another */
#define XML_NAME_MAX 4096                          /* bytes of a name, its namespace and its prefix */
#define XML_NAMES_MAX 65536                        /* different names in a document */
#define XML_MEMORY_MAX ((size_t)128 * 1024 * 1024) /* of one reader; a tag or comment has to fit in it */
#define XML_EVENTS_MAX ((size_t)16 * 1024 * 1024)  /* bytes of the events of one chunk, so of a tag */

#define XML_NAMESPACE_URI "http://www.w3.org/XML/1998/namespace"

/* Frees block when size is 0, else makes it so large; old_size is what it was, 0 for a block that is NULL. */
typedef void *(*xml_resize)(void *ctx, void *block, size_t old_size, size_t size);

#define XML_ENCODINGS "UTF-8, UTF-16, ISO-8859-1, US-ASCII, windows-1252"

struct xml_options {
    const char *encoding; /* instead of what the document declares, one of XML_ENCODINGS; or NULL */
    bool doctype;         /* a DOCTYPE is allowed; default attributes of its internal subset are supplied */
    bool comments;        /* are events */
    bool instructions;    /* are events */
};

enum xml_event_type {
    XML_NAMESPACE,   /* before the start of the element that declares it; first: prefix, second: URI */
    XML_START,       /* name, count */
    XML_ATTRIBUTE,   /* count of them, right after the start; name, second: value */
    XML_END,         /* name */
    XML_TEXT,        /* second; with CDATA, and merged as far as one chunk goes */
    XML_COMMENT,     /* second */
    XML_INSTRUCTION, /* first: target, second: data */
};

struct xml_event {
    enum xml_event_type type;
    uint32_t name; /* for xml_reader_name; numbers go up from 0 without holes */
    uint32_t count;
    const char *first; /* UTF-8, as all text here */
    size_t first_len;
    const char *second;
    size_t second_len;
};

/* Not NUL-terminated; what there is not has the length 0. The same name with another prefix is another one.
 */
struct xml_name {
    const char *local;
    size_t local_len;
    const char *space; /* the namespace's URI */
    size_t space_len;
    const char *prefix;
    size_t prefix_len;
};

struct xml_reader;

/* NULL when memory is out. */
struct xml_reader *xml_reader_new(const struct xml_options *options, xml_resize resize, void *ctx);
void xml_reader_free(struct xml_reader *reader); /* NULL is fine */

/* The next chunk, INT_MAX bytes at most, which may begin and end anywhere; when all events of the one before
 * have been taken. final: none follows. On failure the events before the mistake can still be taken.
 * ERR_INVALID and ERR_LIMIT name line and column, counted from 1; ERR_NOMEM. */
enum err_code xml_reader_feed(struct xml_reader *reader, const char *bytes, size_t len, bool final,
                              struct err *err) MUST_CHECK;

/* False when there are no more in this chunk. */
bool xml_reader_next(struct xml_reader *reader, struct xml_event *event);

struct xml_name xml_reader_name(const struct xml_reader *reader, uint32_t name);

#endif
