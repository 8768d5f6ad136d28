package prometheus

import (
	"maps"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider/batch"
	"github.com/hauberk-mesh/hauberk/dataplane/keyring"
)

var (
	keyProvider = desc("hauberk_key_provider_info",
		"1 for the key provider in use: what computes with its keys, and why where that is not the vector kernels.", "provider", "backend", "reason")
	keyFallbacks = desc("hauberk_tls_key_fallbacks_total", "Keys that Go's own code computes with, though they were to be batched.", "reason")

	batchSize     = desc("hauberk_tls_batch_size", "Private-key operations that were computed side by side.", "key")
	batchWait     = desc("hauberk_tls_batch_wait_seconds", "Time that an operation waited for its batch to begin.", "key")
	batchDuration = desc("hauberk_tls_batch_duration_seconds", "Time that a batch took, whatever its size.", "key")
	batchQueued   = desc("hauberk_tls_batch_queued", "Operations that wait now.", "key")
	keyRejected   = desc("hauberk_tls_key_rejected_total", "Operations that were refused because too many waited.", "key")
	keyCancelled  = desc("hauberk_tls_key_cancelled_total", "Operations whose handshake was given up while they waited.", "key")
	checksFailed  = desc("hauberk_tls_key_checks_failed_total", "Results that did not fit the public key, and were computed anew by Go's own code.", "key")
)

// collectKeys shows which provider is in use, and what the batching one has done, in use or not.
func collectKeys(out chan<- prometheus.Metric, keys *keyring.Ring) {
	s := keys.Status()
	gauge(out, keyProvider, 1, s.Provider, s.Backend, s.Reason)
	b := keys.Batch()
	if b == nil {
		return
	}
	stats := b.Stats()
	fallbacks := map[string]uint64{batch.ReasonCPU: 0, batch.ReasonFIPS: 0, batch.ReasonMemory: 0, batch.ReasonKey: 0} // an alert needs the zero
	maps.Copy(fallbacks, stats.Fallbacks)
	for reason, n := range fallbacks {
		counter(out, keyFallbacks, n, reason)
	}
	for _, q := range stats.Queues {
		collectQueue(out, &q)
	}
}

func collectQueue(out chan<- prometheus.Metric, q *batch.QueueStats) {
	key := string(q.Algorithm)
	var batches uint64
	sizes := make(map[float64]uint64, len(q.Batches))
	for i, n := range q.Batches {
		batches += n
		sizes[float64(i+1)] = batches
	}
	send(out, batchSize)(prometheus.NewConstHistogram(batchSize, batches, float64(q.Operations()), sizes, key))
	durations(out, batchWait, q.Wait, key)
	durations(out, batchDuration, q.Batch, key)
	gauge(out, batchQueued, float64(q.Queued), key)
	counter(out, keyRejected, q.Rejected, key)
	counter(out, keyCancelled, q.Cancelled, key)
	counter(out, checksFailed, q.ChecksFailed, key)
}

func durations(out chan<- prometheus.Metric, d *prometheus.Desc, h batch.Durations, labels ...string) {
	buckets := make(map[float64]uint64, len(h.Bounds))
	var sum uint64
	for i, bound := range h.Bounds {
		sum += h.Counts[i]
		buckets[bound.Seconds()] = sum
	}
	send(out, d)(prometheus.NewConstHistogram(d, h.Count(), h.Sum.Seconds(), buckets, labels...))
}
