/* fpmp_chart.c - small charts of the last hour as SVG.
 *
 * Runs in an httpd child for each page of figures. Pure: numbers to text. Colours are the style
 * sheet's, by class.
 */
#include "fpmp_chart.h"

#define STEP   6 /* units of width for one minute */
#define BAR    5
#define HEIGHT 60
#define WIDTH  (FPMP_HISTORY_MINUTES * STEP)

static uint64_t mean_of(const fpmp_minute_counts *minute)
{
    return minute->requests ? minute->microseconds / minute->requests : 0;
}

uint64_t fpmp_chart_most_requests(const fpmp_minute_counts *minutes)
{
    uint64_t most = 0;
    for (int i = 0; i < FPMP_HISTORY_MINUTES; i++) {
        most = minutes[i].requests > most ? minutes[i].requests : most;
    }
    return most;
}

uint64_t fpmp_chart_most_time(const fpmp_minute_counts *minutes)
{
    uint64_t most = 0;
    for (int i = 0; i < FPMP_HISTORY_MINUTES; i++) {
        most = mean_of(&minutes[i]) > most ? mean_of(&minutes[i]) : most;
    }
    return most;
}

/* What is not nothing can be seen. */
static double scale(uint64_t number, uint64_t most, double least)
{
    double height = most ? (double)number * HEIGHT / (double)most : 0;
    return number && height < least ? least : height;
}

static void open_chart(fpmp_text *text, const char *title)
{
    fpmp_text_format(text,
                     "<svg class=\"chart\" viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\"",
                     WIDTH, HEIGHT + 1);
    if (title) {
        fpmp_text_put(text, " role=\"img\"><title>");
        fpmp_text_html(text, title);
        fpmp_text_put(text, "</title>");
    } else {
        fpmp_text_put(text, " aria-hidden=\"true\">");
    }
    fpmp_text_format(text, "<path class=\"floor\" d=\"M0 %d.5H%d\"/>", HEIGHT, WIDTH);
}

typedef uint64_t part_fn(const fpmp_minute_counts *minute);

static uint64_t all_of(const fpmp_minute_counts *minute)
{
    return minute->requests;
}

static uint64_t errors_of(const fpmp_minute_counts *minute)
{
    return minute->errors < minute->requests ? minute->errors : minute->requests;
}

static void draw_bars(fpmp_text *text, const fpmp_minute_counts *minutes, part_fn *part,
                      uint64_t most, const char *class)
{
    int is_open = 0;
    for (int i = 0; i < FPMP_HISTORY_MINUTES; i++) {
        uint64_t number = part(&minutes[i]);
        if (!number) {
            continue;
        }
        if (!is_open) {
            fpmp_text_format(text, "<path class=\"%s\" d=\"", class);
            is_open = 1;
        }
        double height = scale(number, most, 2);
        fpmp_text_format(text, "M%d %dv-%.1fh%dv%.1fz", i * STEP, HEIGHT, height, BAR, height);
    }
    if (is_open) {
        fpmp_text_put(text, "\"/>");
    }
}

/* Something to point at, as high as the chart. */
static void draw_label(fpmp_text *text, int minute, const fpmp_minute_counts *counts)
{
    int ago = FPMP_HISTORY_MINUTES - 1 - minute;
    fpmp_text_format(text, "<rect class=\"point\" x=\"%d\" width=\"%d\" height=\"%d\"><title>",
                     minute * STEP, STEP, HEIGHT);
    if (ago) {
        fpmp_text_format(text, "%d min ago: ", ago);
    } else {
        fpmp_text_put(text, "this minute: ");
    }
    fpmp_text_format(text, "%" APR_UINT64_T_FMT " requests", counts->requests);
    if (counts->errors) {
        fpmp_text_format(text, ", %" APR_UINT64_T_FMT " failed", counts->errors);
    }
    fpmp_text_put(text, ", mean ");
    fpmp_text_duration(text, mean_of(counts));
    fpmp_text_put(text, "</title></rect>");
}

static void draw_labels(fpmp_text *text, const fpmp_minute_counts *minutes)
{
    for (int i = 0; i < FPMP_HISTORY_MINUTES; i++) {
        if (minutes[i].requests) {
            draw_label(text, i, &minutes[i]);
        }
    }
}

static void draw_all_bars(fpmp_text *text, const fpmp_minute_counts *minutes)
{
    uint64_t most = fpmp_chart_most_requests(minutes);
    draw_bars(text, minutes, all_of, most, "bar");
    draw_bars(text, minutes, errors_of, most, "bar-failed");
}

void fpmp_chart_requests(fpmp_text *text, const fpmp_minute_counts *minutes, const char *title)
{
    open_chart(text, title);
    draw_all_bars(text, minutes);
    draw_labels(text, minutes);
    fpmp_text_put(text, "</svg>");
}

void fpmp_chart_spark(fpmp_text *text, const fpmp_minute_counts *minutes)
{
    open_chart(text, NULL);
    draw_all_bars(text, minutes);
    fpmp_text_put(text, "</svg>");
}

/* A line that is interrupted where there was nothing, over a lighter area. */
static void draw_area(fpmp_text *text, const fpmp_minute_counts *minutes, uint64_t most)
{
    for (int i = 0; i < FPMP_HISTORY_MINUTES; i++) {
        if (!minutes[i].requests) {
            continue;
        }
        int from = i;
        fpmp_text_format(text, "<path class=\"area\" d=\"M%d %d", from * STEP, HEIGHT);
        while (i < FPMP_HISTORY_MINUTES && minutes[i].requests) {
            double height = scale(mean_of(&minutes[i]), most, 1);
            fpmp_text_format(text, "V%.1fh%d", HEIGHT - height, STEP);
            i++;
        }
        fpmp_text_format(text, "V%dz\"/>", HEIGHT);
    }
}

void fpmp_chart_time(fpmp_text *text, const fpmp_minute_counts *minutes, const char *title)
{
    open_chart(text, title);
    draw_area(text, minutes, fpmp_chart_most_time(minutes));
    draw_labels(text, minutes);
    fpmp_text_put(text, "</svg>");
}

void fpmp_chart_define(fpmp_text *text)
{
    fpmp_text_put(text,
                  "<svg class=\"hidden\" aria-hidden=\"true\" width=\"0\" height=\"0\"><defs>"
                  "<pattern id=\"failed\" width=\"3\" height=\"3\" "
                  "patternUnits=\"userSpaceOnUse\"><rect class=\"failed-ground\" width=\"3\" "
                  "height=\"3\"/><path class=\"failed-line\" d=\"M0 3L3 0\"/></pattern></defs>"
                  "</svg>\n");
}
