/* sweep.c - which parts there are, which of them open, and which fit together. */
#include "config.h"
#include "daemon/engine/sweep.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/engine/assembly.h"
#include "daemon/engine/bundle.h"

#define SWEEP_OPEN_S 120 /* that a part may take to open */
#define SWEEP_PARTS 4096

/* What a child says of the part that it opened: no pointer in it is used. */
struct sweep_told {
	int code; /* 0: it opened */
	char text[512];
	struct lane lane;
	struct percept_decoder_info decoder;
};

/* A candidate. */
struct sweep_part {
	cJSON *row; /* role, plugin, model, options; borrowed from the sweep's rows */
	struct part part;
	struct sweep_told told;
};

struct sweep {
	const char *program;
	const cJSON *resolved; /* of the first assistant: where plugins are */
	cJSON *rows;
	struct sweep_part *parts;
	size_t n;
};

static const char *sweep_text(const cJSON *row, const char *name)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(row, name));

	return text ? text : "";
}

/* ---- candidates ---- */

static cJSON *sweep_row(const char *role, const char *plugin, const char *model)
{
	cJSON *row = cJSON_CreateObject();

	cJSON_AddStringToObject(row, "role", role);
	cJSON_AddStringToObject(row, "plugin", plugin);
	if (model[0])
		cJSON_AddStringToObject(row, "model", model);
	return row;
}

/* The row is the list's, unless one of the same plugin, role and model is there already, whose options count. */
static void sweep_add(cJSON *rows, cJSON *row)
{
	const cJSON *other;

	cJSON_ArrayForEach(other, rows)
		if (strcmp(sweep_text(other, "plugin"), sweep_text(row, "plugin")) == 0 &&
		    strcmp(sweep_text(other, "role"), sweep_text(row, "role")) == 0 &&
		    strcmp(sweep_text(other, "model"), sweep_text(row, "model")) == 0) {
			cJSON_Delete(row);
			return;
		}
	cJSON_AddItemToArray(rows, row);
}

/* What the assistants name; a bundle that is none is a row with the reason. */
static void sweep_named(const cJSON *assistants, cJSON *rows)
{
	const cJSON *assistant;
	struct wire_error error = {0};

	cJSON_ArrayForEach(assistant, assistants) {
		const char *model = sweep_text(assistant, "model"), *mmproj = sweep_text(assistant, "mmproj");
		cJSON *parts = bundle_parts(model[0] ? model : NULL, mmproj[0] ? mmproj : NULL,
					    cJSON_GetObjectItemCaseSensitive(assistant, "parts"), &error);

		if (!parts) {
			cJSON *row = sweep_row("bundle", "", model);

			cJSON_AddStringToObject(row, "reason", error.text);
			sweep_add(rows, row);
			wire_error_fini(&error);
		}
		while (cJSON_GetArraySize(parts))
			sweep_add(rows, cJSON_DetachItemFromArray(parts, 0));
		cJSON_Delete(parts);
	}
}

/* ---- opening ---- */

/* In a process of its own: what the part says of itself goes to `to`. */
static void sweep_child(const struct sweep *sweep, const struct sweep_part *p, int to)
{
	struct assembly assembly = {.name = (char *)"sweep", .max_sequences = 1};
	struct wire_error error = {0};
	struct sweep_told told = {.code = -1};
	struct call call;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(SWEEP_OPEN_S);
	assembly.parts = calloc(1, sizeof(*assembly.parts));
	if (!assembly.parts || call_init(&call, NULL, 0))
		_exit(1);
	told.code = assembly_open_part(&assembly, p->row, sweep->resolved, sweep->program, &call, &error);
	snprintf(told.text, sizeof(told.text), "%s", error.code ? error.text : "");
	for (size_t i = 0; i < TEXT_MEDIA; i++)
		if (assembly.lanes[i].encoder || assembly.lanes[i].connector)
			told.lane = assembly.lanes[i];
	told.decoder = assembly.info;
	_exit(write(to, &told, sizeof(told)) == (ssize_t)sizeof(told) ? 0 : 1);
}

