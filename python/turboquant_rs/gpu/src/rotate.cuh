// Structured rotations one after another, as a sketch has them: rotation b of a row gives its values from b·TQ_DIM on, the
// last one fewer (docs/numerics-papers.md section 3). Their tables lie one after another likewise.

#define TQ_RUN_SIGNS (TQ_ROUNDS * TQ_TRANSFORMS * TQ_RUN_WORDS)
#define TQ_RUN_PLACES (2 * TQ_DIM)

// A rotated coordinate as it is kept. With TQ_CUT nothing that is made of squares and of products with sines is subnormal.
__device__ __forceinline__ float tq_kept(float value) {
    return TQ_CUT && tq_magnitude(tq_bits(value)) < (unsigned)(127 - 40) << 23 ? 0.0f : value;
}

// What rows are refused for.
#define TQ_REFUSE_NORM 1   // a norm beyond float32
#define TQ_REFUSE_QUERY 2  // a norm of 2^96 or more

__device__ __forceinline__ void tq_keep_norm(float* norms, int* exponents, unsigned long long* faults, long long row,
                                             long long at, float norm, int e, int refuse) {
    norms[row] = norm;
    exponents[row] = e;
    const bool beyond = refuse == TQ_REFUSE_NORM && !tq_is_finite(tq_times_power(norm, e));
    if (beyond || (refuse == TQ_REFUSE_QUERY && tq_reaches(norm, e, 96))) tq_report(faults, TQ_FAULT_NORM, at, 0);
}
