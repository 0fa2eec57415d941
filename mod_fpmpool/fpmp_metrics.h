/* fpmp_metrics.h - the figures for collectors: OpenMetrics 1.0, which Prometheus and others read.
 */
#ifndef FPMP_METRICS_H
#define FPMP_METRICS_H

#include "fpmp_seen.h"
#include "fpmp_text.h"

#define FPMP_METRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

void fpmp_metrics_show(fpmp_text *text, const fpmp_snapshot *snapshot);

#endif
