/* wire_facts.c - what our daemon tells our module about a request besides its answer, as
 * name-value pairs.
 *
 * Pure. Numbers are decimal text, so that a capture of the connection can be read.
 */
#include "wire/wire.h"

#include <string.h>

#define DIGITS_MAX 18 /* any number of that length fits */

static const char *const failures[] = {"", "died", "timeout"};

static size_t write_decimal(char *to, int64_t number)
{
    char digits[DIGITS_MAX + 1];
    size_t count = 0;

    do {
        digits[count++] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0 && count < sizeof(digits));
    for (size_t i = 0; i < count; i++) {
        to[i] = digits[count - 1 - i];
    }
    return count;
}

/* Returns -1 for what is no such number. */
static int64_t read_decimal(const char *text, size_t length)
{
    int64_t number = 0;

    if (length == 0 || length > DIGITS_MAX) {
        return -1;
    }
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return -1;
        }
        number = number * 10 + (text[i] - '0');
    }
    return number;
}

void wire_facts_init(wire_facts *facts)
{
    facts->worker = -1;
    facts->queue = -1;
    facts->memory = -1;
    facts->cpu = -1;
    facts->failure = WIRE_FAILURE_NONE;
}

static uint8_t *write_number(uint8_t *to, const char *name, int64_t number)
{
    char text[DIGITS_MAX + 1];

    return number < 0 ? to
                      : wire_pair_write(to, name, strlen(name), text, write_decimal(text, number));
}

uint8_t *wire_facts_write(uint8_t *to, const wire_facts *facts)
{
    uint8_t *end = to + WIRE_HEADER_SIZE;
    size_t length;
    uint8_t padding;

    end = write_number(end, "FPMPOOL_WORKER", facts->worker);
    end = write_number(end, "FPMPOOL_QUEUE", facts->queue);
    end = write_number(end, "FPMPOOL_MEMORY", facts->memory);
    end = write_number(end, "FPMPOOL_CPU", facts->cpu);
    if (facts->failure != WIRE_FAILURE_NONE) {
        const char *text = failures[facts->failure];
        end = wire_pair_write(end, "FPMPOOL_FAILURE", 15, text, strlen(text));
    }
    length = (size_t)(end - to) - WIRE_HEADER_SIZE;
    padding = wire_padding(length);
    wire_header_write(to, WIRE_GET_VALUES_RESULT, 0, (uint16_t)length, padding);
    memset(end, 0, padding);
    return end + padding;
}

static int is_named(const wire_pair *pair, const char *name)
{
    return pair->name_length == strlen(name) && memcmp(pair->name, name, pair->name_length) == 0;
}

static void take_number(int64_t *to, const wire_pair *pair)
{
    int64_t number = read_decimal(pair->value, pair->value_length);

    if (number >= 0) {
        *to = number;
    }
}

static void take_failure(wire_facts *facts, const wire_pair *pair)
{
    for (int i = WIRE_FAILURE_DIED; i <= WIRE_FAILURE_TIMEOUT; i++) {
        if (pair->value_length == strlen(failures[i]) &&
            memcmp(pair->value, failures[i], pair->value_length) == 0) {
            facts->failure = (wire_failure)i;
        }
    }
}

void wire_facts_read(wire_facts *facts, const uint8_t *content, size_t length)
{
    const uint8_t *cursor = content;
    wire_pair pair;

    while (wire_pair_next(&cursor, content + length, &pair) > 0) {
        if (is_named(&pair, "FPMPOOL_WORKER")) {
            take_number(&facts->worker, &pair);
        } else if (is_named(&pair, "FPMPOOL_QUEUE")) {
            take_number(&facts->queue, &pair);
        } else if (is_named(&pair, "FPMPOOL_MEMORY")) {
            take_number(&facts->memory, &pair);
        } else if (is_named(&pair, "FPMPOOL_CPU")) {
            take_number(&facts->cpu, &pair);
        } else if (is_named(&pair, "FPMPOOL_FAILURE")) {
            take_failure(facts, &pair);
        }
    }
}
