/* base/xml: events of documents in every two pieces, what is refused, limits, and every failing allocation.
 */
#include "base/xml.h"

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Memory as the reader must handle it: sizes told right, everything given back, and after the countdown none.
 */
struct memory {
    size_t used;
    size_t peak;
    long countdown; /* allocations until none is left; < 0: for ever */
};

static void *resize(void *ctx, void *block, size_t old_size, size_t size)
{
    struct memory *memory = ctx;
    assert_true(block != NULL || old_size == 0);
    assert_true(old_size <= memory->used);
    if (size > old_size && memory->countdown >= 0 && memory->countdown-- == 0) {
        memory->countdown = 0;
        return NULL;
    }
    memory->used += size - old_size;
    memory->peak = memory->used > memory->peak ? memory->used : memory->peak;
    if (size == 0) {
        free(block);
        return NULL;
    }
    return realloc(block, size);
}

static void add_name(struct buf *out, const struct xml_reader *reader, uint32_t number)
{
    struct xml_name name = xml_reader_name(reader, number);
    if (name.space_len > 0)
        buf_addf(out, "{%.*s}", (int)name.space_len, name.space);
    buf_addf(out, "%.*s%s%.*s", (int)name.prefix_len, name.prefix, name.prefix_len > 0 ? ":" : "",
             (int)name.local_len, name.local);
}

static void add_events(struct buf *out, struct xml_reader *reader)
{
    struct xml_event event;
    while (xml_reader_next(reader, &event)) {
        switch (event.type) {
        case XML_NAMESPACE:
            buf_addf(out, "(ns %.*s=%.*s)", (int)event.first_len, event.first, (int)event.second_len,
                     event.second);
            break;
        case XML_START:
            buf_addf(out, "<%u ", event.count);
            add_name(out, reader, event.name);
            buf_addc(out, '>');
            break;
        case XML_ATTRIBUTE:
            buf_addc(out, '(');
            add_name(out, reader, event.name);
            buf_addf(out, "=%.*s)", (int)event.second_len, event.second);
            break;
        case XML_END:
            buf_adds(out, "</");
            add_name(out, reader, event.name);
            buf_addc(out, '>');
            break;
        case XML_TEXT:
            buf_add(out, event.second, event.second_len);
            break;
        case XML_COMMENT:
            buf_addf(out, "(comment %.*s)", (int)event.second_len, event.second);
            break;
        case XML_INSTRUCTION:
            buf_addf(out, "(pi %.*s %.*s)", (int)event.first_len, event.first, (int)event.second_len,
                     event.second);
            break;
        }
    }
}

/* The events, and "!" with the message at the end when it fails. */
static enum err_code read_document(const struct xml_options *options, struct memory *memory, const char *text,
                                   size_t len, size_t cut, struct buf *out)
{
    struct err err = {0};
    struct xml_reader *reader = xml_reader_new(options, resize, memory);
    buf_clear(out);
    if (reader == NULL)
        return ERR_NOMEM;
    enum err_code code = xml_reader_feed(reader, text, cut, false, &err);
    add_events(out, reader);
    if (code == ERR_NONE) {
        code = xml_reader_feed(reader, text + cut, len - cut, true, &err);
        add_events(out, reader);
    }
    if (code != ERR_NONE)
        buf_addf(out, "!%s", err.message);
    xml_reader_free(reader);
    assert_int_equal(memory->used, 0);
    return code;
}

static void check_bytes(const struct xml_options *options, const char *text, size_t len, const char *expected)
{
    struct memory memory = {.countdown = -1};
    struct buf out;
    buf_init(&out, (size_t)1 << 20);
    for (size_t cut = 0; cut <= len; cut++) {
        (void)!read_document(options, &memory, text, len, cut, &out);
        if (strcmp(buf_text(&out), expected) != 0)
            fail_msg("%s, cut at %zu: got %s, expected %s", text, cut, buf_text(&out), expected);
    }
    buf_free(&out);
}

