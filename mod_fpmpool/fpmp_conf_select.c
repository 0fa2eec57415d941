/* fpmp_conf_select.c - FpmPool and its relatives: which pool serves where.
 *
 * Runs in the parent while the configuration is read, and in children while .htaccess files are and
 * when sections merge. What an .htaccess file says stays apart from what the server says until the
 * request is there: httpd merges sections in groups, so only then is it known what may be chosen.
 */
#include "fpmp_conf_select.h"

#include "fpmp_conf_define.h"

#include <http_log.h>
#include <ap_expr.h>
#include <apr_strings.h>
#include <string.h>

APLOG_USE_MODULE(fpmpool);

#define MAX_POOLS_MOST 65536

/* The sections around a line, without the virtual host: "<Directory /srv> <Files x>". */
static const char *describe_section(apr_pool_t *pool, const ap_directive_t *line)
{
    const char *text = NULL;
    for (const ap_directive_t *at = line->parent; at; at = at->parent) {
        if (strcasecmp(at->directive, "<VirtualHost")) {
            text = apr_psprintf(pool, "%s %s%s%s", at->directive, at->args, text ? " " : "",
                                text ? text : "");
        }
    }
    return text;
}

fpmp_use *fpmp_conf_note_line(apr_array_header_t *lines, cmd_parms *cmd, const fpmp_dir_conf *conf)
{
    fpmp_use *use = apr_array_push(lines);
    *use = (fpmp_use){.place = conf};
    use->section = describe_section(cmd->pool, cmd->directive);
    use->file = cmd->directive->filename;
    use->line = cmd->directive->line_num;
    return use;
}

static void note_use(cmd_parms *cmd, const fpmp_dir_conf *conf, const fpmp_choice *choice,
                     fpmp_use_kind kind)
{
    fpmp_server_conf *server = ap_get_module_config(cmd->server->module_config, &fpmpool_module);
    fpmp_use *use = fpmp_conf_note_line(server->uses, cmd, conf);
    use->name = choice->text;
    use->is_expression = choice->expression != NULL;
    use->kind = kind;
}

/* ---- FpmPool --------------------------------------------------------------------------------- */

static int is_expression(const char *word)
{
    return !strncmp(word, "expr=", 5);
}

static const char *read_choice(cmd_parms *cmd, const char *word, fpmp_choice *choice)
{
    const char *wrong = NULL;
    if (!strcasecmp(word, "none")) {
        return "FpmPool: none does not go with other names: remove one of both";
    }
    *choice = (fpmp_choice){.text = word};
    if (!is_expression(word)) {
        return fpmp_conf_check_name(cmd, word);
    }
    choice->text = word + 5;
    choice->expression =
        ap_expr_parse_cmd(cmd, choice->text, AP_EXPR_FLAG_STRING_RESULT, &wrong, NULL);
    if (wrong || !*choice->text) {
        return apr_psprintf(cmd->pool,
                            "FpmPool: \"%s\" is no expression of httpd: %s: correct it "
                            "(one argument, in quotes)",
                            choice->text, wrong ? wrong : "it is empty");
    }
    return NULL;
}

static int is_twice(const apr_array_header_t *choices, const char *text)
{
    int count = 0;
    for (int i = 0; i < choices->nelts; i++) {
        count += !strcmp(APR_ARRAY_IDX(choices, i, fpmp_choice).text, text);
    }
    return count > 1;
}

static const char *read_choices(cmd_parms *cmd, int count, char *const words[],
                                apr_array_header_t *choices)
{
    for (int i = 0; i < count; i++) {
        fpmp_choice *choice = apr_array_push(choices);
        const char *wrong = read_choice(cmd, words[i], choice);
        if (wrong) {
            return wrong;
        }
        if (is_twice(choices, choice->text)) {
            return apr_psprintf(cmd->pool, "FpmPool names \"%s\" twice", words[i]);
        }
    }
    return NULL;
}

/* A tenant says a single name; whether he may is seen when his request is there. */
static const char *set_tenant(cmd_parms *cmd, fpmp_dir_conf *conf, int count, char *const words[])
{
    fpmp_tenant *tenant = apr_palloc(cmd->pool, sizeof(*tenant));
    if (count != 1 || is_expression(words[0]) || !strcasecmp(words[0], "none")) {
        return "FpmPool: an .htaccess file takes one name, of those that FpmPoolSelectable of the "
               "server's configuration lists";
    }
    tenant->choices = apr_array_make(cmd->pool, 1, sizeof(fpmp_choice));
    tenant->file = cmd->directive->filename;
    tenant->line = cmd->directive->line_num;
    conf->tenant = tenant;
    return read_choices(cmd, count, words, tenant->choices);
}

