// Codes of values: docs/numerics.md section 6.

// How many of the 2^TQ_BITS - 1 ascending bounds lie below y (ties go to the lower code), times 4: the offset of the
// code's level in a table of floats. `each(bit, below)` sees the bits of the code, most significant first.
template <class Each>
__device__ __forceinline__ unsigned tq_code_offset(const float* bounds, float y, Each each) {
    unsigned offset = 0;
#pragma unroll
    for (int bit = TQ_BITS - 1; bit >= 0; bit--) {
        const float bound = *(const float*)((const char*)bounds + offset + (4u << bit) - 4);
        const bool below = bound < y;
        if (below) offset += 4u << bit;
        each(bit, below);
    }
    return offset;
}

__device__ __forceinline__ float tq_level(const float* level, unsigned offset) {
    return *(const float*)((const char*)level + offset);
}
