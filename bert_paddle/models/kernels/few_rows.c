/* Products of a few rows, as in generating text: the weights are read once. */
#include "rows.h"

/* A block of rows of w: its share of every y[r, j] = sum over i of x[r, i] w[i, j]. */
static void add_rows(const float *x, const float *w, float *y, int64_t rows, int64_t width,
                     int64_t first, int64_t last, int64_t out) {
    memset(y, 0, sizeof(float) * rows * out);
    int64_t i = first;
    for (; i + 4 <= last; i += 4)
        for (int64_t r = 0; r < rows; r++) {
            const float *a = x + r * width + i, *b = w + i * out;
            float *restrict sum = y + r * out;
            for (int64_t j = 0; j < out; j++)
                sum[j] += a[0] * b[j] + a[1] * b[out + j] + a[2] * b[2 * out + j] +
                          a[3] * b[3 * out + j];
        }
    for (; i < last; i++)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t j = 0; j < out; j++) y[r * out + j] += x[r * width + i] * w[i * out + j];
}

#define SHARES 16 /* of w, which are summed apart, whatever the number of threads */

/* y [rows, out] = x [rows, width] w [width, out] + bias: w is read once, in the order of memory. */
int few_rows_linear(const float *x, const float *w, const float *bias, float *y, int64_t rows,
                    int64_t width, int64_t out) {
    float *partial = malloc(sizeof(float) * SHARES * rows * out);
    if (!partial) return -1;
#pragma omp parallel
    {
#pragma omp for schedule(static)
        for (int64_t s = 0; s < SHARES; s++)
            add_rows(x, w, partial + s * rows * out, rows, width, width * s / SHARES,
                     width * (s + 1) / SHARES, out);
#pragma omp for schedule(static)
        for (int64_t n = 0; n < rows * out; n++) {
            float sum = bias[n % out];
            for (int64_t s = 0; s < SHARES; s++) sum += partial[s * rows * out + n];
            y[n] = sum;
        }
    }
    free(partial);
    return 0;
}

/* y [rows, n] = x [rows, width] w^T, for w [n, width]. */
void few_rows_scores(const float *x, const float *w, float *y, int64_t rows, int64_t n,
                     int64_t width) {
#pragma omp parallel for schedule(static)
    for (int64_t j = 0; j < n; j++)
        for (int64_t r = 0; r < rows; r++) {
            float sum = 0.0f;
            for (int64_t i = 0; i < width; i++) sum += x[r * width + i] * w[j * width + i];
            y[r * n + j] = sum;
        }
}
