/* HTML within bounds: depth, memory, running out of it, being ended from outside. What conversions give is
 * tested through workers.text (tests/lua/text_test.lua, tests/conformance/test_text.py). */
#include "base/html_priv.h"
#include "base/mem.h"
#include "base/text.h"
#include "base/unicode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- depth ---- */

struct depth {
    size_t now;
    size_t most;
    size_t text;
};

static bool go_down(void *context, const GumboNode *element)
{
    struct depth *depth = context;
    (void)element;
    depth->now++;
    depth->most = depth->now > depth->most ? depth->now : depth->most;
    return true;
}

static void go_up(void *context, const GumboNode *element)
{
    struct depth *depth = context;
    (void)element;
    depth->now--;
}

static void count_text(void *context, const char *text, size_t len)
{
    (void)text;
    ((struct depth *)context)->text += len;
}

static struct depth depth_of(const char *text, size_t len)
{
    struct html html;
    struct err err;
    struct depth depth = {0, 0, 0};
    const GumboNode *root;
    const struct html_visitor visitor = {go_down, go_up, count_text, &depth};
    html_init(&html, NULL, NULL);
    if (html_parse(&html, text, len, &root, &err) != ERR_NONE ||
        html_walk(&html, root, &visitor, &err) != ERR_NONE)
        fail_msg("%s", err.message);
    html_free(&html);
    assert_int_equal(depth.now, 0);
    return depth;
}

static struct depth depth_of_repeated(const char *text, size_t times)
{
    struct buf all;
    buf_init(&all, HTML_INPUT_MAX);
    for (size_t i = 0; i < times; i++)
        buf_adds(&all, text);
    buf_addc(&all, 'x');
    struct depth depth = depth_of(buf_text(&all), all.len);
    buf_free(&all);
    return depth;
}

static void ordinary_pages_are_left_alone(void **state)
{
    (void)state;
    /* 510 and the html and body around them: 512 that are open. */
    assert_int_equal(depth_of_repeated("<div>", HTML_DEPTH_MAX).most, HTML_DEPTH_MAX + 2);
    assert_int_equal(depth_of_repeated("<p>x", 20000).most, 3);
    assert_int_equal(depth_of_repeated("<tr><td>", 20000).most, 2);
    struct buf table;
    buf_init(&table, HTML_INPUT_MAX);
    buf_adds(&table, "<table>");
    for (int i = 0; i < 3000; i++)
        buf_adds(&table, "<tr><td>a<td><b>b<th>c");
    buf_adds(&table, "</table><ul>");
    for (int i = 0; i < 3000; i++)
        buf_adds(&table, "<li>a<p>b<li><i>c</i><dl><dt>d<dd>e<dd>f</dl>");
    buf_adds(&table, "</ul><div><svg><path/><g><path/></g></svg></div><select><option>a<option>b</select>");
    struct html html;
    struct err err;
    const char *text = buf_text(&table);
    size_t len = table.len;
    html_init(&html, NULL, NULL);
    assert_int_equal(html_guard(&html, &text, &len, &err), ERR_NONE);
    assert_ptr_equal(text, table.data); /* not one tag was dropped */
    html_free(&html);
    buf_free(&table);
}

/* Each of them grows the stack in a way of its own, or did so behind the guard's back once. */
static void hostile_pages_are_shallow(void **state)
{
    (void)state;
    static const char *const repeated[] = {
        "<div>",
        "<span>",
        "<b>",
        "<font size=1>",
        "<a>",
        "<blockquote>",
        "<ul><li>",
        "<li><dd>",
        "<dd><li>",
        "<table><tr><td>",
        "<table><div>",
        "<table><b>",
        "<table><caption>",
        "<button>",
        "<form><div>",
        "<object>",
        "<marquee>",
        "<template>",
        "<svg><g>",
        "<svg><foreignObject><div>",
        "<math><mi>",
        "<math><annotation-xml encoding=text/html><div>",
        "<svg><title><b>",
        "<svg><desc><p>",
        "<span><div></span>",
        "<b><div></b>",
        "<div></table>",
        "<table><div></table>",
        "<h1><div></h1>",
        "<x><y></x>",
        "<select><option>",
        "<select><optgroup>",
        "<ruby><rt>",
        "<p><b a>",
        "<b></p>",
        "<style/><div>",
        "<svg><style><div>",
        "<title/></title><div>",
        "<!--><div>",
        "<!---><div>-->",
        "<a><table><a>",
        "<nobr><nobr>",
        "<div/>",
        "<noscript><div>",
        "<head><div>",
        "<body><div>",
        "<dl><dt><div></dt>",
        "<table><tr><td></table>",
        "<fieldset><legend>",
        "<iframe></iframe><div>",
        "<![CDATA[<div>]]><div>",
        "<?x><div>",
        "</ x><div>",
        "<div\n>",
        "<DIV>",
        "<div x='>'>",
        "<textarea></textarea><i>",
    };
    for (size_t i = 0; i < sizeof repeated / sizeof repeated[0]; i++) {
        struct depth depth = depth_of_repeated(repeated[i], 4000);
        if (depth.most > 3 * HTML_DEPTH_MAX)
            fail_msg("%s is %zu deep", repeated[i], depth.most);
    }
}