static void check(const struct xml_options *options, const char *text, const char *expected)
{
    check_bytes(options, text, strlen(text), expected);
}

static const struct xml_options plain = {0};

static void events(void **state)
{
    (void)state;
    check(&plain, "<a/>", "<0 a></a>");
    check(&plain, "<?xml version='1.0'?>\n<a x='1' y=\"&lt;&#10;\">t&amp;<![CDATA[<u>]]><!-- c -->v</a>\n",
          "<2 a>(x=1)(y=<\n)t&<u>v</a>");
    check(&plain, "<a>\r\n\r</a>", "<0 a>\n\n</a>");
    check(&plain, "<p:a xmlns:p='urn:p' xmlns='urn:d' p:x='1' y='2'><b xmlns=''/></p:a>",
          "(ns p=urn:p)(ns =urn:d)<2 {urn:p}p:a>({urn:p}p:x=1)(y=2)(ns =)<0 b></b></{urn:p}p:a>");
    check(&plain, "<a xml:lang='en'/>", "<1 a>({http://www.w3.org/XML/1998/namespace}xml:lang=en)</a>");
    struct xml_options all = {.comments = true, .instructions = true};
    check(&all, "<a>x<!--c-->y<?t d?></a>", "<0 a>x(comment c)y(pi t d)</a>");
}

static void encodings(void **state)
{
    (void)state;
    check_bytes(&plain, "\xff\xfe<\0a\0>\0\xe9\0<\0/\0a\0>\0", 18, "<0 a>\xc3\xa9</a>");
    check(&plain, "<?xml version='1.0' encoding='ISO-8859-1'?><a>\xe9</a>", "<0 a>\xc3\xa9</a>");
    check(&plain, "<?xml version='1.0' encoding='windows-1252'?><a>\x80\x99</a>",
          "<0 a>\xe2\x82\xac\xe2\x84\xa2</a>");
    check(&plain, "<?xml version='1.0' encoding='windows-1252'?><a>\x81</a>",
          "<0 a>!line 1, column 49: not well-formed (invalid token)");
    struct xml_options options = {.encoding = "ISO-8859-1"};
    check(&options, "<?xml version='1.0' encoding='UTF-8'?><a>\xe9</a>", "<0 a>\xc3\xa9</a>");
    check(&plain, "<a>\xe9</a>", "<0 a>!line 1, column 4: not well-formed (invalid token)");
}

static void mistakes(void **state)
{
    (void)state;
    check(&plain, "", "!line 1, column 1: no element found");
    check(&plain, "<a><b></a>", "<0 a><0 b>!line 1, column 9: mismatched tag: <b> is open");
    check(&plain, "<a>\n<p:b xmlns:p='u'>",
          "<0 a>\n(ns p=u)<0 {u}p:b>!line 2, column 18: the text ends, but <p:b> is open");
    check(&plain, "<a/><b/>", "<0 a></a>!line 1, column 5: junk after document element");
    check(&plain, "<a>&b;</a>",
          "<0 a>!line 1, column 4: undefined entity; only &amp; &lt; &gt; &quot; &apos; and "
          "character references are known");
    check(&plain, "<p:a/>", "!line 1, column 1: unbound prefix");
    check(&plain, "<a x='1' x='2'/>", "!line 1, column 10: duplicate attribute");
    check(&plain, "<a xmlns:p='u' xmlns:q='u' p:x='' q:x=''/>",
          "(ns p=u)(ns q=u)!line 1, column 1: duplicate attribute");
    check(&plain, "<a>\xef\xbf\xbf</a>", "<0 a>!line 1, column 4: not well-formed (invalid token)");
    check(&plain, "<?xml version='1.0' encoding='klingon'?><a/>",
          "!line 1, column 31: the encoding \"klingon\" is none of " XML_ENCODINGS
          "; convert the text first");
    check_bytes(&plain, "<a>\0</a>", 8, "<0 a>!line 1, column 4: not well-formed (invalid token)");
}

