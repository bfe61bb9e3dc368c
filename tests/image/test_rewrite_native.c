/*
 * Rewrites real programs and libraries, and runs them on this machine: a copy of the file gets the patches, and the
 * stubs as a segment more, each with a real `syscall` in the place of the jump into the shim, followed by
 * instructions that leave other values in rcx, r11 and the flags, as the shim may.
 *
 * test-libraries: hl_image_rewrite
 * test-timeout: 300
 */
#include "rewrite_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define LIBC "/lib/x86_64-linux-gnu/libc.so.6"
#define LOADER "/lib64/ld-linux-x86-64.so.2"
#define MUSL "/lib/ld-musl-x86_64.so.1"
#define PAGE_MASK (HL__REWRITE_PAGE - 1ull)
#define COMMAND_SIZE 8192
#define PERCENT_MIN 95

static char folder[] = "/tmp/test-rewrite-XXXXXX";

struct file {
    uint8_t *bytes;
    size_t size;
};

static bool exists(const char *path)
{
    return access(path, R_OK) == 0;
}

static struct file file_read(const char *path)
{
    FILE *stream = fopen(path, "rb");
    struct stat status;
    struct file file;

    assert_non_null(stream);
    assert_int_equal(fstat(fileno(stream), &status), 0);
    file.size = (size_t)status.st_size;
    file.bytes = malloc(file.size + 1);
    assert_non_null(file.bytes);
    assert_int_equal(fread(file.bytes, 1, file.size, stream), file.size);
    fclose(stream);
    return file;
}

static void file_write(const char *name, const struct file *file)
{
    char path[256];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    assert_int_equal(fwrite(file->bytes, 1, file->size, stream), file->size);
    assert_int_equal(fclose(stream), 0);
    assert_int_equal(chmod(path, 0755), 0);
}

/* As long as the jump into the shim. */
static const uint8_t native_call[CHECK_CALL_SIZE] = {
    0x0f, 0x05,                         /* syscall */
    0xb9, 0xde, 0xad, 0xbe, 0xef,       /* mov $0xefbeadde, %ecx */
    0x41, 0xbb, 0xde, 0xad, 0xbe, 0xef, /* mov $0xefbeadde, %r11d */
    0x85, 0xc9, 0xf9,                   /* test %ecx, %ecx; stc */
    0x0f, 0x1f, 0x00};                  /* nop */

/* A segment for the stubs in the place of a note, behind all other segments, as loaders want them in order. */
static void segment_add(struct file *file, const struct hl__rewrite *out, uint64_t offset)
{
    Elf64_Ehdr *header = (Elf64_Ehdr *)file->bytes;
    Elf64_Phdr *segments = (Elf64_Phdr *)(file->bytes + header->e_phoff);
    unsigned note = header->e_phnum, last = 0;

    for (unsigned i = 0; i < header->e_phnum; i++) {
        if (segments[i].p_type == PT_NOTE || segments[i].p_type == PT_GNU_PROPERTY)
            note = i;
        if (segments[i].p_type == PT_LOAD)
            last = i;
    }
    if (note == header->e_phnum)
        note = header->e_phnum - 1u; /* musl's libc.so has PT_GNU_RELRO or PT_GNU_STACK there */
    assert_int_not_equal(segments[note].p_type, PT_LOAD);
    for (; note < last; note++)
        segments[note] = segments[note + 1];
    for (; note > last + 1; note--)
        segments[note] = segments[note - 1];
    segments[note] = (Elf64_Phdr){.p_type = PT_LOAD,
                                  .p_flags = PF_R | PF_X,
                                  .p_offset = offset,
                                  .p_vaddr = out->stubs_address,
                                  .p_paddr = out->stubs_address,
                                  .p_filesz = (uint64_t)out->stubs_pages * HL__REWRITE_PAGE,
                                  .p_memsz = (uint64_t)out->stubs_pages * HL__REWRITE_PAGE,
                                  .p_align = HL__REWRITE_PAGE};
}

/* Writes the rewritten `path` as `name` in the folder. */
static void rewrite(const char *path, const char *name)
{
    struct file file = file_read(path);
    struct hl__rewrite out;

    assert_true(hl__rewrite_elf(file.bytes, file.size, &out));
    uint64_t offset = (file.size + PAGE_MASK) & ~PAGE_MASK;
    size_t stubs_size = (size_t)out.stubs_pages * HL__REWRITE_PAGE;
    struct file made = {calloc(1, offset + stubs_size), offset + stubs_size};
    assert_non_null(made.bytes);
    memcpy(made.bytes, file.bytes, file.size);
    for (uint32_t i = 0; i < out.patch_count; i++)
        memcpy(made.bytes + out.patch_pages[i] * HL__REWRITE_PAGE,
               out.patch_bytes + (size_t)i * HL__REWRITE_PAGE, HL__REWRITE_PAGE);
    for (uint32_t i = 0; i < out.site_count; i++)
        memcpy(out.stubs + out.sites[i].stub + out.sites[i].stub_at[out.sites[i].syscall],
               native_call, sizeof native_call);
    memcpy(made.bytes + offset, out.stubs, stubs_size);
    segment_add(&made, &out, offset);
    file_write(name, &made);
    free(made.bytes);
    free(file.bytes);
    hl__rewrite_free(&out);
}

