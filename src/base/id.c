/* UUIDs. Must not fall back to bytes that can be guessed: scripts use these as unguessable names. */
#include "base/id.h"

#include "base/clock.h"
#include "base/crypto.h"

#include <pthread.h>
#include <stdio.h>
#include <stdint.h>
#include <string.h>

static void write_uuid(unsigned char bytes[16], unsigned version, char out[ID_UUID_SIZE])
{
    bytes[6] = (unsigned char)((bytes[6] & 0x0f) | version << 4);
    bytes[8] = (unsigned char)((bytes[8] & 0x3f) | 0x80);
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *out++ = '-';
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    *out = '\0';
}

enum err_code id_uuid4(char out[ID_UUID_SIZE], struct err *err)
{
    unsigned char bytes[16];
    enum err_code code = crypto_random(bytes, sizeof bytes, err);
    if (code == ERR_NONE)
        write_uuid(bytes, 4, out);
    return code;
}

/* Process-wide, because the promise of order is. */
static pthread_mutex_t order_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t last_ms;
static unsigned last_count;

enum err_code id_uuid7(char out[ID_UUID_SIZE], struct err *err)
{
    unsigned char bytes[16];
    enum err_code code = crypto_random(bytes + 6, sizeof bytes - 6, err);
    if (code != ERR_NONE)
        return code;
    int64_t now = clock_now_ms();
    pthread_mutex_lock(&order_lock);
    if (now > 0 && (uint64_t)now > last_ms) {
        last_ms = (uint64_t)now;
        /* Half of the counter's range is left for those that follow in this millisecond. */
        last_count = (((unsigned)bytes[6] << 8) | bytes[7]) & 0x7ff;
    } else if (++last_count > 0xfff) {
        last_ms++; /* ahead of the clock, by as little as keeps the order */
        last_count = 0;
    }
    uint64_t ms = last_ms;
    unsigned count = last_count;
    pthread_mutex_unlock(&order_lock);
    for (int i = 0; i < 6; i++)
        bytes[i] = (unsigned char)(ms >> (40 - 8 * i));
    bytes[6] = (unsigned char)(count >> 8);
    bytes[7] = (unsigned char)count;
    write_uuid(bytes, 7, out);
    return ERR_NONE;
}

enum err_code id_uuid7_after(const char *previous, char out[ID_UUID_SIZE], struct err *err)
{
    unsigned long long high = 0, low = 0;
    enum err_code code = id_uuid7(out, err);
    if (code != ERR_NONE || strcmp(out, previous) > 0 || sscanf(previous, "%8llx-%4llx", &high, &low) != 2)
        return code;
    /* The next millisecond; what comes after it stays random. */
    char time[32];
    unsigned long long ms = ((high << 16 | low) + 1) & 0xffffffffffff;
    snprintf(time, sizeof time, "%08llx-%04llx", ms >> 16, ms & 0xffff);
    memcpy(out, time, strlen(time));
    return ERR_NONE;
}

void id_uuid7_first(int64_t ms, char out[ID_UUID_SIZE])
{
    uint64_t time = ms > 0 ? (uint64_t)ms & 0xffffffffffff : 0;
    snprintf(out, ID_UUID_SIZE, "%08llx-%04llx-7000-8000-000000000000", (unsigned long long)(time >> 16),
             (unsigned long long)(time & 0xffff));
}