static void sweep_open(const struct sweep *sweep, struct sweep_part *p)
{
	int ends[2], status = 0;
	size_t n = 0;
	ssize_t got = 1;

	fflush(stdout);
	if (pipe(ends))
		ends[0] = ends[1] = -1;
	const pid_t pid = ends[0] >= 0 ? fork() : -1;

	if (pid == 0)
		sweep_child(sweep, p, ends[1]);
	close(ends[1]);
	while (pid > 0 && got > 0 && n < sizeof(p->told)) {
		got = read(ends[0], (char *)&p->told + n, sizeof(p->told) - n);
		n += got > 0 ? (size_t)got : 0;
		got = got < 0 && errno == EINTR ? 1 : got;
	}
	close(ends[0]);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (n == sizeof(p->told))
		return;
	p->told = (struct sweep_told){.code = -1};
	if (pid < 0)
		snprintf(p->told.text, sizeof(p->told.text), "No process could be started to open it: %s.", strerror(errno));
	else if (WIFSIGNALED(status))
		snprintf(p->told.text, sizeof(p->told.text), "It crashes while it opens (signal %d, %s).", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else
		snprintf(p->told.text, sizeof(p->told.text), "It ends the program that opens it.");
}

/* ---- what is installed ---- */

/* The plugin alone if it opens without a model, else with each model that the first `named` rows have. */
static void sweep_with_models(struct sweep *sweep, const char *role, const char *plugin, int named)
{
	struct sweep_part alone = {.row = sweep_row(role, plugin, "")};

	sweep_open(sweep, &alone);
	if (alone.told.code == 0) {
		sweep_add(sweep->rows, alone.row);
		return;
	}
	cJSON_Delete(alone.row);
	for (int i = 0; i < named; i++) {
		const char *model = sweep_text(cJSON_GetArrayItem(sweep->rows, i), "model");

		if (model[0])
			sweep_add(sweep->rows, sweep_row(role, plugin, model));
	}
}

static void sweep_installed(struct sweep *sweep)
{
	static const struct {
		const char *kind, *role;
	} roles[] = {{"encoder", "image.encoder"}, {"connector", "image.connector"}, {"fusion", "image.connector"}, {"decoder", "decoder"}};
	cJSON *list = loader_list(sweep->program, cJSON_GetObjectItemCaseSensitive(sweep->resolved, "plugin_path"));
	const int named = cJSON_GetArraySize(sweep->rows);
	const cJSON *plugin;

	cJSON_ArrayForEach(plugin, list)
		for (size_t k = 0; k < sizeof(roles) / sizeof(roles[0]); k++)
			if (strcmp(sweep_text(plugin, "kind"), roles[k].kind) == 0)
				sweep_with_models(sweep, roles[k].role, sweep_text(plugin, "name"), named);
	cJSON_Delete(list);
}

/* All candidates, opened once each. 0 or -ENOMEM. */
static int sweep_parts(struct sweep *sweep)
{
	const size_t n = (size_t)cJSON_GetArraySize(sweep->rows);
	struct wire_error error = {0};
	cJSON *row = sweep->rows->child;

	sweep->parts = calloc(n + 1, sizeof(*sweep->parts));
	for (; sweep->parts && row && sweep->n < SWEEP_PARTS; row = row->next) {
		struct sweep_part *p = &sweep->parts[sweep->n++];

		p->row = row;
		p->part = (struct part){.role = (char *)sweep_text(row, "role"),
					.model = sweep_text(row, "model")[0] ? (char *)sweep_text(row, "model") : NULL};
		p->told.code = sweep_text(row, "reason")[0] ? -1 : 0;
		snprintf(p->told.text, sizeof(p->told.text), "%s", sweep_text(row, "reason"));
		if (p->told.code == 0)
			sweep_open(sweep, p);
		if (p->told.code == 0 &&
		    assembly_load_plugin(&p->part, sweep_text(row, "plugin"), sweep->resolved, sweep->program, &error)) {
			p->told.code = error.code;
			snprintf(p->told.text, sizeof(p->told.text), "%s", error.text);
		}
		wire_error_fini(&error);
	}
	return sweep->parts ? 0 : -ENOMEM;
}

/* ---- combinations ---- */

static int sweep_is(const struct sweep_part *p, const char *what)
{
	const char *dot = strrchr(p->part.role, '.');

	return p->told.code == 0 && strcmp(dot ? dot + 1 : p->part.role, what) == 0;
}

/* One combination for one kind of media: a row, with the reason if it does not fit. */
static cJSON *sweep_try(struct sweep *sweep, size_t lane, const size_t which[3])
{
	const struct sweep_part *e = &sweep->parts[which[0]], *c = &sweep->parts[which[1]], *d = &sweep->parts[which[2]];
	static const char *const names[] = {"encoder", "connector", "decoder"};
	struct assembly assembly = {.name = (char *)"sweep", .decoder = &d->part, .ops = d->part.plugin.api->ops, .info = d->told.decoder};
	struct lane *l = &assembly.lanes[lane];
	struct wire_error error = {0};
	cJSON *row = cJSON_CreateObject();

	*l = c->told.lane;
	l->connector = &c->part;
	l->encoder = &e->part;
	l->encoder_info = e->told.lane.encoder_info;
	assembly.fusion = l->fusion_ops ? l : NULL;
	const int code = assembly_check(&assembly, &error);

	cJSON_AddStringToObject(row, "modality", text_media_names[lane]);
	for (size_t i = 0; i < 3; i++)
		cJSON_AddNumberToObject(row, names[i], (double)which[i]);
	cJSON_AddBoolToObject(row, "fits", code == 0);
	if (code)
		cJSON_AddStringToObject(row, "reason", error.text);
	wire_error_fini(&error);
	return row;
}

static cJSON *sweep_assemblies(struct sweep *sweep)
{
	cJSON *list = cJSON_CreateArray();

	for (size_t e = 0; e < sweep->n; e++)
		for (size_t c = 0; c < sweep->n && sweep_is(&sweep->parts[e], "encoder"); c++)
			for (size_t d = 0; d < sweep->n && sweep_is(&sweep->parts[c], "connector"); d++)
				for (size_t lane = 0; lane < TEXT_MEDIA && sweep_is(&sweep->parts[d], "decoder"); lane++)
					if (sweep->parts[e].told.lane.encoder_info.modalities & (uint32_t)(PERCEPT_IMAGE << lane))
						cJSON_AddItemToArray(list, sweep_try(sweep, lane, (size_t[]){e, c, d}));
	return list;
}

static cJSON *sweep_result(struct sweep *sweep)
{
	cJSON *result = cJSON_CreateObject(), *parts = cJSON_AddArrayToObject(result, "parts");

	for (size_t i = 0; i < sweep->n; i++) {
		const struct sweep_part *p = &sweep->parts[i];
		cJSON *row = cJSON_CreateObject();

		cJSON_AddStringToObject(row, "role", p->part.role);
		cJSON_AddStringToObject(row, "plugin", sweep_text(p->row, "plugin"));
		cJSON_AddStringToObject(row, "model", p->part.model ? p->part.model : "");
		cJSON_AddBoolToObject(row, "opens", p->told.code == 0);
		if (p->told.code)
			cJSON_AddStringToObject(row, "reason", p->told.text);
		cJSON_AddItemToArray(parts, row);
	}
	cJSON_AddItemToObject(result, "assemblies", sweep_assemblies(sweep));
	return result;
}

int sweep_run(const cJSON *assistants, const char *program)
{
	struct sweep sweep = {.program = program, .resolved = cJSON_GetArrayItem(assistants, 0), .rows = cJSON_CreateArray()};
	char *text = NULL;

	sweep_named(assistants, sweep.rows);
	sweep_installed(&sweep);
	int r = sweep_parts(&sweep);

	if (r == 0) {
		cJSON *result = sweep_result(&sweep);

		text = cJSON_PrintUnformatted(result);
		cJSON_Delete(result);
		r = !text || puts(text) < 0 || fflush(stdout);
	}
	cJSON_free(text);
	for (size_t i = 0; i < sweep.n; i++)
		loader_close(&sweep.parts[i].part.plugin);
	free(sweep.parts);
	cJSON_Delete(sweep.rows);
	return r ? 1 : 0;
}
