/* How often KVM had to map a page for the newest vCPU of this process. */
#ifndef BENCH_KVM_FAULTS_H
#define BENCH_KVM_FAULTS_H

#include <stddef.h>

/* 0 where the kernel does not tell. */
size_t kvm_faults(void);

#endif
