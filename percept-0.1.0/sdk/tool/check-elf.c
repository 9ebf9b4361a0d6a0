/* check-elf.c - what a plugin exports and what it can write to, read from the file. */
#include "sdk/tool/check.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#if __SIZEOF_POINTER__ == 8
typedef Elf64_Ehdr elf_head;
typedef Elf64_Shdr elf_section;
typedef Elf64_Sym elf_symbol;
typedef Elf64_Dyn elf_dynamic;
#else
typedef Elf32_Ehdr elf_head;
typedef Elf32_Shdr elf_section;
typedef Elf32_Sym elf_symbol;
typedef Elf32_Dyn elf_dynamic;
#endif

/* Bytes of .data and .bss that the compiler's own start files take. */
enum { ELF_START_BYTES = 16 };

struct elf {
	const unsigned char *bytes;
	size_t size;
	const elf_head *head;
	const elf_section *sections;
	size_t n;
	const char *names; /* of the sections */
	size_t n_names;
};

/* `n` things of `each` bytes at `offset`, inside the file and aligned; NULL if they are not. */
static const void *elf_at(const struct elf *e, uint64_t offset, uint64_t n, size_t each)
{
	if (offset > e->size || (each && n > (e->size - offset) / each) || offset % 4)
		return NULL;
	return e->bytes + offset;
}

static int elf_parse(struct elf *e)
{
	e->head = elf_at(e, 0, 1, sizeof(*e->head));
	if (!e->head || memcmp(e->head->e_ident, ELFMAG, SELFMAG) ||
	    e->head->e_ident[EI_CLASS] != (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32) || e->head->e_type != ET_DYN ||
	    e->head->e_shentsize != sizeof(*e->sections))
		return -1;
	e->n = e->head->e_shnum;
	e->sections = elf_at(e, e->head->e_shoff, e->n, sizeof(*e->sections));
	if (!e->sections || e->head->e_shstrndx >= e->n)
		return -1;
	const elf_section *names = &e->sections[e->head->e_shstrndx];

	if (names->sh_offset > e->size || names->sh_size > e->size - names->sh_offset || !names->sh_size ||
	    e->bytes[names->sh_offset + names->sh_size - 1])
		return -1;
	e->names = (const char *)e->bytes + names->sh_offset;
	e->n_names = names->sh_size;
	return 0;
}

static int elf_open(struct elf *e, const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	*e = (struct elf){ 0 };
	if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size > 0) {
		void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);

		e->bytes = map == MAP_FAILED ? NULL : map;
		e->size = e->bytes ? (size_t)st.st_size : 0;
	}
	if (fd >= 0)
		close(fd);
	return e->bytes && !elf_parse(e) ? 0 : -1;
}

static const char *elf_section_name(const struct elf *e, size_t i)
{
	return e->sections[i].sh_name < e->n_names ? e->names + e->sections[i].sh_name : "";
}

/* The symbols of a section of that type and their names; NULL if there is none. */
static const elf_symbol *elf_symbols(const struct elf *e, uint32_t type, size_t *n, const char **names, size_t *n_names)
{
	for (size_t i = 0; i < e->n; i++) {
		const elf_section *s = &e->sections[i];

		if (s->sh_type != type || s->sh_link >= e->n)
			continue;
		const elf_section *text = &e->sections[s->sh_link];

		*n = s->sh_size / sizeof(elf_symbol);
		if (text->sh_offset > e->size || text->sh_size > e->size - text->sh_offset || !text->sh_size ||
		    e->bytes[text->sh_offset + text->sh_size - 1])
			return NULL;
		*names = (const char *)e->bytes + text->sh_offset;
		*n_names = text->sh_size;
		return elf_at(e, s->sh_offset, *n, sizeof(elf_symbol));
	}
	return NULL;
}

/* What linkers define in every shared object. */
static int elf_linkers_own(const char *name)
{
	static const char *const own[] = { "_init", "_fini", "_edata", "_end", "__bss_start", "__dso_handle", "__TMC_END__",
					   "_DYNAMIC", "_GLOBAL_OFFSET_TABLE_" };

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		if (!strcmp(name, own[i]))
			return 1;
	}
	return !strncmp(name, "completed.", 10);
}

