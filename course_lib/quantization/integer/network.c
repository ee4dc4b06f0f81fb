//: requirements
/* A compiler whose int is shorter, or whose right shifts do not round numbers below 0 down, stops here. */
typedef char int_has_32_bits[sizeof(int) >= 4 ? 1 : -1];
typedef char right_shifts_round_down[-1 >> 1 == -1 ? 1 : -1];
//: memory
/* ---- Memory: all that this network ever writes ----------------------------------------------------------------- */

/* Inputs of a product. Where one instruction multiplies and adds unsigned by signed bytes, bytes are best; elsewhere
 * 16 bits are, because every processor with vectors multiplies and adds those in pairs. */
#if defined(__AVX512VNNI__) || defined(__AVXVNNI__) || defined(__ARM_FEATURE_MATMUL_INT8)
typedef uint8_t lane;
#else
typedef int16_t lane;
#endif

/* Tensors share the arena: each has a place for as long as a layer still reads it. */
static struct {
    int32_t sums[2][LARGEST_SUMS]; /* accumulators of two positions */
    lane patches[2][LARGEST_ROW];  /* what a kernel sees at these two positions */
    uint8_t arena[ARENA];
} memory;
//: steps hardware
/* ---- From accumulators to codes -------------------------------------------------------------------------------- */
typedef int32_t steps; /* of the output's scale */
//: steps 64
/* ---- From accumulators to codes -------------------------------------------------------------------------------- */
typedef int64_t steps; /* of the output's scale */
//: clamp
/* Codes of a tensor: code `zero` stands for 0, and codes are clamped to low ... high. After a ReLU low = zero. */
struct codes { int zero, low, high; };

static uint8_t clamp(steps from_zero, const struct codes *codes)
{
    steps code = from_zero + codes->zero;
    code = code < codes->low ? codes->low : code;
    return (uint8_t)(code > codes->high ? codes->high : code);
}
//: rescale hardware
/* round(sum * M), where M = multiplier / 2^(31 + shift) is the layer's real factor, 2^30 <= multiplier < 2^31.
 * Two roundings, as gemmlowp's kernels: after 31 bits, halves upwards; after `shift` more, halves away from 0. */
static steps rescale(int32_t sum, int32_t multiplier, int shift)
{
    int32_t high = (int32_t)(((int64_t)sum * multiplier + (1 << 30)) >> 31), half = (1 << shift) >> 1;
    return (high + half - (high < 0 && shift > 0)) >> shift;
}
//: rescale wide
/* round(sum * M), where M = multiplier / 2^(31 + shift) is the layer's real factor, 2^30 <= multiplier < 2^31.
 * Two roundings, as gemmlowp's kernels: after 31 bits, halves upwards; after `shift` more, halves away from 0.
 * This network has a shift below 0, that is a factor above 1, or sums near 32 bits: the first rounding then comes
 * earlier, and 64 bits are kept. */
static steps rescale(int32_t sum, int32_t multiplier, int shift)
{
    int first = shift < 0 ? 31 + shift : 31, second = shift < 0 ? 0 : shift;
    int64_t high = ((int64_t)sum * multiplier + ((int64_t)1 << (first - 1))) >> first;
    int64_t half = ((int64_t)1 << second) >> 1;
    return (high + half - (high < 0 && second > 0)) >> second;
}
//: rounding runtime
/* As ONNX Runtime rounds, in numbers of 24 bits, but with integers: several roundings follow one another, each a half
 * to the even neighbour. The last one, of x / 2^shift to a whole number, nearly always decides: those before it move x
 * by at most `reach`, and matter only so near to a half. */
static int64_t rounded(int64_t x, int shift)
{
    return (x + (((int64_t)1 << shift) >> 1)) >> shift;
}

static int near_half(int64_t x, int shift, int64_t reach)
{
    int64_t one = (int64_t)1 << shift; /* one comparison for both sides: distance + reach, modulo one */
    return ((x - (one >> 1) + reach) & (one - 1)) <= 2 * reach;
}

static int64_t half_even(int64_t x, int shift)
{
    int64_t half = ((int64_t)1 << shift) >> 1, whole = rounded(x, shift), up = whole * ((int64_t)1 << shift) - x;
    return whole - (up == half && (whole & 1) && shift > 0); /* a half went up to an odd number: down instead */
}

