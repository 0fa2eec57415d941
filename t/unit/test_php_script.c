/* test_php_script.c - from path parameters to the script: every vector of spec/php-fpm.md 4.5,
 * whose results t/35-requests-peer.t compares with the live php-fpm. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "php/script.h"
#include "wire/wire.h"

#define PAIRS 12

/* One text per parameter: "SCRIPT_NAME=/a.php". */
typedef struct vector {
    const char *in[PAIRS];
    const char *path; /* NULL: 404 */
    const char *uri;  /* NULL: none */
    const char *out[PAIRS];
} vector;

/* The tests' file system: /w/pi.php is a file, /w and /w/sub are folders. */
static int probe(void *context, fpd_script_question question, const char *path)
{
    ++*(int *)context;
    if (strcmp(path, "/w/pi.php") == 0) {
        return 1;
    }
    return question == FPD_SCRIPT_RESOLVES &&
           (strcmp(path, "/w") == 0 || strcmp(path, "/w/sub") == 0);
}

static void give(fpd_params *params, const char *pair)
{
    const char *equals = strchr(pair, '=');
    uint8_t bytes[512];
    size_t name_length = (size_t)(equals - pair);
    uint8_t *end = wire_pair_write(bytes, pair, name_length, equals + 1, strlen(equals + 1));

    ck_assert_int_eq(fpd_params_append(params, bytes, (size_t)(end - bytes)), APR_SUCCESS);
}

static int probes;

static fpd_script_rules rules_of(int fix_pathinfo)
{
    probes = 0;
    return (fpd_script_rules){.fix_pathinfo = fix_pathinfo, .probe = probe, .context = &probes};
}

static void resolve(fpd_script *script, fpd_params *params, const char *const *in,
                    const fpd_script_rules *rules)
{
    memset(params, 0, sizeof(*params));
    for (int i = 0; i < PAIRS && in[i] != NULL; i++) {
        give(params, in[i]);
    }
    ck_assert_int_eq(fpd_params_decode(params), APR_SUCCESS);
    fpd_script_resolve(script, params, rules);
}

static const char *shown(const char *text)
{
    return text != NULL ? text : "(none)";
}

/* Every expected parameter is there, and none of the changed ones beside them. */
static void check_params(const fpd_params *params, const vector *of)
{
    static const char *const watched[] = {
        "SCRIPT_FILENAME", "SCRIPT_NAME",      "PATH_INFO",
        "PATH_TRANSLATED", "DOCUMENT_ROOT",    "ORIG_SCRIPT_FILENAME",
        "ORIG_PATH_INFO",  "ORIG_SCRIPT_NAME", "ORIG_PATH_TRANSLATED"};

    for (size_t i = 0; i < sizeof(watched) / sizeof(watched[0]); i++) {
        size_t length = strlen(watched[i]);
        const char *expected = NULL;
        for (int k = 0; k < PAIRS && of->out[k] != NULL; k++) {
            if (strncmp(of->out[k], watched[i], length) == 0 && of->out[k][length] == '=') {
                expected = of->out[k] + length + 1;
            }
        }
        ck_assert_msg(strcmp(shown(fpd_params_get(params, watched[i])), shown(expected)) == 0,
                      "%s ...: %s is %s, expected %s", of->in[0], watched[i],
                      shown(fpd_params_get(params, watched[i])), shown(expected));
    }
}

static void check_vector(const vector *of, const fpd_script_rules *rules)
{
    fpd_script script;
    fpd_params params;

    resolve(&script, &params, of->in, rules);
    ck_assert_msg(strcmp(shown(script.path), shown(of->path)) == 0, "%s: runs %s, expected %s",
                  of->in[0], shown(script.path), shown(of->path));
    ck_assert_msg(strcmp(shown(script.request_uri), shown(of->uri)) == 0,
                  "%s: request uri %s, expected %s", of->in[0], shown(script.request_uri),
                  shown(of->uri));
    check_params(&params, of);
    fpd_params_destroy(&params);
}

#define ROOT "DOCUMENT_ROOT=/w"

