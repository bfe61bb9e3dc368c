/* Timers: a binary heap ordered by deadline. */
#include "time/timer.h"
#include "entry/state.h"
#include "memory/heap.h"
#include "thread/thread.h"
#include "time/clock.h"

#define CAPACITY_START 32u

static struct {
    struct hl__timer **items;
    uint32_t count, capacity;
} timers;

static void timer_place(struct hl__timer *timer, uint32_t at)
{
    timers.items[at] = timer;
    timer->place = at + 1;
}

static void timer_up(struct hl__timer *timer, uint32_t at)
{
    while (at && timers.items[(at - 1) / 2]->deadline_ns > timer->deadline_ns) {
        timer_place(timers.items[(at - 1) / 2], at);
        at = (at - 1) / 2;
    }
    timer_place(timer, at);
}

static void timer_down(struct hl__timer *timer, uint32_t at)
{
    for (uint32_t child; (child = 2 * at + 1) < timers.count; at = child) {
        if (child + 1 < timers.count &&
            timers.items[child + 1]->deadline_ns < timers.items[child]->deadline_ns)
            child++;
        if (timers.items[child]->deadline_ns >= timer->deadline_ns)
            break;
        timer_place(timers.items[child], at);
    }
    timer_place(timer, at);
}

static bool timers_grow(void)
{
    uint32_t capacity = timers.capacity ? timers.capacity * 2 : CAPACITY_START;
    struct hl__timer **items =
        hl__heap_resize(timers.items, timers.capacity * sizeof *items, capacity * sizeof *items);

    if (!items)
        return false;
    timers.items = items;
    timers.capacity = capacity;
    return true;
}

bool hl__timer_set(struct hl__timer *timer, uint64_t deadline_ns, hl__timer_expired *expired)
{
    hl__timer_cancel(timer);
    if (timers.count == timers.capacity && !timers_grow())
        return false;
    timer->deadline_ns = deadline_ns;
    timer->expired = expired;
    timer_up(timer, timers.count++);
    hl__hot.attention = true; /* perhaps a tick is needed for it */
    return true;
}

void hl__timer_cancel(struct hl__timer *timer)
{
    uint32_t at = timer->place;
    struct hl__timer *last;

    if (!at--)
        return;
    timer->place = 0;
    last = timers.items[--timers.count];
    if (last == timer)
        return;
    timer_down(last, at);
    timer_up(last, last->place - 1);
}

uint64_t hl__timer_next(void)
{
    return timers.count ? timers.items[0]->deadline_ns : UINT64_MAX;
}

void hl__timers_run(uint64_t now_ns)
{
    while (timers.count && timers.items[0]->deadline_ns <= now_ns) {
        struct hl__timer *timer = timers.items[0];

        hl__timer_cancel(timer);
        timer->expired(timer);
    }
}

void hl__timers_move(int64_t by_ns)
{
    /* The order stays as it is. */
    for (uint32_t i = 0; i < timers.count; i++)
        timers.items[i]->deadline_ns += (uint64_t)by_ns;
}
