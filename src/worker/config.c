/* workers.yaml over libyaml's events. Must not recurse: every place has one shape, anything else is an error.
 */
#include "worker/config_priv.h"

#include "base/mem.h"
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <yaml.h>

#define FILENAME_SHOWN_MAX 512 /* bytes, from its end */
#define TEXT_MAX 4096          /* bytes of one value */

static bool has_controls(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            return true;
    return false;
}

/* ---- reading events ---- */

struct reader {
    yaml_parser_t parser;
    yaml_event_t event;
    bool parser_open;
    bool event_open;
    const char *text;
    size_t len;
    const char *filename;
    struct config *config;
    struct err *err;
};

static enum err_code fail(struct reader *r, yaml_mark_t mark, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum err_code fail(struct reader *r, yaml_mark_t mark, const char *format, ...)
{
    size_t name_len = strlen(r->filename);
    const char *name = r->filename + (name_len > FILENAME_SHOWN_MAX ? name_len - FILENAME_SHOWN_MAX : 0);
    char message[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return err_set(r->err, ERR_INVALID, "%s:%zu:%zu: %s", name, mark.line + 1, mark.column + 1, message);
}

const char *config_shown(const char *text, size_t len, char out[static CONFIG_SHOWN_MAX + 4])
{
    size_t to = 0;
    size_t at = 0;
    while (at < len) {
        uint32_t code_point;
        size_t size = text_next_char(text + at, len - at, &code_point);
        if (to + (size > 0 ? size : 1) > CONFIG_SHOWN_MAX)
            break;
        if (size == 0 || code_point < 0x20 || (code_point >= 0x7f && code_point < 0xa0))
            out[to++] = '?';
        else
            for (size_t i = 0; i < size; i++)
                out[to++] = text[at + i];
        at += size > 0 ? size : 1;
    }
    memcpy(out + to, "...", 3);
    out[at < len ? to + 3 : to] = '\0';
    return out;
}

/* The reader knows only an offset. */
static yaml_mark_t mark_of_offset(const struct reader *r, size_t offset)
{
    yaml_mark_t mark = {0};
    for (size_t i = 0; i < offset && i < r->len; i++) {
        unsigned char c = (unsigned char)r->text[i];
        if (c == '\n') {
            mark.line++;
            mark.column = 0;
        } else if ((c & 0xc0) != 0x80) {
            mark.column++;
        }
    }
    return mark;
}

static enum err_code parser_failed(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    const char *problem = p->problem != NULL ? p->problem : "malformed";
    const char *context = p->context != NULL ? p->context : "";
    if (p->error == YAML_MEMORY_ERROR)
        return err_nomem(r->err);
    if (p->error == YAML_READER_ERROR) {
        yaml_mark_t mark = mark_of_offset(r, p->problem_offset);
        if (p->problem_value >= 0)
            return fail(r, mark, "%s: 0x%02X", problem, (unsigned)p->problem_value);
        return fail(r, mark, "%s", problem);
    }
    /* What libyaml says of these frequent slips helps nobody. */
    if (strstr(context, "scanning an alias") != NULL)
        return fail(r, p->context_mark,
                    "a value cannot begin with '*'; put it in quotes, as in \"*.example.com\"");
    if (strstr(problem, "cannot start any token") != NULL) {
        /* Only tabs are looked for: they stand before the mark's character on lines that have nothing else.
         */
        return fail(r, p->problem_mark,
                    "a tab or one of @ ` %% stands where a value begins; indent with spaces, and put "
                    "values that begin with such a character in quotes");
    }
    return fail(r, p->problem_mark, "%s%s%s", problem, context[0] != '\0' ? ", " : "", context);
}

static enum err_code next_event(struct reader *r)
{
    if (r->event_open)
        yaml_event_delete(&r->event);
    r->event_open = false;
    if (!yaml_parser_parse(&r->parser, &r->event))
        return parser_failed(r);
    r->event_open = true;
    const yaml_char_t *anchor = NULL;
    const yaml_char_t *tag = NULL;
    char name[CONFIG_SHOWN_MAX + 4];
    switch (r->event.type) {
    case YAML_ALIAS_EVENT:
        anchor = r->event.data.alias.anchor;
        return fail(r, r->event.start_mark,
                    "aliases are not supported here; if *%s is meant as text, put it in quotes",
                    config_shown((const char *)anchor, strlen((const char *)anchor), name));
    case YAML_SCALAR_EVENT:
        anchor = r->event.data.scalar.anchor;
        tag = r->event.data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = r->event.data.sequence_start.anchor;
        tag = r->event.data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = r->event.data.mapping_start.anchor;
        tag = r->event.data.mapping_start.tag;
        break;
    default:
        break;
    }
    if (anchor != NULL)
        return fail(r, r->event.start_mark,
                    "anchors are not supported here; if &%s is meant as text, put it in quotes",
                    config_shown((const char *)anchor, strlen((const char *)anchor), name));
    if (tag != NULL)
        return fail(r, r->event.start_mark,
                    "tags such as %s are not supported here; to make a value text, put it in quotes",
                    config_shown((const char *)tag, strlen((const char *)tag), name));
    return ERR_NONE;
}

/* ---- scalars ---- */

static bool is_one_of(const char *text, const char *const words[])
{
    for (size_t i = 0; words[i] != NULL; i++)
        if (strcmp(text, words[i]) == 0)
            return true;
    return false;
}

static bool looks_numeric(const char *text)
{
    static const char *const special[] = {".nan", ".NaN", ".NAN", ".inf", ".Inf", ".INF", NULL};
    const char *at = text + (text[0] == '-' || text[0] == '+');
    if (is_one_of(at, special))
        return true;
    if (at[0] == '0' && (at[1] == 'x' || at[1] == 'o') && at[2] != '\0')
        return at[2 + strspn(at + 2, at[1] == 'x' ? "0123456789abcdefABCDEF" : "01234567")] == '\0';
    size_t whole = strspn(at, "0123456789");
    size_t part = at[whole] == '.' ? strspn(at + whole + 1, "0123456789") : 0;
    if (whole + part == 0)
        return false;
    at += whole + (at[whole] == '.') + part;
    if (at[0] == 'e' || at[0] == 'E') {
        at += 1 + (at[1] == '-' || at[1] == '+');
        size_t exponent = strspn(at, "0123456789");
        at += exponent;
        return exponent > 0 && at[0] == '\0';
    }
    return at[0] == '\0';
}

/* What YAML takes the current scalar for, by its core schema; NULL for text. */
static const char *other_type(const struct reader *r)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const booleans[] = {"true", "True", "TRUE", "false", "False", "FALSE", NULL};
    const char *text = (const char *)r->event.data.scalar.value;
    if (r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return NULL;
    if (is_one_of(text, nulls))
        return "null";
    if (is_one_of(text, booleans))
        return "a boolean";
    return looks_numeric(text) ? "a number" : NULL;
}

static bool is_null(const struct reader *r)
{
    const char *type = r->event.type == YAML_SCALAR_EVENT ? other_type(r) : NULL;
    return type != NULL && strcmp(type, "null") == 0;
}

/* Where a field stands, as messages name it: "limits.cpu". */
struct place {
    const char *section; /* NULL at the top */
    const struct field *field;
    char name[64];
};

static struct place place_of(const char *section, const struct field *field)
{
    struct place place = {.section = section, .field = field};
    snprintf(place.name, sizeof place.name, "%s%s%s", section != NULL ? section : "",
             section != NULL ? "." : "", field->key);
    return place;
}

static const char *event_words(const struct reader *r)
{
    if (r->event.type == YAML_MAPPING_START_EVENT)
        return "a mapping";
    if (r->event.type == YAML_SEQUENCE_START_EVENT)
        return "a list";
    const char *type = other_type(r);
    return type == NULL ? "text" : strcmp(type, "null") == 0 ? "nothing" : type;
}

static enum err_code wrong_type(struct reader *r, const struct place *place, const char *wanted)
{
    return fail(r, r->event.start_mark, "%s must be %s, such as %s, but it is %s", place->name, wanted,
                place->field->example, event_words(r));
}

/* The current event as text that passes the field's check. */
static enum err_code check_text(struct reader *r, const struct place *place, bool entry)
{
    char part[CONFIG_SHOWN_MAX + 4];
    const char *prefix = entry ? "an entry of " : "";
    if (r->event.type != YAML_SCALAR_EVENT)
        return fail(r, r->event.start_mark, "%s%s must be text, but it is %s", prefix, place->name,
                    event_words(r));
    const char *text = (const char *)r->event.data.scalar.value;
    size_t len = r->event.data.scalar.length;
    const char *type = other_type(r);
    if (type != NULL && strcmp(type, "null") == 0)
        return fail(r, r->event.start_mark, "%s%s has no value; write it or remove the line", prefix,
                    place->name);
    if (type != NULL)
        return fail(r, r->event.start_mark, "%s%s must be text, but %s is %s; put it in quotes", prefix,
                    place->name, config_shown(text, len, part), type);
    if (strlen(text) != len || has_controls(text))
        return fail(r, r->event.start_mark, "%s%s contains a control character", prefix, place->name);
    if (len > TEXT_MAX)
        return fail(r, r->event.start_mark, "%s%s has more than %d bytes", prefix, place->name, TEXT_MAX);
    const char *wrong = place->field->wrong(text);
    if (wrong != NULL && entry)
        return fail(r, r->event.start_mark, "%s: \"%s\" %s", place->name, config_shown(text, len, part),
                    wrong);
    if (wrong != NULL) /* the value is not repeated: URLs may hold passwords */
        return fail(r, r->event.start_mark, "%s %s", place->name, wrong);
    return ERR_NONE;
}

static enum err_code read_text(struct reader *r, const struct place *place)
{
    enum err_code code = check_text(r, place, false);
    if (code != ERR_NONE)
        return code;
    char *copy = mem_strndup((const char *)r->event.data.scalar.value, r->event.data.scalar.length);
    if (copy == NULL)
        return err_nomem(r->err);
    char **target = (char **)((char *)r->config + place->field->offset);
    mem_free(*target);
    *target = copy;
    return ERR_NONE;
}

/* A whole number in decimal digits. */
static enum err_code parse_count(const char *text, size_t len, uint64_t *out, struct err *err)
{
    *out = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9' || *out > 1000000000)
            return err_set(err, ERR_INVALID, "\"%.*s\" is not a whole number", len < 40 ? (int)len : 40,
                           text);
        *out = *out * 10 + (uint64_t)(text[i] - '0');
    }
    return len > 0 ? ERR_NONE : err_set(err, ERR_INVALID, "a whole number is missing");
}

static enum err_code read_quantity(struct reader *r, const struct place *place)
{
    const struct field *field = place->field;
    static const char *const nouns[] = {
        [FIELD_SIZE] = "a size", [FIELD_DURATION] = "a duration", [FIELD_COUNT] = "a number"};
    if (r->event.type != YAML_SCALAR_EVENT || is_null(r))
        return wrong_type(r, place, nouns[field->type]);
    const char *text = (const char *)r->event.data.scalar.value;
    size_t len = r->event.data.scalar.length;
    struct err inner;
    uint64_t value = 0;
    int64_t milliseconds = 0;
    enum err_code code = field->type == FIELD_SIZE    ? text_parse_size(text, len, &value, &inner)
                         : field->type == FIELD_COUNT ? parse_count(text, len, &value, &inner)
                                                      : text_parse_duration(text, len, &milliseconds, &inner);
    if (code != ERR_NONE)
        return fail(r, r->event.start_mark, "%s: %s", place->name, inner.message);
    if (field->type == FIELD_DURATION)
        value = (uint64_t)milliseconds;
    char part[CONFIG_SHOWN_MAX + 4];
    if (value < field->min || value > field->max)
        return fail(r, r->event.start_mark, "%s must be from %s, got %s", place->name, field->range,
                    config_shown(text, len, part));
    memcpy((char *)r->config + field->offset, &value, sizeof value);
    return ERR_NONE;
}

static enum err_code read_list(struct reader *r, const struct place *place)
{
    struct config_list *list = (struct config_list *)(void *)((char *)r->config + place->field->offset);
    if (r->event.type != YAML_SEQUENCE_START_EVENT)
        return wrong_type(r, place, "a list");
    list->given = true;
    size_t room = 0;
    for (;;) {
        enum err_code code = next_event(r);
        if (code != ERR_NONE)
            return code;
        if (r->event.type == YAML_SEQUENCE_END_EVENT)
            return ERR_NONE;
        code = check_text(r, place, true);
        if (code != ERR_NONE)
            return code;
        if (list->count == CONFIG_LIST_MAX)
            return fail(r, r->event.start_mark, "%s has more than %d entries", place->name, CONFIG_LIST_MAX);
        if (list->count == room) {
            size_t more = room > 0 ? room * 2 : 8;
            char **items = mem_realloc(list->items, more * sizeof *items);
            if (items == NULL)
                return err_nomem(r->err);
            list->items = items;
            room = more;
        }
        char *copy = mem_strndup((const char *)r->event.data.scalar.value, r->event.data.scalar.length);
        if (copy == NULL)
            return err_nomem(r->err);
        list->items[list->count++] = copy;
    }
}

/* ---- mappings ---- */

static size_t count_fields(const struct field *fields)
{
    size_t count = 0;
    while (fields[count].key != NULL)
        count++;
    return count;
}

static enum err_code unknown_key(struct reader *r, const char *section, const struct field *fields)
{
    const char *key = (const char *)r->event.data.scalar.value;
    size_t len = r->event.data.scalar.length;
    const char *names[CONFIG_FIELDS_MAX];
    size_t count = count_fields(fields);
    for (size_t i = 0; i < count; i++)
        names[i] = fields[i].key;
    char part[CONFIG_SHOWN_MAX + 4];
    config_shown(key, len, part);
    const char *in = section != NULL ? " in " : "";
    const char *where = section != NULL ? section : "";
    int nearest = text_nearest(key, len, names, count);
    if (nearest >= 0)
        return fail(r, r->event.start_mark, "unknown key \"%s\"%s%s; did you mean \"%s\"?", part, in, where,
                    names[nearest]);
    for (size_t i = 0; config_fields[i].key != NULL; i++) {
        if (section != NULL && strcmp(config_fields[i].key, key) == 0)
            return fail(r, r->event.start_mark,
                        "unknown key \"%s\"%s%s; it belongs to the top, without indentation", part, in,
                        where);
        for (const struct field *f = config_fields[i].fields; f != NULL && f->key != NULL; f++)
            if (strcmp(f->key, key) == 0)
                return fail(r, r->event.start_mark, "unknown key \"%s\"%s%s; it belongs to %s", part, in,
                            where, config_fields[i].key);
    }
    char list[256] = "";
    size_t used = 0;
    for (size_t i = 0; i < count && used < sizeof list; i++)
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? ", " : "", names[i]);
    return fail(r, r->event.start_mark, "unknown key \"%s\"%s%s; the keys are %s", part, in, where, list);
}

