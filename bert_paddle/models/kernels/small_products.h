/* Matrix products of the size of one head's attention, within one thread. */
#pragma once
#include <stdint.h>

/* The matrix product C [m, n] = factor * A B, with `depth` the inner dimension. A[i][k] is
 * a[i * row + k * column], so that A may be transposed; rows of B and C begin every ldb and ldc
 * elements. C is computed in tiles that stay in registers during the loop over k. */
#define WIDE 16 /* keys are padded to a multiple, which LANES and LANES * BESIDE divide */

/* A vector as long as the processor's, and the size of a tile: ROWS x BESIDE vectors, so that the
 * sums, one row of B and one element of A fit into its registers (32 with AVX-512, otherwise 16).
 * Longer vectors or larger tiles would be kept in memory, which is many times slower. */
#if defined(__AVX512F__)
#define LANES 16
#define ROWS 8
#elif defined(__AVX__)
#define LANES 8
#define ROWS 6
#else
#define LANES 4
#define ROWS 6
#endif
#define BESIDE 2
typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4)));

/* One tile: `rows` rows and `beside` vectors of C. Both are constants at each call, so that the
 * loops are unrolled. */
static inline __attribute__((always_inline)) void tile(int rows, int beside, const float *a,
                                                       int64_t row, int64_t column, const float *b,
                                                       int64_t ldb, float *c, int64_t ldc,
                                                       int64_t depth, float factor) {
    Vector sum[ROWS * BESIDE];
#pragma GCC unroll 16
    for (int r = 0; r < rows * beside; r++) sum[r] = (Vector){0};
    for (int64_t k = 0; k < depth; k++) {
        Vector values[BESIDE];
#pragma GCC unroll 2
        for (int w = 0; w < beside; w++) values[w] = *(const Vector *)(b + k * ldb + w * LANES);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
            for (int w = 0; w < beside; w++)
                sum[r * beside + w] += a[r * row + k * column] * values[w];
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int w = 0; w < beside; w++)
            *(Vector *)(c + r * ldc + w * LANES) = factor * sum[r * beside + w];
}

/* The tiles of LANES * beside columns of C, the first ones of b and c. */
static inline __attribute__((always_inline)) void tiles(int beside, const float *a, int64_t row,
                                                        int64_t column, const float *b, int64_t ldb,
                                                        float *c, int64_t ldc, int64_t m,
                                                        int64_t depth, float factor) {
    int64_t i = 0;
    for (; i + ROWS <= m; i += ROWS)
        tile(ROWS, beside, a + i * row, row, column, b, ldb, c + i * ldc, ldc, depth, factor);
    for (; i + 2 <= m; i += 2)
        tile(2, beside, a + i * row, row, column, b, ldb, c + i * ldc, ldc, depth, factor);
    for (; i < m; i++)
        tile(1, beside, a + i * row, row, column, b, ldb, c + i * ldc, ldc, depth, factor);
}

/* The whole product; the columns left over at the end are computed without vectors. */
static __attribute__((noinline)) void product(const float *a, int64_t row, int64_t column,
                                              const float *b, int64_t ldb, float *c, int64_t ldc,
                                              int64_t m, int64_t n, int64_t depth, float factor) {
    int64_t j = 0;
    for (; j + LANES * BESIDE <= n; j += LANES * BESIDE)
        tiles(BESIDE, a, row, column, b + j, ldb, c + j, ldc, m, depth, factor);
    for (; j + LANES <= n; j += LANES)
        tiles(1, a, row, column, b + j, ldb, c + j, ldc, m, depth, factor);
    for (int64_t i = 0; i < m; i++)
        for (int64_t l = j; l < n; l++) {
            float sum = 0.0f;
            for (int64_t k = 0; k < depth; k++) sum += a[i * row + k * column] * b[k * ldb + l];
            c[i * ldc + l] = factor * sum;
        }
}

/* out[c][r] = x[r][c] for c < d; rows of x begin every `stride` elements; out is zero-padded to
 * `wide` columns. */
static void transpose(const float *x, int64_t rows, int64_t stride, int64_t d, int64_t wide,
                      float *out) {
    for (int64_t c = 0; c < d; c++) {
        for (int64_t r = 0; r < rows; r++) out[c * wide + r] = x[r * stride + c];
        for (int64_t r = rows; r < wide; r++) out[c * wide + r] = 0.0f;
    }
}