/* Each is taken up again in each paragraph that follows. */
static void formats_left_open_are_few(void **state)
{
    (void)state;
    struct html html;
    struct buf all;
    struct err err;
    const GumboNode *root;
    buf_init(&all, HTML_INPUT_MAX);
    for (int i = 0; i < 3000; i++)
        buf_addf(&all, "<p><font size=%d>x</p>", i);
    html_init(&html, NULL, NULL);
    assert_int_equal(html_parse(&html, all.data, all.len, &root, &err), ERR_NONE);
    assert_in_range(html.arena.total, 1, 50 << 20);
    html_free(&html);
    buf_free(&all);
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 16;
}

static void random_tags_are_shallow(void **state)
{
    (void)state;
    static const char *const names[] = {
        "a",        "b",      "i",       "font",   "span",    "div",        "p",        "ul",
        "li",       "dl",     "dd",      "dt",     "td",      "th",         "tr",       "table",
        "tbody",    "thead",  "caption", "select", "option",  "button",     "form",     "h1",
        "h2",       "pre",    "svg",     "math",   "mi",      "g",          "title",    "foreignObject",
        "template", "object", "x",       "y",      "nobr",    "blockquote", "ruby",     "rt",
        "head",     "body",   "html",    "center", "address", "marquee",    "frameset",
    };
    uint32_t seed = 1;
    for (int round = 0; round < 300; round++) {
        struct buf all;
        buf_init(&all, HTML_INPUT_MAX);
        size_t choice = 2 + next_random(&seed) % 6, chosen[8];
        for (size_t i = 0; i < choice; i++)
            chosen[i] = next_random(&seed) % (sizeof names / sizeof names[0]);
        for (int i = 0; i < 6000; i++)
            buf_addf(&all, "<%s%s>%s", next_random(&seed) % 3 == 0 ? "/" : "",
                     names[chosen[next_random(&seed) % choice]], next_random(&seed) % 4 == 0 ? "t" : "");
        struct depth depth = depth_of(buf_text(&all), all.len);
        if (depth.most > 3 * HTML_DEPTH_MAX)
            fail_msg("round %d is %zu deep: %.200s", round, depth.most, all.data);
        buf_free(&all);
    }
}

static void text_of_what_is_too_deep_stays(void **state)
{
    (void)state;
    struct html html;
    struct buf all, out;
    struct err err;
    buf_init(&all, HTML_INPUT_MAX);
    buf_init(&out, HTML_INPUT_MAX);
    for (int i = 0; i < 1000; i++)
        buf_addf(&all, "<div>%d", i);
    for (int i = 0; i < 1000; i++)
        buf_adds(&all, "</div>");
    buf_adds(&all, "after");
    html_init(&html, NULL, NULL);
    assert_int_equal(html_to_text(&html, all.data, all.len, &out, &err), ERR_NONE);
    assert_non_null(strstr(out.data, "\n510\n511 512 513 "));
    assert_non_null(strstr(out.data, " 999\nafter"));
    html_free(&html);
    buf_free(&out);
    buf_free(&all);
}

/* ---- out of memory, and stopped ---- */

static const char page[] =
    "<h1>a</h1><p>b <b>c</b> <code>d</code><code>e</code>  f\n g<a href='h'>i</a><img src=j alt=k>"
    "<ul><li>l<ol><li><p>m</ol></ul><blockquote>n</blockquote><pre>o</pre><table><tr><th>p<th>q<tr><td>r"
    "<td>s</table>&#xFFFFFFFF80;<div><div><ul><ul><li>t</ul></ul>";

static enum err_code convert(struct html *html, int which, struct buf *out, struct err *err)
{
    switch (which) {
    case 0:
        return html_to_text(html, page, strlen(page), out, err);
    case 1:
        return html_to_markdown(html, page, strlen(page), NULL, out, err);
    case 2:
        return html_unescape(html, "&amp;&eacute;&#65;", 18, out, err);
    default:
        unicode_fold(out, &html->work[0], &html->work[1], "E\xCC\x81\xEF\xAC\x81", 6, &html->ticker);
        return buf_status(out, "text", err);
    }
}

