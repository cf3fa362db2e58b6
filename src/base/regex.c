/* Regular expressions on PCRE2. Must not know Lua, and must not allocate but through the host. */
#define PCRE2_CODE_UNIT_WIDTH 8

#include "base/regex.h"

#include "base/buf.h"
#include "base/text.h"

#include <pcre2.h>
#include <stdalign.h>
#include <string.h>

#define STEPS_BETWEEN_STOPS 1024   /* what the clock costs is little beside these */
#define BYTES_PER_STEP 64          /* that matching passes over within one item */
#define KEEP_MAX ((size_t)1 << 20) /* bytes for backtracking that an engine keeps for the next search */
#define SHOWN_MAX 60               /* bytes of a pattern in an error, each side of the place */
#define EXPANSION 16 /* a character or range outside ASCII stands for up to this many, without case */
#define GRAPHEME_WEIGHT ((size_t)1 << 17) /* \X goes back over all flags (regional indicators) before it */

_Static_assert(sizeof(struct regex_span) == 2 * sizeof(PCRE2_SIZE), "spans are read from PCRE2's vector");

/* Goes before every block, since PCRE2 frees without saying the size. */
union header {
    size_t size;
    max_align_t alignment;
};

struct regex_engine {
    struct regex_host *host;
    pcre2_general_context *compile_memory;
    pcre2_general_context *match_memory;
    pcre2_compile_context *compile_context;
    pcre2_match_context *match_context;
    pcre2_match_data *match_data; /* NULL until it is needed */
    size_t match_bytes;           /* held through match_memory */

    /* of the search in hand */
    struct regex *regex;
    size_t at; /* where matching was at the last callout */
    uint64_t steps;
    uint64_t steps_max;
    size_t since_stop; /* steps since the host was asked */
    struct regex_span spans[REGEX_GROUPS_MAX + 1];
};

struct regex {
    struct regex_host *host;
    pcre2_code *code;
    pcre2_code *ascii_code; /* for texts in ASCII; NULL until it is needed, or for good */
    bool ascii_differs;     /* that one would be another */
    uint32_t options;       /* that code was compiled with */
    size_t weight;          /* of the item that costs most for a byte of the text */
    size_t lookbehind;      /* characters */
    bool back_references;
    bool utf8;
    uint32_t groups;
    uint32_t names;
    uint32_t name_size;
    PCRE2_SPTR name_table;
    size_t len;
    char pattern[]; /* with a closing NUL */
};

/* ---- memory ---- */

static void *take(size_t size, void *data)
{
    struct regex_host *host = data;
    if (size > SIZE_MAX - sizeof(union header))
        return NULL;
    union header *block = host->resize(host->ctx, NULL, 0, size + sizeof *block);
    if (block == NULL)
        return NULL;
    block->size = size + sizeof *block;
    return block + 1;
}

static void give(void *memory, void *data)
{
    struct regex_host *host = data;
    if (memory == NULL)
        return;
    union header *block = (union header *)memory - 1;
    host->resize(host->ctx, block, block->size, 0);
}

static void *take_for_match(size_t size, void *data)
{
    struct regex_engine *engine = data;
    void *memory = take(size, engine->host);
    if (memory != NULL)
        engine->match_bytes += size;
    return memory;
}

static void give_from_match(void *memory, void *data)
{
    struct regex_engine *engine = data;
    if (memory != NULL)
        engine->match_bytes -= ((union header *)memory - 1)->size - sizeof(union header);
    give(memory, engine->host);
}

/* ---- the engine ---- */

static int on_callout(pcre2_callout_block *block, void *data);