/* cgi.fix_pathinfo = 1 */
static const vector fixed[] = {
    /* the table of 4.5 */
    {{"SCRIPT_FILENAME=/w/pi.php", "SCRIPT_NAME=/pi.php", "PATH_INFO=/a/b", ROOT},
     "/w/pi.php",
     "/pi.php",
     {"SCRIPT_FILENAME=/w/pi.php", "SCRIPT_NAME=/pi.php", "PATH_INFO=/a/b", ROOT}},
    {{"SCRIPT_FILENAME=/w/pi.php/a/b", "SCRIPT_NAME=/pi.php/a/b", ROOT},
     "/w/pi.php",
     "/pi.php/a/b",
     {"SCRIPT_FILENAME=/w/pi.php", "SCRIPT_NAME=/pi.php/a/b", "PATH_TRANSLATED=/w",
      "ORIG_SCRIPT_FILENAME=/w/pi.php/a/b", ROOT}},
    {{"SCRIPT_FILENAME=/w/pi.php/a/b", "SCRIPT_NAME=/pi.php/a/b", "PATH_INFO=/pi.php/a/b", ROOT},
     "/w/pi.php",
     "/pi.php",
     {"SCRIPT_FILENAME=/w/pi.php", "SCRIPT_NAME=/pi.php", "PATH_INFO=/a/b",
      "PATH_TRANSLATED=/w/a/b", "ORIG_SCRIPT_FILENAME=/w/pi.php/a/b",
      "ORIG_SCRIPT_NAME=/pi.php/a/b", "ORIG_PATH_INFO=/pi.php/a/b", ROOT}},
    {{"SCRIPT_FILENAME=/w/pi.php/a/b", "SCRIPT_NAME=/pi.php", "PATH_INFO=/a/b", ROOT},
     "/w/pi.php",
     "/pi.php",
     {"SCRIPT_FILENAME=/w/pi.php", "SCRIPT_NAME=/pi.php", "PATH_INFO=/a/b",
      "PATH_TRANSLATED=/w/a/b", "ORIG_SCRIPT_FILENAME=/w/pi.php/a/b", ROOT}},
    {{"SCRIPT_FILENAME=proxy:fcgi://h:9000/w/pi.php/a/b?x", "SCRIPT_NAME=/pi.php/a/b", ROOT},
     "/w/pi.php",
     "/pi.php",
     {"SCRIPT_FILENAME=/w/pi.php", "SCRIPT_NAME=/pi.php", "PATH_INFO=/a/b",
      "PATH_TRANSLATED=/w/a/b", "ORIG_SCRIPT_FILENAME=/w/pi.php/a/b",
      "ORIG_SCRIPT_NAME=/pi.php/a/b", ROOT}},
    {{"SCRIPT_FILENAME=proxy:balancer://lb/w/pi.php/a%20b", "SCRIPT_NAME=/pi.php/a b", ROOT},
     "/w/pi.php",
     "/pi.php",
     {"SCRIPT_FILENAME=/w/pi.php", "SCRIPT_NAME=/pi.php", "PATH_INFO=/a%20b",
      "PATH_TRANSLATED=/w/a%20b", "ORIG_SCRIPT_FILENAME=/w/pi.php/a%20b",
      "ORIG_SCRIPT_NAME=/pi.php/a b", ROOT}},
    {{"SCRIPT_FILENAME=/cgi/php", "SCRIPT_NAME=/cgi-bin/php", "PATH_INFO=/pi.php/a",
      "PATH_TRANSLATED=/w/pi.php/a", "REDIRECT_URL=/pi.php/a", ROOT},
     "/w/pi.php",
     "/pi.php",
     {"SCRIPT_FILENAME=/w/pi.php", "SCRIPT_NAME=/pi.php", "PATH_INFO=/a", "PATH_TRANSLATED=/w/a",
      "ORIG_SCRIPT_FILENAME=/cgi/php", "ORIG_SCRIPT_NAME=/cgi-bin/php", "ORIG_PATH_INFO=/pi.php/a",
      "ORIG_PATH_TRANSLATED=/w/pi.php/a", ROOT}},
    /* a proxy: URL is one in any case of letters; without a path it is none; unix: is not known */
    {{"SCRIPT_FILENAME=Proxy:FCGI://h/w/pi.php", "SCRIPT_NAME=/pi.php", ROOT},
     "/w/pi.php",
     "/pi.php",
     {"SCRIPT_FILENAME=/w/pi.php", "SCRIPT_NAME=/pi.php", ROOT}},
    {{"SCRIPT_FILENAME=proxy:unix:/s|fcgi://localhost/w/pi.php", "SCRIPT_NAME=/pi.php", ROOT},
     NULL,
     "/pi.php",
     {"SCRIPT_NAME=/pi.php", "ORIG_SCRIPT_FILENAME=proxy:unix:/s|fcgi://localhost/w/pi.php", ROOT}},
    {{"SCRIPT_FILENAME=proxy:fcgi://h/w/pi.php/a", "SCRIPT_NAME=/pi.php", "PATH_INFO=/a", ROOT},
     "/w/pi.php",
     "/pi.php",
     {"SCRIPT_FILENAME=/w/pi.php", "SCRIPT_NAME=/pi.php", "PATH_INFO=/a", "PATH_TRANSLATED=/w/a",
      "ORIG_SCRIPT_FILENAME=/w/pi.php/a", ROOT}},
    /* IIS puts the script's name in front */
    {{"SERVER_SOFTWARE=Microsoft-IIS/10.0", "SCRIPT_FILENAME=/w/pi.php", "SCRIPT_NAME=/pi.php",
      "PATH_INFO=/pi.php/a", ROOT},
     "/w/pi.php",
     "/pi.php",
     {"SCRIPT_FILENAME=/w/pi.php", "SCRIPT_NAME=/pi.php", "PATH_INFO=/a",
      "ORIG_PATH_INFO=/pi.php/a", ROOT}},
    {{"SERVER_SOFTWARE=Microsoft-IIS/10.0", "SCRIPT_FILENAME=/w/pi.php", "SCRIPT_NAME=/pi.php",
      "PATH_INFO=/pi.php", ROOT},
     "/w/pi.php",
     "/pi.php",
     {"SCRIPT_FILENAME=/w/pi.php", "SCRIPT_NAME=/pi.php", "ORIG_PATH_INFO=/pi.php", ROOT}},
    /* Action: the script resolves directly */
    {{"SCRIPT_FILENAME=/cgi/php", "SCRIPT_NAME=/cgi-bin/php", "PATH_INFO=/pi.php",
      "PATH_TRANSLATED=/w/pi.php", "REDIRECT_URL=/pi.php", ROOT},
     "/w/pi.php",
     "/pi.php",
     {"SCRIPT_FILENAME=/w/pi.php", "SCRIPT_NAME=/pi.php", "ORIG_SCRIPT_FILENAME=/cgi/php",
      "ORIG_SCRIPT_NAME=/cgi-bin/php", "ORIG_PATH_INFO=/pi.php", "ORIG_PATH_TRANSLATED=/w/pi.php",
      ROOT}},
    /* Action with a PATH_INFO that has no script's name in front */
    {{"SCRIPT_FILENAME=/cgi/php", "SCRIPT_NAME=/cgi-bin/php", "PATH_INFO=/x/y",
      "PATH_TRANSLATED=/w/pi.php/x/y", "REDIRECT_URL=/pi.php/x/y", ROOT},
     "/w/pi.php",
     "/pi.php/x/y",
     {"SCRIPT_FILENAME=/w/pi.php", "SCRIPT_NAME=/pi.php/x/y", "PATH_INFO=/x/y",
      "PATH_TRANSLATED=/w/x/y", "ORIG_SCRIPT_FILENAME=/cgi/php", "ORIG_SCRIPT_NAME=/cgi-bin/php",
      "ORIG_PATH_TRANSLATED=/w/pi.php/x/y", ROOT}},
    /* nothing is found */
    {{"SCRIPT_FILENAME=/w/no.php/a", "SCRIPT_NAME=/no.php/a", ROOT},
     NULL,
     "/no.php/a",
     {"SCRIPT_NAME=/no.php/a", "ORIG_SCRIPT_FILENAME=/w/no.php/a", ROOT}},
    {{"SCRIPT_FILENAME=/w/sub/", "SCRIPT_NAME=/sub/", ROOT},
     NULL,
     "/sub/",
     {"SCRIPT_NAME=/sub/", "ORIG_SCRIPT_FILENAME=/w/sub/", ROOT}},
    /* a folder without the slash is for the extension rule to refuse */
    {{"SCRIPT_FILENAME=/w/sub", "SCRIPT_NAME=/sub", ROOT},
     "/w/sub",
     "/sub",
     {"SCRIPT_FILENAME=/w/sub", "SCRIPT_NAME=/sub", ROOT}},
    /* without SCRIPT_FILENAME */
    {{"PATH_TRANSLATED=/w/pi.php", "SCRIPT_NAME=/pi.php", ROOT},
     "/w/pi.php",
     "/pi.php",
     {"SCRIPT_FILENAME=/w/pi.php", "SCRIPT_NAME=/pi.php", "PATH_TRANSLATED=/w/pi.php", ROOT}},
    /* without DOCUMENT_ROOT it is what stands before SCRIPT_NAME */
    {{"SCRIPT_FILENAME=/w/pi.php/a", "SCRIPT_NAME=/pi.php", "PATH_INFO=/a"},
     "/w/pi.php",
     "/pi.php",
     {"SCRIPT_FILENAME=/w/pi.php", "SCRIPT_NAME=/pi.php", "PATH_INFO=/a", "PATH_TRANSLATED=/w/a",
      "ORIG_SCRIPT_FILENAME=/w/pi.php/a"}},
    /* the other slash */
    {{"SCRIPT_FILENAME=\\w\\pi.php", "SCRIPT_NAME=/pi.php", ROOT},
     NULL,
     "/pi.php",
     {"SCRIPT_NAME=/pi.php", "ORIG_SCRIPT_FILENAME=\\w\\pi.php", ROOT}},
};

