/* One line per system call, in strace's manner. */
#include "entry/trace.h"
#include "base/linux.h"
#include "base/text.h"
#include "entry/access.h"
#include "entry/syscall_names.h"
#include "host/host.h"
#include "thread/thread.h"

#define STRING_SHOWN 48u

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

#define SYSCALL_NAME(number, name) [number] = #name,
static const char *const names[] = {HL__SYSCALL_NAMES(SYSCALL_NAME)};

/*
 * What the arguments are, a letter each: d decimal, x hexadecimal, o octal, f descriptor (or AT_FDCWD), s
 * path, b buffer whose size is the next argument, t time at an address. Calls that are not here show six
 * hexadecimal numbers.
 */
static const struct {
    uint16_t number;
    const char *arguments;
} signatures[] = {
    {0, "fxd"},    {1, "fbd"},     {2, "sxo"},     {3, "f"},      {4, "sx"},       {5, "fx"},
    {6, "sx"},     {7, "xdd"},     {8, "fdd"},     {9, "xxxxfx"}, {10, "xxx"},     {11, "xx"},
    {12, "x"},     {13, "dxxd"},   {14, "dxxd"},   {15, ""},      {16, "fxx"},     {17, "fxdd"},
    {18, "fbdd"},  {19, "fxd"},    {20, "fxd"},    {21, "so"},    {22, "x"},       {23, "dxxxx"},
    {24, ""},      {25, "xxxxx"},  {28, "xxd"},    {32, "f"},     {33, "fd"},      {34, ""},
    {35, "tx"},    {37, "d"},      {38, "dxx"},    {39, ""},      {40, "ffxd"},    {41, "ddd"},
    {53, "dddx"},  {56, "xxxxx"},  {57, ""},       {58, ""},      {59, "sxx"},     {60, "d"},
    {61, "dxxx"},  {62, "dd"},     {63, "x"},      {72, "fdx"},   {73, "fd"},      {74, "f"},
    {75, "f"},     {76, "sd"},     {77, "fd"},     {79, "xd"},    {80, "s"},       {81, "f"},
    {82, "ss"},    {83, "so"},     {84, "s"},      {85, "so"},    {86, "ss"},      {87, "s"},
    {88, "ss"},    {89, "sxd"},    {90, "so"},     {91, "fo"},    {92, "sdd"},     {95, "o"},
    {96, "xx"},    {97, "dx"},     {98, "dx"},     {99, "x"},     {102, ""},       {104, ""},
    {107, ""},     {108, ""},      {110, ""},      {131, "xx"},   {137, "sx"},     {157, "dxxxx"},
    {158, "xx"},   {186, ""},      {200, "dd"},    {201, "x"},    {202, "xxdxxx"}, {203, "ddx"},
    {204, "ddx"},  {217, "fxd"},   {218, "x"},     {228, "dx"},   {229, "dx"},     {230, "dxtx"},
    {231, "d"},    {232, "fxdd"},  {233, "fdfx"},  {234, "ddd"},  {257, "fsxo"},   {258, "fso"},
    {262, "fsxx"}, {263, "fsx"},   {264, "fsfs"},  {266, "sfs"},  {267, "fsxd"},   {268, "fso"},
    {269, "fso"},  {271, "xdtxd"}, {273, "xd"},    {280, "fsxx"}, {281, "fxddxd"}, {283, "dx"},
    {284, "d"},    {288, "fxxx"},  {289, "fxdx"},  {290, "dx"},   {291, "x"},      {292, "fdx"},
    {293, "xx"},   {302, "ddxx"},  {316, "fsfsx"}, {318, "xdx"},  {319, "sx"},     {332, "fsxxx"},
    {334, "xxxx"}, {435, "xd"},    {436, "ddx"},   {439, "fsox"}, {441, "fxdtxd"},
};

static const char *const error_names[] = {
    [1] = "EPERM (Operation not permitted)",
    [ENOENT] = "ENOENT (No such file or directory)",
    [ESRCH] = "ESRCH (No such process)",
    [EINTR] = "EINTR (Interrupted system call)",
    [EIO] = "EIO (Input/output error)",
    [ENXIO] = "ENXIO (No such device or address)",
    [E2BIG] = "E2BIG (Argument list too long)",
    [ENOEXEC] = "ENOEXEC (Exec format error)",
    [EBADF] = "EBADF (Bad file descriptor)",
    [ECHILD] = "ECHILD (No child processes)",
    [EAGAIN] = "EAGAIN (Resource temporarily unavailable)",
    [ENOMEM] = "ENOMEM (Cannot allocate memory)",
    [EACCES] = "EACCES (Permission denied)",
    [EFAULT] = "EFAULT (Bad address)",
    [EEXIST] = "EEXIST (File exists)",
    [ENODEV] = "ENODEV (No such device)",
    [ENOTDIR] = "ENOTDIR (Not a directory)",
    [EISDIR] = "EISDIR (Is a directory)",
    [EINVAL] = "EINVAL (Invalid argument)",
    [EMFILE] = "EMFILE (Too many open files)",
    [ENOTTY] = "ENOTTY (Inappropriate ioctl for device)",
    [ENOSPC] = "ENOSPC (No space left on device)",
    [ESPIPE] = "ESPIPE (Illegal seek)",
    [EROFS] = "EROFS (Read-only file system)",
    [EPIPE] = "EPIPE (Broken pipe)",
    [ERANGE] = "ERANGE (Numerical result out of range)",
    [ENAMETOOLONG] = "ENAMETOOLONG (File name too long)",
    [ENOSYS] = "ENOSYS (Function not implemented)",
    [ENOTEMPTY] = "ENOTEMPTY (Directory not empty)",
    [ELOOP] = "ELOOP (Too many levels of symbolic links)",
    [ENODATA] = "ENODATA (No data available)",
    [EOPNOTSUPP] = "EOPNOTSUPP (Operation not supported)",
    [ETIMEDOUT] = "ETIMEDOUT (Connection timed out)",
};