enum err_code regex_engine_new(struct regex_host *host, struct regex_engine **out, struct err *err)
{
    *out = NULL;
    struct regex_engine *engine = take(sizeof *engine, host);
    if (engine == NULL)
        return err_nomem(err);
    *engine = (struct regex_engine){.host = host};
    engine->compile_memory = pcre2_general_context_create(take, give, host);
    engine->match_memory = pcre2_general_context_create(take_for_match, give_from_match, engine);
    if (engine->compile_memory == NULL || engine->match_memory == NULL)
        goto failed;
    engine->compile_context = pcre2_compile_context_create(engine->compile_memory);
    engine->match_context = pcre2_match_context_create(engine->compile_memory);
    if (engine->compile_context == NULL || engine->match_context == NULL)
        goto failed;
    pcre2_set_newline(engine->compile_context, PCRE2_NEWLINE_LF);
    pcre2_set_bsr(engine->compile_context, PCRE2_BSR_UNICODE);
    pcre2_set_parens_nest_limit(engine->compile_context, REGEX_NESTING_MAX);
    /* Steps are counted in on_callout, which comes by wherever PCRE2's own counters do. */
    pcre2_set_match_limit(engine->match_context, UINT32_MAX);
    pcre2_set_depth_limit(engine->match_context, UINT32_MAX);
    pcre2_set_heap_limit(engine->match_context, (uint32_t)(REGEX_BACKTRACK_MAX / 1024));
    pcre2_set_callout(engine->match_context, on_callout, engine);
    *out = engine;
    return ERR_NONE;

failed:
    regex_engine_free(engine);
    return err_nomem(err);
}

void regex_engine_free(struct regex_engine *engine)
{
    if (engine == NULL)
        return;
    pcre2_match_data_free(engine->match_data);
    pcre2_match_context_free(engine->match_context);
    pcre2_compile_context_free(engine->compile_context);
    pcre2_general_context_free(engine->match_memory);
    pcre2_general_context_free(engine->compile_memory);
    give(engine, engine->host);
}

/* ---- errors that show the pattern ---- */

/* Appends bytes of a pattern in one line: what is not plain text is replaced, one column for each. */
static void add_shown(struct buf *out, const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        uint32_t c;
        size_t size = text_next_char(text + i, len - i, &c);
        if (size == 0 || c < ' ' || c == 127)
            buf_addc(out, size == 0 ? '?' : ' ');
        else
            buf_add(out, text + i, size);
        i += size > 0 ? size : 1;
    }
}

static bool is_continuation(char byte)
{
    return ((unsigned char)byte & 0xC0) == 0x80;
}

/* The pattern's part around an offset, which is moved to the beginning of a character. */
static void window(const char *pattern, size_t len, size_t *offset, size_t *from, size_t *to)
{
    size_t at = *offset < len ? *offset : len;
    while (at > 0 && at < len && is_continuation(pattern[at]))
        at--;
    *offset = at;
    *from = at > SHOWN_MAX ? at - SHOWN_MAX : 0;
    *to = len - at > SHOWN_MAX ? at + SHOWN_MAX : len;
    while (*from < at && is_continuation(pattern[*from]))
        ++*from;
    while (*to > at && *to < len && is_continuation(pattern[*to]))
        --*to;
}

/* "message at byte N of the pattern", then the pattern, then a caret below the place. */
static enum err_code pattern_error(struct err *err, const char *pattern, size_t len, size_t offset,
                                   const char *message)
{
    size_t from, to;
    struct buf line;
    buf_init(&line, ERR_MESSAGE_MAX);
    window(pattern, len, &offset, &from, &to);
    buf_adds(&line, from > 0 ? "  …" : "  ");
    add_shown(&line, pattern + from, offset - from);
    size_t column = text_display_width(buf_text(&line), line.len);
    add_shown(&line, pattern + offset, to - offset);
    buf_adds(&line, to < len ? "…" : "");
    err_set(err, ERR_INVALID, "%s at byte %zu of the pattern\n%s\n%*s", message, offset + 1, buf_text(&line),
            (int)column + 1, "^");
    buf_free(&line);
    return ERR_INVALID;
}

static enum err_code limit_error(struct err *err, const struct regex *regex, const char *what,
                                 const char *remedy)
{
    size_t from, to, offset = 0;
    struct buf shown;
    buf_init(&shown, ERR_MESSAGE_MAX);
    window(regex->pattern, regex->len, &offset, &from, &to);
    add_shown(&shown, regex->pattern, to);
    buf_adds(&shown, to < regex->len ? "…" : "");
    err_set(err, ERR_LIMIT, "the pattern /%s/ %s: %s", buf_text(&shown), what, remedy);
    buf_free(&shown);
    return ERR_LIMIT;
}

/* ---- compiling ---- */