START_TEST(test_fix_pathinfo)
{
    fpd_script_rules rules = rules_of(1);

    check_vector(&fixed[_i], &rules);
}
END_TEST

/* cgi.fix_pathinfo = 0 */
static const vector plain[] = {
    {{"SCRIPT_FILENAME=/w/pi.php", "SCRIPT_NAME=/pi.php", "PATH_INFO=/a", ROOT},
     "/w/pi.php",
     "/a",
     {"SCRIPT_FILENAME=/w/pi.php", "SCRIPT_NAME=/pi.php", "PATH_INFO=/a", ROOT}},
    {{"SCRIPT_FILENAME=/w/no.php/a", "SCRIPT_NAME=/no.php", ROOT},
     "/w/no.php/a",
     "/no.php",
     {"SCRIPT_FILENAME=/w/no.php/a", "SCRIPT_NAME=/no.php", ROOT}},
    {{"SCRIPT_FILENAME=/cgi/php", "SCRIPT_NAME=/cgi-bin/php", "PATH_TRANSLATED=/w/pi.php",
      "REDIRECT_URL=/pi.php", ROOT},
     "/w/pi.php",
     "/cgi-bin/php",
     {"SCRIPT_FILENAME=/cgi/php", "SCRIPT_NAME=/cgi-bin/php", "PATH_TRANSLATED=/w/pi.php", ROOT}},
    {{"SCRIPT_FILENAME=proxy:fcgi://h/w/pi.php?a", "SCRIPT_NAME=/pi.php", ROOT},
     "/w/pi.php",
     "/pi.php",
     {"SCRIPT_FILENAME=/w/pi.php", "SCRIPT_NAME=/pi.php", ROOT}},
};

