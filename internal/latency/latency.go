// Package latency is the one bucket rule by which histograms of durations add up across proxies, and the quantiles that
// are read from them. Bucket i holds durations of [2^(i/8), 2^((i+1)/8)) microseconds, so that a bucket is 9 % wide and a
// quantile, read at its middle, is off by half of that. The rule is part of the wire (wire/report/v1/report.proto).
//
// Start at Bucket.
package latency

import (
	"math"
	"time"
)

// Buckets is how many there are: 40 octaves of microseconds, 12 days. What lasts longer is in the last one.
const Buckets = 320

// steps are 2^(k/8)/2 for k from 1 to 7: where math.Frexp's fraction passes from one eighth of an octave to the next.
var steps = [7]float64{
	0.5452538663326288, 0.5946035575013605, 0.6484197773255048, 0.7071067811865476,
	0.7711054127039704, 0.8408964152537145, 0.9170040432046712,
}

// Bucket is the index of the bucket that holds d.
func Bucket(d time.Duration) int {
	if d < time.Microsecond {
		return 0
	}
	fraction, exponent := math.Frexp(float64(d) / 1000)
	i := (exponent - 1) * 8
	for _, s := range steps {
		if fraction < s {
			break
		}
		i++
	}
	return min(i, Buckets-1)
}

// middle is the duration that stands for all of a bucket: its geometric middle.
func middle(bucket int) time.Duration {
	return time.Duration(math.Exp2((float64(bucket)+0.5)/8) * 1000)
}

// Histogram counts durations. The zero value is empty and ready. It is small where durations are alike: only the range
// of buckets that were seen is held. It is not safe for concurrent use.
type Histogram struct {
	first  int // bucket of counts[0]
	counts []uint64
	total  uint64
}

// Add counts n durations of a bucket. A bucket that cannot be is counted in the nearest that can.
func (h *Histogram) Add(bucket int, n uint64) {
	if n == 0 {
		return
	}
	bucket = min(max(bucket, 0), Buckets-1)
	switch {
	case len(h.counts) == 0:
		h.first = bucket
		h.counts = append(h.counts, 0)
	case bucket < h.first:
		wider := make([]uint64, h.first-bucket+len(h.counts))
		copy(wider[h.first-bucket:], h.counts)
		h.first, h.counts = bucket, wider
	}
	for bucket-h.first >= len(h.counts) {
		h.counts = append(h.counts, 0)
	}
	h.counts[bucket-h.first] += n
	h.total += n
}

// Merge adds all of o to h.
func (h *Histogram) Merge(o *Histogram) {
	for i, n := range o.counts {
		h.Add(o.first+i, n)
	}
}

// Reset empties h and keeps its memory.
func (h *Histogram) Reset() { h.counts, h.total = h.counts[:0], 0 }

// Count is how many durations were counted.
func (h *Histogram) Count() uint64 { return h.total }

// Each calls f for each bucket that is not empty, in order.
func (h *Histogram) Each(f func(bucket int, n uint64)) {
	for i, n := range h.counts {
		if n > 0 {
			f(h.first+i, n)
		}
	}
}

// Quantile is the duration below which a share q (0 to 1) of all lies, within 5 %; 0 of an empty histogram.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	rank := uint64(math.Ceil(q * float64(h.total)))
	rank = min(max(rank, 1), h.total)
	for i, n := range h.counts {
		if n >= rank {
			return middle(h.first + i)
		}
		rank -= n
	}
	return middle(h.first + len(h.counts) - 1)
}
