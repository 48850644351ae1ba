// Arithmetic of rotations: plain where nothing is subnormal; by name (TQ_EXACT) where rows of any size are rotated, such as
// decoded ones, so that subnormal numbers count on the way.

__device__ __forceinline__ float tq_add(float a, float b) { return TQ_EXACT ? tq_sum(a, b) : a + b; }
__device__ __forceinline__ float tq_subtract(float a, float b) { return TQ_EXACT ? tq_sum(a, -b) : a - b; }
__device__ __forceinline__ float tq_multiply(float a, float b) { return TQ_EXACT ? tq_product(a, b) : a * b; }
