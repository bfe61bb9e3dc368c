/* What the process holds of the system: a test counts before and after, and nothing may be left. */
#ifndef HL_TESTS_CENSUS_H
#define HL_TESTS_CENSUS_H

/* linux/census.c, windows/census.c. Mappings are not counted (0) where they come and go by themselves. */
struct census {
    unsigned descriptors, mappings, threads;
};

struct census census_take(void);
/* Its descriptors alone. */
unsigned census_descriptors(void);
/* Descriptors that the system's own libraries may open once and keep, whatever the test does. */
extern const unsigned census_slack;
/* Fails the test unless the process holds as many descriptors as before, now. */
void census_expect_descriptors(unsigned before);

/* Fails the test unless the process comes to hold no more than `before` within a few seconds: the
 * kernel ends the threads of a VM in its own time. */
void census_expect(const struct census *before);

/* As many descriptors as the system allows this process. */
void census_raise_limits(void);

#endif