START_TEST(test_no_fix_pathinfo)
{
    fpd_script_rules rules = rules_of(0);

    check_vector(&plain[_i], &rules);
    ck_assert_int_eq(probes, 0);
}
END_TEST

START_TEST(test_discard_path)
{
    static const vector of = {
        {"SCRIPT_FILENAME=/w/pi.php", "SCRIPT_NAME=/pi.php", "PATH_TRANSLATED=/w/other.php"},
        "/w/pi.php",
        "/pi.php",
        {"SCRIPT_FILENAME=/w/pi.php", "SCRIPT_NAME=/pi.php", "PATH_TRANSLATED=/w/other.php"}};
    fpd_script_rules rules = rules_of(0);

    rules.discard_path = 1;
    check_vector(&of, &rules);
}
END_TEST

START_TEST(test_doc_root_of_php_ini)
{
    static const vector of = {{"SCRIPT_FILENAME=/w/pi.php/a", "SCRIPT_NAME=/x", "PATH_INFO=/a"},
                              "/w/pi.php",
                              "/x",
                              {"SCRIPT_FILENAME=/w/pi.php", "SCRIPT_NAME=/x", "PATH_INFO=/a",
                               "PATH_TRANSLATED=/ini/a", "DOCUMENT_ROOT=/ini",
                               "ORIG_SCRIPT_FILENAME=/w/pi.php/a"}};
    fpd_script_rules rules = rules_of(1);

    rules.doc_root = "/ini";
    check_vector(&of, &rules);
}
END_TEST

