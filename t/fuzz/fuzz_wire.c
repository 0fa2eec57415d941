/* fuzz_wire.c - libFuzzer target of the codec (make fuzz; build/test/fuzz_wire t/corpus/wire).
 *
 * The first byte chooses: bit 0 the side, bits 1-2 decoder, peek or pairs. Invariants are checked
 * with abort: events do not depend on how bytes are cut, nothing is read or consumed beyond the
 * end. With replay.c it is a program that runs the files it is given (part of every test run).
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A running hash of all events. */
typedef struct digest {
    uint64_t value;
    wire_event_kind last;
} digest;

static void mix(digest *to, uint64_t value)
{
    to->value = (to->value ^ value) * 1099511628211u;
}

/* Data is hashed byte by byte and its kind once per run of pieces, so cuts do not show. */
static void note(digest *to, const wire_event *event)
{
    if (event->data == NULL || event->kind != to->last) {
        mix(to, (uint64_t)event->kind << 32 | event->request_id);
    }
    if (event->data == NULL) {
        mix(to, (uint64_t)event->error << 8 | event->protocol_status);
    }
    for (size_t i = 0; i < event->length; i++) {
        mix(to, event->data[i]);
    }
    to->last = event->kind;
}

static uint64_t decode(const uint8_t *data, size_t size, wire_side side, size_t step)
{
    wire_decoder decoder;
    wire_event event;
    digest out = {14695981039346656037u, WIRE_EVENT_MORE};

    wire_decoder_init(&decoder, side, 1024);
    wire_decoder_open(&decoder, side == WIRE_CLIENT ? 1 : 0);
    for (size_t at = 0; at < size;) {
        const uint8_t *cursor = data + at;
        const uint8_t *end = size - at < step ? data + size : cursor + step;
        wire_event_kind kind;
        at = (size_t)(end - data);
        while ((kind = wire_decode(&decoder, &cursor, end, &event)) != WIRE_EVENT_MORE) {
            if (cursor > end || (event.data != NULL && event.data + event.length > end)) {
                abort();
            }
            note(&out, &event);
            if (kind == WIRE_EVENT_ERROR) {
                return out.value;
            }
        }
        if (cursor != end) {
            abort();
        }
    }
    return out.value;
}

static void peek(const uint8_t *data, size_t size)
{
    wire_peek seen;

    wire_peek_head(&seen, data, size, 100, 100);
    if (seen.consume > size || seen.reply_length > sizeof(seen.reply)) {
        abort();
    }
    if ((seen.kind == WIRE_PEEK_SKIP || seen.kind == WIRE_PEEK_ANSWER) != (seen.consume > 0)) {
        abort();
    }
}

static void pairs(const uint8_t *data, size_t size)
{
    const uint8_t *cursor = data;
    wire_pair pair;

    while (wire_pair_next(&cursor, data + size, &pair) > 0) {
        if ((const uint8_t *)pair.value + pair.value_length != cursor || cursor > data + size) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    wire_side side;

    if (size < 1) {
        return 0;
    }
    side = (data[0] & 1) != 0 ? WIRE_CLIENT : WIRE_SERVER;
    switch (data[0] >> 1 & 3) {
    case 1:
        peek(data + 1, size - 1);
        break;
    case 2:
        pairs(data + 1, size - 1);
        break;
    default:
        if (decode(data + 1, size - 1, side, size) != decode(data + 1, size - 1, side, 1) ||
            decode(data + 1, size - 1, side, size) != decode(data + 1, size - 1, side, 7)) {
            abort();
        }
    }
    return 0;
}
