/* error.h - one sentence about what went wrong, made where the facts are. */
#ifndef NN_ERROR_H
#define NN_ERROR_H

struct nn_error {
	int code;        /* 0, or a negative errno */
	char text[512];  /* UTF-8, for a person */
};

/* Records and returns `code`. `e` may be NULL. The first text stays. */
int nn_fail(struct nn_error *e, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