START_TEST(test_redirects_of_our_module_say_nothing)
{
    static const vector of = {{"SCRIPT_FILENAME=/w/pi.php", "SCRIPT_NAME=/pi.php", "PATH_INFO=/a",
                               "PATH_TRANSLATED=/w/other.php", "REDIRECT_URL=/pretty/a", ROOT},
                              "/w/pi.php",
                              "/pi.php",
                              {"SCRIPT_FILENAME=/w/pi.php", "SCRIPT_NAME=/pi.php", "PATH_INFO=/a",
                               "PATH_TRANSLATED=/w/other.php", ROOT}};
    fpd_script_rules rules = rules_of(1);

    rules.is_own_module = 1;
    check_vector(&of, &rules);
}
END_TEST

START_TEST(test_usual_request_needs_one_look)
{
    fpd_script_rules rules = rules_of(1);

    check_vector(&fixed[0], &rules);
    ck_assert_int_eq(probes, 1);
}
END_TEST

START_TEST(test_parent_folders_are_never_entered)
{
    static const char *const refused[] = {"/w/../w/pi.php", "../pi.php", "..", "/w/sub/..",
                                          "/../w/pi.php"};
    static const char *const let_in[] = {"/w/..pi.php", "/w/pi..php", "/w/.../pi.php",
                                         "/w/./pi.php"};

    for (size_t i = 0;
         i < sizeof(refused) / sizeof(refused[0]) + sizeof(let_in) / sizeof(let_in[0]); i++) {
        size_t count = sizeof(refused) / sizeof(refused[0]);
        const char *path = i < count ? refused[i] : let_in[i - count];
        const char *in[PAIRS] = {NULL};
        char pair[128];
        fpd_script_rules rules = rules_of(0);
        fpd_script script;
        fpd_params params;
        snprintf(pair, sizeof(pair), "SCRIPT_FILENAME=%s", path);
        in[0] = pair;
        resolve(&script, &params, in, &rules);
        ck_assert_msg((script.path == NULL) == (i < count), "%s", path);
        ck_assert_int_eq(script.is_named, 1);
        fpd_params_destroy(&params);
    }
}
END_TEST

START_TEST(test_no_path_at_all)
{
    static const char *const in[PAIRS] = {"SCRIPT_NAME=/pi.php"};
    fpd_script_rules rules = rules_of(1);
    fpd_script script;
    fpd_params params;

    resolve(&script, &params, in, &rules);
    ck_assert_int_eq(script.is_named, 0);
    ck_assert_ptr_null(script.path);
    fpd_params_destroy(&params);
}
END_TEST

/* path, list -> is it allowed? */
static const struct {
    const char *path;
    const char *extensions;
    int expected;
} endings[] = {
    {"/a.php", ".php .phar", 1},
    {"/a.phar", ".php .phar", 1},
    {"/a.PHP", ".php", 0},
    {"/a.php.txt", ".php", 0},
    {".php", ".php", 0},
    {"/.php", ".php", 1},
    {"/aphp", "php", 1},
    {"/a.html", "", 1},
    {"/a.html", NULL, 1},
    {"/a.html", "  ", 1},
    {"/a.php", "  .html\t.php  ", 1},
    {"/a", ".php", 0},
    {"", ".php", 0},
};

START_TEST(test_extensions)
{
    ck_assert_int_eq(fpd_script_is_allowed(endings[_i].path, endings[_i].extensions),
                     endings[_i].expected);
}
END_TEST

#define COUNT_OF(list) ((int)(sizeof(list) / sizeof((list)[0])))

static Suite *script_suite(void)
{
    Suite *suite = suite_create("php_script");
    TCase *cases = tcase_create("script");
    tcase_add_loop_test(cases, test_fix_pathinfo, 0, COUNT_OF(fixed));
    tcase_add_loop_test(cases, test_no_fix_pathinfo, 0, COUNT_OF(plain));
    tcase_add_test(cases, test_discard_path);
    tcase_add_test(cases, test_doc_root_of_php_ini);
    tcase_add_test(cases, test_redirects_of_our_module_say_nothing);
    tcase_add_test(cases, test_usual_request_needs_one_look);
    tcase_add_test(cases, test_parent_folders_are_never_entered);
    tcase_add_test(cases, test_no_path_at_all);
    tcase_add_loop_test(cases, test_extensions, 0, COUNT_OF(endings));
    suite_add_tcase(suite, cases);
    return suite;
}

UNIT_MAIN(script_suite)
