/* part.c - a line of an assistant that names a part: role = plugin model=... option=... */
#include "daemon/conf/keys.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool conf_is_role(const char *name)
{
	static const char *const media[] = {"image.", "audio.", "video."};
	static const char *const parts[] = {"encoder", "connector", "expert", "generator"};
	if (strcmp(name, "decoder") == 0)
		return true;
	for (size_t i = 0; i < 3; i++)
		for (size_t k = 0; k < 4 && strncmp(name, media[i], 6) == 0; k++)
			if (strcmp(name + 6, parts[k]) == 0)
				return true;
	return false;
}

void conf_part_fini(struct conf_part *part)
{
	free(part->role);
	free(part->plugin);
	free(part->model);
	for (size_t i = 0; i < part->n_options; i++) {
		free(part->options[i].name);
		free(part->options[i].value);
	}
	free(part->options);
	memset(part, 0, sizeof(*part));
}

/* The next word of *text, by malloc; double quotes keep blanks together, \" and \\ stand for themselves within. NULL
 * and *rc: 0 at the end, -EINVAL for a quote that does not end. */
static char *part_word(const char **text, int *rc)
{
	const char *at = *text + strspn(*text, " \t");
	bool quoted = false;
	*rc = 0;
	if (*at == '\0')
		return NULL;
	char *word = malloc(strlen(at) + 1), *out = word;
	if (word == NULL) {
		*rc = -ENOMEM;
		return NULL;
	}
	for (; *at && (quoted || (*at != ' ' && *at != '\t')); at++) {
		if (*at == '"') {
			quoted = !quoted;
			continue;
		}
		if (quoted && *at == '\\' && (at[1] == '"' || at[1] == '\\'))
			at++;
		*out++ = *at;
	}
	*out = '\0';
	*text = at;
	if (!quoted)
		return word;
	free(word);
	*rc = -EINVAL;
	return NULL;
}

static bool part_is_name(const char *text, size_t n)
{
	if (n == 0 || n > 64)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)text[i]) && strchr("_-.", text[i]) == NULL)
			return false;
	return true;
}

/* One "name=value" that `word` (taken over) holds. */
static int part_option(struct conf_part *part, char *word, char why[160])
{
	char *equals = strchr(word, '=');
	int rc = -EINVAL;
	if (equals == NULL || !part_is_name(word, (size_t)(equals - word)) || equals[1] == '\0') {
		snprintf(why, 160, "%.60s is no option; expected name=value behind the plugin's name", word);
		goto out;
	}
	*equals = '\0';
	bool model = strcmp(word, "model") == 0, twice = model && part->model;
	for (size_t i = 0; i < part->n_options; i++)
		twice |= strcmp(part->options[i].name, word) == 0;
	if (twice) {
		snprintf(why, 160, "the option %.60s is there twice; expected it once", word);
		goto out;
	}
	rc = -ENOMEM;
	char *value = strdup(equals + 1);
	if (value == NULL)
		goto out;
	if (model) {
		part->model = value;
		rc = 0;
		goto out;
	}
	struct conf_option *grown = realloc(part->options, (part->n_options + 1) * sizeof(*grown));
	if (grown == NULL) {
		free(value);
		goto out;
	}
	part->options = grown;
	part->options[part->n_options++] = (struct conf_option){word, value};
	return 0;
out:
	free(word);
	return rc;
}

int conf_part_parse(struct conf_part *part, const char *text, char why[160])
{
	int rc;
	char *word;
	part->plugin = part_word(&text, &rc);
	if (part->plugin && !part_is_name(part->plugin, strlen(part->plugin))) {
		snprintf(why, 160, "%.60s is no plugin's name; expected: plugin [model=MODEL] [option=value]...", part->plugin);
		return -EINVAL;
	}
	if (part->plugin == NULL && rc == 0) {
		snprintf(why, 160, "a plugin is missing; expected: plugin [model=MODEL] [option=value]...");
		return -EINVAL;
	}
	while (rc == 0 && (word = part_word(&text, &rc)) != NULL)
		rc = part_option(part, word, why);
	if (rc == -EINVAL && why[0] == '\0')
		snprintf(why, 160, "a quote is not closed; expected a second \"");
	return rc;
}
