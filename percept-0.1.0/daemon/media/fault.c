/* fault.c - why a media item was refused. */
#include "config.h"
#include "daemon/media/fault.h"

#include <stdarg.h>
#include <stdio.h>

int media_fail(struct media_fault *fault, int code, const char *format, ...)
{
	va_list args;

	if (fault->code)
		return -1;
	fault->code = code;
	va_start(args, format);
	vsnprintf(fault->text, sizeof(fault->text), format, args);
	va_end(args);
	return -1;
}