static const struct {
    char letter;
    unsigned flag;
    uint32_t option;
} flag_letters[] = {
    {'i', REGEX_CASELESS, PCRE2_CASELESS},
    {'m', REGEX_MULTILINE, PCRE2_MULTILINE},
    {'s', REGEX_DOT_ALL, PCRE2_DOTALL},
    {'x', REGEX_EXTENDED, PCRE2_EXTENDED},
    {'u', REGEX_UNICODE_SET, 0},
    {'a', REGEX_ASCII, 0},
    {'b', REGEX_BYTES, 0},
};
#define FLAG_LETTERS (sizeof flag_letters / sizeof flag_letters[0])

enum err_code regex_read_flags(const char *text, size_t len, unsigned *flags, struct err *err)
{
    *flags = 0;
    for (size_t i = 0; i < len; i++) {
        size_t at = 0;
        while (at < FLAG_LETTERS && flag_letters[at].letter != text[i])
            at++;
        if (at == FLAG_LETTERS)
            return err_set(err, ERR_INVALID,
                           "the flags are the letters i (case does not count), m (^ and $ at every line), "
                           "s (. matches line feeds too), x (blanks and comments), u (Unicode, the default), "
                           "a (ASCII classes) and b (bytes); got \"%.20s\"",
                           text);
        *flags |= flag_letters[at].flag;
    }
    if ((*flags & REGEX_UNICODE_SET) != 0 && (*flags & (REGEX_ASCII | REGEX_BYTES)) != 0)
        return err_set(err, ERR_INVALID, "the flag u contradicts a and b; leave it out");
    return ERR_NONE;
}

static uint32_t options_of(unsigned flags)
{
    /* Without NEVER_UTF a pattern could switch to UTF-8 by itself, and read texts that nobody has checked. */
    uint32_t options = PCRE2_AUTO_CALLOUT | PCRE2_NEVER_BACKSLASH_C;
    if ((flags & REGEX_BYTES) != 0)
        options |= PCRE2_NEVER_UTF;
    else
        options |= (flags & REGEX_ASCII) != 0 ? PCRE2_UTF : PCRE2_UTF | PCRE2_UCP;
    for (size_t i = 0; i < FLAG_LETTERS; i++)
        if ((flags & flag_letters[i].flag) != 0)
            options |= flag_letters[i].option;
    return options;
}

/* Whether a possessive repetition may end with the plus sign at at: one that PCRE2 makes an atomic group. */
static bool ends_atomic(const char *pattern, size_t at)
{
    if (at == 0 || pattern[at] != '+' || (pattern[at - 1] != '?' && pattern[at - 1] != '}'))
        return false;
    size_t i = at - 1;
    while (pattern[at - 1] == '}' && i > 0 && strchr("0123456789, ", pattern[i - 1]) != NULL)
        i--;
    return pattern[at - 1] == '?' || (i > 0 && pattern[i - 1] == '{');
}

/* The optimizations that PCRE2 must not make, because 10.42 gets them wrong:
 * - (?=a)b?a finds nothing in "a". What a lookahead sees first is taken for consumed, and the next character
 * is looked for behind it (its pull request 444, in 10.45). That concerns (?= and (?* and their names in (*….
 * - "a*(?>(?:x)?)a" finds nothing in "a". The first a* is taken to be possessive, because what follows is
 *   compared without the way around an optional group at the end of an atomic one. */
static uint32_t distrusted(const char *pattern, size_t len)
{
    uint32_t options = 0;
    for (size_t i = 0; i < len; i++) {
        const char *after = pattern + i + 1; /* there is a NUL at the end */
        if (pattern[i] == '(' && ((after[0] == '?' && strchr("=*", after[1]) != NULL) ||
                                  (after[0] == '*' && strchr("pn", after[1]) != NULL)))
            options |= PCRE2_NO_START_OPTIMIZE;
        if ((pattern[i] == '(' && after[0] == '?' && after[1] == '>') ||
            (pattern[i] == '(' && after[0] == '*' && after[1] == 'a') || ends_atomic(pattern, i))
            options |= PCRE2_NO_AUTO_POSSESS;
    }
    return options;
}

/* What is looked for in the items of a pattern. Offsets are 0 when there is none. */
struct item_check {
    const struct regex *regex;
    size_t callout_end; /* of the first callout that the pattern has by itself */
    size_t script_run;  /* just behind the beginning of the first one */
    size_t class_weight;
    bool graphemes;
};

/* A class outside ASCII is a list, which is gone through for every character of the text. */
static size_t class_weight(const char *item, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)item[i] >= 0x80 ||
            (item[i] == '\\' && i + 1 < len && strchr("xoN01234567", item[i + 1]) != NULL))
            return len * EXPANSION;
    return len;
}