static const char *arguments_of(uint64_t number)
{
    for (unsigned i = 0; i < COUNT(signatures); i++)
        if (signatures[i].number == number)
            return signatures[i].arguments;
    return "xxxxxx";
}

static void add_signed(struct hl__text *text, int64_t number)
{
    if (number < 0)
        hl__text_add(text, "-");
    hl__text_add_number(text, number < 0 ? -(uint64_t)number : (uint64_t)number);
}

static void add_octal(struct hl__text *text, uint64_t number)
{
    char digits[24];
    int at = sizeof digits - 1;

    digits[at] = 0;
    do
        digits[--at] = (char)('0' + (number & 7));
    while (number >>= 3);
    digits[--at] = '0';
    hl__text_add(text, digits[at + 1] == '0' ? digits + at + 1 : digits + at);
}

/* The start of some bytes in quotes; "..." if there are more. */
static void add_bytes(struct hl__text *text, uint64_t address, uint64_t size, bool is_string)
{
    char bytes[STRING_SHOWN + 1] = {0};
    uint64_t shown = size < STRING_SHOWN ? size : STRING_SHOWN;
    int64_t length = is_string ? hl__user_string(bytes, address, sizeof bytes)
                               : hl__user_read(bytes, address, shown);

    if (length == -EFAULT) {
        hl__text_add_hex(text, address);
        return;
    }
    hl__text_add(text, "\"");
    if (is_string) {
        hl__text_add_escaped(text, bytes, STRING_SHOWN);
    } else {
        for (uint64_t i = 0; i < shown; i++)
            if (bytes[i] == '\n')
                hl__text_add(text, "\\n");
            else if (bytes[i])
                hl__text_add_escaped(text, &bytes[i], 1);
            else
                hl__text_add(text, "\\0");
    }
    hl__text_add(text, length == -ENAMETOOLONG || (!is_string && shown < size) ? "\"..." : "\"");
}

static void add_time(struct hl__text *text, uint64_t address)
{
    struct linux_timespec time;

    if (!address) {
        hl__text_add(text, "NULL");
    } else if (hl__user_read(&time, address, sizeof time) < 0) {
        hl__text_add_hex(text, address);
    } else {
        hl__text_add(text, "{tv_sec=");
        add_signed(text, time.seconds);
        hl__text_add(text, ", tv_nsec=");
        add_signed(text, time.nanoseconds);
        hl__text_add(text, "}");
    }
}

static void add_argument(struct hl__text *text, char kind, uint64_t value, uint64_t next)
{
    switch (kind) {
    case 'd':
        add_signed(text, (int64_t)value == (int32_t)value || value >> 32 ? (int64_t)value
                                                                         : (int32_t)value);
        break;
    case 'o':
        add_octal(text, value & UINT32_MAX);
        break;
    case 'f':
        if ((int32_t)value == AT_FDCWD)
            hl__text_add(text, "AT_FDCWD");
        else
            add_signed(text, (int32_t)value);
        break;
    case 's':
        add_bytes(text, value, 0, true);
        break;
    case 'b':
        add_bytes(text, value, next, false);
        break;
    case 't':
        add_time(text, value);
        break;
    default:
        if (value)
            hl__text_add_hex(text, value);
        else
            hl__text_add(text, "0");
    }
}

static void add_result(struct hl__text *text, int64_t result, bool served)
{
    enum { ERROR_MAX = 4095 };

    hl__text_add(text, " = ");
    if (result < 0 && result >= -ERROR_MAX) {
        hl__text_add(text, "-1 ");
        if ((uint64_t)-result < COUNT(error_names) && error_names[-result]) {
            hl__text_add(text, error_names[-result]);
        } else {
            hl__text_add(text, "errno ");
            hl__text_add_number(text, (uint64_t)-result);
        }
    } else if (result > INT32_MAX || result < 0) {
        hl__text_add_hex(text, (uint64_t)result);
    } else {
        hl__text_add_number(text, (uint64_t)result);
    }
    if (!served)
        hl__text_add(text, " [not served]");
}

void hl__trace(uint64_t number, const struct hl_abi_registers *registers, int64_t result,
               bool ended, bool served)
{
    const uint64_t arg[7] = {registers->rdi,
                             registers->rsi,
                             registers->rdx,
                             registers->r10,
                             registers->r8,
                             registers->r9,
                             0};
    const char *kinds = arguments_of(number);
    char bytes[HL_ABI_LOG_SIZE_MAX];
    struct hl__text text;

    hl__text_start(&text, bytes, sizeof bytes);
    if (!hl__thread_is_only()) {
        hl__text_add(&text, "[");
        hl__text_add_number(&text, (uint64_t)hl__thread->id);
        hl__text_add(&text, "] ");
    }
    if (number < COUNT(names) && names[number]) {
        hl__text_add(&text, names[number]);
    } else {
        hl__text_add(&text, "syscall_");
        hl__text_add_number(&text, number);
    }
    hl__text_add(&text, "(");
    for (unsigned i = 0; kinds[i]; i++) {
        hl__text_add(&text, i ? ", " : "");
        add_argument(&text, kinds[i], arg[i], arg[i + 1]);
    }
    hl__text_add(&text, ")");
    if (ended)
        add_result(&text, result, served);
    else
        hl__text_add(&text, " = ?");
    hl__host_log(bytes, text.size);
}
