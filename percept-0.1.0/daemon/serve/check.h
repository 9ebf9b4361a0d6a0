/* check.h - perceptd --check: is the configuration sound, and can every assistant be opened? */
#ifndef SERVE_CHECK_H
#define SERVE_CHECK_H

/* Prints a line for every assistant. The exit code: 0, or 1 if anything is wrong. [one] */
int check_run(const char *config);

#endif
