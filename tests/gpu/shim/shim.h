// Runs a CUDA kernel on the CPU to see what it computes, not how fast: every thread is a fiber of one operating-system
// thread, blocks run one after another, and fibers switch only where threads may legally wait for each other.
//
// It reports threads that wait at different barriers or for threads that never come, accesses beyond guarded memory, and,
// by running the fibers of a block in another order, results that depend on a missing barrier.
#pragma once

#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <xmmintrin.h>

#include <tuple>
#include <type_traits>
#include <utility>

#ifndef __x86_64__
#error "fibers are switched in x86-64 assembly"
#endif

#define __global__
#define __device__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)

namespace shim {

constexpr unsigned MOST_THREADS = 1024, STACK_BYTES = 64 << 10, PAGE = 4096;
constexpr unsigned SHARED_BYTES = 232 << 10;

struct Index {
    unsigned x = 0, y = 0, z = 0;
};

// What the lanes of a warp exchange: two places, so that a lane may be one collective ahead of those that still read.
struct Warp {
    unsigned arrived, generation;
    int line;
    unsigned char slots[2][32][32];
};

struct Fiber {
    void* stack;
    Index thread;
    unsigned lane;
    Warp* warp;
    bool done;
};

struct Block {
    Fiber fibers[MOST_THREADS];
    Warp warps[MOST_THREADS / 32];
    unsigned order[MOST_THREADS];
    unsigned threads, live, arrived, generation;
    int line;
    unsigned long long progress;
    void* scheduler;
    unsigned char* shared;
    const char* error;
    void (*body)(void*);
    void* argument;
};

static Block block;
static Fiber* current;
static Index block_index, block_size, grid_size;

// Saves the registers that a call preserves and continues on another stack.
extern "C" void shim_switch(void** save, void* load);
asm(".text\n"
    ".globl shim_switch\n"
    ".type shim_switch,@function\n"
    "shim_switch:\n"
    "    push %rbp\n push %rbx\n push %r12\n push %r13\n push %r14\n push %r15\n"
    "    mov %rsp, (%rdi)\n"
    "    mov %rsi, %rsp\n"
    "    pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbx\n pop %rbp\n"
    "    ret\n");
constexpr int SAVED_REGISTERS = 6;

static inline void yield() { shim_switch(&current->stack, block.scheduler); }

static inline void fail(const char* message) {
    if (!block.error) block.error = message;
}

// Waits until the generation moves; after an error a fiber never comes back.
static inline void wait(unsigned& generation) {
    const unsigned before = generation;
    while (generation == before && !block.error) yield();
    while (block.error) yield();
}

static inline void sync_block(int line) {
    if (block.arrived && block.line != line) fail("threads of a block wait at different barriers");
    block.line = line;
    block.progress++;
    if (++block.arrived == block.threads) {
        block.arrived = 0;
        block.generation++;
        if (block.error) wait(block.generation);
    } else {
        wait(block.generation);
    }
}

static inline void sync_warp(int line) {
    Warp& warp = *current->warp;
    if (warp.arrived && warp.line != line) fail("lanes of a warp meet at different places");
    warp.line = line;
    warp.arrived |= 1u << current->lane;
    block.progress++;
    if (warp.arrived == 0xffffffffu) {
        warp.arrived = 0;
        warp.generation++;
        if (block.error) wait(warp.generation);
    } else {
        wait(warp.generation);
    }
}

// Publishes this lane's value and returns where all lanes' values are.
template <class T>
static inline unsigned char (*publish(int line, const T& value))[32] {
    static_assert(sizeof(T) <= 32, "a slot holds 32 bytes");
    Warp& warp = *current->warp;
    unsigned char(*slots)[32] = warp.slots[warp.generation & 1];
    memcpy(slots[current->lane], &value, sizeof(T));
    sync_warp(line);
    return slots;
}

template <class T>
static inline T from_lane_xor(int line, T value, int mask) {
    unsigned char(*slots)[32] = publish(line, value);
    memcpy(&value, slots[current->lane ^ (unsigned)mask], sizeof(T));
    return value;
}

template <class T>
static inline T from_lane(int line, T value, int lane) {
    unsigned char(*slots)[32] = publish(line, value);
    memcpy(&value, slots[lane & 31], sizeof(T));
    return value;
}

static inline unsigned ballot(int line, bool condition) {
    unsigned char(*slots)[32] = publish(line, condition);
    unsigned word = 0;
    for (int lane = 0; lane < 32; lane++) word |= (unsigned)(slots[lane][0] != 0) << lane;
    return word;
}

struct Fragments {
    unsigned a[4], b[2];
};

// mma.m16n8k32 of signed bytes, by its definition over whole matrices. Byte 4·k + i of a fragment is byte i of its word k.
static inline void mma(int line, int (&sum)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    Fragments mine;
    memcpy(mine.a, a, sizeof a);
    memcpy(mine.b, b, sizeof b);
    const unsigned char(*const slots)[32] = publish(line, mine);
    for (int k = 0; k < 4; k++) {
        const int row = current->lane / 4 + k / 2 * 8, column = current->lane % 4 * 2 + k % 2;
        for (int place = 0; place < 8; place++) {
            const signed char* left = (const signed char*)slots[row % 8 * 4 + place % 4] + 4 * (row / 8 + place / 4 * 2);
            const signed char* right = (const signed char*)slots[column * 4 + place % 4] + sizeof a + 4 * (place / 4);
            for (int i = 0; i < 4; i++) sum[k] += left[i] * right[i];
        }
    }
}

static void start() {
    block.body(block.argument);
    current->done = true;
    block.live--;
    block.progress++;
    for (;;) yield();
}

// In which order fibers get their turns: 0 ascending, 1 descending, else shuffled anew for every block. Where the number
// is odd, a warp goes on for as long as it can before the next one starts; else all go forward together.
static unsigned long long schedule;

// Gives the fibers from place `first` up to `last` of the order one turn each.
static void turn(unsigned first, unsigned last) {
    for (unsigned k = first; k < last && !block.error; k++) {
        Fiber& fiber = block.fibers[block.order[k]];
        if (fiber.done) continue;
        current = &fiber;
        shim_switch(&block.scheduler, fiber.stack);
    }
}

static unsigned long long random_state;
static unsigned below(unsigned n) {
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)((random_state >> 33) % n);
}

