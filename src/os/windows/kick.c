/* Kicks without signals: who kicks a thread does it itself, to all that the thread runs. */
#include "os/kick.h"
#include "os/thread.h"

#include <pthread.h>

/* What all threads run; linked by `outer`. A target stays while the lock is held. */
static pthread_mutex_t targets_lock = PTHREAD_MUTEX_INITIALIZER;
static struct hl__kick_target *targets;

void hl__kick_enter(struct hl__kick_target *target)
{
    target->thread = hl__os_thread_id();
    pthread_mutex_lock(&targets_lock);
    target->outer = targets;
    targets = target;
    pthread_mutex_unlock(&targets_lock);
}

void hl__kick_leave(struct hl__kick_target *target)
{
    pthread_mutex_lock(&targets_lock);
    struct hl__kick_target **at = &targets;
    while (*at != target)
        at = &(*at)->outer;
    *at = target->outer;
    pthread_mutex_unlock(&targets_lock);
}

bool hl__kick_send(int thread, int signal)
{
    (void)signal;
    pthread_mutex_lock(&targets_lock);
    for (struct hl__kick_target *target = targets; target; target = target->outer)
        if (target->thread == thread)
            target->kick(target->vcpu);
    pthread_mutex_unlock(&targets_lock);
    return true;
}

/* The rest is about signals, of which there are none. */

hl_status hl__kick_signal(int wanted, int *signal, hl_error *err)
{
    (void)err;
    *signal = wanted;
    return HL_OK;
}

hl_status hl__kick_acquire(int signal, hl_error *err)
{
    (void)signal, (void)err;
    return HL_OK;
}

void hl__kick_release(void)
{
}

hl_status hl__kick_borrow(int *signal, hl_error *err)
{
    (void)err;
    *signal = 0;
    return HL_OK;
}

void hl__kick_return(int signal)
{
    (void)signal;
}

bool hl__kick_unblock(int signal)
{
    (void)signal;
    return false;
}

void hl__kick_block(int signal)
{
    (void)signal;
}