/* x to 24 significant bits: what a conversion to a floating-point number of 32 bits does. */
static int64_t significant(int64_t x)
{
    int64_t size = x < 0 ? -x : x;
    int drop = 0;
    while (size >> drop >= (int64_t)1 << 24)
        drop++;
    return half_even(x, drop) * ((int64_t)1 << drop);
}
//: rescale runtime
/* round(sum * M), where M = multiplier / 2^shift is the layer's real factor, 2^23 <= multiplier < 2^24, shift >= 16. */
static steps rescale(int32_t sum, int32_t multiplier, int shift)
{
    return half_even(significant(significant(sum) * multiplier), shift);
}
//: factors
/* One factor and one number to add a channel. The bias holds -zero * (sum of the channel's weights) already. */
struct factors {
    const int32_t *bias, *multiplier;
    const int8_t *shift;
};

static void rescale_all(const int32_t *sums, int n, const struct factors *by, const struct codes *to, uint8_t *restrict y)
{
//: factors fixed
    for (int c = 0; c < n; c++)
        y[c] = clamp(rescale(sums[c] + by->bias[c], by->multiplier[c], by->shift[c]), to);
}
//: factors runtime
    /* The sum and the product are rounded to 24 bits. Where the clamp leaves a choice, |product| < 2^(shift + 8): the
     * first rounding moves it by at most 2^-24 of that, 2^(shift - 16), the second by half as much. */
    int undecided = 0;
    for (int c = 0; c < n; c++) { /* the last rounding alone, as vectors */
        int64_t product = (int64_t)(sums[c] + by->bias[c]) * by->multiplier[c];
        y[c] = clamp(rounded(product, by->shift[c]), to);
        undecided |= near_half(product, by->shift[c], (int64_t)1 << (by->shift[c] - 15));
    }
    for (int c = 0; undecided && c < n; c++)
        y[c] = clamp(rescale(sums[c] + by->bias[c], by->multiplier[c], by->shift[c]), to);
}
//: products
/* ---- Multiplying ----------------------------------------------------------------------------------------------- */

/* Two patches times four rows of weights: eight sums from six reads. `row` is a multiple of 32, filled up with zeros:
 * the compiler makes vector instructions of this loop. */
static void products(const lane *p, const lane *q, const int8_t *weight, int row, int32_t *sums_p, int32_t *sums_q)
{
    const int8_t *w0 = weight, *w1 = w0 + row, *w2 = w1 + row, *w3 = w2 + row;
    int32_t p0 = 0, p1 = 0, p2 = 0, p3 = 0, q0 = 0, q1 = 0, q2 = 0, q3 = 0;
    for (int i = 0; i < row; i++) {
        p0 += p[i] * w0[i], p1 += p[i] * w1[i], p2 += p[i] * w2[i], p3 += p[i] * w3[i];
        q0 += q[i] * w0[i], q1 += q[i] * w1[i], q2 += q[i] * w2[i], q3 += q[i] * w3[i];
    }
    sums_p[0] = p0, sums_p[1] = p1, sums_p[2] = p2, sums_p[3] = p3;
    sums_q[0] = q0, sums_q[1] = q1, sums_q[2] = q2, sums_q[3] = q3;
}
//: window
/* ---- Layers ---------------------------------------------------------------------------------------------------- */

struct shape { int height, width, channels; };
struct pair { int down, across; };

/* A kernel on its way over an input. Padding stands for 0: it is the input's zero. */
struct window {
    struct shape in;
    struct pair kernel, stride, pad;
    struct shape out;
    int zero;
};
//: convolution
/* `groups` independent convolutions, each with `rows` rows (a multiple of 4) of `row` weights. */
struct convolution {
    struct window window;
    int groups, rows, row;
    const int8_t *weight;
    struct factors factors;
    struct codes codes;
};

/* What the kernel sees at one output position, `count` channels a pixel from `first` on, one behind another. */
static void gather(const uint8_t *x, const struct window *w, int position, int first, int count, lane *patch)
{
    int top = position / w->out.width * w->stride.down - w->pad.down;
    int left = position % w->out.width * w->stride.across - w->pad.across;
    for (int i = top; i < top + w->kernel.down; i++)
        for (int j = left; j < left + w->kernel.across; j++, patch += count) {
            int outside = i < 0 || i >= w->in.height || j < 0 || j >= w->in.width;
            const uint8_t *pixel = outside ? x : x + (i * w->in.width + j) * w->in.channels + first;
            for (int c = 0; c < count; c++)
                patch[c] = outside ? (lane)w->zero : pixel[c];
        }
}

