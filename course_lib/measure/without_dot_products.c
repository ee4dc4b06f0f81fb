/* Hides a processor's 8-bit dot products from the process that preloads this library (Linux, x86-64).
 *
 * Libraries ask the CPUID instruction what the processor can do, and choose their kernels by the answer. Linux can let
 * that instruction fault (arch_prctl(ARCH_SET_CPUID, 0), "CPUID faulting"); the handler below executes it, clears the
 * bits of the 8-bit dot products, and goes on behind it. All else is as it was: same clock, same caches. Threads and
 * processes that are started later inherit the fault or set it again.
 *
 * Bits: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2A, CPUID, leaf 7.
 * The variable COURSE_HIDDEN_ISA names what is hidden, by Linux's names, once it really is.
 */
#define _GNU_SOURCE
#include <asm/prctl.h>
#include <cpuid.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

static int may_ask(int yes) { return (int)syscall(SYS_arch_prctl, ARCH_SET_CPUID, (unsigned long)yes); }

static void on_fault(int signal_number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const uint8_t *instruction = (const uint8_t *)registers[REG_RIP];
    /* A fault of CPUID comes from the kernel and has no address; any other one ends the process as it always did. */
    if (info->si_code != SI_KERNEL || instruction[0] != 0x0f || instruction[1] != 0xa2) {
        signal(signal_number, SIG_DFL);
        return;
    }
    uint32_t leaf = (uint32_t)registers[REG_RAX], part = (uint32_t)registers[REG_RCX], a, b, c, d;
    may_ask(1);
    __cpuid_count(leaf, part, a, b, c, d);
    may_ask(0);
    if (leaf == 7 && part == 0) {
        c &= ~(1u << 11); /* avx512_vnni */
        d &= ~(1u << 25); /* amx_int8 */
    }
    if (leaf == 7 && part == 1) {
        a &= ~(1u << 4); /* avx_vnni */
        d &= ~(1u << 4); /* avx_vnni_int8 */
    }
    registers[REG_RAX] = a, registers[REG_RBX] = b, registers[REG_RCX] = c, registers[REG_RDX] = d;
    registers[REG_RIP] += 2; /* CPUID is two bytes long */
}

__attribute__((constructor)) static void hide(void) {
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    unsetenv("COURSE_HIDDEN_ISA");
    if (sigaction(SIGSEGV, &action, NULL) == 0 && may_ask(0) == 0)
        setenv("COURSE_HIDDEN_ISA", "avx512_vnni avx_vnni avx_vnni_int8 amx_int8", 1);
}
