/* parse.c - an INI file to a configuration, with errors that name the line. */
#include "config.h"
#include "daemon/conf/keys.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdk/wire/frame.h"
#include "sdk/wire/place.h"

#define PARSE_LINE 8192
#define PARSE_NAME 49 /* inih keeps no longer section and key */

struct parse {
	struct conf *conf;
	struct conf_error *error;
	const char *file;
	const char *at, *end;
	int line;
	bool continued;  /* the line begins with a blank */
	bool daemon;     /* [daemon] was there */
	struct conf_assistant *assistant; /* whose section this is; NULL: [daemon]'s or none */
	const struct conf_key *last;      /* of the line above; NULL: a part's or none */
	const struct conf_key *seen[64];  /* keys of this section */
	size_t n_seen;
	int rc;
};

/* Keeps the first error. Returns -EINVAL. */
static int parse_fail(struct parse *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int parse_fail(struct parse *p, const char *format, ...)
{
	char text[800];
	va_list args;
	if (p->rc < 0)
		return p->rc;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	snprintf(p->error->text, sizeof(p->error->text), "%.200s:%d: %s.", p->file, p->line, text);
	p->rc = -EINVAL;
	return p->rc;
}

static int parse_nomem(struct parse *p)
{
	if (p->rc < 0)
		return p->rc;
	snprintf(p->error->text, sizeof(p->error->text), "%.200s: memory is out.", p->file);
	p->rc = -ENOMEM;
	return p->rc;
}

/* ---- lines, before inih sees them ---- */

/* Cuts a comment: '#' or ';' behind a blank or at the start, outside double quotes. Then blanks at the end. */
static void line_strip(char *text)
{
	bool quoted = false;
	char *at = text, *end;
	for (; *at; at++) {
		if (quoted && *at == '\\' && at[1])
			at++;
		else if (*at == '"')
			quoted = !quoted;
		else if (!quoted && (*at == '#' || *at == ';') && (at == text || at[-1] == ' ' || at[-1] == '\t'))
			break;
	}
	*at = '\0';
	for (end = at; end > text && isspace((unsigned char)end[-1]);)
		*--end = '\0';
}

static bool name_is_sound(const char *name, size_t most)
{
	size_t n = strlen(name);
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)name[i]) && strchr("_-.", name[i]) == NULL)
			return false;
	return n > 0 && n <= most;
}

static struct conf_assistant *assistant_add(struct conf *conf, const char *name, int line)
{
	struct conf_assistant *grown = realloc(conf->assistants, (conf->n_assistants + 1) * sizeof(*grown));
	if (grown == NULL)
		return NULL;
	conf->assistants = grown;
	struct conf_assistant *a = &grown[conf->n_assistants];
	*a = (struct conf_assistant){.name = strdup(name), .line = line};
	if (a->name == NULL)
		return NULL;
	conf->n_assistants++;
	return conf_keys_defaults(CONF_ASSISTANT, a) < 0 ? NULL : a;
}

static int section_assistant(struct parse *p, const char *name)
{
	const struct conf_assistant *other = conf_assistant_named(p->conf, name);
	if (!name_is_sound(name, 32))
		return parse_fail(p, "\"%.60s\" is no name for an assistant; expected 1 to 32 letters, digits, '_', '-', '.'",
				  name);
	if (other)
		return parse_fail(p, "[assistant %s] is there twice, first in line %d; expected one section an assistant", name,
				  other->line);
	p->assistant = assistant_add(p->conf, name, p->line);
	return p->assistant ? 0 : parse_nomem(p);
}

/* "[...]" */
static int line_section(struct parse *p, const char *text)
{
	char name[PARSE_NAME + 1];
	size_t n = strlen(text);
	p->n_seen = 0;
	p->last = NULL;
	if (n < 2 || text[n - 1] != ']' || n - 2 > PARSE_NAME)
		return parse_fail(p, "\"%.60s\" is no section; expected [daemon] or [assistant NAME]", text);
	memcpy(name, text + 1, n - 2);
	name[n - 2] = '\0';
	if (strncmp(name, "assistant ", 10) == 0)
		return section_assistant(p, name + 10 + strspn(name + 10, " "));
	if (strcmp(name, "daemon") != 0)
		return parse_fail(p, "unknown section [%s]; expected [daemon] or [assistant NAME]", name);
	if (p->daemon)
		return parse_fail(p, "[daemon] is there twice; expected one");
	p->daemon = true;
	p->assistant = NULL;
	return 0;
}