static void every_allocation_fails_once(void **state)
{
    (void)state;
    for (int which = 0; which < 4; which++) {
        enum err_code code = ERR_NOMEM;
        for (unsigned long nth = 1; code != ERR_NONE; nth++) {
            struct html html;
            struct buf out;
            struct err err;
            assert_true(nth < 200);
            html_init(&html, NULL, NULL);
            buf_init(&out, HTML_INPUT_MAX);
            mem_fail_from(nth);
            code = convert(&html, which, &out, &err);
            mem_fail_from(0);
            if (code != ERR_NONE)
                assert_int_equal(code, ERR_NOMEM);
#ifndef WORKERS_FAULT_INJECTION
            assert_int_equal(code, ERR_NONE);
#endif
            html_free(&html);
            buf_free(&out);
        }
    }
}

struct stop {
    int left;
    jmp_buf place;
};

static void stop(void *context)
{
    struct stop *stopper = context;
    if (stopper->left-- == 0)
        longjmp(stopper->place, 1);
}

/* As budget_tick does it; what leaks is seen by AddressSanitizer. */
static void can_be_left_at_any_tick(void **state)
{
    (void)state;
    static struct html html;
    static struct buf all, out;
    struct err err;
    buf_init(&all, HTML_INPUT_MAX);
    for (int i = 0; i < 100; i++)
        buf_adds(&all, page);
    for (int which = 0; which < 2; which++) {
        volatile int ticks = 0, done = 0;
        while (!done) {
            struct stop stopper = {.left = ticks};
            html_init(&html, stop, &stopper);
            buf_init(&out, HTML_INPUT_MAX);
            if (setjmp(stopper.place) == 0) {
                enum err_code code = which == 0
                                         ? html_to_text(&html, all.data, all.len, &out, &err)
                                         : html_to_markdown(&html, all.data, all.len, NULL, &out, &err);
                assert_int_equal(code, ERR_NONE);
                done = 1;
            }
            html_free(&html);
            buf_free(&out);
            ticks = ticks + 1;
        }
        assert_true(ticks > 10); /* 40 KB of input: the clock is looked at often enough */
    }
    buf_free(&all);
}

static void count_tick(void *context)
{
    ++*(int *)context;
}

/* gumbo is looked after while it works, not only before and after. */
static void parsing_ticks(void **state)
{
    (void)state;
    struct html html;
    struct buf all;
    struct err err;
    const GumboNode *root;
    int ticks = 0, before;
    buf_init(&all, HTML_INPUT_MAX);
    for (int i = 0; i < 20000; i++)
        buf_adds(&all, "</b>");
    html_init(&html, count_tick, &ticks);
    const char *text = all.data;
    size_t len = all.len;
    assert_int_equal(html_guard(&html, &text, &len, &err), ERR_NONE);
    before = ticks;
    assert_int_equal(html_parse(&html, all.data, all.len, &root, &err), ERR_NONE);
    assert_in_range(ticks - 2 * before, 50, 10000);
    html_free(&html);
    buf_free(&all);
}

static void results_are_bounded(void **state)
{
    (void)state;
    struct html html;
    struct buf out;
    struct err err;
    static const char *const names[] = {"the text is larger than 10 bytes",
                                        "the Markdown is larger than 10 bytes"};
    for (int which = 0; which < 2; which++) {
        html_init(&html, NULL, NULL);
        buf_init(&out, 10);
        assert_int_equal(convert(&html, which, &out, &err), ERR_LIMIT);
        assert_string_equal(err.message, names[which]);
        html_free(&html);
        buf_free(&out);
    }
    html_init(&html, NULL, NULL);
    buf_init(&out, HTML_INPUT_MAX);
    assert_int_equal(html_to_text(&html, page, HTML_INPUT_MAX + 1, &out, &err), ERR_LIMIT);
    assert_string_equal(err.message, "HTML of 16777217 bytes; the most is 16777216");
    html_free(&html);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ordinary_pages_are_left_alone),
        cmocka_unit_test(hostile_pages_are_shallow),
        cmocka_unit_test(formats_left_open_are_few),
        cmocka_unit_test(random_tags_are_shallow),
        cmocka_unit_test(text_of_what_is_too_deep_stays),
        cmocka_unit_test(every_allocation_fails_once),
        cmocka_unit_test(can_be_left_at_any_tick),
        cmocka_unit_test(parsing_ticks),
        cmocka_unit_test(results_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
