/* tool.h - percept: what its commands share. */
#ifndef TOOL_TOOL_H
#define TOOL_TOOL_H

#include <stddef.h>
#include <cjson/cJSON.h>
#include <percept/client.h>

enum tool_exit { TOOL_DONE = 0, TOOL_FAILED = 1, TOOL_USAGE = 2, TOOL_NO_DAEMON = 3, TOOL_INTERRUPTED = 130 };

/* Options that every command takes, and the command that runs. */
struct tool {
	const char *socket;    /* -S, or NULL */
	const char *assistant; /* -A, or NULL */
	int no_start;
	int json;
	int help;
	int version;
	const struct tool_command *command;
};

enum tool_option_type {
	TOOL_FLAG,   /* int, set to 1 */
	TOOL_TEXT,   /* const char * */
	TOOL_WHOLE,  /* struct tool_number, an integer */
	TOOL_NUMBER, /* struct tool_number */
	TOOL_ITEM,   /* kept in the order of the command line: struct tool_items */
};

struct tool_number {
	int set;
	double value;
};

/* From here on letters are codes of items without a letter. */
#define TOOL_NO_LETTER 1024

/* One row of a table of options; the table ends with a row without a name. */
struct tool_option {
	int letter; /* 0: none */
	const char *name;
	enum tool_option_type type;
	size_t offset;        /* into the values; not of items */
	double min, max;      /* of numbers */
	const char *argument; /* how help names it */
	const char *help;
	const char *param;    /* the member of the method's params that it sets, or NULL */
};

/* What was given in order: items by their letter, other words with letter 0. */
struct tool_items {
	struct tool_item {
		int letter;
		const char *text;
	} *list;
	size_t n;
};

struct tool_command {
	const char *name;
	const char *arguments; /* "[PROMPT|-]" */
	const char *summary;   /* one line */
	const char *details;   /* paragraphs of --help, or NULL */
	const struct tool_option *options; /* or NULL */
	size_t values;         /* bytes of the struct that options fill; begins zeroed */
	size_t min_words, max_words;
	int (*run)(struct tool *tool, const void *values, const struct tool_items *items);
};

extern const struct tool_command command_ask, command_assemblies, command_assistants, command_bench, command_chat, command_check, command_embed,
	command_load, command_look, command_models, command_plugins, command_reload, command_shutdown, command_status, command_unload;

/* ---- options.c */
extern const struct tool_option tool_options[]; /* of every command, into struct tool */
/* Reads argv[1..]: `options` (may be NULL) into values, those of every command into *tool, the rest into *items (freed
 * by the caller: items->list). With `stop` the first word ends it. Says what is wrong and returns TOOL_USAGE, or 0;
 * *used is how many of argv were read. */
struct tool_parse {
	struct tool *tool;
	const struct tool_option *options;
	void *values;
	int stop;
	int used;
	struct tool_items items;
};
int tool_parse(struct tool_parse *parse, int argc, char **argv);
/* Sets the params of `options` that were given. */
int tool_set_params(struct tool *tool, const struct tool_option *options, const void *values, struct percept_input *input);

/* ---- help.c */
void tool_help(const struct tool_command *const *commands);
void tool_help_command(const struct tool_command *command);

/* ---- report.c */
/* "percept ask: ..." on standard error. Returns `code`. */
int tool_say(const struct tool *tool, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Says what failed and what to do next, ends *error, and returns the exit code. */
int tool_fail(const struct tool *tool, struct percept_error *error);
int tool_no_memory(const struct tool *tool);

/* ---- link.c */
/* Connects, starting the user's daemon if none answers. 0, or an exit code after saying why. */
int tool_connect(const struct tool *tool, struct percept_connection **connection);
/* One call; *result (cJSON, the caller's) may be NULL. With --json the result is printed. 0 or an exit code. */
int tool_call(const struct tool *tool, const char *method, const char *params, cJSON **result);
/* The same, of a method whose params are {"assistant": name}. */
int tool_call_assistant(const struct tool *tool, const char *method, const char *name, cJSON **result);

/* ---- start.c */
/* Starts the user's perceptd on the socket `path` and waits until it answers. */
struct percept_connection *tool_start_daemon(const struct tool *tool, const char *path, struct percept_error *error);

/* ---- table.c: aligned columns */
struct tool_table {
	size_t columns, rows;
	char **cells;
	int failed;
};
/* Begins a table with a first row of `headings`, "NAME|STATE|MODEL". */
void table_init(struct tool_table *table, const char *headings);
/* Adds the next cell, by printf. */
void table_cell(struct tool_table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints and frees. 0, or TOOL_FAILED when memory or the output failed. */
int table_print(struct tool_table *table);
/* "12.3 MiB" */
const char *tool_bytes(double bytes, char text[32]);
/* Members of a result, with a value for what is missing. */
const char *json_text(const cJSON *object, const char *name);
double json_number(const cJSON *object, const char *name);
/* The strings of an array, "a, b", by malloc; never NULL unless memory is out. */
char *json_list(const cJSON *array);

#endif