static void doctypes(void **state)
{
    (void)state;
    struct xml_options options = {.doctype = true};
    check(&plain, "<!DOCTYPE a><a/>",
          "!line 1, column 12: a DOCTYPE is refused; the option \"doctype\" allows one without entities");
    check(&options, "<!DOCTYPE a><a/>", "<0 a></a>");
    check(&options, "<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", "<0 a></a>");
    check(&options, "<!DOCTYPE a [<!ATTLIST a x CDATA 'd'>]><a/>", "<1 a>(x=d)</a>");
    check(&options, "<!DOCTYPE a [<!ENTITY b 'c'>]><a/>",
          "!line 1, column 25: entities are refused, and the DOCTYPE declares \"b\"");
    check(&options, "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>",
          "!line 1, column 52: entities are refused, and the DOCTYPE declares \"b\"");
    check(&options, "<!DOCTYPE a [<!ENTITY % b 'c'>]><a/>",
          "!line 1, column 27: entities are refused, and the DOCTYPE declares \"b\"");
    check(&options, "<!DOCTYPE a SYSTEM 'x'><a>&b;</a>",
          "<0 a>!line 1, column 27: the entity \"b\" is not known here");
    check(&options, "<!DOCTYPE a SYSTEM 'x'><a y='&b;'/>",
          "!line 1, column 24: an attribute refers to an entity that is not known here");
    check(&options, "<!DOCTYPE a SYSTEM 'x'><a y='&lt;&amp;&#9;&quot;&apos;&gt;&#x9;'/>",
          "<1 a>(y=<&\t\"'>\t)</a>");
    check(&options, "<!DOCTYPE a [%x;]><a y='&b;'/>",
          "!line 1, column 19: an attribute refers to an entity that is not known here");
    check(&options, "<!DOCTYPE a SYSTEM 'x' [<!ATTLIST a y CDATA '&b;'>]><a/>",
          "!line 1, column 45: an attribute refers to an entity that is not known here");
    static const char wide[] = "\xfe\xff\0<\0!\0D\0O\0C\0T\0Y\0P\0E\0 \0a\0 \0S\0Y\0S\0T\0E\0M\0 \0'\0x\0'\0>"
                               "\0<\0a\0 \0y\0=\0'\0&\0b\0;\0'\0/\0>";
    check_bytes(&options, wide, sizeof wide - 1,
                "!line 1, column 25: an attribute refers to an entity that is not known here");
}

/* text repeated, between head and tail. */
static char *repeated(const char *head, const char *text, size_t times, const char *tail, size_t *len)
{
    size_t head_len = strlen(head), text_len = strlen(text), tail_len = strlen(tail);
    *len = head_len + text_len * times + tail_len;
    char *all = malloc(*len + 1);
    assert_non_null(all);
    memcpy(all, head, head_len);
    for (size_t i = 0; i < times; i++)
        memcpy(all + head_len + i * text_len, text, text_len);
    memcpy(all + head_len + times * text_len, tail, tail_len + 1);
    return all;
}

static enum err_code read_repeated(const struct xml_options *options, struct memory *memory, const char *head,
                                   const char *text, size_t times, const char *tail, char *message,
                                   size_t size)
{
    size_t len = 0;
    char *all = repeated(head, text, times, tail, &len);
    struct buf out;
    buf_init(&out, BUF_UNLIMITED);
    *memory = (struct memory){.countdown = -1};
    enum err_code code = read_document(options, memory, all, len, len, &out);
    const char *mark = strrchr(buf_text(&out), '!');
    snprintf(message, size, "%s", code != ERR_NONE && mark != NULL ? mark + 1 : "");
    buf_free(&out);
    free(all);
    return code;
}

