/* log.h - one line a fact, k=v, to stderr or the journal; never content. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

/* The same numbers as percept_log_level. */
enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Sets the level from PERCEPT_LOG (info if unset or unknown), the program's name for the lines, and whether stderr is
 * the journal (then "<3>"-like priorities lead, and times are left to it). Call once, before threads. [one] */
void log_init(const char *program);
/* [any] */
void log_set_level(enum log_level level);
enum log_level log_level(void);
/* The level of that name ("error", "warn", "info", "debug"), or -1. [any] */
int log_level_named(const char *name);
const char *log_level_name(enum log_level level);
/* One line; `format` makes "k=v k=v". Control characters in it become "?". Longer than 2,000 bytes is cut. [any] */
void log_write(enum log_level level, const char *event, const char *format, ...) __attribute__((format(printf, 3, 4)));

#define log_error(event, ...) log_write(LOG_ERROR, event, __VA_ARGS__)
#define log_warn(event, ...) log_write(LOG_WARN, event, __VA_ARGS__)
#define log_info(event, ...) log_write(LOG_INFO, event, __VA_ARGS__)
#define log_debug(event, ...)                                                                     \
	do {                                                                                      \
		if (log_level() >= LOG_DEBUG)                                                     \
			log_write(LOG_DEBUG, event, __VA_ARGS__);                                 \
	} while (0)

#endif
