package prometheus

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	"github.com/hauberk-mesh/hauberk/accel/keyprovider/batch"
	"github.com/hauberk-mesh/hauberk/accel/keyprovider/memory"
	"github.com/hauberk-mesh/hauberk/dataplane/keyring"
)

// TestKeys: what the providers have done, on a CPU that has the kernels and on one that has not.
func TestKeys(t *testing.T) {
	b := batch.New(batch.Options{})
	defer b.Close()
	ring := keyring.New(b, memory.New())
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ring.Import(t.Context(), b, private)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256([]byte("message"))
	if _, err := key.Sign(rand.Reader, digest[:], crypto.SHA256); err != nil {
		t.Fatal(err)
	}
	s := b.Status()
	signed, fallen := 1, 0
	if s.Backend == batch.BackendStd {
		signed, fallen = 0, 1
	}
	got := scrape(t, Sources{Keys: ring})
	want := []string{
		fmt.Sprintf(`hauberk_key_provider_info{backend=%q,provider="batch",reason=%q} 1`, s.Backend, s.Reason),
		fmt.Sprintf(`hauberk_tls_batch_size_count{key="rsa-2048"} %d`, signed),
		fmt.Sprintf(`hauberk_tls_batch_size_bucket{key="rsa-2048",le="1"} %d`, signed),
		fmt.Sprintf(`hauberk_tls_batch_wait_seconds_count{key="rsa-2048"} %d`, signed),
		fmt.Sprintf(`hauberk_tls_batch_duration_seconds_bucket{key="rsa-2048",le="+Inf"} %d`, signed),
		`hauberk_tls_batch_size_count{key="rsa-4096"} 0`, `hauberk_tls_batch_queued{key="rsa-2048"} 0`,
		`hauberk_tls_key_rejected_total{key="rsa-2048"} 0`, `hauberk_tls_key_cancelled_total{key="rsa-2048"} 0`,
		`hauberk_tls_key_checks_failed_total{key="rsa-2048"} 0`,
		`hauberk_tls_key_fallbacks_total{reason="key_shape"} 0`,
	}
	if fallen > 0 {
		want = append(want, fmt.Sprintf(`hauberk_tls_key_fallbacks_total{reason=%q} 1`, s.Reason))
	}
	for _, line := range want {
		if !strings.Contains(got, line) {
			t.Errorf("no %s in\n%s", line, got)
		}
	}
	memory, err := ring.Find(memory.Name)
	if err != nil {
		t.Fatal(err)
	}
	ring.Use(memory)
	if got := scrape(t, Sources{Keys: ring}); !strings.Contains(got, `hauberk_key_provider_info{backend="std",provider="memory",reason="chosen"} 1`) {
		t.Errorf("after another choice:\n%s", got)
	}
}

// TestQueue: sizes and times as Prometheus adds them up.
func TestQueue(t *testing.T) {
	got := scrapeQueue(t, &batch.QueueStats{
		Algorithm: keyprovider.RSA3072, Batches: []uint64{5, 0, 1, 2}, Queued: 7, Rejected: 3, Cancelled: 4, ChecksFailed: 1,
		Wait:  batch.Durations{Bounds: []time.Duration{time.Millisecond, time.Second}, Counts: []uint64{1, 2, 3}, Sum: 10 * time.Second},
		Batch: batch.Durations{Bounds: []time.Duration{time.Millisecond, time.Second}, Counts: []uint64{0, 8, 0}, Sum: 2 * time.Second},
	})
	for _, line := range []string{
		`hauberk_tls_batch_size_bucket{key="rsa-3072",le="1"} 5`, `hauberk_tls_batch_size_bucket{key="rsa-3072",le="3"} 6`,
		`hauberk_tls_batch_size_bucket{key="rsa-3072",le="4"} 8`, `hauberk_tls_batch_size_sum{key="rsa-3072"} 16`,
		`hauberk_tls_batch_size_count{key="rsa-3072"} 8`,
		`hauberk_tls_batch_wait_seconds_bucket{key="rsa-3072",le="0.001"} 1`, `hauberk_tls_batch_wait_seconds_bucket{key="rsa-3072",le="1"} 3`,
		`hauberk_tls_batch_wait_seconds_count{key="rsa-3072"} 6`, `hauberk_tls_batch_wait_seconds_sum{key="rsa-3072"} 10`,
		`hauberk_tls_batch_duration_seconds_sum{key="rsa-3072"} 2`, `hauberk_tls_batch_queued{key="rsa-3072"} 7`,
		`hauberk_tls_key_rejected_total{key="rsa-3072"} 3`, `hauberk_tls_key_cancelled_total{key="rsa-3072"} 4`,
		`hauberk_tls_key_checks_failed_total{key="rsa-3072"} 1`,
	} {
		if !strings.Contains(got, line+"\n") {
			t.Errorf("no %s in\n%s", line, got)
		}
	}
}