static void limits(void **state)
{
    (void)state;
    struct memory memory;
    char message[256];
    struct xml_options options = {.doctype = true};
    assert_int_equal(read_repeated(&plain, &memory, "", "<a>", XML_DEPTH_MAX, "", message, sizeof message),
                     ERR_INVALID);
    assert_string_equal(message, "line 1, column 769: the text ends, but <a> is open");
    assert_int_equal(
        read_repeated(&plain, &memory, "", "<a>", XML_DEPTH_MAX + 1, "", message, sizeof message), ERR_LIMIT);
    assert_string_equal(message, "line 1, column 769: elements are nested more than 256 deep");
    assert_int_equal(read_repeated(&plain, &memory, "<", "a", XML_NAME_MAX, "/>", message, sizeof message),
                     ERR_NONE);
    assert_int_equal(
        read_repeated(&plain, &memory, "<", "a", XML_NAME_MAX + 1, "/>", message, sizeof message), ERR_LIMIT);
    assert_string_equal(message,
                        "line 1, column 1: a name is longer than 4096 bytes, its namespace included");
    /* A default attribute of a kilobyte on every four bytes of document. */
    size_t len = 0;
    char *head = repeated("<!DOCTYPE a [<!ATTLIST b c CDATA '", "x", 1024, "'>]><a>", &len);
    assert_int_equal(read_repeated(&options, &memory, head, "<b/>", 20000, "</a>", message, sizeof message),
                     ERR_LIMIT);
    assert_non_null(
        strstr(message, "a tag or comment has more than 16777216 bytes, default attributes included"));
    assert_true(memory.peak < XML_MEMORY_MAX);
    free(head);
    /* One comment that does not fit. */
    assert_int_equal(read_repeated(&plain, &memory, "<a><!--", "xxxxxxxx", XML_MEMORY_MAX / 8, "--></a>",
                                   message, sizeof message),
                     ERR_LIMIT);
    assert_non_null(strstr(message, "parsing takes more than 134217728 bytes of memory"));
    assert_true(memory.peak <= XML_MEMORY_MAX + 65536);
}

static void many_names(void **state)
{
    (void)state;
    struct memory memory = {.countdown = -1};
    struct buf text, out;
    struct err err;
    buf_init(&text, BUF_UNLIMITED);
    buf_init(&out, BUF_UNLIMITED);
    buf_adds(&text, "<r>");
    for (int i = 0; i < XML_NAMES_MAX; i++)
        buf_addf(&text, "<n%d/>", i);
    buf_adds(&text, "</r>");
    assert_int_equal(buf_status(&text, "text", &err), ERR_NONE);
    assert_int_equal(read_document(&plain, &memory, text.data, text.len, text.len, &out), ERR_LIMIT);
    assert_non_null(strstr(buf_text(&out), ": the document has more than 65536 different names"));
    assert_non_null(strstr(buf_text(&out), "<0 n65534></n65534>!line 1, column "));
    buf_free(&text);
    buf_free(&out);
}

static void failing_allocations(void **state)
{
    (void)state;
    static const char text[] = "<a xmlns='urn:a' x='1'><b>text &amp; more</b><!-- c --><c p='q'/></a>";
    struct xml_options all = {.comments = true};
    struct buf out;
    long nth = 0;
    buf_init(&out, 65536);
    for (;; nth++) {
        struct memory memory = {.countdown = nth};
        enum err_code code = read_document(&all, &memory, text, sizeof text - 1, 10, &out);
        assert_int_equal(memory.used, 0);
        if (code == ERR_NONE)
            break;
        assert_int_equal(code, ERR_NOMEM);
    }
    assert_true(nth > 15);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events),
        cmocka_unit_test(encodings),
        cmocka_unit_test(mistakes),
        cmocka_unit_test(doctypes),
        cmocka_unit_test(limits),
        cmocka_unit_test(many_names),
        cmocka_unit_test(failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