/* Runs the command with `prefix` before it and its output into the file `name`; the exit status. */
static int run(const char *prefix, const char *command, const char *name)
{
    char line[COMMAND_SIZE];
    int length =
        snprintf(line, sizeof line, "cd / && export D=%s && timeout -k 1 60 env %s %s >%s/%s 2>&1",
                 folder, prefix, command, folder, name);

    assert_in_range(length, 1, sizeof line - 1);
    return system(line);
}

static void dump(const char *name)
{
    char line[256];
    snprintf(line, sizeof line, "head -c 2000 %s/%s >&2", folder, name);
    if (system(line))
        fprintf(stderr, "(%s cannot be shown)\n", name);
}

/* The command must say the same and end the same, with either prefix. */
static void compare(const char *before, const char *after, const char *command)
{
    char path[256];
    int expected = run(before, command, "expected"), got = run(after, command, "got");

    snprintf(path, sizeof path, "%s/expected", folder);
    struct file one = file_read(path);
    snprintf(path, sizeof path, "%s/got", folder);
    struct file other = file_read(path);
    if (expected != got || one.size != other.size ||
        memcmp(one.bytes, other.bytes, one.size) != 0) {
        fprintf(stderr, "%s %s: ended with %d, not %d\n", after, command, got, expected);
        dump("expected");
        dump("got");
        fail();
    }
    assert_true(one.size > 0);
    free(one.bytes);
    free(other.bytes);
}

/* ---- Tests ---- */

static void count(const char *path)
{
    struct file file;
    struct hl__rewrite out;

    if (!exists(path)) {
        printf("%s: not here\n", path);
        return;
    }
    file = file_read(path);
    assert_true(hl__rewrite_elf(file.bytes, file.size, &out));
    uint32_t seen = out.site_count + out.left_count;
    printf("%s: %u of %u syscall instructions rewritten, %u pages of stubs, %u of patches\n", path,
           out.site_count, seen, out.stubs_pages, out.patch_count);
    assert_true(out.site_count * 100 >= seen * PERCENT_MIN);
    check_rewrite(file.bytes, file.size, &out);
    hl__rewrite_free(&out);
    free(file.bytes);
}

static void almost_all_sites_of_the_usual_libraries_are_rewritten(void **state)
{
    (void)state;
    assert_true(exists(LIBC) && exists(LOADER) && exists(MUSL));
    count(LIBC);
    count(LOADER);
    count(MUSL);
    struct file file = file_read(LIBC);
    struct hl__rewrite out;
    assert_true(hl__rewrite_elf(file.bytes, file.size, &out));
    assert_true(out.site_count >= 400 && out.left_count >= 3); /* restorer, clone and vfork stay */
    hl__rewrite_free(&out);
    free(file.bytes);
}

static void programs_with_a_rewritten_glibc_do_the_same(void **state)
{
    static const char *const commands[] = {
        "/bin/ls -lR /etc/default /usr/lib/python3.11/json",
        "/usr/bin/find /usr/include/linux -name '*.h' -printf '%p %s\\n'",
        "/usr/bin/sha256sum /usr/bin/python3.11 /bin/bash",
        "/usr/bin/sort -R --random-source=/bin/bash /etc/services",
        "/bin/bash -c 'for i in 1 2 3; do (echo $i; sleep 0.01; exit $i) | cat; done; "
        "trap \"echo caught\" USR1; kill -USR1 $$; wait; ls /nowhere; kill -9 $$'",
        "/usr/bin/awk 'BEGIN { while (\"echo a b; echo c d\" | getline) print $2; system(\"exit "
        "3\"); "
        "print length(ENVIRON[\"D\"]) > \"/dev/stderr\"; exit 4 }'",
        "/usr/bin/tar -cf - -C /etc --sort=name default",
        "/bin/bash -c 'timeout 0.05 sleep 5; echo $?'",
    };
    char prefix[256];
    (void)state;

    rewrite(LIBC, "libc.so.6");
    snprintf(prefix, sizeof prefix, "LD_LIBRARY_PATH=%s", folder);
    assert_int_equal(run(prefix, "/bin/grep $D/libc.so.6 /proc/self/maps", "maps"), 0);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        compare("", prefix, commands[i]);
}