/* y[position][channel] = the sum over the patch of x * weight, rescaled. Two positions at a time. `inline`: compiled
 * anew for each layer, with its sizes as constants. */
static inline void convolution(const struct convolution *layer, const uint8_t *x, uint8_t *y)
{
    const struct window *w = &layer->window;
    int positions = w->out.height * w->out.width, inputs = w->in.channels / layer->groups;
    int outputs = w->out.channels / layer->groups, taps = w->kernel.down * w->kernel.across * inputs;
    for (int two = 0; two < 2; two++)
        for (int i = taps; i < layer->row; i++)
            memory.patches[two][i] = 0;
    for (int group = 0; group < layer->groups; group++) {
        const int8_t *weight = layer->weight + group * layer->rows * layer->row;
        struct factors factors = layer->factors;
        factors.bias += group * outputs, factors.multiplier += group * outputs, factors.shift += group * outputs;
        for (int position = 0; position < positions; position += 2) {
            int together = position + 1 < positions ? 2 : 1; /* the last of an odd number is alone */
            for (int two = 0; two < together; two++)
                gather(x, w, position + two, group * inputs, inputs, memory.patches[two]);
            for (int c = 0; c < layer->rows; c += 4)
                products(memory.patches[0], memory.patches[1], weight + c * layer->row, layer->row,
                         memory.sums[0] + c, memory.sums[1] + c);
            for (int two = 0; two < together; two++)
                rescale_all(memory.sums[two], outputs, &factors, &layer->codes,
                            y + (position + two) * w->out.channels + group * outputs);
        }
    }
}
//: depthwise
/* A kernel of its own for each channel. Weights lie tap by tap, all channels side by side. */
struct depthwise {
    struct window window;
    const int8_t *weight;
    struct factors factors;
    struct codes codes;
};

static void depthwise(const struct depthwise *layer, const uint8_t *x, uint8_t *y)
{
    const struct window *w = &layer->window;
    int32_t *sums = memory.sums[0];
    for (int position = 0; position < w->out.height * w->out.width; position++) {
        int top = position / w->out.width * w->stride.down - w->pad.down;
        int left = position % w->out.width * w->stride.across - w->pad.across;
        const int8_t *weight = layer->weight;
        for (int c = 0; c < w->in.channels; c++)
            sums[c] = 0;
        for (int i = top; i < top + w->kernel.down; i++)
            for (int j = left; j < left + w->kernel.across; j++, weight += w->in.channels) {
                int outside = i < 0 || i >= w->in.height || j < 0 || j >= w->in.width;
                const uint8_t *pixel = outside ? x : x + (i * w->in.width + j) * w->in.channels;
                for (int c = 0; c < w->in.channels; c++)
                    sums[c] += (outside ? w->zero : pixel[c]) * weight[c];
            }
        rescale_all(sums, w->in.channels, &layer->factors, &layer->codes, y + position * w->in.channels);
    }
}
//: linear
/* One sum over all inputs for each output. */
struct linear {
    int inputs, outputs, row;
    const int8_t *weight;
    struct factors factors;
    struct codes codes;
};

static void linear(const struct linear *layer, const uint8_t *x, uint8_t *y)
{
    lane *patch = memory.patches[0];
    for (int i = 0; i < layer->row; i++)
        patch[i] = (lane)(i < layer->inputs ? x[i] : 0);
    for (int c = 0; c < layer->outputs; c++) {
        const int8_t *weight = layer->weight + c * layer->row;
        int32_t sum = 0;
        for (int i = 0; i < layer->row; i++)
            sum += patch[i] * weight[i];
        memory.sums[0][c] = sum;
    }
    rescale_all(memory.sums[0], layer->outputs, &layer->factors, &layer->codes, y);
}
//: sum fixed
/* Two tensors with different steps: both 20 bits to the left, each times its ratio to twice the larger step, then
 * their sum times what is missing. Multiplier and shift as in `rescale`. */
struct sum {
    int size, zero_a, zero_b;
    int32_t multiplier_a, multiplier_b, multiplier;
    int shift_a, shift_b, shift;
    struct codes codes;
};

