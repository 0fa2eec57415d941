/* fpmp_json.h - the figures for programs: JSON (RFC 8259). */
#ifndef FPMP_JSON_H
#define FPMP_JSON_H

#include "fpmp_seen.h"
#include "fpmp_text.h"

/* nonce: of the manager's page; NULL: this is not it. */
void fpmp_json_show(fpmp_text *text, const fpmp_snapshot *snapshot, const char *nonce);

/* "2026-11-24T15:04:05Z" */
void fpmp_json_time(fpmp_text *text, apr_time_t wall);

#endif
