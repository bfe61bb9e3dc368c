/* execve: another program takes the place of the one that runs. */
#include "base/linux.h"
#include "base/machine.h"
#include "base/text.h"
#include "entry/access.h"
#include "entry/state.h"
#include "entry/syscall.h"
#include "file/file.h"
#include "file/path.h"
#include "host/edits.h"
#include "host/host.h"
#include "memory/memory.h"
#include "program/load.h"
#include "thread/thread.h"

#include <string.h>

#define DESCRIPTOR_NAME_MAX 20u /* "/dev/fd/4294967295/" and a NUL */

static struct hl__program next; /* only one is on its way */

/* The strings of a NULL-terminated array of pointers; counts them. */
static int64_t take_array(uint64_t array, uint32_t *count)
{
    for (uint64_t address; array; array += sizeof address, (*count)++) {
        int64_t failure = hl__user_read(&address, array, sizeof address);

        if (failure < 0 || !address)
            return failure;
        failure = hl__strings_add_user(&next.strings, address);
        if (failure < 0)
            return failure;
    }
    return 0;
}

static char path[HL__ELF_PATH_MAX]; /* of the next program, as that is told */

/* Everything that can fail without harm. */
static int64_t prepare(uint64_t arguments, uint64_t environment)
{
    static char text[HL_ABI_REFUSAL_TEXT_MAX];
    enum hl_abi_refusal refusal;
    int64_t failure = take_array(arguments, &next.strings.argument_count);

    if (failure >= 0 && !next.strings.argument_count) {
        failure = hl__strings_add(&next.strings, ""); /* as Linux does */
        next.strings.argument_count = 1;
    }
    if (failure >= 0)
        failure = take_array(environment, &next.strings.environment_count);
    return failure < 0 ? failure : hl__program_open(&next, path, &refusal, text);
}

static void close_on_exec(void)
{
    struct hl__descriptors *descriptors = hl__process()->descriptors;

    for (uint32_t i = 0; i < descriptors->capacity; i++)
        if (descriptors->items[i].file && descriptors->items[i].close_on_exec)
            hl__descriptor_close(i);
}

static void reset_thread(void)
{
    const char *name = next.path;
    uint64_t size = 0;

    for (const char *at = next.path; *at; at++)
        if (*at == '/')
            name = at + 1;
    memset(hl__thread->name, 0, sizeof hl__thread->name);
    while (name[size] && size + 1 < sizeof hl__thread->name)
        size++;
    memcpy(hl__thread->name, name, size);
    hl__thread->signals.stack = (struct linux_stack){.flags = SS_DISABLE};
    hl__wrfsbase(0);
    hl__wrgsbase(0);
    hl__vector_state_load(hl__clean_vector_state);
}

/* An image that cannot move goes where its file says, whoever else is there. */
static bool has_place(const struct hl__elf_plan *plan)
{
    const struct hl__vmas *vmas = &hl__memory.vmas;

    if (plan->movable)
        return true;
    return hl__memory.space->references > 1 ? !hl__vma_any(vmas, plan->start, plan->end)
                                            : !hl__address_space_foreign(plan->start, plan->end);
}

/* Where the new program goes: the old one's space, unless others run in that. NULL: memory has run out. */
static struct hl__address_space *choose_space(void)
{
    struct hl__address_space *old = hl__process()->space;

    return old->references > 1 ? hl__address_space_new() : old;
}

/* Leaves the memory that the old program shares with others, or empties it. */
static void enter_space(struct hl__address_space *space)
{
    struct hl__process *process = hl__process();
    struct hl__address_space *old = process->space;

    hl__thread_leave_memory();
    if (space == old) {
        if (!hl__address_space_clear(old))
            hl__process_refuse(HL_ABI_REFUSAL_MEMORY,
                               "out of memory: a program could not be replaced");
        return;
    }
    process->space = space;
    hl__address_space_unref(old);
    hl__address_space_enter(space);
    hl__process_release_parent(process);
}

/* `failure`: of what was done so far. */
static int64_t execute(int64_t failure, uint64_t arguments, uint64_t environment)
{
    struct hl__address_space *space = NULL;

    if (failure >= 0)
        failure = prepare(arguments, environment);
    if (!failure &&
        (!has_place(&next.plan) || (next.interpreter && !has_place(&next.interpreter_plan))))
        failure = -ENOMEM;
    if (!failure && !(space = choose_space()))
        failure = -ENOMEM;
    if (!failure) {
        hl__threads_end_others();
        enter_space(space);
        hl__process()->executed = true;
        hl__intervals_delete(hl__process());
        close_on_exec();
        hl__signals_reset(hl__process());
        hl__program_load(&next, &hl__hot.syscall);
        reset_thread();
    }
    hl__program_close(&next);
    return failure;
}

HL__SYSCALL(execve)
{
    hl__program_close(&next); /* of a call that ended its process */
    return execute(hl__user_string(path, arg[0], sizeof path), arg[1], arg[2]);
}

/* The program that a descriptor and a path name together, and the name that it gets for that. */
static int64_t find_at(uint64_t descriptor, uint64_t address, uint64_t flags)
{
    uint32_t options = (flags & AT_EMPTY_PATH ? HL__PLACE_EMPTY : 0) |
                       (flags & AT_SYMLINK_NOFOLLOW ? 0 : HL__PLACE_FOLLOW);
    struct hl__place place;
    struct hl__text text;
    int64_t failure = hl__place_at(descriptor, address, options, &place);

    if (failure < 0)
        return failure;
    next.file = place.inode ? place.inode : place.file ? place.file->inode : NULL;
    if (next.file)
        hl__inode_ref(next.file);
    hl__place_free(&place);
    if (!next.file)
        return -EACCES;
    if ((next.file->mode & S_IFMT) == S_IFLNK)
        return -ELOOP;
    failure = hl__user_string(path, address, sizeof path);
    if (failure < 0 || path[0] == '/' || (int32_t)descriptor == AT_FDCWD)
        return failure;
    memmove(path + DESCRIPTOR_NAME_MAX, path, sizeof path - DESCRIPTOR_NAME_MAX);
    path[sizeof path - 1] = 0;
    hl__text_start(&text, path, DESCRIPTOR_NAME_MAX);
    hl__text_add(&text, "/dev/fd/");
    hl__text_add_number(&text, (uint32_t)descriptor);
    hl__text_add(&text, path[DESCRIPTOR_NAME_MAX] ? "/" : "");
    memmove(path + text.size, path + DESCRIPTOR_NAME_MAX, sizeof path - DESCRIPTOR_NAME_MAX);
    return 0;
}

HL__SYSCALL(execveat)
{
    hl__program_close(&next);
    if (arg[4] & ~(uint64_t)(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW))
        return -EINVAL;
    return execute(find_at(arg[0], arg[1], arg[4]), arg[2], arg[3]);
}
