/* odd.h - golden folders of which one value is another: what plugins say of them. */
#ifndef TESTS_PLUGINS_ODD_H
#define TESTS_PLUGINS_ODD_H

#include <stddef.h>

/* One value of a golden folder's configuration is another: `path` are keys with dots between. NULL: the file as it is. */
struct odd {
	const char *plugin, *folder, *file, *path, *value;
};

/* What open() of the plugin, an encoder, a fusion connector or a decoder, gave, and why. */
int odd_open(const struct odd *o, char text[512]);
/* Each of them must be opened. */
void odd_taken(const struct odd *odd, size_t n);
/* Each of them must be refused with a sentence. */
void odd_refused(const struct odd *odd, size_t n);

#endif