/* True if a sanitizer is in it: its own globals and symbols are then everywhere. */
static int elf_sanitized(const struct elf *e)
{
	size_t n = 0, n_names = 0;
	const char *names = NULL;
	const elf_symbol *symbols = elf_symbols(e, SHT_DYNSYM, &n, &names, &n_names);

	for (size_t i = 0; symbols && i < n; i++) {
		const char *name = symbols[i].st_name < n_names ? names + symbols[i].st_name : "";

		if (!strncmp(name, "__asan_", 7) || !strncmp(name, "__tsan_", 7) || !strncmp(name, "__ubsan_", 8))
			return 1;
	}
	return 0;
}

enum check_verdict check_exports(struct check *c)
{
	struct elf e;
	size_t n = 0, n_names = 0;
	const char *names = NULL;
	int found = 0;

	if (elf_open(&e, c->path))
		return check_no(c, "%s is not a shared object of this machine.", c->path);
	if (elf_sanitized(&e))
		return check_skip(c, "it is built with a sanitizer");
	const elf_symbol *symbols = elf_symbols(&e, SHT_DYNSYM, &n, &names, &n_names);

	for (size_t i = 0; symbols && i < n; i++) {
		const char *name = symbols[i].st_name < n_names ? names + symbols[i].st_name : "";
		const int bind = symbols[i].st_info >> 4;

		if (symbols[i].st_shndx == SHN_UNDEF || bind == STB_LOCAL || elf_linkers_own(name))
			continue;
		if (strcmp(name, "percept_plugin"))
			return check_no(c, "It exports %s; a plugin exports percept_plugin alone (-fvisibility=hidden).", name);
		found = 1;
	}
	return found ? CHECK_OK : check_no(c, "It does not export percept_plugin.");
}

/* Names what lies in section `at`, as far as the file still says. */
static void elf_occupants(const struct elf *e, size_t at, char *text, size_t size)
{
	size_t n = 0, n_names = 0, used = 0;
	const char *names = NULL;
	const elf_symbol *symbols = elf_symbols(e, SHT_SYMTAB, &n, &names, &n_names);

	text[0] = '\0';
	for (size_t i = 0; symbols && i < n && used + 1 < size; i++) {
		const char *name = symbols[i].st_name < n_names ? names + symbols[i].st_name : "";

		if (symbols[i].st_shndx == at && *name && symbols[i].st_size && !elf_linkers_own(name))
			used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : ": ", name);
	}
}

enum check_verdict check_globals(struct check *c)
{
	struct elf e;
	char who[200];

	if (elf_open(&e, c->path))
		return check_no(c, "%s is not a shared object of this machine.", c->path);
	if (elf_sanitized(&e))
		return check_skip(c, "it is built with a sanitizer");
	for (size_t i = 0; i < e.n; i++) {
		const char *name = elf_section_name(&e, i);
		const int thread = e.sections[i].sh_flags & SHF_TLS;

		/* What is only relocated (.data.rel.ro, .got, .init_array) is read-only once loaded. */
		if (strcmp(name, ".data") && strcmp(name, ".bss") && strcmp(name, ".tdata") && strcmp(name, ".tbss"))
			continue;
		if (e.sections[i].sh_size <= (thread ? 0 : ELF_START_BYTES))
			continue;
		elf_occupants(&e, i, who, sizeof(who));
		return check_no(c, "It has writable globals: %llu bytes of %s%s. State belongs to the instance that open() makes.",
				(unsigned long long)e.sections[i].sh_size, name, who);
	}
	return CHECK_OK;
}

enum check_verdict check_nodelete(struct check *c)
{
	struct elf e;

	if (elf_open(&e, c->path))
		return check_no(c, "%s is not a shared object of this machine.", c->path);
	for (size_t i = 0; i < e.n; i++) {
		const size_t n = e.sections[i].sh_size / sizeof(elf_dynamic);
		const elf_dynamic *d = e.sections[i].sh_type == SHT_DYNAMIC ?
				       elf_at(&e, e.sections[i].sh_offset, n, sizeof(*d)) : NULL;

		for (size_t k = 0; d && k < n && d[k].d_tag != DT_NULL; k++) {
			if (d[k].d_tag == DT_FLAGS_1 && (d[k].d_un.d_val & DF_1_NODELETE))
				return CHECK_OK;
		}
	}
	return check_no(c, "It is not linked with -Wl,-z,nodelete; link it as percept-plugin.pc says.");
}