static const char python_program[] =
    "import asyncio, os, queue, select, signal, socket, subprocess, sys, tempfile, threading, "
    "time, mmap\n"
    "q = queue.Queue()\n"
    "threads = [threading.Thread(target=lambda n=n: (time.sleep(0.002 * (n % 3)), q.put(n * n))) "
    "for n in range(30)]\n"
    "[t.start() for t in threads]; [t.join() for t in threads]\n"
    "print(sorted(q.queue))\n"
    "print(subprocess.run(['sh', '-c', 'cat; exit 7'], input=b'input', capture_output=True))\n"
    "print([os.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)[1] for _ in range(3)])\n"
    "pid = os.fork()\n"
    "if pid == 0: os._exit(9)\n"
    "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
    "async def server():\n"
    "    async def serve(r, w): w.write((await r.readline()).upper()); await w.drain(); w.close()\n"
    "    s = await asyncio.start_unix_server(serve, os.path.join(tempfile.mkdtemp(), 's'))\n"
    "    r, w = await asyncio.open_unix_connection(s.sockets[0].getsockname())\n"
    "    w.write(b'hello\\n'); print(await r.read()); w.close(); s.close()\n"
    "    p = await asyncio.create_subprocess_exec('echo', 'sub', stdout=subprocess.PIPE)\n"
    "    print(await p.communicate(), await asyncio.gather(*[asyncio.sleep(0.001, i) for i in "
    "range(5)]))\n"
    "asyncio.run(server())\n"
    "seen = []\n"
    "signal.signal(signal.SIGALRM, lambda s, f: seen.append(s))\n"
    "signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)\n"
    "while len(seen) < 50: time.sleep(0.01); os.getppid(); os.stat('/')\n"
    "signal.setitimer(signal.ITIMER_REAL, 0)\n"
    "print(set(seen), signal.sigtimedwait([signal.SIGUSR1], 0.01))\n"
    "a, b = socket.socketpair(); a.sendall(b'x' * 1000); print(len(b.recv(4096)), "
    "select.select([a, b], [a], [], 0)[1] == [a])\n"
    "m = mmap.mmap(-1, 1 << 20); m[5:8] = b'abc'; print(m[4:9])\n"
    "with tempfile.TemporaryFile() as f: f.truncate(1 << 20); os.pwrite(f.fileno(), b'y', 77); "
    "print(os.pread(f.fileno(), 3, 76), f.seek(0, 2))\n"
    "try: os.open('/nowhere', 0)\n"
    "except OSError as e: print(e)\n"
    "sys.exit(5)\n";

static void python_with_a_rewritten_glibc_and_loader_does_the_same(void **state)
{
    const struct file program = {(uint8_t *)python_program, sizeof python_program - 1};
    char prefix[512];
    (void)state;

    if (!exists("/usr/bin/python3.11"))
        skip();
    rewrite(LIBC, "libc.so.6");
    rewrite(LOADER, "loader");
    file_write("program.py", &program);
    snprintf(prefix, sizeof prefix, "%s/loader --library-path %s", folder, folder);
    compare("", prefix, "/usr/bin/python3.11 $D/program.py");
    assert_int_equal(run(prefix, "/usr/bin/python3.11 $D/program.py", "got"), 5 << 8);
}

/* No cancellation of threads: musl looks at the address where a signal found the thread, which only the shim translates. */
static const char musl_program[] =
    "#include <errno.h>\n#include <pthread.h>\n#include <semaphore.h>\n#include "
    "<signal.h>\n#include <stdio.h>\n"
    "#include <stdlib.h>\n#include <string.h>\n#include <time.h>\n#include <unistd.h>\n#include "
    "<sys/wait.h>\n"
    "static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; static pthread_cond_t done = "
    "PTHREAD_COND_INITIALIZER;\n"
    "static int finished; static volatile sig_atomic_t ticks;\n"
    "static void tick(int s) { (void)s; ticks++; }\n"
    "static void *work(void *p) { usleep(1000); pthread_mutex_lock(&lock); finished++; "
    "pthread_cond_signal(&done); pthread_mutex_unlock(&lock); return p; }\n"
    "int main(void) { pthread_t t[20]; void *r; long sum = 0;\n"
    " for (long i = 0; i < 20; i++) pthread_create(&t[i], 0, work, (void *)i);\n"
    " pthread_mutex_lock(&lock); while (finished < 20) pthread_cond_wait(&done, &lock); "
    "pthread_mutex_unlock(&lock);\n"
    " for (int i = 0; i < 20; i++) { pthread_join(t[i], &r); sum += (long)r; }\n"
    " printf(\"%ld\\n\", sum);\n"
    " signal(SIGALRM, tick); ualarm(1000, 1000); while (ticks < 30) { getppid(); usleep(5000); } "
    "ualarm(0, 0);\n"
    " FILE *f = popen(\"echo from a child; exit 3\", \"r\"); char line[99]; fgets(line, 99, f); "
    "printf(\"%s%d\\n\", line, pclose(f)); fflush(stdout);\n"
    " if (!fork()) _exit(6); int s; wait(&s); printf(\"%d %d %s\\n\", s, close(99), "
    "strerror(errno));\n"
    " return system(\"exit 4\") >> 8; }\n";

