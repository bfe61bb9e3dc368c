/* Finds duplicate map keys and function names without quadratic work, however hostile they are. */
#include "wire/codec.h"

#include <stdlib.h>

/* Up to this many keys are compared pair by pair, which needs no memory. */
#define KEYS_PAIRWISE_MAX 32

/* Orders by size first: most comparisons then need not look at the text. */
static int keys_compare(const hl_span *left, const hl_span *right)
{
    if (left->size != right->size)
        return left->size < right->size ? -1 : 1;
    return left->size == 0 ? 0 : memcmp(left->data, right->data, left->size);
}

static const hl_span *keys_at(const hl_span *first, size_t stride, size_t index)
{
    return (const hl_span *)(const void *)((const char *)first + index * stride);
}

static bool keys_pairwise(const hl_span *first, size_t stride, size_t count)
{
    for (size_t i = 1; i < count; i++)
        for (size_t j = 0; j < i; j++)
            if (keys_compare(keys_at(first, stride, i), keys_at(first, stride, j)) == 0)
                return false;
    return true;
}

static void keys_sift_down(const hl_span **keys, size_t root, size_t count)
{
    const hl_span *moving = keys[root];
    for (size_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && keys_compare(keys[child], keys[child + 1]) < 0)
            child++;
        if (keys_compare(moving, keys[child]) >= 0)
            break;
        keys[root] = keys[child];
    }
    keys[root] = moving;
}

/* Heapsort: no worst case to aim at, no recursion. */
static void keys_sort(const hl_span **keys, size_t count)
{
    for (size_t root = count / 2; root-- > 0;)
        keys_sift_down(keys, root, count);
    for (size_t end = count; end-- > 1;) {
        const hl_span *greatest = keys[0];
        keys[0] = keys[end];
        keys[end] = greatest;
        keys_sift_down(keys, 0, end);
    }
}

/* Whether there are no two equal ones next to each other. */
static bool keys_apart(const hl_span *const *keys, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (keys_compare(keys[i - 1], keys[i]) == 0)
            return false;
    return true;
}

bool hl__wire_keys_unique(const hl_span *first, size_t stride, size_t count,
                          hl__wire_problem *problem, hl_status status, const char *reason)
{
    bool unique;
    if (count <= KEYS_PAIRWISE_MAX) {
        unique = keys_pairwise(first, stride, count);
    } else {
        const hl_span **keys = calloc(count, sizeof *keys);
        if (keys == NULL)
            return hl__wire_refuse(problem, HL_OUT_OF_MEMORY, "out of memory");
        for (size_t i = 0; i < count; i++)
            keys[i] = keys_at(first, stride, i);
        keys_sort(keys, count);
        unique = keys_apart(keys, count);
        free(keys);
    }
    return unique || hl__wire_refuse(problem, status, reason);
}
