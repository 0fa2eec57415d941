/* wire_encode.c - record headers and the records of fixed size (FastCGI specification 3.3, 4, 5).
 *
 * Compiled into both programs. Writes into the caller's memory; every byte of a record is set, so
 * nothing of an earlier use leaks to the peer.
 */
#include "wire/wire.h"

#include <string.h>

const char *wire_error_text(wire_error error)
{
    switch (error) {
    case WIRE_OK:
        return "no error";
    case WIRE_ERROR_VERSION:
        return "the version byte is not 1";
    case WIRE_ERROR_ID:
        return "the request id does not fit the record";
    case WIRE_ERROR_LENGTH:
        return "a record of fixed size has another length";
    case WIRE_ERROR_UNEXPECTED:
        return "a record that is not allowed here";
    case WIRE_ERROR_PAIR:
        return "a name-value pair is cut or too long";
    case WIRE_ERROR_TOO_LARGE:
        return "the parameters are larger than the limit";
    }
    return "unknown error";
}

void wire_header_read(wire_header *header, const uint8_t bytes[WIRE_HEADER_SIZE])
{
    header->version = bytes[0];
    header->type = bytes[1];
    header->request_id = (uint16_t)(bytes[2] << 8 | bytes[3]);
    header->content_length = (uint16_t)(bytes[4] << 8 | bytes[5]);
    header->padding_length = bytes[6];
}

void wire_header_write(uint8_t bytes[WIRE_HEADER_SIZE], int type, uint16_t request_id,
                       uint16_t content_length, uint8_t padding_length)
{
    bytes[0] = WIRE_VERSION;
    bytes[1] = (uint8_t)type;
    bytes[2] = (uint8_t)(request_id >> 8);
    bytes[3] = (uint8_t)request_id;
    bytes[4] = (uint8_t)(content_length >> 8);
    bytes[5] = (uint8_t)content_length;
    bytes[6] = padding_length;
    bytes[7] = 0;
}

uint8_t *wire_begin_write(uint8_t *to, uint16_t request_id, int role, int flags)
{
    wire_header_write(to, WIRE_BEGIN_REQUEST, request_id, 8, 0);
    memset(to + WIRE_HEADER_SIZE, 0, 8);
    to[8] = (uint8_t)(role >> 8);
    to[9] = (uint8_t)role;
    to[10] = (uint8_t)flags;
    return to + WIRE_BEGIN_SIZE;
}

uint8_t *wire_end_write(uint8_t *to, uint16_t request_id, uint32_t app_status, int protocol_status)
{
    wire_header_write(to, WIRE_END_REQUEST, request_id, 8, 0);
    memset(to + WIRE_HEADER_SIZE, 0, 8);
    to[8] = (uint8_t)(app_status >> 24);
    to[9] = (uint8_t)(app_status >> 16);
    to[10] = (uint8_t)(app_status >> 8);
    to[11] = (uint8_t)app_status;
    to[12] = (uint8_t)protocol_status;
    return to + WIRE_END_SIZE;
}

uint8_t *wire_unknown_write(uint8_t *to, int unknown_type)
{
    wire_header_write(to, WIRE_UNKNOWN_TYPE, 0, 8, 0);
    memset(to + WIRE_HEADER_SIZE, 0, 8);
    to[8] = (uint8_t)unknown_type;
    return to + 16;
}

uint8_t wire_padding(size_t content_length)
{
    return (uint8_t)(-content_length & 7);
}

static size_t write_decimal(char *to, uint32_t number)
{
    char digits[10];
    size_t count = 0;

    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    for (size_t i = 0; i < count; i++) {
        to[i] = digits[count - 1 - i];
    }
    return count;
}

size_t wire_values_answer(uint8_t *to, const uint8_t *content, size_t length, uint32_t max_conns,
                          uint32_t max_reqs)
{
    const struct {
        const char *name;
        uint32_t value;
    } known[] = {
        {"FCGI_MAX_CONNS", max_conns}, {"FCGI_MAX_REQS", max_reqs}, {"FCGI_MPXS_CONNS", 0}};
    const uint8_t *cursor = content;
    uint8_t *end = to + WIRE_HEADER_SIZE;
    unsigned answered = 0;
    wire_pair asked;
    int more;

    while ((more = wire_pair_next(&cursor, content + length, &asked)) > 0) {
        for (unsigned i = 0; i < 3; i++) {
            size_t name_length = strlen(known[i].name);
            char value[10];
            /* each at most once, however often it was asked: the answer has a bound */
            if ((answered & 1u << i) != 0 || asked.name_length != name_length ||
                memcmp(asked.name, known[i].name, name_length) != 0) {
                continue;
            }
            answered |= 1u << i;
            end = wire_pair_write(end, known[i].name, name_length, value,
                                  write_decimal(value, known[i].value));
        }
    }
    if (more < 0) {
        return 0;
    }
    wire_header_write(to, WIRE_GET_VALUES_RESULT, 0, (uint16_t)(end - to - WIRE_HEADER_SIZE), 0);
    return (size_t)(end - to);
}
