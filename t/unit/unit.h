/* unit.h - a main for every unit test program: one suite, TAP where the runner asks for it.
 *
 * Each t/unit/test_<name>.c ends with UNIT_MAIN(suite_function). The environment variable
 * CK_TAP_LOG_FILE_NAME (set by t/00-unit.t) makes check write TAP.
 */
#ifndef FPMPOOL_UNIT_H
#define FPMPOOL_UNIT_H

#include <check.h>
#include <stdlib.h>

#define UNIT_TIMEOUT                                                                               \
    "60" /* seconds for one check; check's own 4 are too few for a sanitizer build on a busy host  \
          */

#define UNIT_MAIN(suite_function)                                                                  \
    int main(void)                                                                                 \
    {                                                                                              \
        setenv("CK_DEFAULT_TIMEOUT", UNIT_TIMEOUT, 0);                                             \
        SRunner *runner = srunner_create(suite_function());                                        \
        srunner_run_all(runner, CK_ENV);                                                           \
        int failed = srunner_ntests_failed(runner);                                                \
        srunner_free(runner);                                                                      \
        return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;                                          \
    }

#endif
