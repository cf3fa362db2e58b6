/* Reading XML over expat. Must not call out of its handlers: what they see becomes events in a buffer, for
 * the caller may leave by a long jump, which expat does not survive. */
#include "base/xml.h"

#include "base/crypto.h"

#include <expat.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

/* Between the parts of a name. No document can hold this character, so no namespace has it in it. */
#define SEPARATOR '\f'

struct memory {
    xml_resize resize;
    void *ctx;
    size_t used;
    bool exceeded; /* XML_MEMORY_MAX refused, not the function */
};

struct events {
    char *data;
    size_t len;
    size_t size;
    size_t at;   /* taken up to here */
    size_t text; /* where the record of the text that can be added to is, + 1; 0: there is none */
};

/* In the buffer, aligned; the bytes of first and second follow. */
struct record {
    enum xml_event_type type;
    uint32_t name;
    uint32_t count;
    size_t first_len;
    size_t second_len;
};

struct name {
    uint32_t hash;
    size_t len;
    char
        bytes[]; /* as expat gives it: namespace, local name and prefix, or the last two, or the local name */
};

struct names {
    struct name **list;
    uint32_t count;
    uint32_t size;
    uint32_t *slots; /* number of a name, + 1; a power of two of them, at most half of them taken */
    uint32_t slot_count;
    uint32_t seed;
};

struct xml_reader {
    struct memory memory;
    struct xml_options options;
    XML_Parser parser;
    struct events events;
    struct names names;
    int depth;
    uint32_t open[XML_DEPTH_MAX]; /* names of the elements that are open */
    bool has_doctype;
    char encoding[64]; /* that the document declares and expat does not know */
    struct err err;
};

/* ---- memory ---- */

/* expat's allocation functions get no context of their own: it is set around every call of expat. */
static _Thread_local struct memory *current;

union header {
    size_t size;
    max_align_t align;
};

static void *resize(struct memory *memory, void *block, size_t old_size, size_t size)
{
    if (size > old_size && size - old_size > XML_MEMORY_MAX - memory->used) {
        memory->exceeded = true;
        return NULL;
    }
    block = memory->resize(memory->ctx, block, old_size, size);
    if (block != NULL || size == 0)
        memory->used += size - old_size;
    return block;
}

static void *expat_realloc(void *block, size_t size)
{
    union header *header = block != NULL ? (union header *)block - 1 : NULL;
    if (size > XML_MEMORY_MAX) {
        current->exceeded = true;
        return NULL;
    }
    header = resize(current, header, header != NULL ? header->size : 0, sizeof *header + size);
    if (header == NULL)
        return NULL;
    header->size = sizeof *header + size;
    return header + 1;
}

static void *expat_malloc(size_t size)
{
    return expat_realloc(NULL, size);
}

static void expat_free(void *block)
{
    union header *header = block != NULL ? (union header *)block - 1 : NULL;
    if (header != NULL)
        resize(current, header, header->size, 0);
}

/* ---- failing ---- */