/* The field that the current event, a key, names; NULL fields are remembered so that a second one is an
 * error. */
static enum err_code read_key(struct reader *r, const char *section, const struct field *fields,
                              size_t lines[CONFIG_FIELDS_MAX], const struct field **out)
{
    if (r->event.type != YAML_SCALAR_EVENT)
        return fail(r, r->event.start_mark, "a key must be a word, but it is %s", event_words(r));
    const char *key = (const char *)r->event.data.scalar.value;
    for (size_t i = 0; fields[i].key != NULL; i++) {
        if (strlen(fields[i].key) != r->event.data.scalar.length || strcmp(fields[i].key, key) != 0)
            continue;
        if (lines[i] != 0)
            return fail(r, r->event.start_mark, "key \"%s\" is given twice; the first is on line %zu", key,
                        lines[i]);
        lines[i] = r->event.start_mark.line + 1;
        *out = &fields[i];
        return ERR_NONE;
    }
    return unknown_key(r, section, fields);
}

static enum err_code read_value(struct reader *r, const struct place *place)
{
    switch (place->field->type) {
    case FIELD_TEXT:
        return read_text(r, place);
    case FIELD_SIZE:
    case FIELD_DURATION:
    case FIELD_COUNT:
        return read_quantity(r, place);
    case FIELD_LIST:
        return read_list(r, place);
    case FIELD_SECTION:
        break;
    }
    return err_set(r->err, ERR_INTERNAL, "%s is no value", place->name);
}

