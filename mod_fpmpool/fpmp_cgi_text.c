/* fpmp_cgi_text.c - names and values of CGI variables, out of a request's text.
 *
 * Pure, for any process. Must not depend on the locale: what a script sees is the same everywhere.
 */
#include "fpmp_cgi_text.h"

#include <string.h>

#define BLANKS " \t\n\v\f\r"

/* What a character of a header's name is in its variable; 0: it may not be there. */
static const char in_name[256] = {
    ['-'] = '_', ['0'] = '0', ['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4', ['5'] = '5',
    ['6'] = '6', ['7'] = '7', ['8'] = '8', ['9'] = '9', ['A'] = 'A', ['B'] = 'B', ['C'] = 'C',
    ['D'] = 'D', ['E'] = 'E', ['F'] = 'F', ['G'] = 'G', ['H'] = 'H', ['I'] = 'I', ['J'] = 'J',
    ['K'] = 'K', ['L'] = 'L', ['M'] = 'M', ['N'] = 'N', ['O'] = 'O', ['P'] = 'P', ['Q'] = 'Q',
    ['R'] = 'R', ['S'] = 'S', ['T'] = 'T', ['U'] = 'U', ['V'] = 'V', ['W'] = 'W', ['X'] = 'X',
    ['Y'] = 'Y', ['Z'] = 'Z', ['a'] = 'A', ['b'] = 'B', ['c'] = 'C', ['d'] = 'D', ['e'] = 'E',
    ['f'] = 'F', ['g'] = 'G', ['h'] = 'H', ['i'] = 'I', ['j'] = 'J', ['k'] = 'K', ['l'] = 'L',
    ['m'] = 'M', ['n'] = 'N', ['o'] = 'O', ['p'] = 'P', ['q'] = 'Q', ['r'] = 'R', ['s'] = 'S',
    ['t'] = 'T', ['u'] = 'U', ['v'] = 'V', ['w'] = 'W', ['x'] = 'X', ['y'] = 'Y', ['z'] = 'Z',
};

size_t fpmp_cgi_text_name(char *to, const char *header)
{
    char *next = to + 5;
    memcpy(to, "HTTP_", 5);
    for (; *header; header++) {
        if (!(*next++ = in_name[(unsigned char)*header])) {
            *to = '\0';
            return 0;
        }
    }
    *next = '\0';
    return (size_t)(next - to);
}

const char *fpmp_cgi_text_target(const char *request_line, size_t *length)
{
    const char *target = request_line + strcspn(request_line, BLANKS);
    target += strspn(target, BLANKS);
    *length = strcspn(target, BLANKS);
    return target;
}
