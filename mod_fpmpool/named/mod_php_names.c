/* mod_php_names.c - modules that do nothing but have the names of mod_php.
 *
 * A second shared object, mod_fpmpool_php.so, for sites that come from mod_php: while one of its
 * modules is loaded, sections like <IfModule mod_php.c> in .htaccess files of applications are
 * entered, and mod_fpmpool takes the php_value and php_flag in them. Must never be loaded beside
 * the mod_php of the same name; httpd refuses a second module with that name itself.
 */
#include <httpd.h>
#include <http_config.h>

#define VISIBLE __attribute__((visibility("default")))

/* STANDARD20_MODULE_STUFF takes a module's name from its file; these stand in one. */
#define NAMED(text)                                                                                \
    {                                                                                              \
        .version = MODULE_MAGIC_NUMBER_MAJOR, .minor_version = MODULE_MAGIC_NUMBER_MINOR,          \
        .module_index = -1, .name = (text), .magic = MODULE_MAGIC_COOKIE                           \
    }

VISIBLE module php_module = NAMED("mod_php.c");
VISIBLE module php7_module = NAMED("mod_php7.c");
VISIBLE module php5_module = NAMED("mod_php5.c");
