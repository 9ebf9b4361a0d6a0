/* error.c - one sentence about what went wrong. */
#include "sdk/nn/error.h"

#include <stdarg.h>
#include <stdio.h>

int nn_fail(struct nn_error *e, int code, const char *format, ...)
{
	if (!e || e->code)
		return code;
	va_list ap;

	va_start(ap, format);
	vsnprintf(e->text, sizeof(e->text), format, ap);
	va_end(ap);
	e->code = code;
	return code;
}
