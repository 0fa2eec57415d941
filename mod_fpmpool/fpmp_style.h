/* fpmp_style.h - the style sheet of the pages. */
#ifndef FPMP_STYLE_H
#define FPMP_STYLE_H

extern const char fpmp_style_sheet[];

#endif
