// Sums over the rows (the last axis) of tensors in one pass; called by native_rows.py.
//
// A tensor is cut in blocks of a fixed size, which threads share, so no sum depends on the number of
// threads. Vectors have the same length on every machine, so none depends on the processor either.

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace {

constexpr int AXES = 6;             // axes of a tensor without its first and its last one
constexpr int64_t ENTRIES = 4096;   // of a block
constexpr int64_t SEGMENT = 256;    // entries that are added up in single precision
constexpr int64_t PARALLEL = 32768; // entries from which on threads are worth their start
constexpr float MASKED = -3e38f;    // values below it are -inf, and so masked

// What is asked of a tensor.
constexpr int64_t HIDES = 1;    // masked entries count as zeros
constexpr int64_t WIDE = 2;     // sums are taken in double precision
constexpr int64_t ENTROPY = 4;  // rows are distributions
constexpr int64_t NORMS = 8;    // entries are norms of rows
constexpr int64_t PRODUCT = 16; // the total is that of the products with another matrix

struct Job {
    int64_t address, other, run_stride, rows, width, axes, asked;
    int64_t sizes[AXES], strides[AXES];
};

// The results for a block or a tensor, in the order that native_rows.py gives them.
struct Sums {
    double norms, max_norm, min_norm, squares, total, largest, zeros, entropy, rows;
};

// Vectors of 32 bytes, and the integers that comparing them gives.
template <typename Number> struct Vector;
template <> struct Vector<float> {
    using Values = float __attribute__((vector_size(32)));
    using Bits = int32_t __attribute__((vector_size(32)));
    static constexpr int lanes = 8;
    static constexpr int32_t magnitude = 0x7fffffff;
    static inline Values load(const float* x) {
        Values values;
        std::memcpy(&values, x, sizeof values);
        return values;
    }
    static inline float sum(Values x) {
        x += __builtin_shuffle(x, Bits{4, 5, 6, 7, 0, 1, 2, 3});
        x += __builtin_shuffle(x, Bits{2, 3, 0, 1, 6, 7, 4, 5});
        return x[0] + x[1];
    }
};
template <> struct Vector<double> {
    using Values = double __attribute__((vector_size(32)));
    using Bits = int64_t __attribute__((vector_size(32)));
    using Half = float __attribute__((vector_size(16)));
    static constexpr int lanes = 4;
    static constexpr int64_t magnitude = 0x7fffffffffffffff;
    static inline Values load(const float* x) {
        Half values;
        std::memcpy(&values, x, sizeof values);
        return __builtin_convertvector(values, Values);
    }
    static inline double sum(Values x) {
        x += __builtin_shuffle(x, Bits{2, 3, 0, 1});
        return x[0] + x[1];
    }
};
using Floats = Vector<float>::Values;
using Integers = Vector<float>::Bits;

// The natural logarithm of positive normal numbers, by the polynomial of Cephes' logf (S. Moshier).
inline Floats logarithm(Floats x) {
    Integers bits = (Integers)x;
    Integers exponent = (bits >> 23) - 126;
    Floats m = (Floats)((bits & 0x007fffff) | 0x3f000000);  // in [0.5, 1)
    Integers small = m < 0.70710678f;
    exponent += small;  // -1 where it is small
    m = (small ? m + m : m) - 1.0f;
    Floats e = __builtin_convertvector(exponent, Floats);
    Floats z = m * m;
    Floats y = m * 7.0376836292e-2f - 1.1514610310e-1f;
    y = y * m + 1.1676998740e-1f;
    y = y * m - 1.2420140846e-1f;
    y = y * m + 1.4249322787e-1f;
    y = y * m - 1.6668057665e-1f;
    y = y * m + 2.0000714765e-1f;
    y = y * m - 2.4999993993e-1f;
    y = y * m + 3.3333331174e-1f;
    y = y * m * z - e * 2.12194440e-4f - 0.5f * z;
    return m + y + e * 0.693359375f;
}

// p log p, and 0 for p = 0.
inline Floats with_logarithm(Floats p) {
    Floats least = Floats{} + 1.17549435e-38f;
    return p * logarithm(p > least ? p : least);
}

// Sums over some rows of a tensor.
template <typename Number, bool hides, bool entropy> class Reduction {
    using Vectors = Vector<Number>;
    using Values = typename Vectors::Values;
    using Bits = typename Vectors::Bits;
    static constexpr int lanes = Vectors::lanes;

    Values total = {}, total_2 = {}, largest = {}, largest_2 = {};
    Floats chaos = {};  // Σ p log p
    Bits zeros = {};
    Number row_squares[ENTRIES];
    int64_t n_rows = 0, waiting = 0, uncertain = 0;
    double rest_total = 0, rest_zeros = 0, rest_largest = 0;  // of short rows, and of added zeros
    double entropy_total = 0;

    static inline Values shown(Values x) { return hides ? x <= (Number)MASKED ? Values{} : x : x; }

    static inline Values magnitude(Values x) { return (Values)((Bits)x & Vectors::magnitude); }

    inline Values add_vector(Values x) {
        Values a = shown(x), of_a = magnitude(a);
        total += a;
        zeros -= a == 0;
        largest = of_a > largest ? of_a : largest;
        return a * a;
    }

    // The sum of squares of a row that has at least as many entries as a vector.
    inline Number long_row(const float* x, int64_t width) {
        double squares = 0;
        int64_t there;
        for (int64_t i = 0; i < width; i += there) {
            there = width - i < SEGMENT ? width - i : SEGMENT;
            squares += segment(x + i, there);
            waiting += there;
            if (waiting >= SEGMENT) settle();
        }
        return (Number)squares;
    }

    // Adds what has been added up in vectors to the total.
    inline void settle() {
        rest_total += Vectors::sum(total + total_2);
        total = total_2 = Values{};
        waiting = 0;
    }

    inline Number segment(const float* x, int64_t width) {
        Values squares = {}, squares_2 = {};
        int64_t i = 0;
        for (; i + 2 * lanes <= width; i += 2 * lanes) {
            Values a = shown(Vectors::load(x + i)), b = shown(Vectors::load(x + i + lanes));
            squares += a * a;
            squares_2 += b * b;
            total += a;
            total_2 += b;
            zeros -= (a == 0) + (b == 0);
            Values of_a = magnitude(a), of_b = magnitude(b);
            largest = of_a > largest ? of_a : largest;
            largest_2 = of_b > largest_2 ? of_b : largest_2;
        }
        if (i + lanes <= width) {
            squares += add_vector(Vectors::load(x + i));
            i += lanes;
        }
        if (i < width) {  // zeros that are added beyond the end do not count
            float last[lanes] = {};
            int64_t there = width - i;
            std::memcpy(last, x + i, sizeof(float) * there);
            squares += add_vector(Vectors::load(last));
            rest_zeros -= (double)(lanes - there);
        }
        return Vectors::sum(squares + squares_2);
    }

    inline Number short_row(const float* x, int64_t width) {
        Number squares = 0, row = 0, most = 0;
        int count = 0;
        for (int64_t i = 0; i < width; ++i) {
            Number a = hides && x[i] <= MASKED ? 0 : x[i];
            squares += a * a;
            row += a;
            count += a == 0;
            Number size = a < 0 ? -a : a;
            most = size > most ? size : most;
        }
        rest_total += row;
        rest_zeros += count;
        rest_largest = most > rest_largest ? most : rest_largest;
        return squares;
    }

    inline void row_entropy(const float* x, int64_t width) {
        using Singles = Vector<float>;
        for (int64_t first = 0; first < width; first += SEGMENT) {
            int64_t end = width - first < SEGMENT ? width : first + SEGMENT, i = first;
            for (; i + Singles::lanes <= end; i += Singles::lanes)
                chaos += with_logarithm(Singles::load(x + i));
            if (i < end) {
                float last[Singles::lanes] = {};
                std::memcpy(last, x + i, sizeof(float) * (end - i));
                chaos += with_logarithm(Singles::load(last));
            }
            uncertain += end - first;
            if (uncertain >= SEGMENT) settle_entropy();
        }
    }

    inline void settle_entropy() {
        entropy_total -= Vector<float>::sum(chaos);
        chaos = Floats{};
        uncertain = 0;
    }

public:
    inline void add_row(const float* x, int64_t width) {
        row_squares[n_rows++] = width < lanes ? short_row(x, width) : long_row(x, width);
        if (entropy) row_entropy(x, width);
    }

    Sums result() {
        settle();
        if (entropy) settle_entropy();
        Sums all = {0, 0, INFINITY, 0, rest_total, rest_largest, rest_zeros, 0, (double)n_rows};
        bool is_nan = false;
        for (int64_t row = 0; row < n_rows; ++row) {
            double squares = row_squares[row], norm = std::sqrt(squares);
            is_nan |= norm != norm;
            all.norms += norm;
            all.squares += squares;
            all.max_norm = norm > all.max_norm ? norm : all.max_norm;
            all.min_norm = norm < all.min_norm ? norm : all.min_norm;
        }
        for (int lane = 0; lane < lanes; ++lane) {
            all.zeros += (double)zeros[lane];
            double more = largest[lane] > largest_2[lane] ? largest[lane] : largest_2[lane];
            all.largest = more > all.largest ? more : all.largest;
        }
        all.entropy = entropy_total;
        if (is_nan) all.max_norm = all.min_norm = all.largest = NAN;  // as torch has it
        return all;
    }
};

template <typename Number, bool hides, bool entropy>
Sums reduce_block(const Job& job, const float* x, int64_t first, int64_t rows) {
    int64_t place[AXES] = {}, offset = 0, left = first;
    for (int64_t axis = job.axes - 1; axis >= 0; --axis) {
        place[axis] = left % job.sizes[axis];
        left /= job.sizes[axis];
        offset += place[axis] * job.strides[axis];
    }
    Reduction<Number, hides, entropy> reduction;
    for (int64_t row = 0; row < rows; ++row) {
        reduction.add_row(x + offset, job.width);
        for (int64_t axis = job.axes - 1; axis >= 0; --axis) {
            offset += job.strides[axis];
            if (++place[axis] < job.sizes[axis]) break;
            offset -= place[axis] * job.strides[axis];
            place[axis] = 0;
        }
    }
    return reduction.result();
}

// Sums over the norms of rows; at most ENTRIES of them.
Sums reduce_norms(const float* norms, int64_t rows) {
    Sums sums = {0, 0, INFINITY, 0, 0, 0, 0, 0, (double)rows};
    bool is_nan = false;
    for (int64_t row = 0; row < rows; ++row) {
        double norm = norms[row];
        is_nan |= norm != norm;
        sums.norms += norm;
        sums.squares += norm * norm;
        sums.max_norm = norm > sums.max_norm ? norm : sums.max_norm;
        sums.min_norm = norm < sums.min_norm ? norm : sums.min_norm;
    }
    if (is_nan) sums.max_norm = sums.min_norm = NAN;
    return sums;
}

// The dot product of some rows of two matrices.
Sums reduce_product(const float* a, const float* b, int64_t entries, int64_t rows) {
    using Doubles = Vector<double>;
    Doubles::Values total = {};
    double rest = 0;
    int64_t i = 0;
    for (; i + Doubles::lanes <= entries; i += Doubles::lanes)
        total += Doubles::load(a + i) * Doubles::load(b + i);
    for (; i < entries; ++i) rest += (double)a[i] * (double)b[i];
    return {0, 0, INFINITY, 0, Doubles::sum(total) + rest, 0, 0, 0, (double)rows};
}

Sums reduce_any(const Job& job, int64_t run, int64_t first, int64_t rows) {
    bool hides = job.asked & HIDES;
    const float* x = reinterpret_cast<const float*>(job.address) + run * job.run_stride;
    if (job.asked & NORMS) return reduce_norms(x + first, rows);
    if (job.asked & PRODUCT) {
        const float* other = reinterpret_cast<const float*>(job.other) + run * job.run_stride;
        int64_t begin = first * job.width;
        return reduce_product(x + begin, other + begin, rows * job.width, rows);
    }
    if (job.asked & WIDE) return reduce_block<double, false, false>(job, x, first, rows);
    if (job.asked & ENTROPY) return reduce_block<float, false, true>(job, x, first, rows);
    if (hides) return reduce_block<float, true, false>(job, x, first, rows);
    return reduce_block<float, false, false>(job, x, first, rows);
}

inline int64_t rows_of_block(const Job& job) {
    return job.width > 0 && job.width < ENTRIES ? ENTRIES / job.width : 1;
}

inline void add(Sums& sums, const Sums& more) {
    sums.norms += more.norms;
    sums.squares += more.squares;
    sums.total += more.total;
    sums.zeros += more.zeros;
    sums.entropy += more.entropy;
    sums.rows += more.rows;
    if (more.max_norm > sums.max_norm || more.max_norm != more.max_norm)
        sums.max_norm = more.max_norm;
    if (more.min_norm < sums.min_norm || more.min_norm != more.min_norm)
        sums.min_norm = more.min_norm;
    if (more.largest > sums.largest || more.largest != more.largest) sums.largest = more.largest;
}

struct Block {
    int64_t run, job, first, rows;
    Sums sums;
};

}  // namespace

