/* fpmp_auto.h - the figures as `key: value` lines, for mod_status's ?auto and our own. */
#ifndef FPMP_AUTO_H
#define FPMP_AUTO_H

#include "fpmp_seen.h"
#include "fpmp_text.h"

/* One line for each figure of each server: FpmPool_NAME_Field, or FpmPool_NAME/N_Field where the
 * pool has several servers. */
void fpmp_auto_show(fpmp_text *text, const fpmp_snapshot *snapshot);

#endif
