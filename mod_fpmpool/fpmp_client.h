/* fpmp_client.h - is the client still there? */
#ifndef FPMP_CLIENT_H
#define FPMP_CLIENT_H

#include <httpd.h>

/* Descriptor that tells when the client goes away or has bytes; -1: there is none to poll. */
int fpmp_client_descriptor(conn_rec *connection);

/* Has it gone, as far as that can be known without reading? descriptor: as above. */
int fpmp_client_is_gone(const conn_rec *connection, int descriptor);

/* Do these events of poll() say so? A client that has closed its side of the connection counts as
 * gone. */
int fpmp_client_has_left(short events);

#endif