static void a_static_musl_program_does_the_same(void **state)
{
    const struct file program = {(uint8_t *)musl_program, sizeof musl_program - 1};
    char path[256];
    (void)state;

    file_write("program.c", &program);
    assert_int_equal(run("", "musl-gcc -w -static -O2 -o $D/musl $D/program.c", "log"), 0);
    snprintf(path, sizeof path, "%s/musl", folder);
    rewrite(path, "musl-rewritten");
    compare("$D/musl", "$D/musl-rewritten", "");
    assert_int_equal(run("", "$D/musl-rewritten", "got"), 4 << 8);
}

static void a_rewritten_musl_runs_dynamic_programs(void **state)
{
    const struct file program = {(uint8_t *)musl_program, sizeof musl_program - 1};
    (void)state;

    file_write("program.c", &program);
    assert_int_equal(run("", "musl-gcc -w -O2 -o $D/dynamic $D/program.c", "log"), 0);
    rewrite(MUSL, "musl.so");
    compare("", "$D/musl.so", "$D/dynamic");
}

static bool is_static(const char *path)
{
    struct hl__rewrite out;
    struct file file = file_read(path);
    bool good = hl__rewrite_elf(file.bytes, file.size, &out);
    hl__rewrite_free(&out);
    free(file.bytes);
    return good;
}

/* The first busybox that is static, or NULL; Debian's `busybox` is not. ./dev unpacks one in the build folder. */
static const char *find_static_busybox(void)
{
    static const char *const paths[] = {HL_TEST_BUSYBOX, "/bin/busybox"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        if (exists(paths[i]) && is_static(paths[i]))
            return paths[i];
    return NULL;
}

static void busybox_does_the_same(void **state)
{
    static const char *const commands[] = {
        "sh -c 'for i in 1 2 3 4 5; do (echo $i; exit $i) | cat; done; echo $(echo sub) & wait; "
        "exit 3'",
        "ls -lR /etc/default",
        "find /usr/include/linux -name 'k*.h'",
        "sha256sum /bin/bash",
        "awk 'BEGIN { print length(ENVIRON[\"D\"]); system(\"echo out\"); exit 4 }'",
        "tar -cf - -C /etc default",
        "timeout 1 sleep 5",
    };
    const char *path = find_static_busybox();
    (void)state;

    if (!path)
        skip();
    count(path);
    rewrite(path, "busybox");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        compare(path, "$D/busybox", commands[i]);
}

/* Go's own tool is a Go program with goroutines, files and processes. */
static void a_go_program_does_the_same(void **state)
{
    (void)state;
    if (run("", "go env GOROOT", "goroot"))
        skip();
    char path[256];
    snprintf(path, sizeof path, "%s/goroot", folder);
    struct file root = file_read(path);
    root.bytes[root.size] = 0;
    root.bytes[strcspn((char *)root.bytes, "\n")] = 0;
    char tool[512], prefix[1024];
    snprintf(tool, sizeof tool, "%s/bin/go", (char *)root.bytes);
    rewrite(tool, "go");
    snprintf(prefix, sizeof prefix, "GOTOOLCHAIN=local GOFLAGS=-mod=mod GOCACHE=%s/cache GOROOT=%s",
             folder, (char *)root.bytes);
    char before[2048], after[2048];
    snprintf(before, sizeof before, "%s %s", prefix, tool);
    snprintf(after, sizeof after, "%s $D/go", prefix);
    compare(before, after, "version");
    compare(before, after, "list -deps net/http");
    compare(before, after, "env GOOS GOARCH GOVERSION");
    free(root.bytes);
}

static int folder_make(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int folder_remove(void **state)
{
    char line[256];
    (void)state;
    snprintf(line, sizeof line, "rm -rf %s", folder);
    return system(line);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(almost_all_sites_of_the_usual_libraries_are_rewritten),
        cmocka_unit_test(programs_with_a_rewritten_glibc_do_the_same),
        cmocka_unit_test(python_with_a_rewritten_glibc_and_loader_does_the_same),
        cmocka_unit_test(a_static_musl_program_does_the_same),
        cmocka_unit_test(a_rewritten_musl_runs_dynamic_programs),
        cmocka_unit_test(busybox_does_the_same),
        cmocka_unit_test(a_go_program_does_the_same),
    };
    return cmocka_run_group_tests_name("rewrite_native", tests, folder_make, folder_remove);
}
