/* known.c - constants and php.ini settings as a list of texts.
 *
 * Runs in a child of the master that runs as nobody and is asked only when a configuration file
 * names a constant or a ${setting}. No pool, no worker, no client.
 */
#include "php/known.h"

#include <string.h>

#include "php.h"
#include "php_ini.h"

static void put(FILE *to, char kind, const zend_string *name, const zend_string *value)
{
    if (memchr(ZSTR_VAL(name), '\0', ZSTR_LEN(name)) != NULL ||
        memchr(ZSTR_VAL(value), '\0', ZSTR_LEN(value)) != NULL) {
        return;
    }
    (void)fputc(kind, to);
    (void)fwrite(ZSTR_VAL(name), 1, ZSTR_LEN(name) + 1, to);
    (void)fwrite(ZSTR_VAL(value), 1, ZSTR_LEN(value) + 1, to);
}

static void put_value(FILE *to, char kind, const zend_string *name, zval *value)
{
    zend_string *as_text;

    if (name == NULL || Z_TYPE_P(value) > IS_STRING) {
        return;
    }
    as_text = zval_get_string(value);
    put(to, kind, name, as_text);
    zend_string_release(as_text);
}

int fpd_known_write(FILE *to)
{
    zend_constant *constant;
    zend_string *name;
    zval *value;

    ZEND_HASH_FOREACH_STR_KEY_PTR(EG(zend_constants), name, constant)
    {
        put_value(to, 'c', name, &constant->value);
    }
    ZEND_HASH_FOREACH_END();
    ZEND_HASH_FOREACH_STR_KEY_VAL(php_ini_get_configuration_hash(), name, value)
    {
        put_value(to, 's', name, value);
    }
    ZEND_HASH_FOREACH_END();
    (void)fputc('e', to);
    return fflush(to) == 0 && ferror(to) == 0;
}
