/* Whether a key occurs twice in a map, without quadratic work: the host would end the call for it. */
#include "functions/value.h"

#define PAIRWISE_MAX 16u

/* Orders by size first: most comparisons then need not look at the text. */
static int key_compare(const reader *r, uint64_t a, uint64_t b)
{
    uint64_t size = value_head(r, a).data, other = value_head(r, b).data;

    if (size != other)
        return size < other ? -1 : 1;
    return memcmp(r->bytes + a + VALUE_HEAD_SIZE, r->bytes + b + VALUE_HEAD_SIZE, size);
}

static bool unique_pairwise(const reader *r, const uint64_t *keys, uint64_t count)
{
    for (uint64_t i = 1; i < count; i++)
        for (uint64_t j = 0; j < i; j++)
            if (key_compare(r, keys[i], keys[j]) == 0)
                return false;
    return true;
}

static void sift_down(const reader *r, uint64_t *keys, uint64_t root, uint64_t count)
{
    uint64_t moving = keys[root];

    for (uint64_t child; (child = 2 * root + 1) < count; root = child) {
        if (child + 1 < count && key_compare(r, keys[child], keys[child + 1]) < 0)
            child++;
        if (key_compare(r, moving, keys[child]) >= 0)
            break;
        keys[root] = keys[child];
    }
    keys[root] = moving;
}

/* Heapsort: no worst case to aim at, no recursion. */
static void sort(const reader *r, uint64_t *keys, uint64_t count)
{
    for (uint64_t root = count / 2; root-- > 0;)
        sift_down(r, keys, root, count);
    for (uint64_t end = count; end-- > 1;) {
        uint64_t greatest = keys[0];

        keys[0] = keys[end];
        keys[end] = greatest;
        sift_down(r, keys, 0, end);
    }
}

bool hl__json_keys_unique(const reader *r, uint64_t *keys, uint64_t count)
{
    if (count <= PAIRWISE_MAX)
        return unique_pairwise(r, keys, count);
    sort(r, keys, count);
    for (uint64_t i = 1; i < count; i++)
        if (key_compare(r, keys[i - 1], keys[i]) == 0)
            return false;
    return true;
}