static int line_check(struct parse *p, const char *text)
{
	if (text[0] == '[')
		return line_section(p, text);
	size_t n = strcspn(text, "=:");
	if (text[0] == '\0')
		return 0;
	if (p->continued && (p->last == NULL || p->last->type != CONF_TEXT))
		return parse_fail(p, "the line begins with a blank, so it goes on with the one above; only instructions may, "
				     "expected a section or a key at the start of the line");
	if (p->continued)
		return 0;
	if (text[n] != '=')
		return parse_fail(p, "\"%.60s\" is neither a section nor a key; expected key = value", text);
	if (n > PARSE_NAME)
		return parse_fail(p, "unknown key %.60s...; expected one of perceptd.conf(5)", text);
	return 0;
}

/* inih's fgets: one line at a time, checked and without its comment; NULL at the end or after an error. */
static char *parse_read(char *out, int room, void *stream)
{
	struct parse *p = stream;
	if (p->rc < 0 || p->at == p->end)
		return NULL;
	const char *lf = memchr(p->at, '\n', (size_t)(p->end - p->at));
	size_t n = (size_t)((lf ? lf : p->end) - p->at);
	p->line++;
	if (room < 2 || n + 2 > (size_t)room) {
		parse_fail(p, "the line has %zu bytes; expected at most %d (a line that begins with a blank goes on with "
			   "instructions)", n, room - 2);
		return NULL;
	}
	memcpy(out, p->at, n);
	out[n] = '\0';
	p->at = lf ? lf + 1 : p->end;
	if (memchr(out, '\0', n)) {
		parse_fail(p, "the line has a NUL byte; expected text");
		return NULL;
	}
	const unsigned char *c = (unsigned char *)out;
	for (size_t k = 1; k && *c; c += k)
		if ((k = wire_utf8_length(c, (unsigned char *)out + n)) == 0) {
			parse_fail(p, "the line is not UTF-8; expected text in UTF-8");
			return NULL;
		}
	line_strip(out);
	p->continued = out[0] == ' ' || out[0] == '\t';
	if (line_check(p, out) < 0)
		return NULL;
	n = strlen(out);
	memcpy(out + n, "\n", 2);
	return out;
}

/* ---- keys ---- */

static void *parse_base(struct parse *p)
{
	return p->assistant ? (void *)p->assistant : (void *)&p->conf->daemon;
}

static int key_continue(struct parse *p, const char *value)
{
	char *joined, **member = (char **)(void *)((char *)parse_base(p) + p->last->offset);
	if (asprintf(&joined, "%s\n%s", *member, value) < 0)
		return parse_nomem(p);
	free(*member);
	*member = joined;
	return 0;
}

static int key_part(struct parse *p, const char *role, const char *value)
{
	char why[160] = "";
	struct conf_assistant *a = p->assistant;
	for (size_t i = 0; i < a->n_parts; i++)
		if (strcmp(a->parts[i].role, role) == 0)
			return parse_fail(p, "%s is there twice, first in line %d; expected it once", role, a->parts[i].line);
	struct conf_part *grown = realloc(a->parts, (a->n_parts + 1) * sizeof(*grown));
	if (grown == NULL)
		return parse_nomem(p);
	a->parts = grown;
	struct conf_part *part = &grown[a->n_parts];
	*part = (struct conf_part){.role = strdup(role), .line = p->line};
	a->n_parts++;
	if (part->role == NULL)
		return parse_nomem(p);
	int rc = conf_part_parse(part, value, why);
	if (rc == -EINVAL)
		return parse_fail(p, "%s: %s", role, why);
	return rc < 0 ? parse_nomem(p) : 0;
}

/* A text in double quotes loses them. */
static void value_unquote(char *text)
{
	size_t n = strlen(text);
	if (n < 2 || text[0] != '"' || text[n - 1] != '"')
		return;
	memmove(text, text + 1, n - 2);
	text[n - 2] = '\0';
}

static int key_set(struct parse *p, const char *name, const char *value)
{
	char expected[160], plain[PARSE_LINE];
	const struct conf_key *key = conf_key_named(p->assistant ? CONF_ASSISTANT : CONF_DAEMON, name);
	p->last = NULL;
	if (key == NULL && p->assistant && conf_is_role(name))
		return key_part(p, name, value);
	if (key == NULL)
		return parse_fail(p, "unknown key %.60s in [%s]; expected one of perceptd.conf(5)", name,
				  p->assistant ? "assistant" : "daemon");
	for (size_t i = 0; i < p->n_seen; i++)
		if (p->seen[i] == key)
			return parse_fail(p, "%s is there twice in this section; expected it once", name);
	p->seen[p->n_seen++] = key;
	if (key->type == CONF_MODEL)
		*(strcmp(name, "mmproj") == 0 ? &p->assistant->mmproj_line : &p->assistant->model_line) = p->line;
	p->last = key;
	snprintf(plain, sizeof(plain), "%s", value);
	value_unquote(plain);
	int rc = conf_key_set(key, parse_base(p), plain, expected);
	if (rc == -EINVAL)
		return parse_fail(p, "%s = %.100s; expected %s", name, value, expected);
	return rc < 0 ? parse_nomem(p) : 0;
}

