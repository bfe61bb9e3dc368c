/* Compiled by check-uapi, never run: what we declare of Hyper-V's registers is what <winhvplatform.h> declares. */
#include "driver/hyperv.h"

#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#include <winhvplatform.h>

#define SAME(ours, theirs) _Static_assert((ours) == (theirs), #ours " is " #theirs)
#define SAME_SIZE(ours, theirs) SAME(sizeof(ours), sizeof(theirs))
#define SAME_PLACE(ours, member, theirs, their_member)                                             \
    SAME(__builtin_offsetof(ours, member), __builtin_offsetof(theirs, their_member));              \
    SAME_SIZE(((ours *)0)->member, ((theirs *)0)->their_member)

SAME_SIZE(union hl__hyperv_value, WHV_REGISTER_VALUE);

SAME_SIZE(struct hl__hyperv_segment, WHV_X64_SEGMENT_REGISTER);
SAME_PLACE(struct hl__hyperv_segment, base, WHV_X64_SEGMENT_REGISTER, Base);
SAME_PLACE(struct hl__hyperv_segment, limit, WHV_X64_SEGMENT_REGISTER, Limit);
SAME_PLACE(struct hl__hyperv_segment, selector, WHV_X64_SEGMENT_REGISTER, Selector);
SAME_PLACE(struct hl__hyperv_segment, attributes, WHV_X64_SEGMENT_REGISTER, Attributes);

SAME_SIZE(struct hl__hyperv_table, WHV_X64_TABLE_REGISTER);
SAME_PLACE(struct hl__hyperv_table, limit, WHV_X64_TABLE_REGISTER, Limit);
SAME_PLACE(struct hl__hyperv_table, base, WHV_X64_TABLE_REGISTER, Base);

/* General registers are in the same order everywhere. */
SAME(WHvX64RegisterRax, 0);
SAME((int)HL__HYPERV_RCX, WHvX64RegisterRcx);
SAME((int)HL__HYPERV_RDX, WHvX64RegisterRdx);
SAME((int)HL__HYPERV_RBX, WHvX64RegisterRbx);
SAME((int)HL__HYPERV_RSP, WHvX64RegisterRsp);
SAME((int)HL__HYPERV_RBP, WHvX64RegisterRbp);
SAME((int)HL__HYPERV_RSI, WHvX64RegisterRsi);
SAME((int)HL__HYPERV_RDI, WHvX64RegisterRdi);
SAME((int)HL__HYPERV_R8, WHvX64RegisterR8);
SAME((int)HL__HYPERV_R15, WHvX64RegisterR15);
SAME((int)HL__HYPERV_RIP, WHvX64RegisterRip);
SAME((int)HL__HYPERV_RFLAGS, WHvX64RegisterRflags);
