/*
 * Where functions lie. After a guest ran, the processor has forgotten what it knew of the host's
 * code: each branch that is taken then costs about 4 ns, each page of code 25. So the functions that
 * every call runs through lie together, and what follows from an error lies elsewhere.
 */
#ifndef HL_UTIL_PLACEMENT_H
#define HL_UTIL_PLACEMENT_H

#define HL__WARM_PATH __attribute__((hot))
#define HL__COLD_PATH __attribute__((cold))

#endif
