/* Digests, sealing, text forms and identifiers, against the vectors of their specifications. */
#include "base/clock.h"
#include "base/crypto.h"
#include "base/id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *hex_of(const void *bytes, size_t len)
{
    static char text[2 * CRYPTO_DIGEST_MAX + 1];
    assert_true(len <= CRYPTO_DIGEST_MAX);
    crypto_encode(CRYPTO_HEX, bytes, len, text);
    return text;
}

static void check_digest(const char *name, const char *text, const char *expected)
{
    unsigned char digest[CRYPTO_DIGEST_MAX];
    size_t len = 0;
    struct err err;
    if (crypto_digest(name, text, strlen(text), digest, &len, &err) != ERR_NONE)
        fail_msg("%s", err.message);
    assert_string_equal(hex_of(digest, len), expected);
}

/* RFC 1321 appendix A.5; FIPS 180-2 appendices for "abc"; the empty message. */
static void digests(void **state)
{
    (void)state;
    check_digest("md5", "", "d41d8cd98f00b204e9800998ecf8427e");
    check_digest("md5", "message digest", "f96b697d7cb7938d525a2f31aaf161d0");
    check_digest("sha1", "abc", "a9993e364706816aba3e25717850c26c9cd0d89d");
    check_digest("sha256", "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check_digest("sha256", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    check_digest(
        "sha384", "abc",
        "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7");
    check_digest("sha512", "abc",
                 "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
                 "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
    unsigned char digest[CRYPTO_DIGEST_MAX];
    size_t len;
    struct err err;
    assert_int_equal(crypto_sha256("abc", 3, digest, &err), ERR_NONE);
    assert_string_equal(hex_of(digest, 32),
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(crypto_sha256(NULL, 0, digest, &err), ERR_NONE);
    assert_string_equal(hex_of(digest, 4), "e3b0c442");
    assert_int_equal(crypto_digest("sha3", "abc", 3, digest, &len, &err), ERR_INVALID);
    assert_string_equal(err.message, "unknown digest \"sha3\"; use one of md5, sha1, sha256, sha384, sha512");
    assert_int_equal(crypto_digest("SHA256", "abc", 3, digest, &len, &err), ERR_INVALID);
}

/* RFC 4231 (test cases 1 to 4, 6, 7) and RFC 2202 for the older digests. */
static void hmacs(void **state)
{
    (void)state;
    static unsigned char key_0b[20], key_aa[131], key_4[25], data_dd[50], data_cd[50];
    memset(key_0b, 0x0b, sizeof key_0b);
    memset(key_aa, 0xaa, sizeof key_aa);
    memset(data_dd, 0xdd, sizeof data_dd);
    memset(data_cd, 0xcd, sizeof data_cd);
    for (unsigned char i = 0; i < 25; i++)
        key_4[i] = (unsigned char)(i + 1);
    static const char large_key[] = "Test Using Larger Than Block-Size Key - Hash Key First";
    static const char large_both[] =
        "This is a test using a larger than block-size key and a larger than block-size "
        "data. The key needs to be hashed before being used by the HMAC algorithm.";
    const struct {
        const char *name;
        const void *key;
        size_t key_len;
        const void *data;
        size_t len;
        const char *expected;
    } cases[] = {
        {"sha256", key_0b, 20, "Hi There", 8,
         "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
        {"sha384", key_0b, 20, "Hi There", 8,
         "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6"},
        {"sha512", key_0b, 20, "Hi There", 8,
         "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
         "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"},
        {"sha256", "Jefe", 4, "what do ya want for nothing?", 28,
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
        {"sha512", "Jefe", 4, "what do ya want for nothing?", 28,
         "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
         "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"},
        {"sha256", key_aa, 20, data_dd, 50,
         "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"},
        {"sha256", key_4, 25, data_cd, 50,
         "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"},
        {"sha256", key_aa, 131, large_key, sizeof large_key - 1,
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
        {"sha256", key_aa, 131, large_both, sizeof large_both - 1,
         "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"},
        {"md5", "Jefe", 4, "what do ya want for nothing?", 28, "750c783e6ab0b503eaa86e310a5db738"},
        {"sha1", "Jefe", 4, "what do ya want for nothing?", 28, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"},
        {"sha256", NULL, 0, NULL, 0, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned char digest[CRYPTO_DIGEST_MAX];
        size_t len = 0;
        struct err err;
        assert_int_equal(crypto_hmac(cases[i].name, cases[i].key, cases[i].key_len, cases[i].data,
                                     cases[i].len, digest, &len, &err),
                         ERR_NONE);
        assert_string_equal(hex_of(digest, len), cases[i].expected);
    }
}

static void equal(void **state)
{
    (void)state;
    assert_true(crypto_equal("abcd", "abcd", 4));
    assert_true(crypto_equal("abcd", "abcx", 3));
    assert_false(crypto_equal("abcd", "abce", 4));
    assert_false(crypto_equal("xbcd", "abcd", 4));
    assert_true(crypto_equal(NULL, NULL, 0));
    char secret[] = "secret";
    crypto_wipe(secret, sizeof secret);
    assert_memory_equal(secret, "\0\0\0\0\0\0", 7);
}

static void random_bytes(void **state)
{
    (void)state;
    static unsigned char bytes[100000];
    struct err err;
    unsigned counts[256] = {0};
    assert_int_equal(crypto_random(bytes, sizeof bytes, &err), ERR_NONE);
    for (size_t i = 0; i < sizeof bytes; i++)
        counts[bytes[i]]++;
    /* 390 expected, 20 the standard deviation: ten of them will not happen. */
    for (int i = 0; i < 256; i++)
        assert_in_range(counts[i], 190, 590);
}

/* ---- sealing ---- */

static const unsigned char key[CRYPTO_KEY_SIZE] = "0123456789abcdefghijklmnopqrstu";

static enum err_code open_changed(const unsigned char *use_key, const char *additional,
                                  const unsigned char *sealed, size_t len, struct err *err)
{
    unsigned char out[64];
    memset(out, 'x', sizeof out);
    enum err_code code = crypto_open(use_key, additional, strlen(additional), sealed, len, out, err);
    if (code != ERR_NONE && len >= CRYPTO_SEAL_OVERHEAD) {
        for (size_t i = 0; i < len - CRYPTO_SEAL_OVERHEAD; i++)
            assert_int_equal(out[i], 0);
    }
    return code;
}

static void seal_and_tamper(void **state)
{
    (void)state;
    static const char plain[] = "the token that opens everything";
    enum { LEN = sizeof plain - 1, SEALED = LEN + CRYPTO_SEAL_OVERHEAD };
    unsigned char sealed[SEALED], again[SEALED], out[LEN];
    struct err err;
    assert_int_equal(crypto_seal(key, "GITHUB_TOKEN", 12, plain, LEN, sealed, &err), ERR_NONE);
    assert_int_equal(crypto_open(key, "GITHUB_TOKEN", 12, sealed, SEALED, out, &err), ERR_NONE);
    assert_memory_equal(out, plain, LEN);
    assert_null(memmem(sealed, SEALED, plain, 8));

    assert_int_equal(crypto_seal(key, "GITHUB_TOKEN", 12, plain, LEN, again, &err), ERR_NONE);
    assert_memory_not_equal(sealed, again, 12);
    assert_memory_not_equal(sealed + 12, again + 12, LEN);

    for (size_t i = 0; i < SEALED; i++) {
        for (int bit = 0; bit < 8; bit++) {
            sealed[i] = (unsigned char)(sealed[i] ^ 1 << bit);
            assert_int_equal(open_changed(key, "GITHUB_TOKEN", sealed, SEALED, &err), ERR_CORRUPT);
            sealed[i] = (unsigned char)(sealed[i] ^ 1 << bit);
        }
    }
    assert_non_null(strstr(err.message, "a sealed value does not open"));
    for (size_t len = 0; len < SEALED; len++)
        assert_int_equal(open_changed(key, "GITHUB_TOKEN", sealed, len, &err), ERR_CORRUPT);
    assert_int_equal(open_changed(key, "GITHUB_TOKEM", sealed, SEALED, &err), ERR_CORRUPT);
    assert_int_equal(open_changed(key, "", sealed, SEALED, &err), ERR_CORRUPT);
    unsigned char other[CRYPTO_KEY_SIZE];
    memcpy(other, key, sizeof other);
    other[31] ^= 1;
    assert_int_equal(open_changed(other, "GITHUB_TOKEN", sealed, SEALED, &err), ERR_CORRUPT);
    assert_int_equal(open_changed(key, "GITHUB_TOKEN", sealed, SEALED, &err), ERR_NONE);

    /* Nothing can be sealed as well. */
    unsigned char empty[CRYPTO_SEAL_OVERHEAD];
    assert_int_equal(crypto_seal(key, NULL, 0, NULL, 0, empty, &err), ERR_NONE);
    assert_int_equal(crypto_open(key, NULL, 0, empty, sizeof empty, out, &err), ERR_NONE);
    empty[20] ^= 1;
    assert_int_equal(crypto_open(key, NULL, 0, empty, sizeof empty, out, &err), ERR_CORRUPT);
    assert_int_equal(crypto_open(key, NULL, 0, empty, 27, out, &err), ERR_CORRUPT);
    assert_string_equal(err.message, "a sealed value of 27 bytes is cut short: at least 28 expected");
}

/* Test case 16 of the GCM specification: what other implementations sealed must open here. */
static void open_known(void **state)
{
    (void)state;
    unsigned char known_key[32], sealed[128], additional[20], out[64];
    size_t len, ignored;
    struct err err;
    const char *key_hex = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
    const char *sealed_hex = "cafebabefacedbaddecaf888"
                             "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
                             "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
                             "76fc6ece0f4e1768cddf8853bb2d551b";
    const char *additional_hex = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
    const char *plain_hex = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
                            "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
    assert_int_equal(crypto_decode(CRYPTO_HEX, key_hex, strlen(key_hex), known_key, &ignored, &err),
                     ERR_NONE);
    assert_int_equal(crypto_decode(CRYPTO_HEX, sealed_hex, strlen(sealed_hex), sealed, &len, &err), ERR_NONE);
    assert_int_equal(
        crypto_decode(CRYPTO_HEX, additional_hex, strlen(additional_hex), additional, &ignored, &err),
        ERR_NONE);
    assert_int_equal(crypto_open(known_key, additional, sizeof additional, sealed, len, out, &err), ERR_NONE);
    assert_string_equal(hex_of(out, len - CRYPTO_SEAL_OVERHEAD), plain_hex);
}

/* ---- text forms ---- */

static void check_form(enum crypto_encoding encoding, const char *bytes, const char *text)
{
    char out[64];
    size_t len = 0;
    struct err err;
    assert_int_equal(crypto_encoded_len(encoding, strlen(bytes)), strlen(text));
    crypto_encode(encoding, bytes, strlen(bytes), out);
    assert_string_equal(out, text);
    assert_true(crypto_decoded_max(encoding, strlen(text)) >= strlen(bytes));
    assert_int_equal(crypto_decode(encoding, text, strlen(text), out, &len, &err), ERR_NONE);
    assert_int_equal(len, strlen(bytes));
    assert_memory_equal(out, bytes, len);
}

/* RFC 4648 section 10 */
static void text_forms(void **state)
{
    (void)state;
    static const char *const plain[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"};
    static const char *const base64[] = {"", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};
    static const char *const url[] = {"", "Zg", "Zm8", "Zm9v", "Zm9vYg", "Zm9vYmE", "Zm9vYmFy"};
    static const char *const hex[] = {"", "66", "666f", "666f6f", "666f6f62", "666f6f6261", "666f6f626172"};
    for (int i = 0; i < 7; i++) {
        check_form(CRYPTO_BASE64, plain[i], base64[i]);
        check_form(CRYPTO_BASE64URL, plain[i], url[i]);
        check_form(CRYPTO_HEX, plain[i], hex[i]);
    }
    check_form(CRYPTO_BASE64, "\xfb\xff\xbf", "+/+/");
    check_form(CRYPTO_BASE64URL, "\xfb\xff\xbf", "-_-_");
    char out[8];
    size_t len;
    struct err err;
    assert_int_equal(crypto_decode(CRYPTO_BASE64URL, "Zg==", 4, out, &len, &err), ERR_NONE);
    assert_int_equal(len, 1);
    assert_int_equal(crypto_decode(CRYPTO_HEX, "fF", 2, out, &len, &err), ERR_NONE);
    assert_int_equal((unsigned char)out[0], 0xff);
}

static void round_trips(void **state)
{
    (void)state;
    unsigned char bytes[64], back[100];
    char text[200];
    struct err err;
    for (int round = 0; round < 2000; round++) {
        size_t len = (size_t)round % sizeof bytes, got;
        assert_int_equal(crypto_random(bytes, len, &err), ERR_NONE);
        for (int encoding = CRYPTO_HEX; encoding <= CRYPTO_BASE64URL; encoding++) {
            crypto_encode((enum crypto_encoding)encoding, bytes, len, text);
            assert_int_equal(
                crypto_decode((enum crypto_encoding)encoding, text, strlen(text), back, &got, &err),
                ERR_NONE);
            assert_int_equal(got, len);
            if (len > 0)
                assert_memory_equal(back, bytes, len);
        }
    }
}

static void bad_text(void **state)
{
    (void)state;
    static const struct {
        enum crypto_encoding encoding;
        const char *text;
        const char *message;
    } cases[] = {
        {CRYPTO_HEX, "abc", "not hex: an even number of digits expected, got 3"},
        {CRYPTO_HEX, "0x12", "not hex: character 'x' at position 2"},
        {CRYPTO_HEX, "12 34", "not hex: byte 0x20 at position 3"},
        {CRYPTO_HEX, "12\xc3\xa4", "not hex: byte 0xc3 at position 3"},
        {CRYPTO_BASE64, "Zg", "not base64: 2 '=' at the end expected, got 0"},
        {CRYPTO_BASE64, "Zg=", "not base64: 2 '=' at the end expected, got 1"},
        {CRYPTO_BASE64, "Zm8==", "not base64: 1 '=' at the end expected, got 2"},
        {CRYPTO_BASE64, "Zm9v=", "not base64: 0 '=' at the end expected, got 1"},
        {CRYPTO_BASE64, "Zg===", "not base64: character '=' at position 3"},
        {CRYPTO_BASE64, "Z", "not base64: cut short, 1 digits"},
        {CRYPTO_BASE64, "====", "not base64: character '=' at position 1"},
        {CRYPTO_BASE64, "==", "not base64: 0 '=' at the end expected, got 2"},
        {CRYPTO_BASE64, "Zh==", "not base64: bits left over in the digit at position 2"},
        {CRYPTO_BASE64, "Zm9=", "not base64: bits left over in the digit at position 3"},
        {CRYPTO_BASE64, "Zm9v\n", "not base64: byte 0x0a at position 5"},
        {CRYPTO_BASE64, "-_-_", "not base64: character '-' at position 1"},
        {CRYPTO_BASE64URL, "Zg=", "not base64url: 2 '=' at the end expected, got 1"},
        {CRYPTO_BASE64URL, "+/", "not base64url: character '+' at position 1"},
        {CRYPTO_BASE64URL, "Zh", "not base64url: bits left over in the digit at position 2"},
        {CRYPTO_BASE64URL, "Zg==Zg==", "not base64url: character '=' at position 3"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[16];
        size_t len = 99;
        struct err err;
        assert_int_equal(
            crypto_decode(cases[i].encoding, cases[i].text, strlen(cases[i].text), out, &len, &err),
            ERR_INVALID);
        assert_string_equal(err.message, cases[i].message);
        assert_int_equal(len, 99);
    }
}

/* ---- identifiers ---- */

static void check_layout(const char *id, char version)
{
    assert_int_equal(strlen(id), 36);
    for (int i = 0; i < 36; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23)
            assert_int_equal(id[i], '-');
        else
            assert_non_null(strchr("0123456789abcdef", id[i]));
    }
    assert_int_equal(id[14], version);
    assert_non_null(strchr("89ab", id[19]));
}

static void uuids(void **state)
{
    (void)state;
    char id[ID_UUID_SIZE], before[ID_UUID_SIZE] = "";
    struct err err;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(id_uuid4(id, &err), ERR_NONE);
        check_layout(id, '4');
        assert_string_not_equal(id, before);
        memcpy(before, id, sizeof id);
    }
    before[0] = '\0';
    int64_t begin = clock_now_ms();
    /* More than a millisecond's counter holds, so that its overflow is seen too. */
    for (int i = 0; i < 50000; i++) {
        assert_int_equal(id_uuid7(id, &err), ERR_NONE);
        if (strcmp(before, id) >= 0)
            fail_msg("%s follows %s", id, before);
        if (i == 0) {
            check_layout(id, '7');
            char ms[13] = {0};
            memcpy(ms, id, 8);
            memcpy(ms + 8, id + 9, 4);
            assert_in_range(strtoll(ms, NULL, 16), begin, begin + 10000);
        }
        memcpy(before, id, sizeof id);
    }
    check_layout(id, '7');
    /* One that another process made when its clock was ahead, at the end of a range of the digits. */
    assert_int_equal(id_uuid7_after("02000000-ffff-7fff-bfff-ffffffffffff", id, &err), ERR_NONE);
    check_layout(id, '7');
    assert_memory_equal(id, "02000001-0000-7", 15);
    assert_int_equal(id_uuid7_after(before, id, &err), ERR_NONE);
    assert_true(strcmp(id, before) > 0);
    assert_memory_equal(id, before, 7); /* the clock's own time is enough */
}

static void read_hex(const char *text, unsigned char out[32])
{
    struct err err;
    size_t len = 0;
    assert_int_equal(crypto_decode(CRYPTO_HEX, text, 64, out, &len, &err), ERR_NONE);
    assert_int_equal(len, 32);
}

/* The keys and what they agree on are those of RFC 7748, section 6.1. */
static void exchanges(void **state)
{
    (void)state;
    struct err err;
    unsigned char own[32], other[32], shared[32], halves[64], agreed[32], again[32],
        expected[CRYPTO_DIGEST_MAX];
    unsigned char own_private[32], own_public[32], zeros[32] = {0};
    size_t len = 0;
    read_hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a", own);
    read_hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a", halves);
    read_hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb", other);
    read_hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f", halves + 32);
    read_hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742", shared);
    assert_int_equal(crypto_hmac("sha256", shared, 32, halves, 64, expected, &len, &err), ERR_NONE);
    assert_int_equal(crypto_exchange_key(own, halves + 32, agreed, &err), ERR_NONE);
    assert_memory_equal(agreed, expected, 32);
    assert_int_equal(crypto_exchange_key(other, halves, agreed, &err), ERR_NONE);
    assert_memory_equal(agreed, expected, 32);
    for (int i = 0; i < 8; i++) { /* whoever's half is the smaller */
        assert_int_equal(crypto_exchange_new(own_private, own_public, &err), ERR_NONE);
        assert_int_equal(crypto_exchange_key(own_private, halves, agreed, &err), ERR_NONE);
        assert_int_equal(crypto_exchange_key(own, own_public, again, &err), ERR_NONE);
        assert_memory_equal(agreed, again, 32);
    }
    assert_int_equal(crypto_exchange_key(own, zeros, agreed, &err), ERR_INVALID);
    assert_string_equal(err.message, "the public key leads to no secret");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests),      cmocka_unit_test(hmacs),           cmocka_unit_test(equal),
        cmocka_unit_test(random_bytes), cmocka_unit_test(seal_and_tamper), cmocka_unit_test(open_known),
        cmocka_unit_test(text_forms),   cmocka_unit_test(round_trips),     cmocka_unit_test(bad_text),
        cmocka_unit_test(uuids),        cmocka_unit_test(exchanges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