static void sum(const struct sum *layer, const uint8_t *a, const uint8_t *b, uint8_t *restrict y)
{
    struct sum s = *layer;
    for (int i = 0; i < s.size; i++) {
        steps left = rescale((a[i] - s.zero_a) * (1 << 20), s.multiplier_a, s.shift_a);
        steps right = rescale((b[i] - s.zero_b) * (1 << 20), s.multiplier_b, s.shift_b);
        y[i] = clamp(rescale((int32_t)(left + right), s.multiplier, s.shift), &s.codes);
    }
}
//: sum runtime
/* Two tensors with different steps, on a common grid of 2^-shift: ratio_b * b + fixed to 24 bits, ratio_a * a + that
 * to 24 bits, and to an integer. The roundings to 24 bits move it by at most `reach`. */
struct sum {
    int size, offset_a, offset_b, shift;
    int64_t ratio_a, ratio_b, fixed, reach;
    struct codes codes; /* the output's zero point is in `fixed` */
};

static void sum(const struct sum *layer, const uint8_t *a, const uint8_t *b, uint8_t *restrict y)
{
    struct sum s = *layer;
    for (int start = 0; start < s.size; start += 64) {
        int end = start + 64 < s.size ? start + 64 : s.size, undecided = 0;
        for (int i = start; i < end; i++) { /* the last rounding alone, as vectors */
            int64_t total = (a[i] - s.offset_a) * s.ratio_a + (b[i] - s.offset_b) * s.ratio_b + s.fixed;
            y[i] = clamp(rounded(total, s.shift), &s.codes);
            undecided |= near_half(total, s.shift, s.reach);
        }
        for (int i = start; undecided && i < end; i++) {
            int64_t right = significant((b[i] - s.offset_b) * s.ratio_b + s.fixed);
            y[i] = clamp(half_even(significant((a[i] - s.offset_a) * s.ratio_a + right), s.shift), &s.codes);
        }
    }
}
//: part
/* A tensor becomes `channels` channels of a wider one, its codes translated. */
struct part {
    int positions, channels, first, out_channels;
    const uint8_t *table; /* 256 codes */
};

static void copy_part(const struct part *layer, const uint8_t *x, uint8_t *y)
{
    for (int i = 0; i < layer->positions; i++)
        for (int c = 0; c < layer->channels; c++)
            y[i * layer->out_channels + layer->first + c] = layer->table[x[i * layer->channels + c]];
}
//: mean
/* The sum over all positions, rescaled; the multiplier divides by their number, too. */
struct mean {
    int positions, channels, zero, shift;
    int32_t multiplier;
    struct codes codes;
};

static void mean(const struct mean *layer, const uint8_t *x, uint8_t *y)
{
    for (int c = 0; c < layer->channels; c++) {
        int32_t total = -layer->positions * layer->zero;
        for (int i = 0; i < layer->positions; i++)
            total += x[i * layer->channels + c];
        y[c] = clamp(rescale(total, layer->multiplier, layer->shift), &layer->codes);
    }
}
//: flatten
/* Channel by channel, as the linear layer's weights expect it. */
static void flatten(int positions, int channels, const uint8_t *x, uint8_t *y)
{
    for (int c = 0; c < channels; c++)
        for (int i = 0; i < positions; i++)
            y[c * positions + i] = x[i * channels + c];
}
//: class_of
int class_of(const uint8_t *image)
{
    uint8_t logits[CLASSES];
    int best = 0;
    classify(image, logits);
    for (int c = 1; c < CLASSES; c++)
        best = logits[c] > logits[best] ? c : best;
    return best;
}
//: main
#ifdef WITH_MAIN
/* cc -DWITH_MAIN ...: a program that reads images from its input and writes their logits to its output. Declared here,
 * these two functions of the C library need no header. */
int getchar(void);
int putchar(int byte);

int main(void)
{
    static uint8_t image[IMAGE_BYTES], logits[CLASSES];
    for (int byte = getchar(), place = 0; byte >= 0; byte = getchar()) {
        image[place++] = (uint8_t)byte;
        if (place < IMAGE_BYTES)
            continue;
        classify(image, logits);
        place = 0;
        for (int c = 0; c < CLASSES; c++)
            putchar(logits[c]);
    }
    return 0;
}
#endif
