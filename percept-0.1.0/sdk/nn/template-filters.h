/* template-filters.h - filters on lists, for the table of filters. */
#ifndef NN_TEMPLATE_FILTERS_H
#define NN_TEMPLATE_FILTERS_H

#include "sdk/nn/template-parts.h"

typedef int template_filter(struct run *r, struct value self, const struct args *args, struct value *out);

template_filter filter_batch, filter_dictsort, filter_first, filter_groupby, filter_items, filter_join, filter_last,
	filter_list, filter_map, filter_max, filter_min, filter_reject, filter_rejectattr, filter_reverse, filter_select,
	filter_selectattr, filter_sort, filter_sum, filter_unique;

#endif