const char *fpmp_conf_set_pool(cmd_parms *cmd, void *dir_conf, int count, char *const words[])
{
    fpmp_dir_conf *conf = dir_conf;
    if (!(cmd->override & (RSRC_CONF | ACCESS_CONF))) {
        return set_tenant(cmd, conf, count, words);
    }
    conf->choices_set = 1;
    conf->choices = NULL;
    if (count < 1 || count > FPMP_POOLS_MAX) {
        return apr_psprintf(cmd->pool, "FpmPool takes a pool's name, then up to %d fallbacks",
                            FPMP_POOLS_MAX - 1);
    }
    if (count == 1 && !strcasecmp(words[0], "none")) {
        return NULL;
    }
    apr_array_header_t *choices = apr_array_make(cmd->pool, count, sizeof(fpmp_choice));
    const char *wrong = read_choices(cmd, count, words, choices);
    for (int i = 0; !wrong && i < count; i++) {
        note_use(cmd, dir_conf, &APR_ARRAY_IDX(choices, i, fpmp_choice),
                 i ? FPMP_USE_FALLBACK : FPMP_USE_FIRST);
    }
    conf->choices = choices;
    return wrong;
}

const char *fpmp_conf_set_max_pools(cmd_parms *cmd, void *dir_conf, const char *text)
{
    apr_size_t number = 0;
    (void)dir_conf;
    const char *wrong = ap_check_cmd_context(cmd, GLOBAL_ONLY);
    if (wrong) {
        return wrong;
    }
    if (strspn(text, "0123456789") != strlen(text) ||
        fpmp_conf_read_size(cmd->pool, text, 1, MAX_POOLS_MOST, &number)) {
        return apr_psprintf(cmd->pool, "FpmPoolMaxPools: \"%s\" is not a number from 1 to %d", text,
                            MAX_POOLS_MOST);
    }
    fpmp_conf_global(cmd->server)->name_limit = (int)number;
    return NULL;
}

/* ---- FpmPoolSelectable ----------------------------------------------------------------------- */

const char *fpmp_conf_add_selectable(cmd_parms *cmd, void *dir_conf, const char *name)
{
    fpmp_dir_conf *conf = dir_conf;
    int is_none = !strcasecmp(name, "none");
    if (conf->selectable_set && (is_none || !conf->selectable)) {
        return "FpmPoolSelectable: none does not go with names: remove one of both";
    }
    conf->selectable_set = 1;
    if (is_none) {
        return NULL;
    }
    const char *wrong = fpmp_conf_check_name(cmd, name);
    if (wrong) {
        return apr_pstrcat(cmd->pool, "FpmPoolSelectable: ", wrong, NULL);
    }
    if (!conf->selectable) {
        conf->selectable = apr_array_make(cmd->pool, 4, sizeof(const char *));
    }
    *(const char **)apr_array_push(conf->selectable) = name;
    fpmp_choice choice = {.text = name};
    note_use(cmd, dir_conf, &choice, FPMP_USE_SELECTABLE);
    return NULL;
}

/* ---- what holds ------------------------------------------------------------------------------ */

void fpmp_conf_select_merge(fpmp_dir_conf *merged, const fpmp_dir_conf *inner)
{
    if (inner->choices_set) {
        merged->choices = inner->choices;
        merged->choices_set = 1;
        merged->tenant = NULL; /* of an outer section; the server has the last word */
    }
    if (inner->tenant) {
        merged->tenant = inner->tenant;
    }
    if (inner->selectable_set) {
        merged->selectable = inner->selectable;
        merged->selectable_set = 1;
    }
}

const apr_array_header_t *fpmp_conf_choices(const fpmp_dir_conf *conf)
{
    return conf->tenant ? conf->tenant->choices : conf->choices;
}

int fpmp_conf_is_selectable(const fpmp_dir_conf *conf)
{
    if (!conf->tenant) {
        return 1;
    }
    const char *wanted = APR_ARRAY_IDX(conf->tenant->choices, 0, fpmp_choice).text;
    for (int i = 0; conf->selectable && i < conf->selectable->nelts; i++) {
        if (!strcmp(APR_ARRAY_IDX(conf->selectable, i, const char *), wanted)) {
            return 1;
        }
    }
    return 0;
}
