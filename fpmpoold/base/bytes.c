/* bytes.c - a bounded reader. Runs in every process of the daemon. */
#include "base/bytes.h"

#include <string.h>

#include "apr_strings.h"

const char *fpd_bytes_take(fpd_bytes *in, size_t length)
{
    const char *taken = in->data;

    if (in->is_broken || length > in->left) {
        in->is_broken = 1;
        return NULL;
    }
    in->data += length;
    in->left -= length;
    return taken;
}

uint32_t fpd_bytes_take_number(fpd_bytes *in)
{
    uint32_t number = 0;
    const char *bytes = fpd_bytes_take(in, sizeof(number));

    if (bytes != NULL) {
        memcpy(&number, bytes, sizeof(number));
    }
    return number;
}

const char *fpd_bytes_take_text(fpd_bytes *in)
{
    uint32_t length = fpd_bytes_take_number(in);
    const char *bytes;

    if (in->is_broken || length == FPD_BYTES_NULL) {
        return NULL;
    }
    bytes = fpd_bytes_take(in, length);
    if (bytes != NULL && memchr(bytes, '\0', length) != NULL) {
        in->is_broken = 1;
        return NULL;
    }
    return bytes != NULL ? apr_pstrmemdup(in->pool, bytes, length) : NULL;
}