/* The mapping whose start is the current event: the top, or one section of it. */
static enum err_code read_section(struct reader *r, const char *section, const struct field *fields)
{
    size_t lines[CONFIG_FIELDS_MAX] = {0};
    for (;;) {
        const struct field *field = NULL;
        enum err_code code = next_event(r);
        if (code != ERR_NONE || r->event.type == YAML_MAPPING_END_EVENT)
            return code;
        code = read_key(r, section, fields, lines, &field);
        if (code == ERR_NONE)
            code = next_event(r);
        if (code != ERR_NONE)
            return code;
        struct place place = place_of(section, field);
        if (field->type != FIELD_SECTION)
            code = read_value(r, &place);
        else if (r->event.type == YAML_MAPPING_START_EVENT)
            code = read_section(r, field->key, field->fields); /* sections hold no sections */
        else if (!is_null(r))                                  /* null: all its lines are commented out */
            code = wrong_type(r, &place, "a mapping");
        if (code != ERR_NONE)
            return code;
    }
}

static enum err_code read_stream(struct reader *r)
{
    enum err_code code = next_event(r); /* the start of the stream */
    if (code == ERR_NONE)
        code = next_event(r);
    if (code != ERR_NONE || r->event.type == YAML_STREAM_END_EVENT)
        return code;
    code = next_event(r); /* that was the start of the document */
    if (code != ERR_NONE)
        return code;
    if (r->event.type == YAML_MAPPING_START_EVENT)
        code = read_section(r, NULL, config_fields);
    else if (!is_null(r))
        code = fail(r, r->event.start_mark,
                    "the file must be a mapping, with lines such as \"name: my-worker\", but it is %s",
                    event_words(r));
    if (code == ERR_NONE)
        code = next_event(r); /* the end of the document */
    if (code == ERR_NONE)
        code = next_event(r);
    if (code == ERR_NONE && r->event.type != YAML_STREAM_END_EVENT)
        code = fail(r, r->event.start_mark, "a second document begins here; the file must be a single one");
    return code;
}

