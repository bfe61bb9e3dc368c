/* Waiting and waking. */
#include "thread/wait.h"
#include "thread/thread.h"
#include "time/clock.h"

#include <stddef.h>

static struct hl__queue any_change; /* threads that wait for any change of any file */

static struct hl__thread *thread_of_timer(struct hl__timer *timer)
{
    return (struct hl__thread *)((uint8_t *)timer - offsetof(struct hl__thread, wait.timer));
}

void hl__queue_add(struct hl__queue *queue, struct hl__thread *thread)
{
    thread->next = NULL;
    thread->previous = queue->last;
    if (queue->last)
        queue->last->next = thread;
    else
        queue->first = thread;
    queue->last = thread;
}

void hl__queue_remove(struct hl__queue *queue, struct hl__thread *thread)
{
    if (thread->previous)
        thread->previous->next = thread->next;
    else
        queue->first = thread->next;
    if (thread->next)
        thread->next->previous = thread->previous;
    else
        queue->last = thread->previous;
    thread->next = thread->previous = NULL;
}

void hl__wait_leave(struct hl__thread *thread)
{
    if (thread->wait.queue)
        hl__queue_remove(thread->wait.queue, thread);
    thread->wait.queue = NULL;
    hl__timer_cancel(&thread->wait.timer);
}

static void wait_expired(struct hl__timer *timer)
{
    hl__wake_thread(thread_of_timer(timer));
}

int64_t hl__wait_on(struct hl__queue *queue, uint64_t deadline_ns)
{
    struct hl__thread *thread = hl__thread;

    if (deadline_ns != UINT64_MAX && !hl__timer_set(&thread->wait.timer, deadline_ns, wait_expired))
        return -ENOMEM;
    thread->wait.started = true;
    thread->wait.queue = queue;
    thread->state = HL__THREAD_WAITING;
    if (queue)
        hl__queue_add(queue, thread);
    return HL__WAITING;
}

int64_t hl__wait_any(uint64_t deadline_ns)
{
    return hl__wait_on(&any_change, deadline_ns);
}

uint64_t hl__wait_deadline(uint64_t timeout_ns)
{
    struct hl__wait *wait = &hl__thread->wait;
    uint64_t now;

    if (!wait->started) {
        now = timeout_ns == UINT64_MAX ? 0 : hl__clock_monotonic_ns();
        wait->deadline_ns = timeout_ns < UINT64_MAX - now ? now + timeout_ns : UINT64_MAX;
    }
    return wait->deadline_ns;
}

bool hl__wait_expired(uint64_t deadline_ns)
{
    return deadline_ns != UINT64_MAX && hl__clock_monotonic_ns() >= deadline_ns;
}

void hl__wake_thread(struct hl__thread *thread)
{
    if (thread->state != HL__THREAD_WAITING)
        return;
    hl__wait_leave(thread);
    hl__thread_ready(thread);
}

static void wake_all(struct hl__queue *queue)
{
    while (queue->first)
        hl__wake_thread(queue->first);
}

void hl__wake(struct hl__queue *queue)
{
    wake_all(queue);
    wake_all(&any_change);
}