static bool begins(const char *item, size_t len, const char *text)
{
    size_t text_len = strlen(text);
    return len >= text_len && memcmp(item, text, text_len) == 0;
}

static int check_item(pcre2_callout_enumerate_block *block, void *data)
{
    struct item_check *check = data;
    size_t at = block->pattern_position;
    size_t rest = at < check->regex->len ? check->regex->len - at : 0;
    const char *item = check->regex->pattern + at;
    if ((block->callout_number != 255 || block->callout_string != NULL) && check->callout_end == 0)
        check->callout_end = at;
    if (check->script_run == 0 &&
        (begins(item, rest, "(*sr:") || begins(item, rest, "(*script_run:") || begins(item, rest, "(*asr:") ||
         begins(item, rest, "(*atomic_script_run:")))
        check->script_run = at + 1;
    if (begins(item, rest, "\\X"))
        check->graphemes = true;
    if (begins(item, rest, "[")) {
        size_t weight = class_weight(item, block->next_item_length < rest ? block->next_item_length : rest);
        if (weight > check->class_weight)
            check->class_weight = weight;
    }
    return 0;
}

static enum err_code compile_error(struct err *err, const char *pattern, size_t len, int code, size_t offset)
{
    char text[256];
    if (code == 121) /* "failed to allocate heap memory" */
        return err_nomem(err);
    if (code < 0) { /* the pattern is not UTF-8 */
        return err_set(
            err, ERR_INVALID,
            "the pattern is not UTF-8 (byte %zu); to search in bytes, compile it with the flag \"b\"",
            offset + 1);
    }
    if (pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof text) < 0)
        return pattern_error(err, pattern, len, offset, "it is wrong");
    return pattern_error(err, pattern, len, offset, text);
}

static void read_properties(struct regex *regex, const struct item_check *check)
{
    uint32_t value = 0;
    size_t size = 0;
    pcre2_pattern_info(regex->code, PCRE2_INFO_CAPTURECOUNT, &regex->groups);
    pcre2_pattern_info(regex->code, PCRE2_INFO_NAMECOUNT, &regex->names);
    pcre2_pattern_info(regex->code, PCRE2_INFO_NAMEENTRYSIZE, &regex->name_size);
    pcre2_pattern_info(regex->code, PCRE2_INFO_NAMETABLE, &regex->name_table);
    pcre2_pattern_info(regex->code, PCRE2_INFO_ALLOPTIONS, &value);
    regex->utf8 = (value & PCRE2_UTF) != 0;
    pcre2_pattern_info(regex->code, PCRE2_INFO_BACKREFMAX, &value);
    regex->back_references = value > 0;
    pcre2_pattern_info(regex->code, PCRE2_INFO_MAXLOOKBEHIND, &value);
    regex->lookbehind = value;
    pcre2_pattern_info(regex->code, PCRE2_INFO_SIZE, &size);
    regex->weight = check->class_weight < size ? check->class_weight : size;
    if (check->graphemes && regex->weight < GRAPHEME_WEIGHT)
        regex->weight = GRAPHEME_WEIGHT;
}

enum err_code regex_compile(struct regex_engine *engine, const char *pattern, size_t len, unsigned flags,
                            struct regex **out, struct err *err)
{
    *out = NULL;
    if (len > REGEX_PATTERN_MAX)
        return err_set(err, ERR_LIMIT, "the pattern has %zu bytes, and %zu are allowed", len,
                       REGEX_PATTERN_MAX);
    struct regex *regex = take(sizeof *regex + len + 1, engine->host);
    if (regex == NULL)
        return err_nomem(err);
    *regex = (struct regex){.host = engine->host, .len = len};
    memcpy(regex->pattern, pattern, len);
    regex->pattern[len] = '\0';