/* inih: 1 to go on. */
static int parse_key(void *arg, const char *section, const char *name, const char *value)
{
	struct parse *p = arg;
	if (p->rc < 0)
		return 0;
	if (p->continued)
		return key_continue(p, value) == 0;
	if (*section == '\0')
		return parse_fail(p, "%.60s stands before any section; expected [daemon] or [assistant NAME] above it", name) == 0;
	return key_set(p, name, value) == 0;
}

/* ---- what the whole must be ---- */

/* *model, as written, to an absolute path. `line` 0: nobody wrote it, so it may be missing. */
static int resolve_model(struct parse *p, char **model, int line)
{
	char path[PATH_MAX], real[PATH_MAX];
	if (*model == NULL)
		return 0;
	if (place_find(p->conf->model_path, *model, path) < 0 || realpath(path, real) == NULL) {
		p->line = line;
		return line ? parse_fail(p, "there is no model %.200s; expected it in one of %.400s", *model, p->conf->model_path)
			    : 0;
	}
	char *copy = strdup(real);
	if (copy == NULL)
		return parse_nomem(p);
	free(*model);
	*model = copy;
	return 0;
}

static bool part_is_encoder(const struct conf_part *part)
{
	const char *dot = strchr(part->role, '.');
	return dot && strcmp(dot, ".encoder") == 0;
}

static int finish_assistant(struct parse *p, struct conf_assistant *a, bool resolve)
{
	/* Encoders alone make embeddings; what else there is needs a decoder. */
	bool decoder = a->model != NULL, others = false;
	for (size_t i = 0; i < a->n_parts; i++) {
		decoder |= strcmp(a->parts[i].role, "decoder") == 0;
		others |= !part_is_encoder(&a->parts[i]);
	}
	p->line = a->line;
	if (!decoder && a->n_parts == 0)
		return parse_fail(p, "[assistant %s] has no parts; expected model = BUNDLE or decoder = PLUGIN", a->name);
	if (!decoder && others)
		return parse_fail(p, "[assistant %s] has no decoder; expected model = BUNDLE or decoder = PLUGIN", a->name);
	int rc = resolve ? resolve_model(p, &a->model, a->model_line) : 0;
	if (rc == 0 && resolve && a->mmproj && strcmp(a->mmproj, "none") != 0)
		rc = resolve_model(p, &a->mmproj, a->mmproj_line);
	for (size_t i = 0; i < a->n_parts && rc == 0 && resolve; i++)
		rc = resolve_model(p, &a->parts[i].model, a->parts[i].line);
	return rc;
}

static int parse_finish(struct parse *p, bool resolve)
{
	struct conf *conf = p->conf;
	struct conf_daemon *d = &conf->daemon;
	conf->model_path = place_model_path(d->models);
	conf->plugin_path = place_plugin_path(d->plugins);
	if (conf->model_path == NULL || conf->plugin_path == NULL)
		return parse_nomem(p);
	if (conf->n_assistants == 0) {
		struct conf_assistant *a = assistant_add(conf, "default", 0);
		if (a == NULL || (a->model = strdup("tiny-llava")) == NULL)
			return parse_nomem(p);
	}
	for (size_t i = 0; i < conf->n_assistants; i++) {
		int rc = finish_assistant(p, &conf->assistants[i], resolve);
		if (rc < 0)
			return rc;
	}
	return 0;
}

struct conf *conf_parse(const char *file, const char *text, size_t n, bool resolve, struct conf_error *error)
{
	struct parse p = {.file = file, .error = error, .at = text, .end = text + n};
	error->text[0] = '\0';
	p.conf = calloc(1, sizeof(*p.conf));
	if (p.conf == NULL || conf_keys_defaults(CONF_DAEMON, &p.conf->daemon) < 0) {
		parse_nomem(&p);
		goto fail;
	}
	if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		p.at += 3;
	ini_use_stack = false; /* lines longer than the library's stack buffer */
	ini_max_line = PARSE_LINE;
	ini_initial_alloc = PARSE_LINE;
	ini_allow_inline_comments = false; /* cut above, with quotes respected */
	int line = ini_parse_stream(parse_read, &p, parse_key, &p);
	if (line == -2)
		parse_nomem(&p);
	else if (line != 0 && p.rc == 0)
		parse_fail(&p, "the line is neither a section nor a key; expected key = value");
	if (p.rc == 0 && parse_finish(&p, resolve) == 0)
		return p.conf;
fail:
	conf_free(p.conf);
	return NULL;
}
