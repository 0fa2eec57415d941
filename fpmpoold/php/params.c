/* params.c - the parameters of one request: decoding, looking up, changing.
 *
 * Runs in workers. Knows nothing of PHP and does no I/O; everything in it came from the peer and is
 * untrusted.
 */
#include "php/params.h"

#include <stdlib.h>
#include <string.h>

#include "wire/wire.h"

#define RAW_START  4096
#define LIST_START 64

struct fpd_params_extra {
    fpd_params_extra *next;
    char text[];
};

static uint32_t bucket_of(const char *name, size_t length)
{
    uint32_t hash = (uint32_t)length;

    if (length > 0) {
        hash = hash * 31 + (uint8_t)name[0];
        hash = hash * 31 + (uint8_t)name[length / 2];
        hash = hash * 31 + (uint8_t)name[length - 1];
    }
    if (length > 5) {
        hash = hash * 31 + (uint8_t)name[5];
    }
    return hash % FPD_PARAMS_BUCKETS;
}

void fpd_params_reset(fpd_params *params)
{
    while (params->extra != NULL) {
        fpd_params_extra *next = params->extra->next;
        free(params->extra);
        params->extra = next;
    }
    params->count = 0;
    params->raw_length = 0;
    memset(params->buckets, 0, sizeof(params->buckets));
}

void fpd_params_destroy(fpd_params *params)
{
    fpd_params_reset(params);
    free(params->list);
    free(params->raw);
    memset(params, 0, sizeof(*params));
}

apr_status_t fpd_params_append(fpd_params *params, const uint8_t *data, size_t length)
{
    size_t wanted = params->raw_length + length;

    if (wanted > params->raw_size) {
        size_t size = params->raw_size > 0 ? params->raw_size : RAW_START;
        uint8_t *raw;
        while (size < wanted) {
            size *= 2;
        }
        raw = realloc(params->raw, size);
        if (raw == NULL) {
            return APR_ENOMEM;
        }
        params->raw = raw;
        params->raw_size = size;
    }
    memcpy(params->raw + params->raw_length, data, length);
    params->raw_length = wanted;
    return APR_SUCCESS;
}

static fpd_param *find(const fpd_params *params, const char *name, size_t length)
{
    uint16_t at = params->buckets[bucket_of(name, length)];

    while (at != 0) {
        fpd_param *param = &params->list[at - 1];
        if (param->value != NULL && param->name_length == length &&
            memcmp(param->name, name, length) == 0) {
            return param;
        }
        at = param->next;
    }
    return NULL;
}

static apr_status_t add(fpd_params *params, const char *name, size_t name_length, char *value,
                        size_t value_length)
{
    fpd_param *param = find(params, name, name_length);

    if (param == NULL) {
        uint32_t bucket = bucket_of(name, name_length);
        if (params->count == FPD_PARAMS_COUNT_MAX) {
            return APR_ENOSPC;
        }
        if (params->count == params->capacity) {
            uint32_t capacity = params->capacity > 0 ? params->capacity * 2 : LIST_START;
            fpd_param *list = realloc(params->list, capacity * sizeof(*list));
            if (list == NULL) {
                return APR_ENOMEM;
            }
            params->list = list;
            params->capacity = capacity;
        }
        param = &params->list[params->count++];
        param->name = name;
        param->name_length = (uint32_t)name_length;
        param->next = params->buckets[bucket];
        params->buckets[bucket] = (uint16_t)params->count;
    }
    param->value = value;
    param->value_length = (uint32_t)value_length;
    return APR_SUCCESS;
}

/* A pair takes at least two bytes of lengths in the stream, so that its strings, each with a NUL
 * behind it, fit in the place they came from; a value is moved only after the lengths behind it
 * were not yet needed, a name only to the left. */
apr_status_t fpd_params_decode(fpd_params *params)
{
    const uint8_t *cursor = params->raw;
    const uint8_t *end = params->raw + params->raw_length;

    while (cursor < end) {
        char *name = (char *)params->raw + (cursor - params->raw);
        char *value;
        wire_pair pair;
        apr_status_t status;

        if (wire_pair_next(&cursor, end, &pair) != 1) {
            return APR_EGENERAL;
        }
        memmove(name, pair.name, pair.name_length);
        value = name + pair.name_length + 1;
        name[pair.name_length] = '\0';
        memmove(value, pair.value, pair.value_length);
        value[pair.value_length] = '\0';
        status = add(params, name, pair.name_length, value, pair.value_length);
        if (status != APR_SUCCESS) {
            return status;
        }
    }
    return APR_SUCCESS;
}

char *fpd_params_find(const fpd_params *params, const char *name, size_t length,
                      size_t *value_length)
{
    const fpd_param *param = find(params, name, length);

    if (param == NULL) {
        return NULL;
    }
    if (value_length != NULL) {
        *value_length = param->value_length;
    }
    return param->value;
}

char *fpd_params_get(const fpd_params *params, const char *name)
{
    return fpd_params_find(params, name, strlen(name), NULL);
}

char *fpd_params_set(fpd_params *params, const char *name, const char *value)
{
    size_t name_length = strlen(name);
    size_t value_length;
    fpd_params_extra *extra;
    char *copy;

    if (value == NULL) {
        fpd_param *param = find(params, name, name_length);
        if (param != NULL) {
            param->value = NULL;
        }
        return NULL;
    }
    value_length = strlen(value);
    extra = malloc(sizeof(*extra) + name_length + value_length + 2);
    if (extra == NULL) {
        return NULL;
    }
    memcpy(extra->text, name, name_length + 1);
    copy = extra->text + name_length + 1;
    memcpy(copy, value, value_length + 1);
    extra->next = params->extra;
    params->extra = extra;
    return add(params, extra->text, name_length, copy, value_length) == APR_SUCCESS ? copy : NULL;
}
