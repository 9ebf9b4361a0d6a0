/* list.h - a doubly linked ring of nodes that lie inside what they link. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stddef.h>

/* Both the head and a member. A member that is in no list is linked to itself. */
struct list {
	struct list *next;
	struct list *prev;
};

/* The struct around a member. */
#define list_entry(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))
/* Every node of `head`; the current one may be removed. `node` and `after` are struct list pointers. */
#define list_each(node, after, head)                                                              \
	for ((node) = (head)->next, (after) = (node)->next; (node) != (head); (node) = (after), (after) = (node)->next)

static inline void list_init(struct list *head)
{
	head->next = head->prev = head;
}

static inline int list_empty(const struct list *head)
{
	return head->next == head;
}

/* Adds at the end of `head`. */
static inline void list_add(struct list *head, struct list *node)
{
	node->next = head;
	node->prev = head->prev;
	head->prev->next = node;
	head->prev = node;
}

/* Takes `node` out of its list; harmless if it is in none. */
static inline void list_remove(struct list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

/* The first node, taken out, or NULL. */
static inline struct list *list_pop(struct list *head)
{
	struct list *node = head->next;
	if (node == head)
		return NULL;
	list_remove(node);
	return node;
}

/* Moves all of `from` behind `to`. */
static inline void list_move(struct list *to, struct list *from)
{
	if (list_empty(from))
		return;
	to->prev->next = from->next;
	from->next->prev = to->prev;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

#endif