    int error = 0;
    PCRE2_SIZE offset = 0;
    enum err_code code = ERR_NONE;
    struct item_check check = {.regex = regex};
    regex->options = options_of(flags) | distrusted(regex->pattern, len);
    regex->code = pcre2_compile((PCRE2_SPTR)regex->pattern, len, regex->options, &error, &offset,
                                engine->compile_context);
    if (regex->code == NULL) {
        code = compile_error(err, pattern, len, error, offset);
        goto failed;
    }
    pcre2_callout_enumerate(regex->code, check_item, &check);
    read_properties(regex, &check);
    if (check.callout_end != 0) {
        code = pattern_error(err, pattern, len, check.callout_end,
                             "callouts, (?C…), are not for scripts; one ends");
        goto failed;
    }
    if (check.script_run != 0) { /* whose checks take the time that what they enclose is long, unseen */
        code = pattern_error(err, pattern, len, check.script_run - 1,
                             "script runs are not for scripts; one begins");
        goto failed;
    }
    if (regex->groups > REGEX_GROUPS_MAX) {
        code =
            err_set(err, ERR_LIMIT,
                    "the pattern has %u groups, and %d are allowed; write (?:…) for those whose text is not "
                    "needed",
                    (unsigned)regex->groups, REGEX_GROUPS_MAX);
        goto failed;
    }
    regex->ascii_differs = (regex->options & PCRE2_UCP) != 0;
    *out = regex;
    return ERR_NONE;

failed:
    regex_free(regex);
    return code;
}

void regex_free(struct regex *regex)
{
    if (regex == NULL)
        return;
    pcre2_code_free(regex->ascii_code);
    pcre2_code_free(regex->code);
    give(regex, regex->host);
}

const char *regex_pattern(const struct regex *regex, size_t *len)
{
    *len = regex->len;
    return regex->pattern;
}

bool regex_needs_utf8(const struct regex *regex)
{
    return regex->utf8;
}

uint32_t regex_groups(const struct regex *regex)
{
    return regex->groups;
}

uint32_t regex_names(const struct regex *regex)
{
    return regex->names;
}

/* An entry is the group's number in two bytes, big end first, and the name with a NUL. */
const char *regex_name(const struct regex *regex, uint32_t index, uint32_t *group)
{
    PCRE2_SPTR entry = regex->name_table + (size_t)index * regex->name_size;
    *group = (uint32_t)entry[0] << 8 | entry[1];
    return (const char *)entry + 2;
}

/* ---- searching ---- */

/* What comparing a back reference may pass over unseen: no more than the longest group. */
static size_t longest_group(const pcre2_callout_block *block)
{
    size_t longest = 0;
    for (uint32_t i = 1; i < block->capture_top; i++) {
        size_t begin = block->offset_vector[2 * i], end = block->offset_vector[2 * i + 1];
        if (begin != PCRE2_UNSET && end > begin && end - begin > longest)
            longest = end - begin;
    }
    return longest;
}

/* Before every item: counts what was done since the last one. */
static int on_callout(pcre2_callout_block *block, void *data)
{
    struct regex_engine *engine = data;
    size_t at = block->current_position;
    size_t passed = at > engine->at ? at - engine->at : engine->at - at;
    engine->at = at;
    engine->steps += 1 + passed / BYTES_PER_STEP;
    /* What may have been looked at besides brings the next stop nearer, but is no step: mostly it was not. */
    size_t unseen = engine->regex->lookbehind;
    if (engine->regex->back_references)
        unseen += longest_group(block);
    engine->since_stop += 1 + (passed + unseen) / BYTES_PER_STEP;
    if (engine->since_stop < STEPS_BETWEEN_STOPS)
        return 0;
    engine->since_stop = 0;
    if (engine->host->stop(engine->host->ctx))
        return PCRE2_ERROR_CALLOUT;
    return engine->steps > engine->steps_max ? PCRE2_ERROR_MATCHLIMIT : 0;
}

static enum err_code search_error(struct regex_engine *engine, int code, struct err *err)
{
    char text[256];
    switch (code) {
    case PCRE2_ERROR_CALLOUT:
        return err_set(err, ERR_CANCELLED, "the search was stopped");
    case PCRE2_ERROR_MATCHLIMIT:
    case PCRE2_ERROR_DEPTHLIMIT:
        return limit_error(
            err, engine->regex, "takes too long on this text",
            "it has too many ways to match; avoid a repetition within a repetition, such as (a+)+, "
            "make parts possessive (a++) or atomic (?>…), or match smaller pieces of the text");
    case PCRE2_ERROR_HEAPLIMIT:
        return limit_error(err, engine->regex, "needs too much memory on this text",
                           "it would note more than 64 MiB of places to go back to; make its repetitions "
                           "possessive (a++) or atomic (?>…), or match smaller pieces of the text");
    case PCRE2_ERROR_NOMEMORY:
        return err_nomem(err);
    case PCRE2_ERROR_RECURSELOOP:
        return limit_error(err, engine->regex, "calls itself without end",
                           "let it match at least one character before it calls itself");
    default:
        if (pcre2_get_error_message(code, (PCRE2_UCHAR *)text, sizeof text) < 0)
            return err_set(err, ERR_INTERNAL, "PCRE2 reports the error %d", code);
        return err_set(err, ERR_INTERNAL, "PCRE2 reports: %s", text);
    }
}

