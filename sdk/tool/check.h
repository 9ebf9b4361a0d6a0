/* check.h - percept check: conformance of a plugin. */
#ifndef TOOL_CHECK_H
#define TOOL_CHECK_H

#include <stddef.h>
#include <percept/plugin.h>

#include "sdk/tool/check-host.h"

enum { CHECK_VALUES = 64, CHECK_WHY = 400 };

enum check_verdict { CHECK_OK, CHECK_NOT_OK, CHECK_SKIPPED };

/* What a check works with, in a process of its own. */
struct check {
	const char *path;                /* of the plugin */
	const char *model;               /* absolute, or NULL */
	const char *const *options;      /* "name=value", NULL-terminated */
	const struct percept_plugin *plugin; /* after check_load() */
	struct percept_value values[CHECK_VALUES];
	uint32_t n_values;
	struct check_host host;
	char why[CHECK_WHY];             /* of what is not ok or skipped */
};

/* One check: returns its verdict, having said why in check->why unless all is well. */
typedef enum check_verdict check_function(struct check *c);

/* Writes why, and returns the verdict. */
enum check_verdict check_no(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
enum check_verdict check_skip(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- check-elf.c: the file as it lies on the disk */
check_function check_exports, check_globals, check_nodelete;

/* ---- check-open.c: loading, opening, closing */
/* The head that every kind's table of operations begins with. */
struct check_ops {
	uint32_t size;
	uint32_t n_options;
	const struct percept_option *options;
	int (*open)(struct percept_call *call, const struct percept_open *open, void **instance);
	void (*close)(void *instance);
};
/* dlopen, and c->plugin. CHECK_OK or CHECK_NOT_OK. */
enum check_verdict check_load(struct check *c);
const struct check_ops *check_ops(const struct check *c);
/* Opens an instance on `model` with the options given; CHECK_SKIPPED if it fails and no --model was given. */
enum check_verdict check_open(struct check *c, const char *model, void **instance);
check_function check_description, check_operations, check_options, check_missing_model, check_damaged_model, check_info,
	check_double_open;

/* ---- check-work.c, check-connector.c, check-decoder.c: an instance at work, by kind */
check_function check_work, check_repeat, check_nonsense, check_cancel;
/* One call's work: 0, or what the plugin returned. The result is examined, and c->why says what is wrong with it. */
typedef int check_job(struct check *c, void *instance);
/* The work of the plugin's kind; NULL: none is known. */
check_job *check_work_of(const struct check *c);
check_job check_encoder_work, check_connector_work, check_fusion_work, check_decoder_work;
/* Calls that must be refused: 0 if all were, with a sentence. */
check_job check_encoder_nonsense, check_connector_nonsense, check_fusion_nonsense, check_decoder_nonsense;
/* The same work gives the same numbers; a decoder's also beside another sequence. 0 if so. */
check_job check_encoder_repeat, check_connector_repeat, check_fusion_repeat, check_decoder_repeat;
/* A result: 0, or -EPROTO after writing why. */
int check_finite(struct check *c, const char *what, const float *data, size_t n);
int check_broken(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* `r` must be an error with a sentence: 0 if so. */
int check_refused(struct check *c, const char *what, int r);


/* ---- check-leaks.c: what is left behind, cycle after cycle */
check_function check_open_leaks, check_work_leaks;

#endif