// Warps stay together: each takes 32 places in a row.
static void shuffle_order(unsigned n) {
    for (unsigned i = 0; i < n; i++) block.order[i] = schedule == 1 ? n - 1 - i : i;
    if (schedule < 2) return;
    for (unsigned w = n / 32 - 1; w > 0; w--) {
        const unsigned other = below(w + 1);
        for (unsigned i = 0; i < 32; i++) std::swap(block.order[32 * w + i], block.order[32 * other + i]);
    }
    for (unsigned i = 0; i < n; i++) std::swap(block.order[i], block.order[i / 32 * 32 + below(32)]);
}

static void run_block(unsigned n) {
    static unsigned char* const stacks =
        (unsigned char*)mmap(nullptr, (size_t)MOST_THREADS * STACK_BYTES, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    block.threads = block.live = n;
    block.arrived = 0;
    for (unsigned i = 0; i < (n + 31) / 32; i++) block.warps[i].arrived = block.warps[i].generation = 0;
    for (unsigned i = 0; i < n; i++) {
        void** top = (void**)(stacks + (size_t)(i + 1) * STACK_BYTES);
        *--top = nullptr;
        *--top = (void*)start;
        for (int k = 0; k < SAVED_REGISTERS; k++) *--top = nullptr;
        block.fibers[i] = {top, {i, 0, 0}, i % 32, &block.warps[i / 32], false};
    }
    shuffle_order(n);
    while (block.live && !block.error) {
        const unsigned long long before = block.progress;
        for (unsigned w = 0; w < n; w += 32) {
            unsigned long long own;
            do {
                own = block.progress;
                turn(w, w + 32);
            } while (schedule % 2 && block.progress != own && !block.error);
        }
        if (block.live && block.progress == before) fail("threads wait for others that never come");
    }
}

static sigjmp_buf outside;
static void on_fault(int) { siglongjmp(outside, 1); }

struct Faults {  // an access to a guard page becomes an error of the launch
    struct sigaction before[2];
    Faults() {
        struct sigaction action = {};
        action.sa_handler = on_fault;
        action.sa_flags = SA_NODEFER;
        sigaction(SIGSEGV, &action, &before[0]);
        sigaction(SIGBUS, &action, &before[1]);
    }
    ~Faults() {
        sigaction(SIGSEGV, &before[0], nullptr);
        sigaction(SIGBUS, &before[1], nullptr);
    }
};

template <class... A, size_t... I>
static void call(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
    kernel(*(std::remove_reference_t<A>*)arguments[I]...);
}

// Launches a kernel whose arguments are pointed to, as cuLaunchKernel does. Returns null or what went wrong.
template <class... A>
static const char* launch(void (*kernel)(A...), unsigned blocks, unsigned threads, unsigned shared, void** arguments,
                          unsigned long long order, int flush) {
    struct Call {
        void (*kernel)(A...);
        void** arguments;
    } closure{kernel, arguments};
    if (threads % 32 || !threads || threads > MOST_THREADS) return "a block has 32 to 1,024 threads in whole warps";
    if (shared > SHARED_BYTES) return "too much shared memory";
    // Shared memory ends at a page that may not be touched.
    static unsigned char* const area =
        (unsigned char*)mmap(nullptr, SHARED_BYTES + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(area + SHARED_BYTES, PAGE, PROT_NONE);
    block.shared = area + SHARED_BYTES - (shared + 15) / 16 * 16;
    block.body = [](void* p) { call(((Call*)p)->kernel, ((Call*)p)->arguments, std::index_sequence_for<A...>{}); };
    block.argument = &closure;
    block.error = nullptr;
    block_size.x = threads;
    grid_size.x = blocks;
    schedule = random_state = order;
    const unsigned mode = _mm_getcsr();
    Faults faults;
    if (sigsetjmp(outside, 1)) {
        block.error = "an access outside of an array or of shared memory";
    } else {
        if (flush) _mm_setcsr(mode | 0x8040);  // flush subnormal results to zero, take subnormal operands for zero
        for (block_index.x = 0; block_index.x < blocks && !block.error; block_index.x++) {
            memset(block.shared, 0xFF, shared);  // not a number, as floats
            run_block(threads);
        }
    }
    _mm_setcsr(mode);
    return block.error;
}

}  // namespace shim

#define threadIdx (shim::current->thread)
#define blockIdx (shim::block_index)
#define blockDim (shim::block_size)
#define gridDim (shim::grid_size)