static void free_list(struct config_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        mem_free(list->items[i]);
    mem_free(list->items);
}

void config_free(struct config *config)
{
    mem_free(config->name);
    mem_free(config->main);
    mem_free(config->store);
    mem_free(config->server);
    free_list(&config->permissions.net);
    free_list(&config->permissions.read);
    free_list(&config->permissions.env);
    *config = (struct config){0};
}

enum err_code config_parse(const char *text, size_t len, const char *filename, struct config *config,
                           struct err *err)
{
    struct reader r = {.text = text, .len = len, .filename = filename, .config = config, .err = err};
    enum err_code code = ERR_NONE;
    config_default(config);
    if (len >= 3 &&
        memcmp(text, "\xEF\xBB\xBF", 3) == 0) { /* libyaml takes one only before an empty first line */
        r.text = text += 3;
        r.len = len -= 3;
    }
    if (len > CONFIG_FILE_MAX)
        code = err_set(err, ERR_LIMIT, "%s is larger than %zu bytes", filename, CONFIG_FILE_MAX);
    else if (!yaml_parser_initialize(&r.parser))
        code = err_nomem(err);
    else
        r.parser_open = true;
    if (code == ERR_NONE) {
        yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
        yaml_parser_set_input_string(&r.parser, (const unsigned char *)(len > 0 ? text : ""), len);
        code = read_stream(&r);
    }
    if (r.event_open)
        yaml_event_delete(&r.event);
    if (r.parser_open)
        yaml_parser_delete(&r.parser);
    if (code != ERR_NONE)
        config_free(config);
    return code;
}
