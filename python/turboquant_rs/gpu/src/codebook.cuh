// Codes of values and values of codes: docs/numerics.md section 6.

// How many of the 2^TQ_BITS - 1 ascending bounds lie below y: ties go to the lower code.
__device__ __forceinline__ int tq_code(const float* bounds, float y) {
    int code = 0;
#pragma unroll
    for (int bit = TQ_BITS - 1; bit >= 0; bit--) {
        const int step = 1 << bit;
        if (bounds[code + step - 1] < y) code += step;
    }
    return code;
}