/* Keeps the first failure, with the place that expat is at. */
static void fail(struct xml_reader *reader, enum err_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void fail(struct xml_reader *reader, enum err_code code, const char *format, ...)
{
    if (reader->err.code != ERR_NONE)
        return;
    va_list arguments;
    va_start(arguments, format);
    err_vset(&reader->err, code, format, arguments);
    va_end(arguments);
    err_context(&reader->err, "line %llu, column %llu",
                (unsigned long long)XML_GetCurrentLineNumber(reader->parser),
                (unsigned long long)XML_GetCurrentColumnNumber(reader->parser) + 1);
    XML_StopParser(reader->parser, XML_FALSE); /* handlers may be called once more, and do nothing then */
}

static void fail_for_memory(struct xml_reader *reader)
{
    if (reader->memory.exceeded)
        fail(reader, ERR_LIMIT, "parsing takes more than %zu bytes of memory; a tag or comment is too long",
             XML_MEMORY_MAX);
    else
        fail(reader, ERR_NOMEM, "not enough memory");
}

static bool has_failed(const struct xml_reader *reader)
{
    return reader->err.code != ERR_NONE;
}

/* ---- names ---- */

static uint32_t hash_of(const struct names *names, const char *bytes, size_t len)
{
    uint32_t hash = names->seed;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * 16777619u;
    return hash ^ hash >> 15;
}

/* Room for one more name; false when memory is out. */
static bool grow_names(struct xml_reader *reader)
{
    struct names *names = &reader->names;
    if (names->count == names->size) {
        uint32_t size = names->size > 0 ? names->size * 2 : 64;
        struct name **list =
            resize(&reader->memory, names->list, names->size * sizeof *list, size * sizeof *list);
        if (list == NULL)
            return false;
        names->list = list;
        names->size = size;
    }
    if (names->count < names->slot_count / 2)
        return true;
    uint32_t count = names->size * 2;
    uint32_t *slots = resize(&reader->memory, NULL, 0, count * sizeof *slots);
    if (slots == NULL)
        return false;
    memset(slots, 0, count * sizeof *slots);
    for (uint32_t i = 0; i < names->count; i++) {
        uint32_t slot = names->list[i]->hash & (count - 1);
        while (slots[slot] != 0)
            slot = (slot + 1) & (count - 1);
        slots[slot] = i + 1;
    }
    resize(&reader->memory, names->slots, names->slot_count * sizeof *slots, 0);
    names->slots = slots;
    names->slot_count = count;
    return true;
}

/* The name's number; false when it could not be given one. */
static bool number_name(struct xml_reader *reader, const char *bytes, uint32_t *number)
{
    struct names *names = &reader->names;
    size_t len = strlen(bytes);
    if (len > XML_NAME_MAX) {
        fail(reader, ERR_LIMIT, "a name is longer than %d bytes, its namespace included", XML_NAME_MAX);
        return false;
    }
    uint32_t hash = hash_of(names, bytes, len);
    uint32_t slot = names->slot_count > 0 ? hash & (names->slot_count - 1) : 0;
    for (; names->slot_count > 0 && names->slots[slot] != 0; slot = (slot + 1) & (names->slot_count - 1)) {
        const struct name *name = names->list[names->slots[slot] - 1];
        if (name->hash == hash && name->len == len && memcmp(name->bytes, bytes, len) == 0) {
            *number = names->slots[slot] - 1;
            return true;
        }
    }
    if (names->count == XML_NAMES_MAX) {
        fail(reader, ERR_LIMIT, "the document has more than %d different names", XML_NAMES_MAX);
        return false;
    }
    struct name *name = NULL;
    if (grow_names(reader))
        name = resize(&reader->memory, NULL, 0, sizeof *name + len);
    if (name == NULL) {
        fail_for_memory(reader);
        return false;
    }
    name->hash = hash;
    name->len = len;
    memcpy(name->bytes, bytes, len);
    for (slot = hash & (names->slot_count - 1); names->slots[slot] != 0;)
        slot = (slot + 1) & (names->slot_count - 1);
    names->slots[slot] = names->count + 1;
    names->list[names->count] = name;
    *number = names->count++;
    return true;
}

struct xml_name xml_reader_name(const struct xml_reader *reader, uint32_t number)
{
    const struct name *name = reader->names.list[number];
    const char *end = name->bytes + name->len;
    const char *first = memchr(name->bytes, SEPARATOR, name->len);
    if (first == NULL)
        return (struct xml_name){.local = name->bytes, .local_len = name->len, .space = "", .prefix = ""};
    const char *local = first + 1;
    const char *second = memchr(local, SEPARATOR, (size_t)(end - local));
    struct xml_name parts = {.space = name->bytes, .space_len = (size_t)(first - name->bytes), .prefix = ""};
    parts.local = local;
    parts.local_len = (size_t)((second != NULL ? second : end) - local);
    if (second != NULL) {
        parts.prefix = second + 1;
        parts.prefix_len = (size_t)(end - parts.prefix);
    }
    return parts;
}

/* ---- events ---- */

static size_t aligned(size_t offset)
{
    size_t step = _Alignof(struct record);
    return (offset + step - 1) / step * step;
}

/* Makes room for len bytes from offset on; false when there is none. */
static bool reserve(struct xml_reader *reader, size_t offset, size_t len)
{
    struct events *events = &reader->events;
    if (len > XML_EVENTS_MAX || offset > XML_EVENTS_MAX - len) {
        fail(reader, ERR_LIMIT, "a tag or comment has more than %zu bytes, default attributes included",
             XML_EVENTS_MAX);
        return false;
    }
    if (offset + len <= events->size)
        return true;
    size_t size = events->size > 0 ? events->size : 4096;
    while (size < offset + len)
        size *= 2;
    char *data = resize(&reader->memory, events->data, events->size, size);
    if (data == NULL) {
        fail_for_memory(reader);
        return false;
    }
    events->data = data;
    events->size = size;
    return true;
}

static void add_event(struct xml_reader *reader, const struct xml_event *event)
{
    struct events *events = &reader->events;
    size_t offset = aligned(events->len);
    size_t len = sizeof(struct record) + event->first_len + event->second_len;
    events->text = 0;
    if (!reserve(reader, offset, len))
        return;
    struct record record = {event->type, event->name, event->count, event->first_len, event->second_len};
    char *out = events->data + offset;
    memcpy(out, &record, sizeof record);
    out += sizeof record;
    if (event->first_len > 0)
        memcpy(out, event->first, event->first_len);
    if (event->second_len > 0)
        memcpy(out + event->first_len, event->second, event->second_len);
    events->len = offset + len;
    if (event->type == XML_TEXT)
        events->text = offset + 1;
}

static void add_text(struct xml_reader *reader, const char *bytes, size_t len)
{
    struct events *events = &reader->events;
    if (events->text == 0) {
        add_event(reader, &(struct xml_event){.type = XML_TEXT, .second = bytes, .second_len = len});
        return;
    }
    if (!reserve(reader, events->len, len))
        return;
    memcpy(events->data + events->len, bytes, len);
    events->len += len;
    struct record *record = (struct record *)(void *)(events->data + events->text - 1);
    record->second_len += len;
}

bool xml_reader_next(struct xml_reader *reader, struct xml_event *event)
{
    struct events *events = &reader->events;
    size_t offset = aligned(events->at);
    if (offset >= events->len)
        return false;
    struct record record;
    memcpy(&record, events->data + offset, sizeof record);
    *event = (struct xml_event){.type = record.type, .name = record.name, .count = record.count};
    event->first = events->data + offset + sizeof record;
    event->first_len = record.first_len;
    event->second = event->first + record.first_len;
    event->second_len = record.second_len;
    events->at = offset + sizeof record + record.first_len + record.second_len;
    return true;
}

/* ---- expat's handlers ---- */

#define UNKNOWN_ENTITY "an attribute refers to an entity that is not known here"

static bool is_predefined(const char *name, size_t len)
{
    static const char *const names[] = {"amp", "lt", "gt", "quot", "apos"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
            return true;
    return len > 0 && name[0] == '#';
}

/* Where a DOCTYPE has declarations that nobody reads, expat drops unknown entities from attributes and says
 * nothing (section 4.1 lets it). So the tag, or the default value with its quotes, is looked through as it is
 * written, in whatever encoding. */
static bool has_unknown_entity(struct xml_reader *reader)
{
    int offset = 0, size = 0;
    const char *text = XML_GetInputContext(reader->parser, &offset, &size);
    if (text == NULL || size - offset < 2)
        return true;
    text += offset;
    bool big_endian = text[0] == '\0', wide = big_endian || text[1] == '\0'; /* it begins with ASCII */
    int step = wide ? 2 : 1, low = big_endian ? 1 : 0;
    int len =
        XML_GetCurrentByteCount(reader->parser); /* 0: expat does not say; a value ends with its quote */
    char quote = len == 0 ? text[low] : '\0';
    char name[8];
    size_t used = 0;
    bool inside = false;
    for (int i = quote != '\0' ? step : 0; i + step <= (len > 0 ? len : size - offset); i += step) {
        char c = text[i + low];
        if (wide && text[i + 1 - low] != '\0')
            c = '?'; /* some other character */
        if (c == '&') {
            inside = true;
            used = 0;
        } else if (inside && c == ';') {
            if (!is_predefined(name, used))
                return true;
            inside = false;
        } else if (inside && used < sizeof name) {
            name[used++] = c;
        } else if (quote != '\0' && c == quote) {
            break;
        }
    }
    return false;
}

static void on_namespace(void *user, const char *prefix, const char *uri)
{
    struct xml_reader *reader = user;
    if (has_failed(reader))
        return;
    struct xml_event event = {.type = XML_NAMESPACE};
    event.first = prefix != NULL ? prefix : "";
    event.first_len = strlen(event.first);
    event.second = uri != NULL ? uri : "";
    event.second_len = strlen(event.second);
    add_event(reader, &event);
}

static void on_start(void *user, const char *name, const char **attributes)
{
    struct xml_reader *reader = user;
    struct xml_event event = {.type = XML_START};
    if (has_failed(reader))
        return;
    if (reader->depth == XML_DEPTH_MAX) {
        fail(reader, ERR_LIMIT, "elements are nested more than %d deep", XML_DEPTH_MAX);
        return;
    }
    if (reader->has_doctype && has_unknown_entity(reader)) {
        fail(reader, ERR_INVALID, UNKNOWN_ENTITY);
        return;
    }
    if (!number_name(reader, name, &event.name))
        return;
    while (attributes[event.count * 2] != NULL)
        event.count++;
    reader->open[reader->depth++] = event.name;
    add_event(reader, &event);
    for (; *attributes != NULL && !has_failed(reader); attributes += 2) {
        struct xml_event attribute = {.type = XML_ATTRIBUTE, .second = attributes[1]};
        attribute.second_len = strlen(attributes[1]);
        if (number_name(reader, attributes[0], &attribute.name))
            add_event(reader, &attribute);
    }
}

static void on_end(void *user, const char *name)
{
    struct xml_reader *reader = user;
    (void)name;
    if (has_failed(reader))
        return;
    add_event(reader, &(struct xml_event){.type = XML_END, .name = reader->open[--reader->depth]});
}

static void on_text(void *user, const char *bytes, int len)
{
    struct xml_reader *reader = user;
    if (!has_failed(reader))
        add_text(reader, bytes, (size_t)len);
}

static void on_comment(void *user, const char *text)
{
    struct xml_reader *reader = user;
    if (!has_failed(reader))
        add_event(reader,
                  &(struct xml_event){.type = XML_COMMENT, .second = text, .second_len = strlen(text)});
}

static void on_instruction(void *user, const char *target, const char *data)
{
    struct xml_reader *reader = user;
    struct xml_event event = {.type = XML_INSTRUCTION, .first = target, .second = data};
    event.first_len = strlen(target);
    event.second_len = strlen(data);
    if (!has_failed(reader))
        add_event(reader, &event);
}

static void on_doctype(void *user, const char *name, const char *system, const char *public, int internal)
{
    struct xml_reader *reader = user;
    (void)name;
    (void)system;
    (void)public;
    (void)internal;
    if (!reader->options.doctype)
        fail(reader, ERR_INVALID, "a DOCTYPE is refused; the option \"doctype\" allows one without entities");
    reader->has_doctype = true;
}

static void on_attribute(void *user, const char *element, const char *name, const char *type,
                         const char *value, int is_required)
{
    struct xml_reader *reader = user;
    (void)element;
    (void)name;
    (void)type;
    (void)is_required;
    if (!has_failed(reader) && value != NULL && has_unknown_entity(reader))
        fail(reader, ERR_INVALID, UNKNOWN_ENTITY);
}

static void on_entity(void *user, const char *name, int is_parameter, const char *value, int value_len,
                      const char *base, const char *system, const char *public, const char *notation)
{
    struct xml_reader *reader = user;
    (void)is_parameter;
    (void)value;
    (void)value_len;
    (void)base;
    (void)system;
    (void)public;
    (void)notation;
    fail(reader, ERR_INVALID, "entities are refused, and the DOCTYPE declares \"%.64s\"", name);
}

static void on_skipped(void *user, const char *name, int is_parameter)
{
    struct xml_reader *reader = user;
    if (!is_parameter)
        fail(reader, ERR_INVALID, "the entity \"%.64s\" is not known here", name);
}

/* Feeds in this encoding are common; the bytes 0x80 to 0x9f are all that sets it apart from ISO-8859-1
 * (WHATWG Encoding Standard, index windows-1252; 0: no character). */
static const uint16_t windows_1252[32] = {0x20ac, 0,      0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021,
                                          0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0,      0x017d, 0,
                                          0,      0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014,
                                          0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0,      0x017e, 0x0178};

static int on_encoding(void *user, const char *name, XML_Encoding *encoding)
{
    struct xml_reader *reader = user;
    if (strcasecmp(name, "windows-1252") != 0) {
        size_t len = strlen(name);
        len = len < sizeof reader->encoding ? len : sizeof reader->encoding - 1;
        memcpy(reader->encoding, name, len); /* ASCII, by the grammar */
        return XML_STATUS_ERROR;
    }
    for (int i = 0; i < 256; i++)
        encoding->map[i] = i;
    for (int i = 0; i < 32; i++)
        encoding->map[0x80 + i] = windows_1252[i] != 0 ? windows_1252[i] : -1;
    encoding->data = NULL;
    encoding->convert = NULL;
    encoding->release = NULL;
    return XML_STATUS_OK;
}

/* ---- the reader ---- */

struct xml_reader *xml_reader_new(const struct xml_options *options, xml_resize function, void *ctx)
{
    static const XML_Memory_Handling_Suite suite = {expat_malloc, expat_realloc, expat_free};
    static const char separator[] = {SEPARATOR, '\0'};
    struct err ignored;
    struct xml_reader *reader = function(ctx, NULL, 0, sizeof *reader);
    if (reader == NULL)
        return NULL;
    memset(reader, 0, sizeof *reader);
    reader->memory = (struct memory){.resize = function, .ctx = ctx};
    reader->options = *options;
    /* So that nobody can choose names that all fall into one slot. Without random bytes it is as it is. */
    if (crypto_random(&reader->names.seed, sizeof reader->names.seed, &ignored) != ERR_NONE)
        reader->names.seed = 2166136261u;
    current = &reader->memory;
    XML_Parser parser = reader->parser = XML_ParserCreate_MM(options->encoding, &suite, separator);
    if (parser != NULL) {
        XML_SetUserData(parser, reader);
        XML_SetReturnNSTriplet(parser, XML_TRUE);
        XML_SetElementHandler(parser, on_start, on_end);
        XML_SetStartNamespaceDeclHandler(parser, on_namespace);
        XML_SetCharacterDataHandler(parser, on_text);
        XML_SetStartDoctypeDeclHandler(parser, on_doctype);
        XML_SetAttlistDeclHandler(parser, on_attribute);
        XML_SetEntityDeclHandler(parser, on_entity);
        XML_SetSkippedEntityHandler(parser, on_skipped);
        XML_SetUnknownEncodingHandler(parser, on_encoding, reader);
        if (options->comments)
            XML_SetCommentHandler(parser, on_comment);
        if (options->instructions)
            XML_SetProcessingInstructionHandler(parser, on_instruction);
    }
    current = NULL;
    if (parser == NULL) {
        function(ctx, reader, sizeof *reader, 0);
        return NULL;
    }
    return reader;
}

void xml_reader_free(struct xml_reader *reader)
{
    if (reader == NULL)
        return;
    struct memory memory = reader->memory;
    struct names *names = &reader->names;
    current = &memory;
    XML_ParserFree(reader->parser);
    current = NULL;
    for (uint32_t i = 0; i < names->count; i++)
        resize(&memory, names->list[i], sizeof *names->list[i] + names->list[i]->len, 0);
    resize(&memory, names->list, names->size * sizeof *names->list, 0);
    resize(&memory, names->slots, names->slot_count * sizeof *names->slots, 0);
    resize(&memory, reader->events.data, reader->events.size, 0);
    memory.resize(memory.ctx, reader, sizeof *reader, 0);
}

/* What expat found, with what helps to find it. */
static void fail_as_expat(struct xml_reader *reader)
{
    enum XML_Error error = XML_GetErrorCode(reader->parser);
    const char *text = XML_ErrorString(error);
    if (error == XML_ERROR_NO_MEMORY) {
        fail_for_memory(reader);
    } else if (error == XML_ERROR_UNKNOWN_ENCODING && reader->encoding[0] != '\0') {
        fail(reader, ERR_INVALID, "the encoding \"%s\" is none of " XML_ENCODINGS "; convert the text first",
             reader->encoding);
    } else if (error == XML_ERROR_UNDEFINED_ENTITY) {
        fail(reader, ERR_INVALID, "%s; only &amp; &lt; &gt; &quot; &apos; and character references are known",
             text);
    } else if (reader->depth > 0 && error == XML_ERROR_NO_ELEMENTS) {
        struct xml_name name = xml_reader_name(reader, reader->open[reader->depth - 1]);
        fail(reader, ERR_INVALID, "the text ends, but <%.*s%s%.*s> is open", (int)name.prefix_len,
             name.prefix, name.prefix_len > 0 ? ":" : "", (int)name.local_len, name.local);
    } else if (reader->depth > 0 && error == XML_ERROR_TAG_MISMATCH) {
        struct xml_name name = xml_reader_name(reader, reader->open[reader->depth - 1]);
        fail(reader, ERR_INVALID, "%s: <%.*s%s%.*s> is open", text, (int)name.prefix_len, name.prefix,
             name.prefix_len > 0 ? ":" : "", (int)name.local_len, name.local);
    } else {
        fail(reader, ERR_INVALID, "%s", text);
    }
}

enum err_code xml_reader_feed(struct xml_reader *reader, const char *bytes, size_t len, bool final,
                              struct err *err)
{
    reader->events.len = reader->events.at = reader->events.text = 0;
    if (!has_failed(reader)) {
        current = &reader->memory;
        if (XML_Parse(reader->parser, bytes, (int)len, final ? XML_TRUE : XML_FALSE) != XML_STATUS_OK)
            fail_as_expat(reader);
        current = NULL;
    }
    if (has_failed(reader))
        *err = reader->err;
    return reader->err.code;
}