static const struct regex_span *take_spans(struct regex_engine *engine, size_t start)
{
    struct regex_span *spans = engine->spans;
    memcpy(spans, pcre2_get_ovector_pointer(engine->match_data), (engine->regex->groups + 1) * sizeof *spans);
    /* \K in a group that is called from an assertion can put the beginning anywhere. */
    if (spans->begin > spans->end)
        spans->begin = spans->end;
    if (spans->begin < start)
        spans->begin = start;
    return spans;
}

/* Where the character at start ends; behind the text there is nothing to be found. */
static size_t next_char(const struct regex *regex, const char *text, size_t len, size_t start)
{
    start++;
    while (regex->utf8 && start < len && is_continuation(text[start]))
        start++;
    return start;
}

/* In a text of ASCII, \d and its like match the same whether they know Unicode's properties or not. Without,
 * they are bitmaps, which are several times faster. */
static const pcre2_code *code_for(struct regex_engine *engine, bool ascii_text)
{
    struct regex *regex = engine->regex;
    if (!ascii_text || !regex->ascii_differs)
        return regex->code;
    if (regex->ascii_code == NULL) {
        int error = 0;
        PCRE2_SIZE offset = 0;
        regex->ascii_code = pcre2_compile((PCRE2_SPTR)regex->pattern, regex->len, regex->options & ~PCRE2_UCP,
                                          &error, &offset, engine->compile_context);
        regex->ascii_differs = regex->ascii_code != NULL;
    }
    return regex->ascii_code != NULL ? regex->ascii_code : regex->code;
}

static enum err_code match(struct regex_engine *engine, const char *text, size_t len, size_t start,
                           unsigned options, const struct regex_span **spans, struct err *err)
{
    *spans = NULL;
    if (start > len)
        return ERR_NONE;
    uint32_t match_options =
        PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT | ((options & REGEX_FRESH) != 0 ? PCRE2_NOTEMPTY_ATSTART : 0);
    int found = pcre2_match(code_for(engine, (options & REGEX_ASCII_TEXT) != 0), (PCRE2_SPTR)text, len, start,
                            match_options, engine->match_data, engine->match_context);
    if (found > 0)
        *spans = take_spans(engine, start);
    return found > 0 || found == PCRE2_ERROR_NOMATCH ? ERR_NONE : search_error(engine, found, err);
}

enum err_code regex_search(struct regex_engine *engine, struct regex *regex, const char *text, size_t len,
                           size_t start, unsigned options, const struct regex_span **spans, struct err *err)
{
    *spans = NULL;
    engine->regex = regex;
    if (regex->weight > 0 && len > REGEX_ITEM_WORK_MAX / regex->weight)
        return limit_error(err, regex, "is too expensive for a text of this size",
                           "\\X and long character classes are for smaller pieces of text");
    if (engine->match_data == NULL)
        engine->match_data = pcre2_match_data_create(REGEX_GROUPS_MAX + 1, engine->match_memory);
    if (engine->match_data == NULL)
        return err_nomem(err);
    engine->at = start;
    engine->steps = 0;
    engine->since_stop = 0;
    engine->steps_max = REGEX_STEPS_BASE + (uint64_t)(len - start) * REGEX_STEPS_PER_BYTE;

    enum err_code code = match(engine, text, len, start, options, spans, err);
    if (*spans != NULL && (options & REGEX_FRESH) != 0 && (*spans)->end == start) /* by \K; see take_spans */
        code = match(engine, text, len, next_char(regex, text, len, start), options & ~(unsigned)REGEX_FRESH,
                     spans, err);
    if (engine->match_bytes > KEEP_MAX) {
        pcre2_match_data_free(engine->match_data);
        engine->match_data = NULL;
    }
    return code;
}