// Reduces tensors of several runs; the results are (runs, jobs). Returns 0, or 1 without memory.
extern "C" int reduce_rows(
    const Job* jobs, int64_t n_jobs, int64_t runs, int64_t threads, Sums* results
) {
    int64_t n_blocks = 0, entries = 0;
    for (int64_t n = 0; n < n_jobs; ++n) {
        n_blocks += runs * ((jobs[n].rows + rows_of_block(jobs[n]) - 1) / rows_of_block(jobs[n]));
        entries += runs * jobs[n].rows * jobs[n].width;
    }
    Block* blocks = static_cast<Block*>(std::malloc(sizeof(Block) * (n_blocks + 1)));
    if (!blocks) return 1;
    Block* next = blocks;
    for (int64_t run = 0; run < runs; ++run) {
        for (int64_t n = 0; n < n_jobs; ++n) {
            int64_t each = rows_of_block(jobs[n]);
            for (int64_t first = 0; first < jobs[n].rows; first += each) {
                int64_t left = jobs[n].rows - first;
                *next++ = {run, n, first, left < each ? left : each, {}};
            }
        }
    }
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1 && entries > PARALLEL)
    for (int64_t n = 0; n < n_blocks; ++n) {
        Block& block = blocks[n];
        block.sums = reduce_any(jobs[block.job], block.run, block.first, block.rows);
    }
    for (int64_t n = 0; n < runs * n_jobs; ++n) results[n] = {0, 0, INFINITY, 0, 0, 0, 0, 0, 0};
    for (int64_t n = 0; n < n_blocks; ++n) {
        add(results[blocks[n].run * n_jobs + blocks[n].job], blocks[n].sums);
    }
    std::free(blocks);
    return 0;
}
