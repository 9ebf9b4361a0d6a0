/* shared.h - the folder in which this daemon's engines share what encoders gave. */
#ifndef SERVE_SHARED_H
#define SERVE_SHARED_H

/* Makes SOCKET.features, empty and for this user alone, and tells the engines to come of it (PERCEPT_FEATURES), unless the environment
 * names one already. Without it each engine encodes for itself. [one] */
void shared_begin(const char *socket);
/* Removes it. [one] */
void shared_end(const char *socket);

#endif
