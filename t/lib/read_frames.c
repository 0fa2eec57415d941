/* read_frames.c - fpmpoold/php/frames.c over chains of calls that no PHP ever makes: loops, strings
 * without an end, pointers to nowhere, bytes at random. t/39-slow-log.t builds it with sanitizers
 * and without libphp, whose two globals stand here. Prints "ok" or what went wrong.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "SAPI.h"
#include "php.h"
#include "php/frames.h"

zend_executor_globals executor_globals;
sapi_globals_struct sapi_globals;

#define FRAMES 40

static zend_execute_data data[FRAMES];
static zend_op opcodes[8];
static zend_op_array code;
static zend_class_entry class_entry;
static int failures;

static void check(int holds, const char *what)
{
    if (!holds) {
        printf("not true: %s\n", what);
        failures++;
    }
}

static zend_string *string(const char *text, size_t length)
{
    zend_string *made = calloc(1, offsetof(zend_string, val) + length + 1);

    made->gc.u.type_info = IS_STRING;
    made->len = length;
    memcpy(made->val, text, length);
    return made;
}

/* frame 0 is the innermost; the last one is the script itself */
static void make_chain(int count)
{
    memset(data, 0, sizeof(data));
    memset(&code, 0, sizeof(code));
    code.type = ZEND_USER_FUNCTION;
    code.function_name = string("work", 4);
    code.filename = string("/site/a.php", 11);
    code.opcodes = opcodes;
    code.last = 8;
    code.line_start = 3;
    code.scope = &class_entry;
    class_entry.name = string("Worker", 6);
    for (int i = 0; i < 8; i++) {
        opcodes[i].lineno = 100 + (uint32_t)i;
    }
    for (int i = 0; i < count; i++) {
        data[i].func = (zend_function *)&code;
        data[i].opline = &opcodes[i % 8];
        data[i].prev_execute_data = i + 1 < count ? &data[i + 1] : NULL;
        ZEND_CALL_INFO(&data[i]) = ZEND_CALL_NESTED_FUNCTION;
    }
    executor_globals.current_execute_data = &data[0];
    executor_globals.opline_before_exception = NULL;
}

static int walk(fpd_frame *last, int most)
{
    static fpd_frame frame;
    fpd_frames frames;
    int count = 0;
    int more = 1;

    fpd_frames_begin(&frames, getpid());
    while (count < most && (more = fpd_frames_next(&frames, &frame)) > 0) {
        check(strlen(frame.function) < sizeof(frame.function), "the name ends");
        check(strlen(frame.file) < sizeof(frame.file), "the file ends");
        if (count++ == 0 && last != NULL) {
            *last = frame;
        }
    }
    check(more >= 0 || frames.error > 0, "an error has its number");
    return more < 0 ? -frames.error : count;
}

static void check_plain(void)
{
    static fpd_frame first;

    make_chain(5);
    check(walk(&first, 100) == 5, "all frames");
    check(strcmp(first.class_name, "Worker") == 0 && first.is_static, "class");
    check(strcmp(first.function, "work") == 0, "function");
    check(strcmp(first.file, "/site/a.php") == 0 && first.line == 101, "where it was called");
    check(walk(&first, 3) == 3, "no more than asked for");
    data[1].opline = NULL;
    check(walk(&first, 1) == 1 && first.line == 3, "no line of its own: where the code begins");
    executor_globals.opline_before_exception = &opcodes[6];
    check(walk(&first, 1) == 1 && first.line == 106, "an exception: where it was thrown");
    executor_globals.current_execute_data = NULL;
    check(walk(&first, 100) == 0, "no script");
}

static void check_loops(void)
{
    for (int to = 0; to < 20; to++) {
        make_chain(20);
        data[19].prev_execute_data = &data[to];
        check(walk(NULL, 1000000) == -ELOOP, "a loop is found");
        for (int i = 0; i < 20; i++) {
            data[i].func = NULL; /* and by the search for PHP code too */
        }
        check(walk(NULL, 1000000) == -ELOOP, "a loop without PHP code is found");
    }
}

static void check_strings(void)
{
    char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    zend_string *edge = (zend_string *)(pages + 4096 - sizeof(zend_string) - 8);
    char script[64];
    char *name = malloc(2000);
    static fpd_frame first;

    mprotect(pages + 4096, 4096, PROT_NONE);
    make_chain(2);
    edge->gc.u.type_info = IS_STRING;
    edge->len = SIZE_MAX;
    code.function_name = edge;
    check(walk(&first, 10) == -EFAULT, "a length beyond the memory");
    edge->len = 4;
    memcpy(edge->val, "edge", 4);
    check(walk(&first, 10) == 2 && strcmp(first.function, "edge") == 0, "the last bytes of memory");
    edge->gc.u.type_info = IS_ARRAY;
    check(walk(&first, 10) == -EINVAL, "no string at all");
    memset(name, 'n', 2000);
    code.function_name = string(name, 2000);
    check(walk(&first, 10) == 2 && strlen(first.function) == FPD_FRAMES_NAME_SIZE - 1, "is cut");
    data[0].func = (zend_function *)(pages + 4096 - 2);
    check(walk(&first, 10) == -EFAULT, "a function over the end of memory");
    sapi_globals.request_info.path_translated = pages + 4096 - 6;
    memcpy(pages + 4096 - 6, "/path", 6);
    check(fpd_frames_script(getpid(), script, sizeof(script)) == 0 && !strcmp(script, "/path"),
          "a script's path at the end of memory");
    pages[4095] = 'x';
    check(fpd_frames_script(getpid(), script, sizeof(script)) == EFAULT, "... without an end");
    check(fpd_frames_script(getpid(), script, 4) == 0 && !strcmp(script, "/pa"), "is cut");
    sapi_globals.request_info.path_translated = NULL;
    check(fpd_frames_script(getpid(), script, sizeof(script)) == 0 && !*script, "no script");
}

/* Words that are anything: small numbers, pointers into this memory, pointers to nowhere. */
static void check_garbage(int rounds)
{
    enum { WORDS = 4096 };
    static uintptr_t memory[WORDS];

    srand(7);
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < WORDS && (round % 64 == 0 || i < 64); i++) {
            uintptr_t *word = &memory[round % 64 == 0 ? i : rand() % WORDS];
            switch (rand() % 6) {
            case 0:
                *word = (uintptr_t)rand() % 300;
                break;
            case 1:
                *word = ((uintptr_t)rand() << 32) ^ (uintptr_t)rand();
                break;
            case 2:
                *word = IS_STRING;
                break;
            case 3:
                *word = ZEND_USER_FUNCTION;
                break;
            default:
                *word = (uintptr_t)memory + (uintptr_t)rand() % sizeof(memory);
            }
        }
        executor_globals.current_execute_data = (zend_execute_data *)&memory[rand() % WORDS];
        walk(NULL, 100);
    }
}

int main(int argc, char **argv)
{
    check_plain();
    check_loops();
    check_strings();
    check_garbage(argc > 1 ? atoi(argv[1]) : 20000);
    printf("%s\n", failures == 0 ? "ok" : "failed");
    return failures != 0;
}
