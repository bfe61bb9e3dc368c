/* Threads: their making and their end. */
#include "thread/thread.h"
#include "base/machine.h"
#include "entry/access.h"
#include "entry/state.h"
#include "file/file.h"
#include "memory/address_space.h"
#include "memory/heap.h"
#include "program/limits.h"
#include "thread/futex.h"
#include "time/clock.h"

#include <string.h>

#define VECTOR_ALIGNMENT 64u

static int32_t last_id = HL__PROCESS_ID - 1;
static uint32_t thread_count; /* of all processes */

static struct hl__thread first_thread;

/* Groups and sessions keep the numbers of processes that are gone. */
static bool id_is_used(int32_t id)
{
    for (const struct hl__process *process = hl__processes; process; process = process->all_next)
        if (process->id == id || process->group == id || process->session == id)
            return true;
    return hl__thread_find_any(id);
}

/* Numbers go up and around, as in Linux; one that is in use is passed over. */
static int32_t id_new(void)
{
    do
        last_id = last_id < HL__THREAD_ID_MAX ? last_id + 1 : HL__PROCESS_ID + 1;
    while (hl__thread && id_is_used(last_id));
    return last_id;
}

static void thread_link(struct hl__thread *thread, struct hl__process *process)
{
    struct hl__thread **at = &process->threads;

    thread->process = process;
    while (*at) {
        thread->all_previous = *at;
        at = &(*at)->all_next;
    }
    *at = thread;
    process->thread_count++;
    thread_count++;
}

static void thread_unlink(struct hl__thread *thread)
{
    if (thread->all_previous)
        thread->all_previous->all_next = thread->all_next;
    else
        thread->process->threads = thread->all_next;
    if (thread->all_next)
        thread->all_next->all_previous = thread->all_previous;
    thread->process->thread_count--;
    thread_count--;
}

void hl__threads_init(void)
{
    struct hl__process *process = hl__processes;

    first_thread.id = process->id = process->group = process->session = id_new();
    process->space = hl__address_space_first();
    hl__intervals_init(process);
    hl__limits_init(process);
    first_thread.signals.stack.flags = SS_DISABLE;
    memcpy(first_thread.name, "guest", sizeof "guest");
    process->file_mask = 022;
    thread_link(&first_thread, process);
    hl__thread = &first_thread;
    hl__hot.tick_ns = UINT64_MAX;
    first_thread.started_ns = hl__clock_monotonic_ns();
    hl__vector_state_init();
}

static uint64_t vector_memory_size(void)
{
    return hl__vector_state_size() + VECTOR_ALIGNMENT - 1;
}

/* Where its vector registers go when it stops running. */
static bool vector_area_new(struct hl__thread *thread)
{
    if (!thread->vector_state) {
        thread->vector_memory = hl__heap_new(vector_memory_size());
        if (thread->vector_memory)
            thread->vector_state =
                (uint8_t *)(((uint64_t)thread->vector_memory + VECTOR_ALIGNMENT - 1) &
                            ~(uint64_t)(VECTOR_ALIGNMENT - 1));
    }
    return thread->vector_state;
}

struct hl__thread *hl__thread_new(struct hl__process *process)
{
    struct hl__thread *creator = hl__thread, *thread;

    if (thread_count == HL__THREADS_MAX || !vector_area_new(creator))
        return NULL;
    thread = hl__heap_new(sizeof *thread);
    if (!thread)
        return NULL;
    if (!vector_area_new(thread)) {
        hl__heap_free(thread, sizeof *thread);
        return NULL;
    }
    hl__vector_state_save(thread->vector_state);
    thread->registers = hl__hot.syscall;
    thread->fs_base = hl__rdfsbase();
    thread->gs_base = hl__rdgsbase();
    thread->id = id_new();
    thread->signals.mask = creator->signals.mask;
    thread->signals.stack.flags = SS_DISABLE;
    memcpy(thread->name, creator->name, sizeof thread->name);
    if (!process->id)
        process->id = thread->id;
    thread_link(thread, process);
    return thread;
}

void hl__thread_free(struct hl__thread *thread)
{
    struct hl__process *process = thread->process;

    hl__heap_free(thread->vector_memory, vector_memory_size());
    thread->vector_state = thread->vector_memory = NULL;
    if (thread != &first_thread)
        hl__heap_free(thread, sizeof *thread);
    if (process->ended && !process->parent)
        hl__process_free(process);
}

static struct hl__thread *find_in(const struct hl__process *process, int32_t id)
{
    for (struct hl__thread *thread = process->threads; thread; thread = thread->all_next)
        if (thread->id == id)
            return thread;
    return NULL;
}

struct hl__thread *hl__thread_find(int32_t id)
{
    return find_in(hl__process(), id);
}

struct hl__thread *hl__thread_find_any(int32_t id)
{
    struct hl__thread *thread = NULL;

    for (const struct hl__process *process = hl__processes; process && !thread;
         process = process->all_next)
        thread = find_in(process, id);
    return thread;
}

bool hl__thread_is_only(void)
{
    return thread_count == 1;
}

uint64_t hl__process_cpu_ns(const struct hl__process *process)
{
    uint64_t sum = process->ended_cpu_ns;

    for (struct hl__thread *thread = process->threads; thread; thread = thread->all_next)
        sum += hl__thread_cpu_ns(thread);
    return sum;
}

/* A thread leaves its process for good. */
static void thread_retire(struct hl__thread *thread)
{
    thread->process->ended_cpu_ns += hl__thread_cpu_ns(thread);
    hl__signals_drop(&thread->signals.waiting);
    hl__process_forget_waiter(thread);
    hl__files_release(&thread->wait);
    thread_unlink(thread);
    thread->state = HL__THREAD_ENDED;
}

void hl__threads_end_others(void)
{
    struct hl__thread *next;

    for (struct hl__thread *thread = hl__process()->threads; thread; thread = next) {
        next = thread->all_next;
        if (thread == hl__thread)
            continue;
        hl__schedule_forget(thread);
        thread_retire(thread);
        hl__thread_free(thread);
    }
    hl__thread->id = hl__process()->id;
}

void hl__thread_end(void)
{
    thread_retire(hl__thread);
    hl__hot.attention = true; /* somebody else runs now */
}

void hl__thread_leave_memory(void)
{
    struct hl__thread *thread = hl__thread;
    const uint32_t zero = 0;

    hl__robust_list_leave(thread);
    if (thread->clear_id_address && !hl__user_write(thread->clear_id_address, &zero, sizeof zero))
        hl__futex_wake_one(thread->clear_id_address);
    thread->clear_id_address = 0;
    thread->robust_list = 0;
}

void hl__thread_exit(int code)
{
    struct hl__process *process = hl__process();

    if (hl__thread->id == process->id)
        process->exit_code = code;
    hl__thread_leave_memory();
    if (process->thread_count == 1)
        hl__process_exit(process->exit_code, 0, NULL);
    hl__thread_end();
}
